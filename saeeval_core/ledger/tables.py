"""Tables of the store: the columns of each, the form of their values, and the seal of a row.

A seal is a checksum per row, not per page: SQLite's own page checksums are an extension that is usually not compiled in,
and they would say which page is damaged where a person needs to know which decision is. It covers the table's name, the
id and every value, so that a row read from anywhere, even from a file that SQLite cannot open any more, either is what
was written or is recognised as damaged.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from saeeval_core.config import fingerprint

Value = int | str | None
Row = tuple[Value, ...]
"""Values in the order of a table's columns, without the seal."""
Form = Callable[[object], bool]

LATER = "later:"
"""Begins the seal of a row that an earlier version wrote without one; it was sealed when this version first read it."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z?")
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")


def _is_id(value: object) -> bool:
    return type(value) is int and value >= 1


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_id_or_none(value: object) -> bool:
    return value is None or _is_id(value)


def _is_count_or_none(value: object) -> bool:
    return value is None or _is_count(value)


def _is_text(value: object) -> bool:
    return type(value) is str


def _matches(pattern: re.Pattern[str]) -> Form:
    return lambda value: type(value) is str and pattern.fullmatch(value) is not None


def _one_of(*names: str) -> Form:
    return lambda value: value in names


_is_time = _matches(_TIME)
_is_decision = _one_of("ablate", "keep", "unsure", "none")


@dataclass(frozen=True)
class Table:
    """One table whose rows are sealed."""

    name: str
    columns: Mapping[str, Form]
    """Column -> what its values look like, in the order of the file, without the seal."""
    added: Mapping[str, Value] = field(default_factory=dict)
    """Columns that the first rows were written without -> the value that those have."""

    @property
    def time(self) -> str:
        """Name of the column that says when."""
        return "created" if "created" in self.columns else "at"

    def seal(self, row: Row) -> str:
        """16 hex digits over the table's name and all values."""
        return fingerprint([self.name, *row])

    def fits(self, row: Row, seal: object) -> bool:
        """Whether the row is what was sealed."""
        whole = type(seal) is str and not any(isinstance(v, bytes) for v in row)
        return whole and str(seal).removeprefix(LATER) == self.seal(row)

    def row(self, values: Mapping[str, Value]) -> Row:
        """The values in order. KeyError for a missing one."""
        return tuple(values[name] for name in self.columns)

    def looks_right(self, row: Sequence[object]) -> bool:
        """Whether every value has the form of its column."""
        return len(row) == len(self.columns) and all(f(v) for f, v in zip(self.columns.values(), row, strict=True))


TABLES = {
    t.name: t
    for t in (
        Table(
            "decision_sets",
            {
                "id": _is_id,
                "name": _is_text,
                "who": _is_text,
                "metric": _one_of("shift", "tpp"),
                "task": _is_text,
                "direction": _is_text,
                "sae_fingerprint": _is_text,
                "recording_fingerprint": _is_text,
                "copied_from": _is_id_or_none,
                "created": _is_time,
            },
        ),
        Table("set_names", {"id": _is_id, "set_id": _is_id, "name": _is_text, "who": _is_text, "at": _is_time}),
        Table("set_owners", {"id": _is_id, "set_id": _is_id, "who": _is_text, "at": _is_time}),
        Table("set_origins", {"id": _is_id, "set_id": _is_id, "dev_looks": _is_count_or_none, "at": _is_time}),
        Table("stories", {"id": _is_id, "set_id": _is_id, "who": _is_text, "at": _is_time, "plan": _is_text}),
        Table(
            "decisions",
            {
                "id": _is_id,
                "set_id": _is_id,
                "who": _is_text,
                "at": _is_time,
                "latent": _is_count,
                "old": _is_decision,
                "new": _is_decision,
                "reason": _is_text,
                "batch": _is_text,
                "undoes": _is_id_or_none,
            },
            added={"batch": "", "undoes": None},
        ),
        Table(
            "looks",
            {
                "id": _is_id,
                "set_id": _is_id,
                "who": _is_text,
                "at": _is_time,
                "ids_fingerprint": _matches(_FINGERPRINT),
            },
        ),
        Table(
            "commits",
            {
                "id": _is_id,
                "set_id": _is_id,
                "who": _is_text,
                "at": _is_time,
                "ids": _is_text,
                "test": _is_text,
                "dev_looks": _is_count,
            },
        ),
        Table(
            "verdicts",
            {
                "id": _is_id,
                "key": _is_text,
                "sae_fingerprint": _is_text,
                "sae": _is_text,
                "latent": _is_count,
                "task": _is_text,
                "rater": _is_text,
                "rater_kind": _one_of("llm", "local", "human", "imported"),
                "model": _is_text,
                "prompt": _is_text,
                "evidence_hash": _is_text,
                "explanation": _is_text,
                "reason": _is_text,
                "ratings": _is_text,
                "status": _is_text,
                "raw": _is_text,
                "at": _is_text,
            },
        ),
        Table(
            "judge_batches",
            {
                "id": _is_id,
                "batch_id": _is_text,
                "at": _is_time,
                "event": _one_of("created", "collected"),
                "content": _is_text,
            },
        ),
        Table(
            "presses",
            {"id": _is_id, "client": _is_text, "seq": _is_count, "who": _is_text, "kind": _is_text, "at": _is_time},
        ),
        Table(
            "origins",
            {
                "id": _is_id,
                "table_name": _is_text,
                "row_id": _is_id,
                "identity": _matches(_FINGERPRINT),
                "source": _is_text,
                "at": _is_time,
            },
        ),
        Table("repairs", {"id": _is_id, "aside": _is_text, "kept": _is_text, "lost": _is_text, "at": _is_time}),
    )
}
"""Name -> table; one that refers to another stands after it."""


@lru_cache(maxsize=1 << 15)
def fits_cached(table: str, row: Row, seal: str) -> bool:
    """As ``Table.fits``, for short rows that are read with every press."""
    return TABLES[table].fits(row, seal)


def now() -> str:
    """The time in UTC, as every row has it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def said(counts: Mapping[str, int]) -> str:
    """ "3 decisions, 1 press"; "nothing" where all are 0."""
    return (
        ", ".join(f"{n} {_one(table) if n == 1 else table}" for table, n in counts.items() if n).replace("_", " ")
        or "nothing"
    )


def _one(table: str) -> str:
    return table[:-2] if table.endswith(("ches", "sses")) else table[:-1]
