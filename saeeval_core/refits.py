"""Intervals that also vary the probes' training texts: every resample of them refits the probes with C as chosen.

Slower than resampling test texts alone (each refit fits three probes), so on request. Attribution is taken on the resampled
texts too: the ranking of latents is part of what varies.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from saeeval_core.config import Protocol, derive_rng
from saeeval_core.errors import ConfigError
from saeeval_core.probes import Probe, refit_logistic
from saeeval_core.recording import LatentRecording, ResidualRecording
from saeeval_core.shift import ShiftBoard, ShiftProbes, shift_board, shift_latents
from saeeval_core.uncertainty import Estimate, interval, paired_difference, redraw_within, undefined

REFITS = 20
_RESAMPLES = 50
"""Resamples of test texts within each refit."""


@dataclass(frozen=True)
class RefitScores:
    """SHIFT of one SAE under resampled training and test texts."""

    ns: tuple[int, ...]
    values: tuple[Estimate, ...]
    """Per N: the score on the real texts, with the interval at level "train and test texts"."""
    samples: np.ndarray
    """float[refits * resamples, len(ns)]; NaN where a refit's score is undefined."""

    def difference(self, other: "RefitScores", n: int) -> Estimate:
        """This SAE minus another at one N, over the same refits and resamples."""
        k = self.ns.index(n)
        a, b = self.values[k].value, other.values[k].value
        if a is None or b is None:
            return undefined("one of the two scores is undefined")
        both = np.isfinite(self.samples[:, k]) & np.isfinite(other.samples[:, k])
        return paired_difference(a - b, self.samples[both, k], other.samples[both, k])


def shift_refits(
    residuals: ResidualRecording, saes: Sequence[LatentRecording], board: ShiftBoard, protocol: Protocol, ns: Sequence[int], *,
    seed: int = 0, refits: int = REFITS,
) -> list[RefitScores]:  # fmt: skip
    """One result per SAE, all over the same draws. ConfigError for a protocol without C or fewer than 20 refits."""
    if board.probes.base.c is None:
        raise ConfigError("resampling the training texts keeps C, which only the robust protocol has; choose --protocol robust")
    if refits < REFITS:
        raise ConfigError(f"{refits} refits give no interval; use at least {REFITS}")
    rng = derive_rng(seed, "refits")
    found: list[list[np.ndarray]] = [[] for _ in saes]
    for r in range(refits):
        own = shift_board(
            residuals, board.task, _refit(residuals, board, rng), protocol, part=board.part, seed=seed * 1000 + r, resamples=_RESAMPLES
        )
        for k, latents in enumerate(saes):
            view = shift_latents(residuals, latents, own, protocol)
            curve = view.curve(view.attribute_ranking, ns)
            found[k].append(np.stack([s.samples if len(s.samples) else np.full(_RESAMPLES, np.nan) for s in curve], axis=1))
    out = []
    for latents, own in zip(saes, found, strict=True):
        samples = np.concatenate(own)
        view = shift_latents(residuals, latents, board, protocol)
        real = [s.score for s in view.curve(view.attribute_ranking, ns)]
        values = [
            e if e.value is None else Estimate(e.value, interval(column[np.isfinite(column)]))
            for e, column in zip(real, samples.T, strict=True)
        ]
        out.append(RefitScores(tuple(ns), tuple(values), samples))
    return out


def _refit(residuals: ResidualRecording, board: ShiftBoard, rng: np.random.Generator) -> ShiftProbes:
    task, training = board.task, board.probes.training
    quadrant = task.quadrant
    balanced = training.balanced[redraw_within(quadrant[training.balanced], rng)]
    biased = training.biased[redraw_within(quadrant[training.biased], rng)]

    def fit(rows: np.ndarray, labels: np.ndarray, like: Probe) -> Probe:
        assert like.c is not None
        return refit_logistic(residuals.residuals[task.rows[rows]], labels[rows], like.c)

    return ShiftProbes(
        replace(training, balanced=balanced, biased=biased),
        base=fit(biased, task.target_label, board.probes.base),
        oracle=fit(balanced, task.target_label, board.probes.oracle),
        attribute=fit(balanced, task.spurious_label, board.probes.attribute),
    )
