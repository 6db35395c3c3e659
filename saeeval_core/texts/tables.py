"""Rows of plain files, gzipped or not: delimited text and JSON, every cell as the text it is.

Encoding and delimiter are found out where the file leaves no doubt; where it does, the line to use is named.
"""

import codecs
import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from saeeval_core.errors import DataError
from saeeval_core.texts.choices import json_label
from saeeval_core.texts.labelled import Unused

Check = Callable[[str, int], None]
"""Called with a unit ("bytes", "rows", "columns", "cells") and how many were found; raises where they are too many."""

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_NAMED = {"tab": "\t", "\\t": "\t", **{word: sign for sign, word in DELIMITERS.items()}}
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Mark at the start of a file -> its encoding; the longer marks first."""
_SAMPLE = 1 << 16
"""Characters in which the delimiter and the header are looked for."""
_START = 4096
"""Bytes in which the encoding is looked for."""
_LABEL = 200
"""Longest cell, in characters, that is stored once for all its rows."""
_LONG_NAME = 60
"""A first row is data, and no header, when a cell is longer or has more words, and another comes again below."""
_MOST_WORDS = 5


class Figure(str):
    """A number, or true and false, of JSON as its text there; never a text to be read."""


@dataclass(frozen=True)
class FileForm:
    """How a plain file is written, as its owner says; "" is found out."""

    encoding: str = ""
    """Any text encoding that Python knows, such as "cp1252"."""
    delimiter: str = ""
    """Of .csv and .tsv files: one character, or "tab"."""

    @property
    def sign(self) -> str:
        """The delimiter as one character, or "". DataError for anything else."""
        sign = _NAMED.get(self.delimiter, self.delimiter)
        if len(sign) > 1 or sign in ('"', "\r", "\n"):
            raise DataError(f"delimiter is '{self.delimiter}'; give one character such as --delimiter ';', or tab")
        return sign


@dataclass
class Rows:
    """Columns of a plain file while it is read."""

    columns: dict[str, list[Any]]
    dropped: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What was found out, one line each."""
    encoding: str = ""
    delimiter: str = ""


def read_plain(path: Path, kind: str, form: FileForm, check: Check) -> Rows:
    """Columns of a .csv, .tsv, .json or .jsonl file (``kind``), each as long as the others.

    DataError for what is too large, cannot be decoded, or is not of that kind; ValueError for JSON that is none.
    """
    with _opened(path, form.encoding, check) as (stream, encoding):
        lines = _without_nul(path.name, stream)
        rows = _delimited(path.name, lines, form.sign, check) if kind in (".csv", ".tsv") else _json(lines, check)
    rows.encoding = encoding
    if encoding != "utf-8":
        rows.notes.insert(0, f"encoding {encoding.removesuffix('-sig')}")
    return rows


class _Counted(io.RawIOBase):
    """Bytes of another stream, unpacked, up to a bound."""

    def __init__(self, source: io.BufferedIOBase, check: Check) -> None:
        self._source, self._check, self._read = source, check, 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As ``io.RawIOBase``; raises what the bound raises."""
        content = self._source.read(len(buffer))
        buffer[: len(content)] = content
        self._read += len(content)
        self._check("bytes", self._read)
        return len(content)


@contextmanager
def _opened(path: Path, encoding: str, check: Check) -> Iterator[tuple[io.TextIOWrapper, str]]:
    """(text of the file, its encoding); line ends are kept as they are."""
    with path.open("rb") as file:
        source: Any = gzip.GzipFile(fileobj=file) if path.suffix.lower() == ".gz" else file
        content = io.BufferedReader(_Counted(source, check), 1 << 18)
        name = _encoding(path.name, content.peek(4)[:_START], encoding)
        stream = io.TextIOWrapper(content, encoding=name, newline="")
        try:
            yield stream, name
        except UnicodeDecodeError as error:
            odd = error.object[error.start]
            if encoding:
                raise DataError(
                    f"'{path.name}' is not {encoding} (byte 0x{odd:02x}); give another --encoding"
                ) from None
            raise DataError(
                f"'{path.name}' is not UTF-8; save it again with UTF-8 encoding, or say what it is (byte 0x{odd:02x} "
                "was found): --encoding cp1252 for most files of Windows, or latin-1, utf-16, ..."
            ) from None


def _encoding(file_name: str, start: bytes, given: str) -> str:
    """DataError for an encoding that there is not, and for bytes that are no UTF-8 text."""
    marked = next((name for bom, name in _BOMS.items() if start.startswith(bom)), "")
    if not given and not marked and b"\0" in start:
        raise _binary(file_name, "utf-16-be" if b"\0" not in start[1::2] else "utf-16-le")
    if not given:
        return marked or "utf-8"
    try:
        found = codecs.lookup(given)
        "a".encode(given)
    except LookupError:
        raise DataError(f"unknown encoding '{given}'; give one such as utf-8, cp1252, latin-1 or utf-16") from None
    return marked if marked.startswith(found.name) else found.name


def _binary(name: str, guess: str) -> DataError:
    return DataError(
        f"'{name}' holds NUL bytes (a binary or UTF-16 file?); save it as UTF-8 text, or give --encoding {guess}"
    )


def _without_nul(name: str, lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if "\0" in line:
            raise _binary(name, "utf-16-le")
        yield line if number else line.removeprefix("\ufeff")  # the mark stays where an encoding was given


def _delimited(name: str, lines: Iterator[str], sign: str, check: Check) -> Rows:
    csv.field_size_limit(2**31 - 1)  # Python allows 131,072 characters of a cell unless told otherwise
    first, whole = _first_lines(lines)
    if first and len(first[0].strip()) == 5 and first[0].startswith("sep="):  # written by Excel
        sign, first = sign or first[0][4], first[1:]
    rest = chain(first, lines)
    sign = sign or _delimiter(name, first, whole)
    reader = csv.reader(rest, delimiter=sign, strict=True)
    try:
        header = next((row for row in reader if row), None)
        if header is None:
            raise ValueError("No columns to parse from file")
        return _columns(header, reader, _sample_rows(first, sign, whole), sign, check)
    except csv.Error as error:
        raise ValueError(f"{error} in line {reader.line_num}; {_other(sign)}") from None


def _columns(header: list[str], reader: Any, sample: list[list[str]], sign: str, check: Check) -> Rows:
    check("columns", len(header))
    names, notes, memo = _names(header), [], {}
    notes.append(f"delimiter {DELIMITERS.get(sign, repr(sign))}" if len(header) > 1 else "one column")
    columns: list[list[str]] = [[] for _ in header]
    dropped: dict[str, int] = {}
    headless = not _is_header(sample)
    if headless:
        names = [f"column {i + 1}" for i in range(len(header))]
        notes.append(f"no header found: the columns are called {', '.join(names[:3])}{', ...' if names[3:] else ''}")
    for number, row in enumerate(chain([header] if headless else [], reader), 1):
        if not row:
            continue
        check("rows", number)
        if row == header and not headless:
            dropped[Unused.HEADER] = dropped.get(Unused.HEADER, 0) + 1
            continue
        if len(row) > len(header):
            if any(row[len(header) :]):
                raise csv.Error(f"{len(row)} fields, expected {len(header)},")
            del row[len(header) :]
        row += [""] * (len(header) - len(row))
        for column, cell in zip(columns, row, strict=True):
            column.append(memo.setdefault(cell, cell) if len(cell) <= _LABEL else cell)
    twice = [n for n, given in zip(names, header, strict=True) if not headless and given.strip() and n != given.strip()]
    if twice:
        notes.append(f"columns of one name are numbered: {', '.join(twice)}")
    return Rows(dict(zip(names, columns, strict=True)), dropped, notes, delimiter=sign)


def _first_lines(lines: Iterator[str]) -> tuple[list[str], bool]:
    """(lines of the sample, whether they are the whole file)."""
    first, size = [], 0
    for line in lines:
        first.append(line)
        size += len(line)
        if size > _SAMPLE:
            return first, False
    return first, True


def _sample_rows(first: list[str], sign: str, whole: bool) -> list[list[str]]:
    rows = [row for row in csv.reader(first, delimiter=sign) if row]
    return rows if whole or len(rows) == 1 else rows[:-1]


def _delimiter(name: str, first: list[str], whole: bool) -> str:
    """The sign that divides the most rows into as many fields as the first. DataError where two do so equally well."""
    found = {}
    for sign in DELIMITERS:
        rows = _sample_rows(first, sign, whole)
        if rows and len(rows[0]) > 1:
            found[sign] = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
    best = [sign for sign, share in found.items() if share == max(found.values())]
    if len(best) > 1:
        raise DataError(
            f"'{name}' can be read with {' or '.join(DELIMITERS[s] for s in best)} as delimiter; say which: "
            + " or ".join(f"--delimiter '{s}'" if s != "\t" else "--delimiter tab" for s in best)
        )
    return best[0] if best else ","


def _other(sign: str) -> str:
    other = ";" if sign == "," else ","
    return f"read with delimiter {DELIMITERS.get(sign, sign)}: if that is wrong, give another, such as --delimiter '{other}'"


def _is_header(sample: list[list[str]]) -> bool:
    """False where the first row reads like the others: a long text in one column, and in another a value that recurs."""
    if len(sample) < 2:
        return True
    header, below = sample[0], sample[1:]
    long = any(len(cell) > _LONG_NAME and len(cell.split()) > _MOST_WORDS for cell in header)
    return not (long and any(cell and any(row[i : i + 1] == [cell] for row in below) for i, cell in enumerate(header)))


def _names(header: list[str]) -> list[str]:
    """Names without outer spaces, each once; those without one are numbered."""
    found: list[str] = []
    for i, cell in enumerate(header):
        name = base = cell.strip() or f"column {i + 1}"
        again = 0
        while name in found:
            again += 1
            name = f"{base}.{again}"
        found.append(name)
    return found


def _json(lines: Iterator[str], check: Check) -> Rows:
    """Of one array of objects, or of one object per line."""
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith("["):
        value = _parse(first + "".join(lines))
        return _of_objects(enumerate(value, 1), "entry", check)
    if _begins_an_object(first):
        value = _parse(first + "".join(lines))
        tables = [v for v in value.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
        if len(tables) != 1:
            raise ValueError("an object is no table; expected a list of objects, or one object per line")
        return _of_objects(enumerate(tables[0], 1), "entry", check)
    return _of_objects(_lines(chain([first], lines)), "line", check)


def _lines(lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, _parse(line)
            except ValueError as error:
                raise ValueError(f"line {number} is no JSON ({error})") from None


def _begins_an_object(line: str) -> bool:
    """Whether an object goes on in the next line."""
    try:
        json.loads(line)
    except ValueError:
        return line.strip() == "{" or line.rstrip().endswith(("[", ",", "{")) and line.lstrip().startswith("{")
    return False


def _parse(text: str) -> Any:
    return json.loads(text, parse_float=Figure, parse_constant=lambda _: None)


def _of_objects(rows: Iterable[tuple[int, Any]], unit: str, check: Check) -> Rows:
    columns: dict[str, list[Any]] = {}
    count = 0
    for number, row in rows:
        if not isinstance(row, dict):
            raise ValueError(f"{unit} {number} is no object")
        for name, value in _flat(row):
            own = columns.get(name)
            if own is None:
                check("columns", len(columns) + 1)
                own = columns[name] = []
            own += [None] * (count - len(own))
            own[count:] = [value]
        count += 1
        check("rows", count)
        check("cells", count * len(columns))
    if not count:
        raise ValueError("there are no rows")
    for values in columns.values():
        values += [None] * (count - len(values))
    return Rows(columns)


def _flat(row: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """(name, value), of an object in an object as "outer.inner"; numbers as their text."""
    for key, value in row.items():
        name = f"{before}{key.strip()}"
        if isinstance(value, dict):
            yield from _flat(value, f"{name}.")
        else:
            yield name, Figure(json_label(value)) if isinstance(value, bool | int) else value
