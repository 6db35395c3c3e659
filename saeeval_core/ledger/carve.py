"""Rows read from the pages of a damaged store, one by one, without SQLite, which gives up on a malformed file.

Rows lie in leaf pages (sqlite.org/fileformat2.html, "B-tree Pages"). Each page is read on its own, so nothing depends on
the pages above it, on the schema or on the header; the seal says which table a row belongs to and that it is whole.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from saeeval_core.ledger.tables import LATER, TABLES, Row, Table
from saeeval_core.ledger.wal import PAGE, Log

_LEAF = 0x0D
_LOCAL = PAGE - 35
_LEAST = (PAGE - 12) * 32 // 255 - 23
_SEALING = b"m005_seals"
"""Stands in a store once its rows are sealed."""
_OURS = b"decision_sets"
"""Stands in every store, several times."""
_UNLIKELY = 1_000_000
"""Ids do not jump that far; a counter that says so is damaged."""
_ODD = (IndexError, ValueError, struct.error, OverflowError)

Cells = dict[int, tuple[Row, str]]
"""Id -> (values, seal)."""


@dataclass
class Carved:
    """What could be read."""

    ours: bool
    """Whether the file is, or was, a store at all."""
    rows: dict[str, Cells] = field(default_factory=lambda: {name: {} for name in TABLES})
    last: dict[str, int] = field(default_factory=dict)
    """Table -> highest id ever given, as far as that is known."""


def carve(data: bytes, log: Log) -> Carved:
    """Every whole row in a database file and its log.

    Rows of a store from before seals are taken by their form, and get a seal that says so.
    """
    pages = [data[i : i + PAGE] for i in range(0, len(data), PAGE)]
    newest = dict(enumerate(pages, 1)) | {f.page: f.content for f in log.frames if f.ok}
    everything = list(dict.fromkeys([*pages, *(f.content for f in log.frames)]))
    sealed = any(_SEALING in page for page in everything)
    found = Carved(any(_OURS in page for page in everything))
    for page in everything:  # a page is in the log as often as it was written
        for record in _records(page, newest):
            _take(found, record, loose=not sealed and page[:1] == bytes([_LEAF]))
    for name, rows in found.rows.items():
        highest = max(rows, default=0)
        counted = found.last.get(name, 0)
        found.last[name] = counted if highest <= counted < highest + _UNLIKELY else highest
    return found


def _take(found: Carved, record: list[object], *, loose: bool) -> None:
    match record:
        case [_, str() as name, int() as last] if name in TABLES:  # of SQLite's own table of counters
            found.last[name] = max(last, found.last.get(name, 0))
            return
    for table in TABLES.values():
        if len(record) == len(table.columns) + 1:
            *values, seal = record
            row: Row = tuple(values)  # type: ignore[arg-type]
            if table.fits(row, seal):
                found.rows[table.name][row[0]] = row, str(seal)  # type: ignore[index]
                return
        elif loose and (row := _unsealed(table, record)):
            found.rows[table.name][row[0]] = row, LATER + table.seal(row)  # type: ignore[index]
            return


def _unsealed(table: Table, record: list[object]) -> Row | None:
    missing = len(table.columns) - len(record)
    added = list(table.added.values())
    full = [*record, *added[len(added) - missing :]] if 0 < missing <= len(added) else record
    return tuple(full) if table.looks_right(full) else None  # type: ignore[arg-type]


def _records(page: bytes, pages: Mapping[int, bytes]) -> Iterator[list[object]]:
    """The records of a leaf page, each with its id first. The kind of page is not asked for: it may be what is damaged."""
    for i in range(min(int.from_bytes(page[3:5], "big"), PAGE // 4)):
        try:
            start = int.from_bytes(page[8 + 2 * i : 10 + 2 * i], "big")
            size, at = _varint(page, start)
            rowid, at = _varint(page, at)
            yield _record(_payload(page, at, size, pages), rowid)
        except _ODD:
            continue


def _payload(page: bytes, at: int, size: int, pages: Mapping[int, bytes]) -> bytes:
    """The content of a cell, together with what of it lies in overflow pages."""
    if size <= _LOCAL:
        return page[at : at + size]
    local = _LEAST + (size - _LEAST) % (PAGE - 4)
    local = local if local <= _LOCAL else _LEAST
    parts, left = [page[at : at + local]], size - local
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    while left > 0 and len(parts) <= len(pages):
        content = pages.get(following, b"")
        parts.append(content[4 : 4 + left])
        left -= PAGE - 4
        following = int.from_bytes(content[:4], "big")
    return b"".join(parts)


def _record(payload: bytes, rowid: int) -> list[object]:
    """Values of a record; the id, which the record leaves out, is the cell's."""
    size, at = _varint(payload, 0)
    body, values = size, []
    while at < size:
        kind, at = _varint(payload, at)
        value, body = _value(payload, body, kind)
        values.append(value)
    if not values:
        raise ValueError
    # Only SQLite's own tables, whose rows are told apart by their form, store something in place of the id.
    return [rowid, *values[1:]] if values[0] is None else [rowid, *values]


def _value(payload: bytes, at: int, kind: int) -> tuple[object, int]:
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    size = _INTEGER.get(kind, (kind - 13) // 2)
    content = payload[at : at + size]
    if (kind not in _INTEGER and (kind < 13 or kind % 2 == 0)) or len(content) < size:  # stores hold no other kinds
        raise ValueError
    value = int.from_bytes(content, "big", signed=True) if kind in _INTEGER else content.decode("utf-8")
    return value, at + size


_INTEGER = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""Kind of an integer -> its bytes."""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 1 to 9 bytes, and where it ends."""
    value = 0
    for i in range(8):
        byte = data[at + i]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + i + 1
    return value << 8 | data[at + 8], at + 9
