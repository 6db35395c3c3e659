"""All rows of a store as values: read from a store or an exported file, and exported as one file of JSON lines.

The file begins with a line that says what it is, then has one line per row with its seal, and ends with their number.
"""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from saeeval_core.errors import DataError
from saeeval_core.ledger.carve import carve
from saeeval_core.ledger.examine import examine
from saeeval_core.ledger.files import beside, engine_url, open_file
from saeeval_core.ledger.migrations import migrate
from saeeval_core.ledger.tables import TABLES, Row, now
from saeeval_core.ledger.wal import read_log
from saeeval_core.storage.artifacts import write_atomic
from saeeval_core.storage.parse_json import NotJson, parse_json

FORMAT = "saeeval store, JSON lines, 1"
_MAGIC = b"SQLite format 3\0"

Rows = dict[str, dict[int, Row]]
"""Table -> id -> values in the order of its columns."""


@dataclass(frozen=True)
class Contents:
    """Everything in one store at one moment."""

    label: str
    """Where it is from, for people."""
    rows: Rows


def export(store: Path, out: Path) -> dict[str, int]:
    """Write everything in a store to ``out``; table -> number of rows. OSError if it cannot be written."""
    with closing(open_file(store, "ro")) as c:
        c.execute("begin")
        rows = rows_in(c)
    lines = [json.dumps({"format": FORMAT, "at": now()})]
    lines += [json.dumps(_line(name, row), ensure_ascii=False) for name, own in rows.items() for row in own.values()]
    lines += [json.dumps({"rows": len(lines) - 1})]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, ("\n".join(lines) + "\n").encode())
    return {name: len(own) for name, own in rows.items()}


def read_contents(path: Path) -> Contents:
    """Everything in a store or an exported file, which is not changed. Of a damaged store: what can be read.

    DataError for a file that is neither, an export that was changed or cut off, or a store of a newer version.
    """
    if not path.is_file():
        raise DataError(f"'{path}' is no file; give a store or a file written by saeeval store export")
    try:
        with open(path, "rb") as file:
            first = file.read(len(_MAGIC))
        rows = _read_export(path) if first[:1] == b"{" else _read_store(path)
    except (OSError, sqlite3.Error) as error:
        raise DataError(f"'{path}' cannot be read: {error}") from None
    return Contents(path.stem, rows)


def rows_in(c: sqlite3.Connection) -> Rows:
    """Rows of a store of this version whose seal fits."""
    found: Rows = {}
    for name, about in TABLES.items():
        read = c.execute(f"select {', '.join(about.columns)}, seal from {name} order by id")
        found[name] = {row[0]: row[:-1] for row in read if about.fits(row[:-1], row[-1])}
    return found


def _line(table: str, row: Row) -> dict[str, Any]:
    about = TABLES[table]
    return {"table": table, "row": dict(zip(about.columns, row, strict=True)), "seal": about.seal(row)}


def _read_store(path: Path) -> Rows:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.sqlite"
        for ending in ("", "-wal"):
            if beside(path, ending).exists():
                shutil.copyfile(beside(path, ending), beside(copy, ending))
        if examine(copy).sound and copy.stat().st_size:
            _bring_up_to_date(path, copy)
            with closing(open_file(copy)) as c:
                return rows_in(c)
        found = carve(copy.read_bytes(), read_log(beside(copy, "-wal")))
    if not found.ours:
        raise DataError(f"'{path}' is no store; give a store or a file written by saeeval store export")
    return {name: {i: row for i, (row, _) in own.items()} for name, own in found.rows.items()}


def _bring_up_to_date(path: Path, copy: Path) -> None:
    engine = create_engine(engine_url(copy))
    with engine.begin() as c:
        newer = migrate(c)
    engine.dispose()
    if newer:
        raise DataError(f"'{path}' was written by a newer version; update saeeval")


def _read_export(path: Path) -> Rows:
    found: Rows = {name: {} for name in TABLES}
    rows = 0
    for number, line in _lines(path):
        if number == 1:
            if line.get("format") != FORMAT:
                raise DataError(f"'{path}' is no exported store of this version; make it with saeeval store export")
        elif "rows" in line:
            if line["rows"] != rows:
                raise DataError(f"'{path}' says it has {line['rows']} rows and has {rows}; export the store again")
            return found
        else:
            table, row = _row(path, number, line)
            found[table][row[0]] = row  # type: ignore[index]
            rows += 1
    raise DataError(f"'{path}' was cut off after {rows} rows; export the store again")


def _lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with open(path, "rb") as file:
        for number, text in enumerate(file, 1):
            try:
                line = parse_json(text)
            except NotJson as error:
                raise DataError(f"'{path}', line {number} is not JSON ({error}); export the store again") from None
            if not isinstance(line, dict):
                raise DataError(f"'{path}', line {number} is no object; export the store again")
            yield number, line


def _row(path: Path, number: int, line: Mapping[str, Any]) -> tuple[str, Row]:
    table, values, seal = (line.get(k) for k in ("table", "row", "seal"))
    about = TABLES.get(table) if isinstance(table, str) else None
    if about is None or not isinstance(values, dict) or values.keys() != about.columns.keys():
        raise DataError(f"'{path}', line {number} is no row of a store; export the store again")
    row = about.row(values)
    if not about.looks_right(row) or not about.fits(row, seal):
        raise DataError(f"'{path}', line {number} does not fit its checksum: it was changed; export the store again")
    return about.name, row
