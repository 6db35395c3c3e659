"""The two kinds of task made from labelled texts, sets of tasks on the same texts, and the parts drawn for them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from saeeval_core.config import Protocol, derive_rng, fingerprint
from saeeval_core.errors import DataError
from saeeval_core.texts.choices import QUOTING, LabelChoice, TaskLabels, read_choice
from saeeval_core.texts.labelled import LabelledTexts, Unused
from saeeval_core.texts.parts import DEV, TEST, TRAIN, draw_parts

MIN_PER_QUADRANT = 20
MIN_CLASSES = 3
"""Of TPP."""
MIRRORED = (
    f"TPP needs {MIN_CLASSES} classes or more: with two, both probes ask the same question, so that one loses more than the "
    "other says nothing about the SAE"
)
"""Why the score of two classes is no measurement."""


@dataclass(frozen=True)
class Contrast:
    """A binary concept: ``column`` is ``positive`` (label 1) or ``negative`` (label 0)."""

    column: str
    positive: str
    negative: str

    @classmethod
    def parse(cls, text: str, texts: LabelledTexts) -> "Contrast":
        """From "column=positive,negative" as on the command line. DataError for an unknown column or value."""
        return cls.of(LabelChoice(*read_choice(text)), texts)

    @classmethod
    def of(cls, choice: LabelChoice, texts: LabelledTexts) -> "Contrast":
        """The chosen values as they stand in the texts. DataError for an unknown column or value."""
        column = texts.column_name(choice.column)
        pair = [texts.canonical(column, v) for v in choice.values]
        if len(pair) != 2 or pair[0] == pair[1]:
            raise DataError(f"'{choice}' is not COLUMN=POSITIVE,NEGATIVE with two different values; {QUOTING}")
        texts.check_values(column, pair)
        return cls(column, *pair)

    def __str__(self) -> str:
        return f"{self.positive}/{self.negative}"


@dataclass(frozen=True)
class ShiftTask:
    """Two binary labels on the same texts, with their parts. The positive label is 1 (True)."""

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
    """Reason -> texts with both labels that were not drawn."""

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
        """int[texts]: 2 * target + spurious. In quadrants 0 and 3 the two labels agree; C_b is trained on these."""
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

    @property
    def train_rows(self) -> np.ndarray:
        """int[training texts]: rows of the recording in the training part."""
        return self.rows[self.part == TRAIN]

    @property
    def identity(self) -> list[Any]:
        """Labels, texts and parts, for fingerprints; JSON values."""
        arrays = (self.rows, self.part, self.target_label, self.spurious_label)
        return [vars(self.target), vars(self.spurious), _hash(*arrays)]


@dataclass(frozen=True)
class TppTask:
    """Texts of m >= 2 classes, with their parts."""

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

    @property
    def train_rows(self) -> np.ndarray:
        """int[training texts]: rows of the recording in the training part."""
        return self.rows[self.part == TRAIN]

    @property
    def identity(self) -> list[Any]:
        """Classes, texts and parts, for fingerprints; JSON values."""
        return [self.column, list(self.classes), _hash(self.rows, self.part, self.label)]


@dataclass(frozen=True)
class ShiftTraining:
    """The training texts of a task's probes, as ascending positions in the arrays of its ShiftTask."""

    n: int
    balanced: np.ndarray
    """int[4n], n per quadrant: for the oracle and the attribute probe."""
    biased: np.ndarray
    """int[4n], 2n per quadrant where the labels agree: for C_b (more under a protocol with ``full_biased_set``)."""


def shift_task(
    texts: LabelledTexts, target: Contrast, spurious: Contrast, *, seed: int, protocol: Protocol, per_cell: int
) -> ShiftTask:
    """The texts that carry both labels, split per quadrant.

    DataError for a column or value that does not occur, one column for both labels, or a quadrant without texts in one
    of the parts. Whether there are enough to train on is decided by ``shift_training``.
    """
    if target.column == spurious.column:
        raise DataError(f"target and spurious label are both '{target.column}'; they must be two columns")
    t, a = texts.column(target.column), texts.column(spurious.column)
    both = np.isin(t, (target.positive, target.negative)) & np.isin(a, (spurious.positive, spurious.negative))
    cell = np.where(both, 2 * (t == target.positive) + (a == spurious.positive), -1)
    rows, part, dropped = draw_parts(texts, cell, f"{target.column} x {spurious.column}", seed, protocol, per_cell)
    task = ShiftTask(target, spurious, rows, t[rows] == target.positive, a[rows] == spurious.positive, part, dropped)
    for quadrant in range(4):
        if not (task.quadrant == quadrant).any():
            raise DataError(f"no text is '{task.quadrant_name(quadrant)}'; SHIFT needs texts in all four quadrants")
    return task


def tpp_task(
    texts: LabelledTexts, column: str, classes: Sequence[str], *, seed: int, protocol: Protocol, per_cell: int
) -> TppTask:
    """The texts of the named classes, split per class.

    DataError for an unknown column or class, fewer than two classes, or fewer than 20 training texts of a class.
    """
    classes = tuple(texts.canonical(column, c) for c in classes) if column in texts.columns else tuple(classes)
    values = texts.column(column)
    if len(set(classes)) < 2:
        raise DataError(f"TPP needs at least two different classes of '{column}', found {', '.join(classes) or 'none'}")
    texts.check_values(column, classes)
    cell = np.full(len(values), -1)
    for i, name in enumerate(classes):
        cell[values == name] = i
    rows, part, dropped = draw_parts(texts, cell, column, seed, protocol, per_cell)
    task = TppTask(column, classes, rows, cell[rows], part, dropped)
    for i, name in enumerate(classes):
        n = int(((task.label == i) & (part == TRAIN)).sum())
        if n < MIN_PER_QUADRANT:
            raise DataError(f"class '{name}' has {n} training texts; at least {MIN_PER_QUADRANT} are needed")
    return task


def shift_training(task: ShiftTask, *, seed: int, protocol: Protocol) -> ShiftTraining:
    """Draw the probes' training texts: n = min(smallest quadrant, floor(smallest one where the labels agree / 2)).

    Quadrants of the training part are meant (docs/method.md, "SHIFT"). DataError naming the short quadrant when n < 20.
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


@dataclass(frozen=True)
class TaskSet:
    """Texts and the tasks defined on them; one recording serves all of them."""

    texts: LabelledTexts
    pairs: tuple[tuple[Contrast, Contrast], ...] = ()
    """(target, spurious) of each SHIFT pair; both directions are always scored."""
    tpp: tuple[str, tuple[str, ...]] | None = None
    """(column, classes)"""
    small: str = ""
    """Note shown with every number when the texts are too few to separate SAEs well; else ""."""

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Columns of the pairs' labels, or that of the classes where there is no pair."""
        names = [c.column for pair in self.pairs for c in pair] or ([self.tpp[0]] if self.tpp else [])
        return tuple(dict.fromkeys(names))

    def shift_tasks(self, *, seed: int, protocol: Protocol, per_cell: int) -> list[ShiftTask]:
        """One task per pair, in the pair's own direction. DataError as ``shift_task``."""
        return [shift_task(self.texts, t, a, seed=seed, protocol=protocol, per_cell=per_cell) for t, a in self.pairs]

    def tpp_task(self, *, seed: int, protocol: Protocol, per_cell: int) -> TppTask:
        """The TPP task. DataError when the set defines none, and as ``tpp_task``."""
        if self.tpp is None:
            raise DataError(
                f"'{self.texts.name}' has no TPP classes; give --classes COLUMN=A,B,C or use --metrics shift"
            )
        return tpp_task(self.texts, *self.tpp, seed=seed, protocol=protocol, per_cell=per_cell)

    def drawn(self, *, seed: int, protocol: Protocol, per_cell: int) -> "TaskSet":
        """The same tasks on only the texts they use, so that no others are recorded; those left out are counted."""
        draw = Draw(self, protocol, seed, per_cell)
        tasks = [*draw.shift_tasks, *([draw.tpp] if draw.tpp else [])]
        if not tasks:
            return self
        rows = np.unique(np.concatenate([task.rows for task in tasks]))
        if len(rows) == len(self.texts.texts):
            return self
        return replace(self, texts=self.texts.at(rows, self._unused(rows)))

    def _unused(self, rows: np.ndarray) -> dict[str, int]:
        """Reason -> number of the texts that are not among the drawn ``rows``, each text counted once."""
        texts, found = self.texts, Counter[str]()
        labels = list(zip(*(texts.columns[c] for c in self.label_columns), strict=True))
        kept = {texts.texts[r]: labels[r] for r in rows}
        labelled = self.labelled
        for i in np.setdiff1d(np.arange(len(texts.texts)), rows):
            same = kept.get(texts.texts[i])
            if not labelled[i]:
                found[Unused.NO_LABEL] += 1
            elif same is None:
                found[Unused.NOT_DRAWN] += 1
            else:
                found[Unused.DUPLICATE if same == labels[i] else Unused.CONTRADICTED] += 1
        return dict(found)

    @property
    def labelled(self) -> np.ndarray:
        """bool[texts]: whether a text has the labels of some task."""
        columns = self.texts.columns
        found = np.zeros(len(self.texts.texts), dtype=bool)
        for pair in self.pairs:
            found |= np.all([np.isin(columns[c.column], (c.positive, c.negative)) for c in pair], axis=0)
        if self.tpp is not None:
            found |= np.isin(columns[self.tpp[0]], self.tpp[1])
        return found


def with_labels(texts: LabelledTexts, labels: TaskLabels) -> TaskSet:
    """The tasks of these labels. DataError for half a pair, unknown columns or values that do not occur."""
    target, spurious = labels.target, labels.spurious
    if (target is None) != (spurious is None):
        raise DataError("SHIFT needs both --target COLUMN=POSITIVE,NEGATIVE and --spurious COLUMN=POSITIVE,NEGATIVE")
    pairs = ((Contrast.of(target, texts), Contrast.of(spurious, texts)),) if target and spurious else ()
    if labels.classes is None:
        return TaskSet(texts, pairs)
    column = texts.column_name(labels.classes.column)
    names = [texts.canonical(column, v) for v in labels.classes.values]
    texts.check_values(column, names)
    return TaskSet(texts, pairs, (column, tuple(names)))


@dataclass(frozen=True)
class FixedTasks(TaskSet):
    """Tasks whose parts are given; a protocol without a dev part scores their dev texts as test."""

    fixed_shift: tuple[ShiftTask, ...] = ()
    fixed_tpp: TppTask | None = None

    @classmethod
    def of(cls, draw: "Draw", metrics: Sequence[str]) -> "FixedTasks":
        """The tasks of these metrics with the parts of ``draw``, on only the texts in them. DataError as the draw."""
        whole, shift = draw.task_set, draw.shift_tasks if "shift" in metrics else ()
        tpp = draw.tpp if "tpp" in metrics else None
        rows = np.unique(np.concatenate([np.arange(0), *(t.rows for t in (*shift, *([tpp] if tpp else [])))]))
        return cls(
            whole.texts.at(rows, whole._unused(rows)),
            whole.pairs if shift else (),
            whole.tpp if tpp else None,
            whole.small,
            tuple(replace(t, rows=np.searchsorted(rows, t.rows)) for t in shift),
            None if tpp is None else replace(tpp, rows=np.searchsorted(rows, tpp.rows)),
        )

    def shift_tasks(self, *, seed: int, protocol: Protocol, per_cell: int) -> list[ShiftTask]:
        """The given tasks, with the parts of the protocol."""
        del seed, per_cell  # nothing is drawn
        return [replace(t, part=_parts_under(protocol, t.part)) for t in self.fixed_shift]

    def tpp_task(self, *, seed: int, protocol: Protocol, per_cell: int) -> TppTask:
        """The given task, with the parts of the protocol. DataError when there is none."""
        del seed, per_cell
        if self.fixed_tpp is None:
            raise DataError(f"'{self.texts.name}' has no TPP classes")
        return replace(self.fixed_tpp, part=_parts_under(protocol, self.fixed_tpp.part))


@dataclass(frozen=True)
class DrawnPair:
    """One SHIFT pair with its parts and the training texts of its probes, the same for both directions."""

    task: ShiftTask
    """In the pair's own direction."""
    training: ShiftTraining


def drawn_pair(task: ShiftTask, *, seed: int, protocol: Protocol) -> DrawnPair:
    """A task with its probes' training texts. DataError as ``shift_training``."""
    return DrawnPair(task, shift_training(task, seed=seed, protocol=protocol))


@dataclass(frozen=True)
class Draw:
    """The parts of a set of tasks under one protocol and seed, each drawn once, when it is first used.

    Probes, boards, controls and tables all take their texts from here, so that they agree.
    """

    task_set: TaskSet
    protocol: Protocol
    seed: int = 0
    per_cell: int = 1500
    """Most texts per quadrant or class."""

    @cached_property
    def shift_tasks(self) -> tuple[ShiftTask, ...]:
        """One task per pair. DataError if a quadrant has no text in one of the parts."""
        return tuple(self.task_set.shift_tasks(seed=self.seed, protocol=self.protocol, per_cell=self.per_cell))

    @cached_property
    def shift(self) -> tuple[DrawnPair, ...]:
        """Every pair with its training texts. DataError naming the quadrant that has too few."""
        return tuple(drawn_pair(t, seed=self.seed, protocol=self.protocol) for t in self.shift_tasks)

    @cached_property
    def tpp(self) -> TppTask | None:
        """None when the set defines no classes. DataError for a class with too few texts."""
        if self.task_set.tpp is None:
            return None
        return self.task_set.tpp_task(seed=self.seed, protocol=self.protocol, per_cell=self.per_cell)


def _parts_under(protocol: Protocol, part: np.ndarray) -> np.ndarray:
    return part if protocol.separate_dev else np.where(part == DEV, TEST, part)


def _hash(*arrays: np.ndarray) -> str:
    return fingerprint([a.tolist() for a in arrays])
