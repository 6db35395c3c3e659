"""Labelled texts, from which every task is made."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

import numpy as np

from saeeval_core.errors import DataError, unknown_name
from saeeval_core.texts.choices import text_label


class Unused(StrEnum):
    """Why a row of a file, or a text, is not used."""

    NO_TEXT = "empty text"
    HEADER = "header repeated"
    NO_LABEL = "no label of this task"
    DUPLICATE = "identical to a text that is used"
    CONTRADICTED = "identical to a text that is used, with other labels"
    NOT_DRAWN = "beyond the drawn number per quadrant or class"


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with one string label per column; rows with no text have been dropped and counted."""

    name: str
    texts: tuple[str, ...]
    columns: Mapping[str, np.ndarray]
    """Column name -> str[texts]; "" where a text has no value."""
    split: np.ndarray | None = None
    """str[texts], each "train", "dev" or "test", when the data set brings its own parts."""
    group: np.ndarray | None = None
    """str[texts]: texts of one group (article, author) stay in one part."""
    source: str = ""
    composed: bool = False
    """True for texts rendered from hand-written patterns; the interface always says so."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Reason (``Unused``) -> number of rows left out while loading."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Columns whose values cannot be labels -> why."""
    notes: tuple[str, ...] = ()
    """What was found out or changed while loading, one line each."""
    title: str = ""
    """How people know these texts, where that is not ``name``, under which decisions on them are stored."""

    @property
    def shown(self) -> str:
        """The title, or else the name."""
        return self.title or self.name

    @cached_property
    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 over the texts in order (labels do not change a recording)."""
        digest = hashlib.sha256()
        for text in self.texts:
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
        return digest.hexdigest()[:16]

    def at(self, rows: np.ndarray, left_out: Mapping[str, int]) -> "LabelledTexts":
        """The texts of these rows int[kept] only; ``left_out``: the others, counted by reason."""
        return replace(
            self,
            texts=tuple(self.texts[i] for i in rows),
            columns={name: values[rows] for name, values in self.columns.items()},
            split=None if self.split is None else self.split[rows],
            group=None if self.group is None else self.group[rows],
            dropped={**self.dropped, **{k: n for k, n in left_out.items() if n}},
        )

    def column_name(self, name: str) -> str:
        """The column of that name, outer spaces aside. DataError if there is none, or none with labels."""
        name = name if name in self.columns else name.strip()
        if name in self.unusable:
            raise DataError(f"column '{name}' of '{self.shown}' {self.unusable[name]}; choose another one")
        if name not in self.columns:
            raise DataError(unknown_name("column", name, self.columns, f"'{self.shown}' has {', '.join(self.columns)}"))
        return name

    def column(self, name: str) -> np.ndarray:
        """str[texts]: values of one column. DataError as ``column_name``."""
        return self.columns[self.column_name(name)]

    def canonical(self, column: str, value: str) -> str:
        """``value`` as it is stored in the column: "5" where "5.0" was typed. DataError as ``column_name``."""
        return value if (self.column(column) == value).any() else text_label(value)

    def check_values(self, column: str, values: Sequence[str]) -> None:
        """DataError if a value does not occur in the column, with those that do."""
        counts = Counter(self.column(column).tolist())
        counts.pop("", None)
        for value in values:
            if value not in counts:
                present = ", ".join(f"{v} ({n})" for v, n in counts.most_common(12))
                raise DataError(f"column '{column}' of '{self.shown}' has no value '{value}'; it has {present}")


def class_sizes(texts: LabelledTexts, column: str) -> dict[str, int]:
    """Number of texts per value of a column, largest first."""
    counts = Counter(texts.column(column).tolist())
    counts.pop("", None)
    return dict(counts.most_common())
