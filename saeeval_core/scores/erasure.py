"""Is it gone? What fresh probes still read after ablation (docs/method.md, "Is it gone?").

S and TPP ask whether the *old* probe is cut off. A *fresh* probe is fitted on the ablated training residuals, so it finds
whatever is left. With C the balanced accuracy of a fresh probe of a label on clean texts and F that after ablation,

    recoverability       R = (F - 1/2) / (C - 1/2)                                              (nothing is clipped)
    selective erasure    E = (1 - R of the spurious label) - (1 - R of the target label)
    TPP                  L_ij = 1 - R of class j when the latents of class i are ablated; score as that of TPP

Zero and mean ablation differ by a constant, which a fresh probe's bias takes up: they give the same R.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.sparse import csc_array

from saeeval_core.recordings.recording import LatentRecording, ResidualRecording
from saeeval_core.scores import attribution
from saeeval_core.scores.probes import Probe
from saeeval_core.scores.readers import RIDGE, Edit, Fresh, Ground, Linear, nothing
from saeeval_core.scores.shift import MIN_GAP, ShiftBoard
from saeeval_core.scores.shift_probes import ShiftProbes
from saeeval_core.scores.tpp import TppBoard, TppScore, matrix_score
from saeeval_core.scores.uncertainty import Estimate, Resamples, Sampled, apart_from_zero, estimate, undefined
from saeeval_core.texts.parts import TRAIN
from saeeval_core.texts.tasks import ShiftTask, TppTask

ERASURE = "selective erasure"
"""Name of E where it stands among the variants of a score."""
CARRIERS = 10
"""Latents named as carrying what was not erased."""


@dataclass(frozen=True, eq=False)
class Accuracies:
    """Balanced accuracy of one probe per label."""

    value: np.ndarray
    """float64[labels]"""
    samples: np.ndarray
    """float[resamples, labels]"""

    def of(self, label: int) -> Estimate:
        """With its interval."""
        return estimate(float(self.value[label]), self.samples[:, label])


@dataclass(frozen=True)
class Readable:
    """What fresh probes still read of both labels after one set was ablated, on one part."""

    n_ablated: int
    reader: str
    clean: Estimate
    """C of the spurious label."""
    old: Estimate
    """Balanced accuracy of the clean fresh probe of the spurious label, which has not seen the ablation; latents set to
    their mean over its training texts, so that its threshold stays."""
    fresh: Estimate
    """F of the spurious label."""
    clean_target: Estimate
    fresh_target: Estimate
    recoverability: Estimate
    """R of the spurious label: 1 when all of it can still be read, 0 when nothing."""
    recoverability_target: Estimate
    score: Estimate
    """E."""
    samples: np.ndarray
    """float[resamples]: E under each resample, for paired differences; empty when undefined."""
    recoverability_samples: np.ndarray
    """float[resamples]: R of the spurious label, in the same way."""

    def without_value(self, reason: str) -> "Readable":
        """The same set with R and E undefined for this reason."""
        no, empty = undefined(reason), np.empty(0)
        none = replace(self, recoverability=no, recoverability_target=no, score=no)
        return replace(none, samples=empty, recoverability_samples=empty)


@dataclass(frozen=True, eq=False)
class FreshBoard:
    """What fresh probes are fitted on and scored on, on one part; it does not depend on an SAE."""

    ground: Ground
    residuals: np.ndarray
    """float32[texts, d_model]: clean pooled residuals of the scored texts."""
    truth: np.ndarray
    """bool[texts, labels]"""
    weights: np.ndarray
    """float64[texts, labels]: column j sums to 1 and makes the mean of correctness balanced accuracy of label j."""
    resamples: Resamples
    names: tuple[str, ...]
    """Of the labels."""
    reader: str = RIDGE

    @cached_property
    def clean_probes(self) -> Fresh:
        """Fitted where nothing is ablated."""
        return self.ground.fit(self.ground.nothing, self.reader)

    @cached_property
    def clean(self) -> Accuracies:
        """C of every label."""
        return self.accuracy(self.clean_probes, nothing(self.residuals))

    @cached_property
    def reasons(self) -> list[str | None]:
        """Per label, why R is undefined, or None: what is at chance on clean texts cannot be erased."""
        every = [self.clean.of(j) for j in range(len(self.names))]
        return [
            f"a fresh probe of '{name}' is not better than chance on clean texts: {c}"
            if c.ci and c.ci[0] <= 0.5
            else None
            for name, c in zip(self.names, every, strict=True)
        ]

    def read(self, train: Edit, scored: Edit) -> Accuracies:
        """F of every label after one edit, given for the training texts and for the scored ones."""
        return self.accuracy(self.ground.fit(train, self.reader), scored)

    def read_by_old(self, train: Edit, scored: Edit) -> Accuracies:
        """What the clean probes read after the same edit, its latents set to their means over the training texts."""
        return self.accuracy(self.clean_probes, Edit(scored.codes - train.codes.mean(0), scored.rows))

    def accuracy(self, probes: Fresh, edit: Edit) -> Accuracies:
        """Balanced accuracies of fitted probes on the scored texts after ``edit``."""
        right = ((probes.logits(self.residuals, edit) > 0) == self.truth) * self.weights
        return Accuracies(right.sum(0), self.resamples.sums(right))

    def kept(self, found: Accuracies) -> Accuracies:
        """R of every label."""
        room = apart_from_zero(self.clean.samples - 0.5, MIN_GAP)
        return Accuracies(self.ratio(found.value), (found.samples - 0.5) / room)

    def ratio(self, fresh: np.ndarray) -> np.ndarray:
        """float64[labels]: R from F float64[labels]."""
        return np.asarray((fresh - 0.5) / (self.clean.value - 0.5))

    def by(self, reader: str) -> "FreshBoard":
        """The same texts read by another of ``readers.READERS``."""
        return self if reader == self.reader else replace(self, reader=reader)


@dataclass(frozen=True, eq=False)
class Codes:
    """The pooled latents of one SAE on the texts of a board."""

    train: csc_array
    """float32[training texts, latents]: of the ground."""
    scored: csc_array
    """float32[scored texts, latents]"""
    decoder: np.ndarray
    """float32[latents, d_model]"""

    def edits(self, ids: Sequence[int] | np.ndarray, strength: float = 1.0) -> tuple[Edit, Edit]:
        """What ablating latents int[set] takes from the training and from the scored texts, times ``strength``."""
        ids = np.asarray(ids, dtype=int)
        rows = self.decoder[ids].astype(np.float64) * strength
        train, scored = (codes[:, ids].astype(np.float64).toarray() for codes in (self.train, self.scored))
        return Edit(train, rows), Edit(scored, rows)


def readable_after(board: FreshBoard, train: Edit, scored: Edit, n_ablated: int) -> Readable:
    """What is still read of target and spurious label, the labels of ``board``, after one edit.

    It is given for the training texts and for the scored ones.
    """
    clean, found = board.clean, board.read(train, scored)
    kept, (no_target, no_spurious) = board.kept(found), board.reasons
    reason = no_spurious or no_target
    samples = np.empty(0) if reason else kept.samples[:, 0] - kept.samples[:, 1]
    return Readable(
        n_ablated,
        board.reader,
        clean.of(1),
        board.read_by_old(train, scored).of(1),
        found.of(1),
        clean.of(0),
        found.of(0),
        undefined(no_spurious) if no_spurious else kept.of(1),
        undefined(no_target) if no_target else kept.of(0),
        undefined(reason) if reason else estimate(float(kept.value[0] - kept.value[1]), samples),
        samples,
        np.empty(0) if no_spurious else kept.samples[:, 1],
    )


@dataclass(frozen=True, eq=False)
class ShiftErasure:
    """Fresh probes of one SAE in one direction on one part."""

    board: FreshBoard
    """Labels: target, spurious."""
    codes: Codes

    def score(self, ids: Sequence[int] | np.ndarray, strength: float = 1.0) -> Readable:
        """What is still read after ablating latents int[set]; ``strength`` below 1 takes away that share of them."""
        return readable_after(self.board, *self.codes.edits(ids, strength), len(ids))

    def value(self, ids: Sequence[int] | np.ndarray) -> float | None:
        """E of latents int[set] without an interval, for searching among many sets; None where it is undefined."""
        kept = self.kept(ids)
        return None if kept is None else kept[0] - kept[1]

    def kept(self, ids: Sequence[int] | np.ndarray) -> tuple[float, float] | None:
        """(R of the target label, R of the spurious label) in the same way."""
        return self.kept_after(*self.codes.edits(ids))

    def kept_after(self, train: Edit, scored: Edit) -> tuple[float, float] | None:
        """The same after one edit, given for the training texts and for the scored ones."""
        if any(self.board.reasons):
            return None
        fast = replace(self.board, resamples=Resamples(self.board.resamples.counts[:, :1]))
        target, spurious = self.board.ratio(fast.read(train, scored).value)
        return float(target), float(spurious)

    def carriers(
        self, ids: Sequence[int] | np.ndarray, strength: float = 1.0, at_most: int = CARRIERS
    ) -> list[tuple[int, float]]:
        """(latent, I) of the latents outside the set that the fresh probe of the spurious label leans on most.

        I is the attribution of the linear fresh probe, fitted after ablating the set, on its training texts;
        ``strength`` as in ``score``.
        """
        ground = self.board.ground
        probes = ground.fit(self.codes.edits(ids, strength)[0])
        assert isinstance(probes, Linear)
        effect = attribution.effects(
            attribution.mean_difference(self.codes.train, ground.labels[:, 1]), self.codes.decoder @ probes.weight[:, 1]
        )
        effect[np.asarray(ids, dtype=int)] = 0
        return [(int(i), float(effect[i])) for i in attribution.rank_by_magnitude(effect)[:at_most]]


def without_interval(value: float | None) -> Sampled:
    """E found by ``value`` as a score."""
    if value is None:
        return Sampled(undefined("a fresh probe is not better than chance on clean texts"), np.empty(0))
    return Sampled(Estimate(value), np.array([value]))


@dataclass(frozen=True, eq=False)
class TppErasure:
    """Fresh one-vs-rest probes of one SAE on one part."""

    board: FreshBoard
    codes: Codes

    def score(self, sets: Sequence[Sequence[int] | np.ndarray], strength: float = 1.0) -> TppScore:
        """The matrix L_ij when ``sets[i]``, int[set], is ablated for class i, as shares of what clean probes read.

        ``strength`` as in ``ShiftErasure.score``.
        """
        return self.of_rows([self.row(ids, strength) for ids in sets], [len(ids) for ids in sets])

    def value(self, sets: Sequence[Sequence[int] | np.ndarray]) -> Estimate:
        """The score of the matrix without an interval, for searching among many sets."""
        fast = replace(self.board, resamples=Resamples(self.board.resamples.counts[:, :1]))
        lost = np.stack([1 - self.board.ratio(fast.read(*self.codes.edits(ids)).value) for ids in sets])
        found = matrix_score(lost, lost[None], self.board.reasons, [len(ids) for ids in sets]).score
        return replace(found, ci=None)  # one resample is no interval

    def row(self, ids: Sequence[int] | np.ndarray, strength: float = 1.0) -> Accuracies:
        """R of every class when latents int[set] are ablated: what one row of the matrix is made of."""
        return self.board.kept(self.board.read(*self.codes.edits(ids, strength)))

    def of_rows(self, rows: Sequence[Accuracies], n_ablated: Sequence[int]) -> TppScore:
        """The matrix of one ``row`` per ablated class, each of so many latents."""
        value, samples = np.stack([1 - r.value for r in rows]), np.stack([1 - r.samples for r in rows], axis=1)
        return matrix_score(value, samples, self.board.reasons, n_ablated)


def shift_ground(residuals: ResidualRecording, task: ShiftTask, probes: ShiftProbes) -> Ground:
    """What fresh probes of a direction are fitted on: the balanced training texts, labels target and spurious."""
    own = probes.training.balanced
    labels = np.stack([task.target_label[own], task.spurious_label[own]], axis=1)
    c = (probes.oracle.c, probes.attribute.c)
    return Ground.of(residuals.residuals[task.rows[own]], labels, np.ones(len(own)), c)


def shift_fresh_board(residuals: ResidualRecording, board: ShiftBoard, ground: Ground) -> FreshBoard:
    """Fresh probes on the texts, weights and resamples of a SHIFT board; ``ground`` in the board's direction."""
    truth, weights = np.stack([board.target, board.spurious], axis=1), np.stack([board.weights] * 2, axis=1)
    names = str(board.task.target), str(board.task.spurious)
    return FreshBoard(ground, residuals.residuals[board.rows], truth, weights, board.resamples, names)


def shift_erasure(board: ShiftBoard, fresh: FreshBoard, latents: LatentRecording) -> ShiftErasure:
    """One SAE on a SHIFT board and its fresh probes."""
    train = board.task.rows[board.probes.training.balanced]
    return ShiftErasure(fresh, codes_of(latents, train, board.rows))


def tpp_ground(residuals: ResidualRecording, task: TppTask, probes: Sequence[Probe]) -> Ground:
    """What fresh one-vs-rest probes are fitted on: all training texts, every class with the same weight."""
    train = np.flatnonzero(task.part == TRAIN)
    label, m = task.label[train], len(task.classes)
    share = len(label) / m / np.bincount(label, minlength=m)[label]
    labels = label[:, None] == np.arange(m)
    return Ground.of(residuals.residuals[task.rows[train]], labels, share, [p.c for p in probes])


def tpp_fresh_board(residuals: ResidualRecording, board: TppBoard, ground: Ground) -> FreshBoard:
    """Fresh probes on the texts, weights and resamples of a TPP board."""
    truth = board.label[:, None] == np.arange(len(board.task.classes))
    return FreshBoard(
        ground, residuals.residuals[board.rows], truth, board.weights, board.resamples, board.task.classes
    )


def tpp_erasure(board: TppBoard, fresh: FreshBoard, latents: LatentRecording) -> TppErasure:
    """One SAE on a TPP board and its fresh probes."""
    return TppErasure(fresh, codes_of(latents, board.task.train_rows, board.rows))


def codes_of(latents: LatentRecording, train: np.ndarray, scored: np.ndarray) -> Codes:
    """The pooled latents on the rows int[texts] of the ground and of the scored texts."""
    own = latents.latents
    return Codes(csc_array(own[train]), csc_array(own[scored]), latents.decoder)
