"""What a file holds, before anybody has said which column is what: its columns, first rows, and a guess at both."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from saeeval_core.texts.files import Table, column_labels
from saeeval_core.wording import head

_FEW = 50
"""Values of a column that are listed."""
_MOST_LABELS = 50
"""A column with more different values is not guessed to hold labels."""
_SHOWN = 300
"""Characters of a cell that are shown."""
FIRST_ROWS = 5


@dataclass(frozen=True)
class ColumnFacts:
    """One column of a file."""

    name: str
    values: tuple[tuple[str, int], ...]
    """(label, rows) of the most frequent values, the most frequent first; empty where it holds lists."""
    distinct: int
    filled: int
    """Rows with a value."""
    mean_length: float
    """Characters of the cells that are filled."""
    why_not: str = ""
    """Why it can be neither text nor label."""


@dataclass(frozen=True)
class FileFacts:
    """A file as it was read."""

    rows: int
    columns: tuple[ColumnFacts, ...]
    first: tuple[tuple[str, ...], ...]
    """Cells of the first rows, cut, in the order of ``columns``."""
    encoding: str
    """"" for Parquet, as the delimiter."""
    delimiter: str
    notes: tuple[str, ...]
    text_column: str
    """The column with the longest cells."""
    label_columns: tuple[str, ...]
    """Columns of few values, each of several rows, those with the fewest first."""

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> "FileFacts":
        """Inverse of ``dataclasses.asdict`` through JSON."""
        columns = tuple(ColumnFacts(**{**c, "values": tuple((v, n) for v, n in c["values"])}) for c in value["columns"])
        lists = {k: tuple(value[k]) for k in ("notes", "label_columns")}
        return cls(**{**value, **lists, "columns": columns, "first": tuple(map(tuple, value["first"]))})


def survey(table: Table) -> FileFacts:
    """The columns of a table, and which of them look like text and labels."""
    frame = table.frame.rename(columns=str)
    columns = tuple(_facts(name, frame[name]) for name in frame)
    usable = [c for c in columns if not c.why_not and c.filled]
    text = max(usable, key=lambda c: c.mean_length, default=None)
    labels = [
        c for c in usable if c is not text and c.name != "split" and 2 <= c.distinct <= min(_MOST_LABELS, c.filled // 4)
    ]
    return FileFacts(
        len(frame),
        columns,
        tuple(tuple(_shown(v) for v in row) for row in frame.head(FIRST_ROWS).itertuples(index=False, name=None)),
        table.form.encoding,
        table.form.delimiter,
        table.notes,
        text.name if text else "",
        tuple(c.name for c in sorted(labels, key=lambda c: c.distinct)),
    )


def _facts(name: str, values: Any) -> ColumnFacts:
    labels = column_labels(values)
    if labels is None:
        return ColumnFacts(name, (), 0, 0, 0.0, "holds lists, not one value per row")
    counts = Counter(labels)
    counts.pop("", None)
    filled = counts.total()
    length = sum(len(v) * n for v, n in counts.items()) / max(1, filled)
    top = tuple((v[:_SHOWN], n) for v, n in counts.most_common(_FEW))
    return ColumnFacts(name, top, len(counts), filled, length)


def _shown(value: Any) -> str:
    text = "" if value is None else str(value)
    return head(text, _SHOWN)
