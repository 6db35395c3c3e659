"""SHIFT: how much of the gap to an unbiased probe is closed by ablating latents of the spurious cue.

    S = (A_abl - A_base) / (A_oracle - A_base)                                 (not clipped)

Accuracies are quadrant-balanced: every quadrant counts a quarter. The biased probe C_b is trained where target and
spurious label agree, the oracle probe on balanced texts. S depends on the ablated set alone, not on how it was
selected. Karvonen et al., arXiv 2411.18895; docs/method.md, "SHIFT".

A *board* (``ShiftBoard``) holds one direction on one part without any SAE; ``ShiftLatents`` is one SAE on a board.
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
from saeeval_core.scores.auc import weighted_auc
from saeeval_core.scores.probes import refit_logistic
from saeeval_core.scores.shift_probes import ShiftProbes
from saeeval_core.scores.uncertainty import Estimate, Resamples, Sampled, apart_from_zero, estimate, undefined
from saeeval_core.texts.parts import DEV, TEST
from saeeval_core.texts.tasks import ShiftTask

MIN_GAP = 0.001
"""Smallest gap between oracle and biased probe for which S is defined."""


@dataclass(frozen=True)
class ShiftScore:
    """The effect of ablating one set of latents, on one part."""

    n_ablated: int
    accuracy: Estimate
    """C_b's accuracy on the target label after ablation."""
    score: Estimate
    """S_SHIFT."""
    worst_group: Estimate
    """Accuracy in the worst quadrant."""
    worst_group_name: str
    leakage: Estimate
    """C_b's accuracy on the spurious label, as distance from .5."""
    samples: np.ndarray
    """float[resamples]: S under each resample, for paired differences; empty when undefined."""

    def without_value(self, reason: str) -> "ShiftScore":
        """The same set with S undefined for this reason."""
        return replace(self, score=undefined(reason), samples=np.empty(0))


@dataclass(frozen=True)
class ShiftBoard:
    """One direction on one part: everything that does not depend on the ablated set, so that sets are scored fast.

    The scored texts of the part are the axis "texts" of all arrays.
    """

    task: ShiftTask
    probes: ShiftProbes
    part: int
    rows: np.ndarray
    """int[texts]: their rows in the recording."""
    target: np.ndarray
    """bool[texts]: target label."""
    spurious: np.ndarray
    """bool[texts]: spurious label."""
    quadrant: np.ndarray
    """int[texts]: 2 * target + spurious."""
    weights: np.ndarray
    """float64[texts]: each quadrant sums to 1/4."""
    resamples: Resamples
    base_logits: np.ndarray
    """float64[texts]: C_b before ablation."""
    oracle_logits: np.ndarray
    """float64[texts]: the oracle probe, which is never ablated."""
    base: Estimate
    """A_base: accuracy of C_b on the target label before ablation."""
    oracle: Estimate
    """A_oracle: accuracy of the oracle probe on the target label."""
    attribute: Estimate
    """Accuracy of the attribute probe on the spurious label."""
    reason: str | None
    """Why S is undefined here, decided before any ablation; None when it is defined."""

    base_by_quadrant: np.ndarray
    """float32[resamples, 4]: C_b's accuracy in each quadrant before ablation."""
    oracle_samples: np.ndarray
    """float32[resamples]: A_oracle."""

    @cached_property
    def base_samples(self) -> np.ndarray:
        """float32[resamples]: A_base."""
        return self.base_by_quadrant.mean(1)

    @property
    def gap(self) -> float:
        """A_oracle - A_base."""
        return float(self.oracle.value or 0) - float(self.base.value or 0)

    def score(self, removed: np.ndarray, n_ablated: int) -> ShiftScore:
        """Score of the set whose ablation subtracts ``removed`` float64[texts] from C_b's logits."""
        by_quadrant, samples = self._by_quadrant(self.base_logits - removed)
        accuracy = float(by_quadrant.mean())
        worst = int(np.argmin(by_quadrant))
        # Where the two labels agree, a prediction that follows the spurious label is right; elsewhere it is wrong.
        agree = np.array([True, False, False, True])
        follows, follows_samples = np.where(agree, by_quadrant, 1 - by_quadrant), np.where(agree, samples, 1 - samples)
        score, score_samples = self._shift(accuracy, samples.mean(1))
        return ShiftScore(
            n_ablated,
            estimate(accuracy, samples.mean(1)),
            score,
            estimate(by_quadrant[worst], samples.min(1)),
            self.task.quadrant_name(worst),
            estimate(abs(follows.mean() - 0.5), np.abs(follows_samples.mean(1) - 0.5)),
            score_samples,
        )

    def in_each_quadrant(self, removed: np.ndarray) -> list[Estimate]:
        """C_b's accuracy in quadrants 0 to 3 after subtracting ``removed`` float64[texts] from its logits."""
        by_quadrant, samples = self._by_quadrant(self.base_logits - removed)
        return [estimate(float(value), samples[:, q]) for q, value in enumerate(by_quadrant)]

    def values_only(self) -> "ShiftBoard":
        """The same board with one resample, for scoring thousands of sets without intervals."""
        first = Resamples(self.resamples.counts[:, :1])
        base, oracle = self.base_by_quadrant[:1], self.oracle_samples[:1]
        return replace(self, resamples=first, base_by_quadrant=base, oracle_samples=oracle)

    def auc_score(self, removed: np.ndarray) -> Sampled:
        """S with quadrant-weighted area under the ROC curve in place of accuracy: unaffected by the threshold.

        ``removed`` float64[texts] as in ``score``. Undefined where the AUC of the oracle exceeds that of C_b by less
        than MIN_GAP. A resample in which the two are equal is NaN and left out of the interval.
        """
        oracle, base, ablated = (
            self._auc(z) for z in (self.oracle_logits, self.base_logits, self.base_logits - removed)
        )
        gap = oracle[0] - base[0]
        if gap < MIN_GAP:
            return Sampled(undefined(f"the oracle's AUC exceeds the biased probe's by only {gap:.3f}"), np.empty(0))
        gaps = np.where(np.abs(oracle[1:] - base[1:]) < 1e-9, np.nan, oracle[1:] - base[1:])
        samples = (ablated[1:] - base[1:]) / gaps
        return Sampled(estimate((ablated[0] - base[0]) / gap, samples[np.isfinite(samples)]), samples)

    def retrain_score(self, residuals: ResidualRecording, latents: LatentRecording, ids: Sequence[int]) -> Estimate:
        """SHIFT + retrain: S of a new probe with C_b's C, trained on C_b's texts and scored here after zero ablation.

        Undefined where S is, and for probes without C (protocols that train with AdamW).
        """
        if self.reason:
            return undefined(self.reason)
        if self.probes.base.c is None:
            return undefined("retraining uses the robust protocol's probes")
        train = self.task.rows[self.probes.training.biased]
        x = {
            name: ablation.ablate_residuals(residuals.residuals[rows], latents.latents[rows], ids, latents.decoder)
            for name, rows in (("train", train), ("part", self.rows))
        }
        probe = refit_logistic(x["train"], self.task.target_label[self.probes.training.biased], self.probes.base.c)
        by_quadrant, samples = self._by_quadrant(probe.logits(x["part"]))
        return self._shift(float(by_quadrant.mean()), samples.mean(1))[0]

    def _shift(self, accuracy: float, samples: np.ndarray) -> tuple[Estimate, np.ndarray]:
        if self.reason:
            return undefined(self.reason), np.empty(0)
        # Resamples without a gap are at most 2.5 % under a strict protocol, see _gap_reason.
        gaps = apart_from_zero(self.oracle_samples - self.base_samples, MIN_GAP)
        score = (samples - self.base_samples) / gaps
        value = (accuracy - float(self.base.value or 0)) / self.gap
        return estimate(value, score), score

    def _by_quadrant(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Accuracy on the target label per quadrant, float64[4], and under each resample, float32[resamples, 4].

        Only texts whose prediction differs from C_b's are summed, so that the cost of one decision is that of its
        changes.
        """
        right, before = (logits > 0) == self.target, (self.base_logits > 0) == self.target
        change = self._in_quadrants(right.astype(float) - before)
        return quadrant_accuracy(right, self.quadrant), self.base_by_quadrant + self.resamples.sums(change)

    def _in_quadrants(self, values: np.ndarray) -> np.ndarray:
        return in_quadrants(values, self.quadrant, self.weights)

    def _auc(self, logits: np.ndarray) -> np.ndarray:
        """float32[1 + resamples]: weighted AUC of the real texts, then of each resample."""
        counts = np.concatenate([np.ones((1, len(logits)), np.float32), self.resamples.counts.T])
        return weighted_auc(logits, self.target, counts * self.weights.astype(np.float32))


def shift_board(
    residuals: ResidualRecording,
    task: ShiftTask,
    probes: ShiftProbes,
    protocol: Protocol,
    *,
    part: int,
    seed: int,
    resamples: int = 1000,
) -> ShiftBoard:
    """The board of one direction on DEV or TEST. Whether S is defined is decided here, before any ablation."""
    assert part in (DEV, TEST)
    inside = np.flatnonzero(task.part == part)
    rows, quadrant = task.rows[inside], task.quadrant[inside]
    target, spurious = task.target_label[inside], task.spurious_label[inside]
    weights = 0.25 / np.bincount(quadrant, minlength=4)[quadrant]
    # Seeded by the sorted names of the labels: both directions of a pair are resampled alike.
    rng = derive_rng(seed, "resamples", part, *sorted([str(task.target), str(task.spurious)]))
    draws = Resamples.stratified(_canonical_strata(task, inside), resamples, rng)
    x = residuals.residuals[rows]
    base_logits, oracle_logits, attribute_logits = (p.logits(x) for p in (probes.base, probes.oracle, probes.attribute))

    def accuracy(logits: np.ndarray, labels: np.ndarray) -> tuple[Estimate, np.ndarray]:
        """The estimate, and float32[resamples, 4] of each quadrant's accuracy."""
        right = (logits > 0) == labels
        samples = draws.sums(in_quadrants(right, quadrant, weights))
        return estimate(float(quadrant_accuracy(right, quadrant).mean()), samples.mean(1)), samples

    base, base_samples = accuracy(base_logits, target)
    oracle, oracle_samples = accuracy(oracle_logits, target)
    attribute, _ = accuracy(attribute_logits, spurious)
    reason = _gap_reason(base, oracle, oracle_samples.mean(1) - base_samples.mean(1), protocol)
    return ShiftBoard(
        task,
        probes,
        part,
        rows,
        target,
        spurious,
        quadrant,
        weights,
        draws,
        base_logits,
        oracle_logits,
        base,
        oracle,
        attribute,
        reason,
        base_samples,
        oracle_samples.mean(1),
    )


def in_quadrants(values: np.ndarray, quadrant: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float64[texts, 4]: each value in the column of its quadrant, divided by the quadrant's size.

    values [texts] (float or bool), quadrant int[texts] in 0..3, weights float64[texts]: 1/4 over the quadrant's size.
    """
    out = np.zeros((len(values), 4))
    out[np.arange(len(values)), quadrant] = values * weights * 4
    return out


def quadrant_accuracy(right: np.ndarray, quadrant: np.ndarray) -> np.ndarray:
    """float64[4]: share of ``right`` bool[texts] in each quadrant int[texts]; equal counts give equal numbers."""
    return np.bincount(quadrant, weights=right, minlength=4) / np.bincount(quadrant, minlength=4)


def _canonical_strata(task: ShiftTask, inside: np.ndarray) -> np.ndarray:
    """Quadrants numbered the same way in both directions of a pair."""
    t, a = task.target_label[inside].astype(int), task.spurious_label[inside].astype(int)
    return 2 * t + a if task.target.column < task.spurious.column else 2 * a + t


def _gap_reason(base: Estimate, oracle: Estimate, gaps: np.ndarray, protocol: Protocol) -> str | None:
    gap = float(oracle.value or 0) - float(base.value or 0)
    if gap < MIN_GAP:
        return f"the probe already follows this label: accuracy {base.value:.3f}, oracle {oracle.value:.3f}"
    share = float((gaps < MIN_GAP).mean())
    if protocol.strict_gap and share > 0.025:
        return f"gap too small to tell from 0: accuracy {base.value:.3f}, oracle {oracle.value:.3f}, no gap in {share:.0%} of resamples"
    return None


@dataclass(frozen=True)
class ShiftLatents:
    """One SAE in one direction on one part: its effects on the probes and its pooled latents on the scored texts."""

    board: ShiftBoard
    recording: LatentRecording
    latents: csc_array
    """float32[texts of the part, latents]: pooled, column-sparse."""
    base_dot: np.ndarray
    """float64[latents]: D_i . w of C_b."""
    attribute_effect: np.ndarray
    """float64[latents]: I_i of the attribute probe, on its training texts."""
    base_effect: np.ndarray
    """float64[latents]: I_i of C_b, on its training texts."""
    train_mean: np.ndarray
    """float64[latents]: mean pooled latent over C_b's training texts, for mean ablation."""
    set_to: np.ndarray
    """float64[latents]: what ablation sets a pooled latent to: 0 (the paper), or ``train_mean`` in ``mean_ablated``."""
    leak: np.ndarray | None
    """int[texts]: valid tokens per text when SAEBench's padding leak is imitated (of zero ablation only), else None."""
    strength: float = 1.0
    """Share of every ablated latent that is taken away (docs/method.md, "Coalitions": partial ablation)."""

    @cached_property
    def attribute_ranking(self) -> np.ndarray:
        """int64[ranked]: latent ids by falling |I| of the attribute probe (the paper's and SAEBench's choice)."""
        return attribution.rank_by_magnitude(self.attribute_effect)

    @cached_property
    def base_ranking(self) -> np.ndarray:
        """int64[ranked]: latent ids by falling |I| of C_b (the original SHIFT)."""
        return attribution.rank_by_magnitude(self.base_effect)

    @cached_property
    def mean_ablated(self) -> "ShiftLatents":
        """The same, with ablation that sets a latent to its mean over C_b's training texts instead of 0."""
        return replace(self, set_to=self.train_mean, leak=None)

    def under(self, ablation: str) -> "ShiftLatents":
        """The same under one of ``ablation.ABLATIONS``."""
        return self.mean_ablated if ablation == MEAN else self

    def values_only(self) -> "ShiftLatents":
        """The same on ``ShiftBoard.values_only``."""
        return replace(self, board=self.board.values_only())

    def weakened(self, strength: float) -> "ShiftLatents":
        """The same, with only this share of every ablated latent taken away."""
        return replace(self, strength=strength)

    def score(self, ids: Sequence[int] | np.ndarray) -> ShiftScore:
        """Score of ablating exactly these latents, ids int[set]."""
        return self.board.score(self.removed(ids), len(ids))

    def removed(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """float64[texts]: what ablating these latents, ids int[set], subtracts from C_b's logits."""
        return self._corrected(ablation.removed(self.latents, ids, self.base_dot), ids)

    def contributions(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """float64[texts, ids]: ``removed`` latent by latent, ids int[set]."""
        ids = np.asarray(ids, dtype=int)
        out = (self.latents[:, ids].astype(np.float64).toarray() - self.set_to[ids]) * self.base_dot[ids]
        if self.leak is not None:
            for k, i in enumerate(ids):
                out[:, k] += ablation.padding_leak([i], self.recording.zero_code, self.base_dot, self.leak)
        return self.strength * out

    def at(self, n: int) -> ShiftScore:
        """Score of the top n by attribution, or of the whole ranking where it is shorter."""
        return self.score(self.attribute_ranking[:n])

    def curve(self, ranking: np.ndarray, ns: Sequence[int]) -> list[ShiftScore]:
        """Scores of the first n latents of a ranking int[ranked], for every n, from one cumulative sum.

        ConfigError for an n beyond the number of latents of the SAE.
        """
        removed, counts = ablation.removed_by_n(self.latents, ranking, self.base_dot, ns)
        return [self.board.score(self._corrected(r, ranking[:k]), k) for r, k in zip(removed, counts, strict=True)]

    def _corrected(self, removed: np.ndarray, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """``removed`` float64[texts] of whole zero ablation, corrected for ``set_to``, an imitated padding leak and
        ``strength``.
        """
        removed = removed - ablation.mean_offset(ids, self.set_to, self.base_dot)
        if self.leak is not None:
            removed = removed + ablation.padding_leak(ids, self.recording.zero_code, self.base_dot, self.leak)
        return self.strength * removed


def shift_latents(
    residuals: ResidualRecording, latents: LatentRecording, board: ShiftBoard, protocol: Protocol
) -> ShiftLatents:
    """One SAE on a board: its attribution (docs/method.md, "Attribution") and its columns on the scored texts.

    ``residuals`` and ``latents`` must come from the same pass over the texts.
    """
    task, training = board.task, board.probes.training
    probes = board.probes
    base_dot, attribute_dot = (
        ablation.dot(latents.decoder, probes.base.weight),
        ablation.dot(latents.decoder, probes.attribute.weight),
    )
    balanced, biased = latents.latents[task.rows[training.balanced]], latents.latents[task.rows[training.biased]]
    attribute_effect = attribution.effects(
        attribution.mean_difference(balanced, task.spurious_label[training.balanced]), attribute_dot
    )
    base_effect = attribution.effects(attribution.mean_difference(biased, task.target_label[training.biased]), base_dot)
    train_mean = np.asarray(biased.astype(np.float64).mean(axis=0)).ravel()
    return ShiftLatents(
        board,
        latents,
        csc_array(latents.latents[board.rows]),
        base_dot,
        attribute_effect,
        base_effect,
        train_mean,
        np.zeros_like(train_mean),
        residuals.n_valid[board.rows] if protocol.imitate_padding_leak else None,
    )
