"""Labelled texts from tables: CSV, TSV, JSON, JSONL and Parquet files, and data frames of any origin."""

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from saeeval_core.errors import DataError, unknown_name
from saeeval_core.texts.choices import number_label, text_label
from saeeval_core.texts.labelled import LabelledTexts, Unused
from saeeval_core.texts.tables import Figure, FileForm, read_plain
from saeeval_core.wording import plural

if TYPE_CHECKING:
    import pandas as pd

_SURROGATE = re.compile("[\ud800-\udfff]")
_FEW = 1000
"""Different values up to which a column is stored with fixed width; of more, each value is a string of its own."""
_LONGEST = 200
"""Characters of a value; a column with longer ones holds texts, no labels."""
_SPLITS = {
    "training": "train",
    "validation": "dev",
    "valid": "dev",
    "val": "dev",
    "development": "dev",
    "testing": "test",
}


def from_frame(
    frame: "pd.DataFrame",
    name: str,
    text_column: str,
    group_column: str,
    source: str,
    *,
    notes: Sequence[str] = (),
    dropped: Mapping[str, int] = MappingProxyType({}),
) -> LabelledTexts:
    """Labelled texts of a table; every other column whose values can be labels becomes a label column.

    Empty texts are dropped and counted. DataError for a missing column, no text, NUL characters or lone surrogates.
    """
    frame = frame.rename(columns=str)
    text_column, group_column = _column(frame, text_column, name), group_column and _column(frame, group_column, name)
    frame = _without_categories(frame)
    lists = {str(c): "holds lists, not one value per row" for c in frame if _holds_lists(frame[c])}
    for column in (text_column, group_column):
        if column in lists:
            raise DataError(f"column '{column}' of '{name}' {lists[column]}; choose another one")
    is_text = (
        frame[text_column]
        .map(lambda v: isinstance(v, str) and not isinstance(v, Figure) and bool(v.strip()))
        .astype(bool)
    )
    left_out = Counter(dropped) + Counter({str(Unused.NO_TEXT): int((~is_text).sum())})
    frame = frame[is_text]
    if frame.empty:
        raise DataError(f"column '{text_column}' of '{name}' holds no text")
    _check_characters(frame, name, text_column)
    said = list(notes)
    columns, unusable = {}, dict(lists)
    for column in map(str, frame):
        if column in (text_column, group_column, "split") or column in lists:
            continue
        labels, trimmed = _labels(frame[column])
        if max(map(len, labels)) > _LONGEST:
            unusable[column] = f"holds texts of up to {max(map(len, labels)):,} characters, not labels"
            continue
        columns[column] = np.array(labels, dtype=str if len(set(labels)) <= _FEW else object)
        if trimmed:
            said.append(f"outer spaces left out of {plural(trimmed, 'value')} of '{column}'")
    return LabelledTexts(
        name,
        tuple(map(str, frame[text_column])),
        columns,
        _split(frame, said),
        np.array(_labels(frame[group_column])[0], dtype=object) if group_column else None,
        source,
        dropped=dict(left_out),
        unusable=unusable,
        notes=tuple(said),
    )


def _column(frame: "pd.DataFrame", wanted: str, name: str) -> str:
    """The column of that name, outer spaces aside. DataError names the nearest."""
    for found in (wanted, wanted.strip()):
        if found in frame:
            return found
    known = list(map(str, frame.columns))
    raise DataError(unknown_name("column", wanted, known, f"'{name}' has {', '.join(known)}"))


def _holds_lists(values: "pd.Series") -> bool:
    return values.dtype == object and any(isinstance(v, list | tuple | dict | np.ndarray) for v in values.to_numpy())


def _check_characters(frame: "pd.DataFrame", name: str, column: str) -> None:
    if any(_SURROGATE.search(t) for t in frame[column]):
        raise DataError(f"'{name}' holds half characters (lone surrogates) in column '{column}'; save it as UTF-8")
    if any("\0" in t for t in frame[column]):
        raise DataError(f"'{name}' holds NUL characters in column '{column}'; save it as plain UTF-8 text")


def _labels(values: "pd.Series") -> tuple[list[str], int]:
    """(label of every row, "" where there is none; number of texts with outer spaces, which no label has)."""
    import pandas as pd

    dates = pd.api.types.is_datetime64_any_dtype(values.dtype) or isinstance(values.dtype, pd.PeriodDtype)
    memo: dict[tuple[type, Any], str] = {}
    found, trimmed = [], 0
    for value in list(values) if dates else values.to_numpy():
        key = (type(value), value)
        label = memo.get(key)
        if label is None:
            label = memo[key] = label_of(value)
        found.append(label)
        trimmed += isinstance(value, str) and value[:1].isspace() + value[-1:].isspace() > 0 and bool(label)
    return found, trimmed


def label_of(value: Any) -> str:
    """The label of a cell of any type; "" for a missing one. Equal numbers have one label."""
    import pandas as pd

    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", text_label(value))
    if isinstance(value, list | tuple | dict | np.ndarray | np.timedelta64 | pd.Timedelta):
        return str(value)
    if pd.isna(value):
        return ""
    if isinstance(value, bool | np.bool_):
        return str(value)
    return text_label(number_label(value)) if hasattr(value, "__float__") else str(value)


def column_labels(values: "pd.Series") -> list[str] | None:
    """Label of every row of one column, "" where there is none; None for a column of lists."""
    values = _without_categories(values.to_frame()).iloc[:, 0]
    return None if _holds_lists(values) else _labels(values)[0]


def _split(frame: "pd.DataFrame", said: list[str]) -> "np.ndarray | None":
    """str[texts] of the column "split": train, dev, test or a name that is refused later; None where it divides nothing.

    What was taken for what is added to ``said``.
    """
    if "split" not in frame:
        return None
    names = [name.lower() for name in _labels(frame["split"])[0]]
    names = [_SPLITS.get(name, name) for name in names]
    there = set(names)
    if len(there) == 1:
        said.append(f"all texts are in one part ('{names[0]}'): they are split here")
        return None
    if there == {"train", "dev"}:
        said.append("there is no test part: two thirds of the validation part are test")
        names = ["test" if name == "dev" else name for name in names]
    return np.array(names, dtype=str)


def _without_categories(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The same table with the values of categorical columns themselves."""
    import pandas as pd

    found = [c for c in frame if isinstance(frame[c].dtype, pd.CategoricalDtype)]
    return frame.assign(**{c: frame[c].astype(object).infer_objects() for c in found})


@dataclass(frozen=True)
class Bounds:
    """The largest file of texts that is read, looked at before anything is parsed."""

    size: int
    """Bytes of the file, and of its values when unpacked."""
    rows: int
    columns: int = 2_000

    def check(self, name: str, what: str, found: int) -> None:
        """DataError if a file has more than is read; ``what``: "bytes", "rows", "columns" or "cells"."""
        most = {"rows": self.rows, "columns": self.columns}.get(what, self.size)
        if found > most:
            raise DataError(f"'{name}' has more than {most:,} {what}; split the file or keep only what is needed")


LARGE = Bounds(size=2 << 30, rows=20_000_000)
"""For files that the owner of the machine names."""
SMALL = Bounds(size=200 << 20, rows=1_000_000, columns=500)
"""For files sent to a server that others use too."""
PLAIN = (".csv", ".tsv", ".json", ".jsonl")
"""Files that may be gzipped; .ndjson is .jsonl."""
KINDS = "a .csv, .parquet or .jsonl file (or .tsv, .json; all but Parquet also as .gz)"
_LIBRARY = (
    ValueError,
    OSError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    NotImplementedError,
    RecursionError,
    MemoryError,
    zlib.error,
)
"""What the readers of tables raise for files they cannot read; only their own calls are guarded by it."""


@dataclass(frozen=True)
class Table:
    """A file as it was read."""

    frame: "pd.DataFrame"
    form: FileForm
    """Encoding and delimiter as found; "" for Parquet."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What was found out about the file, one line each."""


def read_frame(path: Path, bounds: Bounds = LARGE, form: FileForm = FileForm()) -> "pd.DataFrame":
    """The table of a file; cells of plain files are the texts they are. DataError as ``read_table``."""
    return read_table(path, bounds, form).frame


def read_table(path: Path, bounds: Bounds = LARGE, form: FileForm = FileForm()) -> Table:
    """The table of a file, with what was found out about its form.

    DataError for another type, an encoding or delimiter that must be given, a damaged file, one above ``bounds``, or
    anything but a plain file.
    """
    kind = _kind(path)
    with _one_line(path, kind):
        bounds.check(path.name, "bytes", path.stat().st_size)
        if kind == ".parquet":
            _check_parquet(path, bounds)
            found = Table(_parquet(path), FileForm())
        else:
            found = _plain(path, kind, form, bounds)
    if not found.frame.columns.is_unique:
        twice = found.frame.columns[found.frame.columns.duplicated()][0]
        raise DataError(f"'{path.name}' has two columns named '{twice}'; rename one of them")
    return found


def _kind(path: Path) -> str:
    """The kind of a file by its name. DataError for one that is not read."""
    *_, kind = path.with_suffix("").suffixes if path.suffix.lower() == ".gz" else path.suffixes or [""]
    kind = {".ndjson": ".jsonl"}.get(kind.lower(), kind.lower())
    try:
        there, plain = path.exists(), path.is_file()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(f"'{ascii(str(path))[1:60]}' can be no path ({why}); give {KINDS}") from None
    if not there:
        raise DataError(f"file '{path}' does not exist; give {KINDS}")
    if not plain:
        raise DataError(f"'{path}' is a folder, pipe or device; give {KINDS}")
    if kind in (".xlsx", ".xls", ".ods"):
        raise DataError(f"'{path.name}' is a workbook: save the sheet as CSV (UTF-8); give {KINDS}")
    if kind not in PLAIN and (kind != ".parquet" or path.suffix.lower() == ".gz"):
        raise DataError(f"'{path.name}' ends in '{''.join(path.suffixes[-2:])}'; give {KINDS}")
    return kind


def stem(path: Path) -> str:
    """The file's name without what says its kind, compressed or not."""
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem


def _plain(path: Path, kind: str, form: FileForm, bounds: Bounds) -> Table:
    import pandas as pd

    rows = read_plain(path, kind, form, lambda what, found: bounds.check(path.name, what, found))
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in rows.columns.items()})
    return Table(frame, FileForm(rows.encoding, rows.delimiter), rows.dropped, tuple(rows.notes))


def _parquet(path: Path) -> "pd.DataFrame":
    """Fields of nested columns as "outer.inner"; whole numbers stay exact beside missing cells."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        table = file.read()
    while any(pa.types.is_struct(f.type) for f in table.schema):
        table = table.flatten()
    return table.to_pandas(integer_object_nulls=True)


@contextmanager
def _one_line(path: Path, kind: str) -> Iterator[None]:
    """A DataError of one line in place of what the libraries that read tables raise."""
    try:
        yield
    except _LIBRARY as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise DataError(f"'{path.name}' cannot be read as {kind[1:]}: {why}") from None


def _check_parquet(path: Path, bounds: Bounds) -> None:
    """Repeated values are stored once: what they take when unpacked is counted, without unpacking them."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        about, schema = file.metadata, file.schema_arrow
    bounds.check(path.name, "columns", about.num_columns)
    bounds.check(path.name, "rows", about.num_rows)
    groups = [about.row_group(g) for g in range(about.num_row_groups)]
    values = sum(g.column(c).num_values for g in groups for c in range(about.num_columns))
    size = max(8 * values, sum(g.total_byte_size for g in groups))
    bounds.check(path.name, "bytes when unpacked", size)
    names = [f.name for f in schema if str(f.type) in ("string", "large_string", "binary", "large_binary")]
    with pq.ParquetFile(path, read_dictionary=names) as file:
        for batch in file.iter_batches(batch_size=4096, columns=names):
            size += sum(map(_unpacked, batch.columns))
            bounds.check(path.name, "bytes when unpacked", size)


def _unpacked(column: Any) -> int:
    """Bytes of the texts of one column of a batch, read as dictionary and indices."""
    import pyarrow.compute as pc

    if not hasattr(column, "dictionary"):  # of two columns of one name
        return column.nbytes
    lengths = pc.binary_length(column.dictionary)
    return pc.sum(pc.cast(pc.take(lengths, column.indices), "int64")).as_py() or 0
