"""Labelled texts, the two kinds of task made from them, and the stored train/dev/test parts (DESIGN section 2)."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from saeeval_core.config import Protocol, derive_rng
from saeeval_core.errors import DataError, unknown_name

TRAIN, DEV, TEST = 0, 1, 2
PARTS = {"train": TRAIN, "dev": DEV, "test": TEST}
MIN_PER_QUADRANT = 20


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
    """True for texts rendered from hand-written patterns; shown wherever they are."""
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
        """The texts of these rows only; the others are counted under ``reason``."""
        return replace(
            self,
            texts=tuple(self.texts[i] for i in rows),
            columns={name: values[rows] for name, values in self.columns.items()},
            split=None if self.split is None else self.split[rows],
            group=None if self.group is None else self.group[rows],
            dropped={**self.dropped, reason: len(self.texts) - len(rows)},
        )

    def column(self, name: str) -> np.ndarray:
        """Values of one column; DataError lists the columns there are."""
        if name not in self.columns:
            raise DataError(unknown_name("column", name, self.columns, f"'{self.name}' has {', '.join(self.columns)}"))
        return self.columns[name]

    def canonical(self, column: str, value: str) -> str:
        """``value`` as stored: numbers of numeric columns in one spelling ("5.0" and "5" are equal)."""
        if column not in self.numeric:
            return value
        try:
            return f"{float(value):g}"
        except ValueError:
            raise DataError(f"column '{column}' holds numbers, found '{value}'; give a number") from None

    def check_values(self, column: str, values: Sequence[str]) -> None:
        """DataError if a value does not occur in the column, listing those that do."""
        counts = Counter(self.column(column).tolist())
        counts.pop("", None)
        for value in values:
            if value not in counts:
                present = ", ".join(f"{v} ({n})" for v, n in counts.most_common(12))
                raise DataError(f"column '{column}' of '{self.name}' has no value '{value}'; it has {present}")


@dataclass(frozen=True)
class Contrast:
    """A binary concept: ``column`` is ``positive`` (label 1) or ``negative`` (label 0)."""

    column: str
    positive: str
    negative: str

    @classmethod
    def parse(cls, text: str, texts: LabelledTexts) -> "Contrast":
        """From "column=positive,negative" as given on the command line."""
        column, equals, values = text.partition("=")
        pair = (
            [texts.canonical(column, v.strip()) for v in values.split(",")]
            if equals and column in texts.columns
            else []
        )
        texts.column(column)
        if len(pair) != 2 or pair[0] == pair[1]:
            raise DataError(f"'{text}' is not COLUMN=POSITIVE,NEGATIVE with two different values")
        texts.check_values(column, pair)
        return cls(column, *pair)

    def __str__(self) -> str:
        return f"{self.positive}/{self.negative}"


@dataclass(frozen=True)
class ShiftTask:
    """Two binary labels on the same texts, in stored parts. Positive label = 1 (True)."""

    target: Contrast
    spurious: Contrast
    rows: np.ndarray
    """int[texts]: index of each text in its LabelledTexts and so in a recording."""
    target_label: np.ndarray
    """bool[texts]"""
    spurious_label: np.ndarray
    """bool[texts]"""
    part: np.ndarray
    """uint8[texts]: TRAIN, DEV or TEST."""
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Such as "nurse/surgeon x female/male"."""
        return f"{self.target} x {self.spurious}"

    @property
    def direction(self) -> str:
        """Such as "target profession / spurious gender"."""
        return f"target {self.target.column} / spurious {self.spurious.column}"

    def swapped(self) -> "ShiftTask":
        """The other direction: what was spurious becomes the target."""
        return replace(
            self,
            target=self.spurious,
            spurious=self.target,
            target_label=self.spurious_label,
            spurious_label=self.target_label,
        )

    @property
    def quadrant(self) -> np.ndarray:
        """int[texts]: 2*target + spurious. Quadrants 3 and 0 (T=A) are the biased ones."""
        return 2 * self.target_label.astype(int) + self.spurious_label.astype(int)

    def quadrant_labels(self, quadrant: int) -> tuple[str, str]:
        """(target value, spurious value)."""
        t, a = divmod(quadrant, 2)
        return (
            self.target.positive if t else self.target.negative,
            self.spurious.positive if a else self.spurious.negative,
        )

    def quadrant_name(self, quadrant: int) -> str:
        """Such as "nurse, male"."""
        return ", ".join(self.quadrant_labels(quadrant))


@dataclass(frozen=True)
class TppTask:
    """Texts of m >= 2 classes in stored parts."""

    column: str
    classes: tuple[str, ...]
    rows: np.ndarray
    """int[texts]: index of each text in its LabelledTexts and so in a recording."""
    label: np.ndarray
    """int[texts]: index into ``classes``."""
    part: np.ndarray
    """uint8[texts]: TRAIN, DEV or TEST."""
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Such as "profession: nurse, surgeon"."""
        return f"{self.column}: {', '.join(self.classes)}"


@dataclass(frozen=True)
class ShiftTraining:
    """Positions (into a ShiftTask's arrays) of the training texts of its probes; all see 4n texts."""

    n: int
    balanced: np.ndarray
    """n per quadrant: oracle and attribute probe."""
    biased: np.ndarray
    """2n from each T=A quadrant: C_b (more under a protocol with ``full_biased_set``)."""


def shift_task(
    texts: LabelledTexts, target: Contrast, spurious: Contrast, *, seed: int, protocol: Protocol, per_cell: int
) -> ShiftTask:
    """The texts that carry both labels, split per quadrant.

    DataError if a quadrant is empty. Whether there are enough is decided by ``shift_training``.
    """
    if target.column == spurious.column:
        raise DataError(f"target and spurious label are both '{target.column}'; they must be two columns")
    t, a = texts.column(target.column), texts.column(spurious.column)
    both = np.isin(t, (target.positive, target.negative)) & np.isin(a, (spurious.positive, spurious.negative))
    cell = np.where(both, 2 * (t == target.positive) + (a == spurious.positive), -1)
    rows, part, dropped = _draw(texts, cell, f"{target.column} x {spurious.column}", seed, protocol, per_cell)
    task = ShiftTask(target, spurious, rows, t[rows] == target.positive, a[rows] == spurious.positive, part, dropped)
    for quadrant in range(4):
        if not (task.quadrant == quadrant).any():
            raise DataError(f"no text is '{task.quadrant_name(quadrant)}'; SHIFT needs texts in all four quadrants")
    return task


def tpp_task(
    texts: LabelledTexts, column: str, classes: Sequence[str], *, seed: int, protocol: Protocol, per_cell: int
) -> TppTask:
    """The texts of the named classes, split per class. DataError for fewer than two classes or too few texts."""
    classes = tuple(texts.canonical(column, c) for c in classes) if column in texts.columns else tuple(classes)
    values = texts.column(column)
    if len(set(classes)) < 2:
        raise DataError(f"TPP needs at least two different classes of '{column}', found {', '.join(classes) or 'none'}")
    texts.check_values(column, classes)
    cell = np.full(len(values), -1)
    for i, name in enumerate(classes):
        cell[values == name] = i
    rows, part, dropped = _draw(texts, cell, column, seed, protocol, per_cell)
    task = TppTask(column, classes, rows, cell[rows], part, dropped)
    for i, name in enumerate(classes):
        n = int(((task.label == i) & (part == TRAIN)).sum())
        if n < MIN_PER_QUADRANT:
            raise DataError(f"class '{name}' has {n} training texts; at least {MIN_PER_QUADRANT} are needed")
    return task


def shift_training(task: ShiftTask, *, seed: int, protocol: Protocol) -> ShiftTraining:
    """n = min(smallest quadrant, floor(smallest T=A quadrant / 2)) of the training part, drawn with the seed.

    DataError naming the short quadrant when n < 20 (DESIGN section 2).
    """
    pools = []
    for q in range(4):
        # Seeded by the quadrant's labels, so that both directions of a pair train on the same texts.
        rng = derive_rng(seed, "probe texts", *sorted(task.quadrant_labels(q)))
        pools.append(rng.permutation(np.flatnonzero((task.quadrant == q) & (task.part == TRAIN))))
    limits = [len(pools[q]) // (2 if q in (0, 3) else 1) for q in range(4)]
    n = min(limits)
    if n < MIN_PER_QUADRANT:
        short = int(np.argmin(limits))
        needed = MIN_PER_QUADRANT * (2 if short in (0, 3) else 1)
        raise DataError(
            f"quadrant '{task.quadrant_name(short)}' has {len(pools[short])} training texts; at least {needed} are needed"
        )
    each = min(5000, len(pools[0]), len(pools[3])) if protocol.full_biased_set else 2 * n
    return ShiftTraining(
        n=n,
        balanced=np.sort(np.concatenate([pool[:n] for pool in pools])),
        biased=np.sort(np.concatenate([pools[0][:each], pools[3][:each]])),
    )


def _draw(
    texts: LabelledTexts, cell: np.ndarray, name: str, seed: int, protocol: Protocol, per_cell: int
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Rows used (identical texts once, at most ``per_cell`` per cell) and the part of each."""
    if texts.split is not None:
        unknown = set(texts.split[cell >= 0].tolist()) - set(PARTS)
        if unknown:
            raise DataError(
                f"split column holds {sorted(unknown)}; expected train, dev and test: rename or leave it out"
            )
    rng = derive_rng(seed, "parts", name)
    seen: dict[str, int] = {}
    dropped: Counter[str] = Counter()
    kept = []
    for row in rng.permutation(np.flatnonzero(cell >= 0)):
        first = seen.setdefault(texts.texts[row], row)
        if first == row:
            kept.append(row)
        else:
            across = texts.split is not None and texts.split[row] != texts.split[first]
            dropped["duplicate text in another part" if across else "duplicate text"] += 1
    kept = np.array(kept, dtype=int)
    # The permutation makes "the first per_cell of each cell" a random draw.
    rank = np.zeros(len(kept), dtype=int)
    for c in np.unique(cell[kept]):
        members = cell[kept] == c
        rank[members] = np.arange(members.sum())
    if (rank >= per_cell).any():
        dropped["beyond the drawn number per cell"] = int((rank >= per_cell).sum())
    rows = np.sort(kept[rank < per_cell])
    part = _given_parts(texts, rows, cell, rng) if texts.split is not None else _new_parts(texts, rows, cell, rng)
    if not protocol.separate_dev:
        part[part == DEV] = TEST
    for c in np.unique(cell[rows]):
        missing = [
            p
            for p, code in PARTS.items()
            if code not in part[cell[rows] == c] and (p != "dev" or protocol.separate_dev)
        ]
        if missing:
            raise DataError(
                f"a class or quadrant of {name} has no text in the {missing[0]} part; more texts are needed"
            )
    return rows, part, dict(dropped)


def _given_parts(texts: LabelledTexts, rows: np.ndarray, cell: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Parts named by the data set; without a dev part, a third of the test texts (of each cell, or of the groups) becomes dev."""
    assert texts.split is not None
    part = np.array([PARTS[s] for s in texts.split[rows].tolist()], dtype=np.uint8)
    if (part == DEV).any():
        return part
    test = np.flatnonzero(part == TEST)
    if texts.group is not None:
        groups = rng.permutation(np.unique(texts.group[rows[test]]))
        part[test[np.isin(texts.group[rows[test]], groups[: len(groups) // 3])]] = DEV
        return part
    for c in np.unique(cell[rows]):
        members = rng.permutation(test[cell[rows[test]] == c])
        part[members[: len(members) // 3]] = DEV
    return part


def _new_parts(texts: LabelledTexts, rows: np.ndarray, cell: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """60/20/20 per cell; texts of one group go to one part."""
    part = np.full(len(rows), TRAIN, dtype=np.uint8)
    if texts.group is not None:
        groups, member = np.unique(texts.group[rows], return_inverse=True)
        # Groups are dealt within the cell of their first text, so that every cell is split.
        home = np.array([cell[rows][np.flatnonzero(member == g)[0]] for g in range(len(groups))])
        group_part = np.full(len(groups), TRAIN, dtype=np.uint8)
        for c in np.unique(home):
            group_part[home == c] = _deal(int((home == c).sum()), rng)
        return group_part[member]
    for c in np.unique(cell[rows]):
        members = np.flatnonzero(cell[rows] == c)
        part[members] = _deal(len(members), rng)
    return part


def _deal(n: int, rng: np.random.Generator) -> np.ndarray:
    codes = np.full(n, TRAIN, dtype=np.uint8)
    fifth = n // 5
    codes[:fifth], codes[fifth : 2 * fifth] = DEV, TEST
    return rng.permutation(codes)
