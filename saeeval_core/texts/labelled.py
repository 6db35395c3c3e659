"""Labelled texts, from which every task is made."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from saeeval_core.errors import DataError, unknown_name
from saeeval_core.texts.choices import typed_number


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with one string label per column; rows with no text have been dropped and counted."""

    name: str
    texts: tuple[str, ...]
    columns: Mapping[str, np.ndarray]
    """Column name -> str[texts]; "" where a text has no value."""
    numeric: frozenset[str] = frozenset()
    """Columns whose values are compared as numbers."""
    split: np.ndarray | None = None
    """str[texts], each "train", "dev" or "test", when the data set brings its own parts."""
    group: np.ndarray | None = None
    """str[texts]: texts of one group (article, author) stay in one part."""
    source: str = ""
    composed: bool = False
    """True for texts rendered from hand-written patterns; the interface always says so."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> number of rows left out while loading."""

    @cached_property
    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 over the texts in order (labels do not change a recording)."""
        digest = hashlib.sha256()
        for text in self.texts:
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
        return digest.hexdigest()[:16]

    def at(self, rows: np.ndarray, reason: str) -> "LabelledTexts":
        """The texts of these rows int[kept] only; the others are counted in ``dropped`` under ``reason``."""
        return replace(
            self,
            texts=tuple(self.texts[i] for i in rows),
            columns={name: values[rows] for name, values in self.columns.items()},
            split=None if self.split is None else self.split[rows],
            group=None if self.group is None else self.group[rows],
            dropped={**self.dropped, reason: len(self.texts) - len(rows)},
        )

    def column(self, name: str) -> np.ndarray:
        """str[texts]: values of one column. DataError for an unknown column lists the known ones."""
        if name not in self.columns:
            raise DataError(unknown_name("column", name, self.columns, f"'{self.name}' has {', '.join(self.columns)}"))
        return self.columns[name]

    def canonical(self, column: str, value: str) -> str:
        """``value`` as stored: in numeric columns "5.0" and "5" are equal. DataError for text in a numeric column."""
        if column not in self.numeric:
            return value
        try:
            return typed_number(value)
        except ValueError:
            raise DataError(f"column '{column}' holds numbers, found '{value}'; give a number") from None

    def check_values(self, column: str, values: Sequence[str]) -> None:
        """DataError if a value does not occur in the column, with those that do."""
        counts = Counter(self.column(column).tolist())
        counts.pop("", None)
        for value in values:
            if value not in counts:
                present = ", ".join(f"{v} ({n})" for v, n in counts.most_common(12))
                raise DataError(f"column '{column}' of '{self.name}' has no value '{value}'; it has {present}")


def class_sizes(texts: LabelledTexts, column: str) -> dict[str, int]:
    """Number of texts per value of a column, largest first."""
    counts = Counter(texts.column(column).tolist())
    counts.pop("", None)
    return dict(counts.most_common())
