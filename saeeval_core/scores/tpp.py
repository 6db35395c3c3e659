"""TPP: ablating the latents of class i should hurt the probe of class i and no other.

    Delta_ij = A_j - A_ij          score = mean_i Delta_ii - mean_{i != j} Delta_ij

A_j is the balanced accuracy of the one-vs-rest probe j on all texts, (TPR + mean TNR over the other classes) / 2; A_ij
the same after ablating the latents of class i. The matrix is the result, the score is derived from it. Karvonen et al.,
arXiv 2411.18895; docs/method.md, "TPP".

A *board* (``TppBoard``) holds all probes on one part without any SAE; ``TppLatents`` is one SAE on a board.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.sparse import csc_array

from saeeval_core.config import Protocol, derive_rng
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording
from saeeval_core.scores import ablation, attribution
from saeeval_core.scores.ablation import MEAN
from saeeval_core.scores.probes import Probe, fit_probe
from saeeval_core.scores.uncertainty import Estimate, Resamples, estimate, estimates, undefined
from saeeval_core.texts.parts import TEST, TRAIN
from saeeval_core.texts.tasks import MIN_CLASSES, MIRRORED, TppTask


def fit_tpp_probes(residuals: ResidualRecording, task: TppTask, protocol: Protocol, *, seed: int) -> list[Probe]:
    """One-vs-rest probes on all training texts, one per class.

    The logistic fit gives positives and negatives the same weight, and so each other class; AdamW trains on all texts
    without weights. DataError if a text has no pooled residual.
    """
    train = np.flatnonzero(task.part == TRAIN)
    x, label = residuals.residuals[task.rows[train]], task.label[train]
    held = np.flatnonzero(task.part == TEST)  # used only where the protocol chooses the epoch on them
    x_held, held_label = residuals.residuals[task.rows[held]], task.label[held]

    def fit(j: int) -> Probe:
        weights = balance_weights(label, j, len(task.classes))
        test = (x_held, held_label == j)
        return fit_probe(x, label == j, label, protocol, seed=seed, weights=weights, test=test)

    return [fit(j) for j in range(len(task.classes))]


def balance_weights(label: np.ndarray, positive: int, n_classes: int) -> np.ndarray:
    """float64[texts] summing to 1: half on class ``positive``, the other half split evenly over the other classes.

    label int[texts], in 0..n_classes-1.
    """
    sizes = np.bincount(label, minlength=n_classes)
    return np.where(label == positive, 0.5 / sizes[positive], 0.5 / (n_classes - 1) / sizes[label])


@dataclass(frozen=True)
class TppScore:
    """The matrix of one set of latents per class, on one part."""

    n_ablated: tuple[int, ...]
    """Latents really ablated per class."""
    matrix: list[list[Estimate]]
    """[ablated class][probe]: loss of balanced accuracy."""
    score: Estimate
    intended: Estimate
    """Mean of the diagonal."""
    unintended: Estimate
    """Mean off the diagonal."""
    samples: np.ndarray
    """float[resamples]: the score under each resample, for paired differences; empty when undefined."""

    def without_value(self, reason: str) -> "TppScore":
        """The same sets with every number but the matrix undefined for this reason."""
        nothing = undefined(reason)
        return replace(self, score=nothing, intended=nothing, unintended=nothing, samples=np.empty(0))


@dataclass(frozen=True)
class TppBoard:
    """All probes on one part: everything that does not depend on the ablated sets.

    The scored texts of the part are the axis "texts" of all arrays.
    """

    task: TppTask
    probes: list[Probe]
    part: int
    rows: np.ndarray
    """int[texts]: their rows in the recording."""
    label: np.ndarray
    """int[texts]: index of the class."""
    logits: np.ndarray
    """float64[texts, classes]: each probe before ablation."""
    weights: np.ndarray
    """float64[texts, classes]: column j sums to 1 and makes the mean of correctness balanced accuracy of probe j."""
    resamples: Resamples
    clean: list[Estimate]
    """A_j."""

    @cached_property
    def clean_samples(self) -> np.ndarray:
        """float32[resamples, classes]: A_j under each resample."""
        right = ((self.logits > 0) == (self.label[:, None] == np.arange(len(self.task.classes)))) * self.weights
        return self.resamples.sums(right)

    @property
    def reasons(self) -> list[str | None]:
        """Per probe, why its column is undefined, or None: a probe no better than chance cannot lose accuracy."""
        return [
            f"probe '{name}' is not better than chance: {c}" if c.ci is not None and c.ci[0] <= 0.5 else None
            for name, c in zip(self.task.classes, self.clean, strict=True)
        ]

    def values_only(self) -> "TppBoard":
        """The same board with one resample, for scoring many sets without intervals; reasons stay as they were."""
        return replace(self, resamples=Resamples(self.resamples.counts[:, :1]))

    def score(self, removed: Sequence[np.ndarray], n_ablated: Sequence[int]) -> TppScore:
        """The matrix, when ablation for class i subtracts ``removed[i]`` float64[texts, classes] from all logits."""
        rows = [self.losses(r) for r in removed]
        value, delta = np.stack([v for v, _ in rows]), np.stack([d for _, d in rows], axis=1).astype(np.float64)
        return matrix_score(value, delta, self.reasons, n_ablated)

    def losses(self, removed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Loss of every probe's balanced accuracy, float64[classes], and under each resample, float32[resamples, classes].

        The ablation subtracts ``removed`` float64[texts, classes] from all logits.
        """
        truth = self.label[:, None] == np.arange(len(self.task.classes))
        before, after = (self.logits > 0) == truth, (self.logits - removed > 0) == truth
        lost = (before.astype(float) - after) * self.weights
        return lost.sum(0), self.resamples.sums(lost)


def matrix_score(
    value: np.ndarray, samples: np.ndarray, reasons: Sequence[str | None], n_ablated: Sequence[int]
) -> TppScore:
    """The score of a matrix: value float64[m, m] ([ablated class][probe]) and samples float[resamples, m, m].

    ``reasons``: per probe, why its column is undefined, or None; the means are over the other columns.
    """
    m = len(value)
    known = estimates(value, samples) if None in reasons else []
    matrix = [[undefined(r) if (r := reasons[j]) else known[i][j] for j in range(m)] for i in range(m)]
    kept = np.array([r is None for r in reasons])
    if not kept.any():
        nothing = undefined("no probe is better than chance")
        return TppScore(tuple(n_ablated), matrix, nothing, nothing, nothing, np.empty(0))
    intended, unintended = diagonal_means(samples, kept)
    hit, miss = (float(v) for v in diagonal_means(value, kept))
    mirrored = m < MIN_CLASSES
    difference = np.empty(0) if mirrored else intended - unintended
    score = undefined(MIRRORED) if mirrored else estimate(hit - miss, difference)
    return TppScore(tuple(n_ablated), matrix, score, estimate(hit, intended), estimate(miss, unintended), difference)


def diagonal_means(delta: np.ndarray, kept: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(mean on, mean off the diagonal), each float[...], of matrices float[..., m, m]; TPP is their difference.

    kept bool[m]: columns (probes) that count; all when None.
    """
    diagonal = np.eye(delta.shape[-1], dtype=bool)
    columns = np.ones(len(diagonal), dtype=bool) if kept is None else kept
    return delta[..., diagonal & columns].mean(-1), delta[..., ~diagonal & columns].mean(-1)


def row_estimates(
    value: np.ndarray, samples: np.ndarray, own: int, reasons: Sequence[str | None]
) -> tuple[Estimate, Estimate]:
    """(of probe ``own``, mean of the other probes) in one row of a matrix: value float64[m], samples float[resamples, m].

    ``reasons`` as in ``matrix_score``.
    """
    others = [j for j, reason in enumerate(reasons) if j != own and reason is None]
    mean = estimate(float(value[others].mean()), samples[:, others].mean(1)) if others else None
    mine = undefined(r) if (r := reasons[own]) else estimate(float(value[own]), samples[:, own])
    return mine, mean or undefined("no other probe is better than chance")


def tpp_board(
    residuals: ResidualRecording, task: TppTask, probes: list[Probe], *, part: int, seed: int, resamples: int = 1000
) -> TppBoard:
    """The board of all probes on ``part``, DEV or TEST."""
    inside = np.flatnonzero(task.part == part)
    rows, label, m = task.rows[inside], task.label[inside], len(task.classes)
    x = residuals.residuals[rows]
    logits = np.stack([p.logits(x) for p in probes], axis=1)
    weights = np.stack([balance_weights(label, j, m) for j in range(m)], axis=1)
    draws = Resamples.stratified(label, resamples, derive_rng(seed, "resamples", part, task.name))
    right = ((logits > 0) == (label[:, None] == np.arange(m))) * weights
    samples = draws.sums(right)
    clean = [estimate(float(right[:, j].sum()), samples[:, j]) for j in range(m)]
    return TppBoard(task, probes, part, rows, label, logits, weights, draws, clean)


@dataclass(frozen=True)
class TppLatents:
    """One SAE on one part, with its effect on every probe."""

    board: TppBoard
    recording: LatentRecording
    latents: csc_array
    """float32[texts of the part, latents]: pooled, column-sparse."""
    dots: np.ndarray
    """float64[latents, classes]: D_i . w_j."""
    differences: np.ndarray
    """float64[latents, classes]: mean pooled latent on the class minus on the others, training texts, balanced."""
    train_mean: np.ndarray
    """float64[latents]: mean pooled latent over all training texts, for mean ablation."""
    set_to: np.ndarray
    """float64[latents]: what ablation sets a pooled latent to: 0 (the paper), or ``train_mean`` in ``mean_ablated``."""

    @property
    def effects(self) -> np.ndarray:
        """float64[latents, classes]: I_i for each probe, before clamping."""
        return self.differences * self.dots

    @cached_property
    def rankings(self) -> list[np.ndarray]:
        """Per class int64[eligible]: ids of latents with I > 0, by falling I."""
        return [
            attribution.rank_positive(self.differences[:, j], self.dots[:, j], non_negative=self.recording.non_negative)
            for j in range(self.dots.shape[1])
        ]

    def removed(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """float64[texts, classes]: what ablating these latents, ids int[set], subtracts from every probe's logits."""
        ids = np.asarray(ids, dtype=int)
        gone = self.latents[:, ids].astype(np.float64) @ self.dots[ids]
        return gone - ablation.mean_offset(ids, self.set_to, self.dots)

    def contributions(self, ids: Sequence[int] | np.ndarray, probe: int) -> np.ndarray:
        """float64[texts, ids]: ``removed`` for one probe, latent by latent."""
        ids = np.asarray(ids, dtype=int)
        return (self.latents[:, ids].astype(np.float64).toarray() - self.set_to[ids]) * self.dots[ids, probe]

    def score(self, sets: Sequence[Sequence[int] | np.ndarray], strength: float = 1.0) -> TppScore:
        """The matrix when ``sets[i]``, int[set], is ablated for class i; ``strength`` as in ``ShiftLatents.score``."""
        return self.board.score([strength * self.removed(ids) for ids in sets], [len(ids) for ids in sets])

    @cached_property
    def mean_ablated(self) -> "TppLatents":
        """The same, with ablation that sets a latent to its mean over the training texts instead of 0."""
        return replace(self, set_to=self.train_mean)

    def values_only(self) -> "TppLatents":
        """The same on ``TppBoard.values_only``."""
        return replace(self, board=self.board.values_only())

    def under(self, ablation: str) -> "TppLatents":
        """The same under one of ``ablation.ABLATIONS``."""
        return self.mean_ablated if ablation == MEAN else self

    def at(self, n: int) -> TppScore:
        """The matrix for the top n of every class; a class with fewer eligible latents ablates all of them."""
        return self.score([ranking[:n] for ranking in self.rankings])


def tpp_latents(latents: LatentRecording, board: TppBoard) -> TppLatents:
    """One SAE on a board: its attribution for every probe, on all training texts with the probe's balanced weights."""
    task, m = board.task, len(board.task.classes)
    train = np.flatnonzero(task.part == TRAIN)
    label, own = task.label[train], latents.latents[task.rows[train]]
    differences = np.stack(
        [attribution.mean_difference(own, label == j, balance_weights(label, j, m)) for j in range(m)], axis=1
    )
    dots = np.stack([ablation.dot(latents.decoder, p.weight) for p in board.probes], axis=1)
    train_mean = np.asarray(own.mean(axis=0, dtype=np.float64)).ravel()
    return TppLatents(
        board, latents, csc_array(latents.latents[board.rows]), dots, differences, train_mean, np.zeros_like(train_mean)
    )
