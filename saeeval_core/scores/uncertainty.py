"""95 % percentile intervals from a stratified bootstrap over texts (docs/method.md, "Intervals")."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

_Z = 1.959964  # 97.5 % quantile of the normal distribution
LEVEL = "test texts"
"""What the default intervals vary: the texts scored. Training texts, probes and SAE stay fixed."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, or None with the reason why it is undefined (never 0 in its place)."""

    value: float | None
    ci: tuple[float, float] | None = None
    reason: str | None = None

    def __str__(self) -> str:
        return say(self)

    def to_dict(self) -> dict[str, object]:
        """JSON form: value, ci, reason."""
        return {"value": self.value, "ci": list(self.ci) if self.ci else None, "reason": self.reason}

    @classmethod
    def of_dict(cls, row: Mapping[str, Any]) -> "Estimate":
        """Inverse of ``to_dict``; KeyError, TypeError or ValueError for another value."""
        value, ci, reason = row["value"], row["ci"], row["reason"]
        interval = None if ci is None else (float(ci[0]), float(ci[1]))
        return cls(None if value is None else float(value), interval, None if reason is None else str(reason))


def say(e: Estimate, digits: int = 3) -> str:
    """ "0.123 [0.100, 0.150]" or "n/a: reason": an estimate in a line of text or a cell of a table."""
    if e.value is None:
        return f"n/a: {e.reason or 'no reason given'}"
    if e.ci is None:
        return f"{e.value:.{digits}f} (no interval)"
    return f"{e.value:.{digits}f} [{e.ci[0]:.{digits}f}, {e.ci[1]:.{digits}f}]"


def value_and_interval(e: Estimate, *, signed: bool = False) -> tuple[str, str]:
    """("0.123", "[0.100, 0.150]") for a figure and the small print below it; ("n/a", reason) where undefined."""
    if e.value is None:
        return "n/a", e.reason or "no reason given"
    value = f"{e.value:+.3f}" if signed else f"{e.value:.3f}"
    return value, f"[{e.ci[0]:.3f}, {e.ci[1]:.3f}]" if e.ci else "no interval"


def undefined(reason: str) -> Estimate:
    """An estimate without a value, and why it has none."""
    return Estimate(None, None, reason)


def wilson(right: int, n: int) -> Estimate:
    """Share of ``right`` among ``n`` independent trials with Wilson's 95 % interval; undefined for none."""
    if not n:
        return undefined("not asked")
    share, z2 = right / n, _Z**2
    middle, half = share + z2 / (2 * n), _Z * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    ends = ((middle + sign * half) / (1 + z2 / n) for sign in (-1, 1))
    low, high = (float(min(max(end, 0.0), 1.0)) for end in ends)
    return Estimate(share, (low, high))


class Scored(Protocol):
    """A score and its resamples: a ShiftScore, a TppScore, an OverPairs, a Sampled."""

    @property
    def score(self) -> Estimate: ...
    @property
    def samples(self) -> np.ndarray:
        """float[resamples]; empty where the score is undefined."""
        ...


@dataclass(frozen=True)
class Sampled:
    """A score with its resamples and no further detail."""

    score: Estimate
    samples: np.ndarray
    """float[resamples]; empty where the score is undefined."""


@dataclass(frozen=True)
class OverPairs:
    """Mean of the defined directions of each pair, then over pairs."""

    score: Estimate
    samples: np.ndarray
    """float[resamples]; empty where the score is undefined."""
    pairs: int
    """Pairs with a defined direction."""
    left_out: int
    """Undefined directions."""


@dataclass(frozen=True)
class Resamples:
    """Bootstrap draws of the scored texts, shared by everything that is compared."""

    counts: np.ndarray
    """uint8[texts, resamples]: how often each text was drawn; every stratum keeps its size. Text-major, so that a
    decision that flips few predictions reads few rows."""

    @classmethod
    def stratified(cls, strata: np.ndarray, n: int, rng: np.random.Generator) -> "Resamples":
        """``n`` draws with replacement within each stratum (quadrant or class). strata int[texts]."""
        counts = np.zeros((len(strata), n), dtype=np.uint8)
        for stratum in np.unique(strata):
            members = np.flatnonzero(strata == stratum)
            p = np.full(len(members), 1 / len(members))
            counts[members] = rng.multinomial(len(members), p, size=n).T
        return cls(counts)

    @property
    def n(self) -> int:
        """Number of resamples."""
        return self.counts.shape[1]

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum under each resample: values [texts] -> float32[resamples], [texts, k] -> float32[resamples, k].

        Rows of zeros cost nothing.
        """
        rows = np.flatnonzero(values if values.ndim == 1 else values.any(axis=1))
        return self.counts[rows].T.astype(np.float32) @ values[rows].astype(np.float32)


def interval(samples: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of samples float[resamples]."""
    low, high = intervals(samples)
    return float(low), float(high)


def intervals(samples: np.ndarray) -> np.ndarray:
    """float[2, ...]: ``interval`` of each, samples float[resamples, ...]; one call for many takes a third of the time."""
    return np.percentile(samples, (2.5, 97.5), axis=0)


def estimate(value: float, samples: np.ndarray) -> Estimate:
    """A defined value with the interval of its samples, float[resamples]."""
    return Estimate(float(value), interval(samples))


def estimates(values: np.ndarray, samples: np.ndarray) -> list[list[Estimate]]:
    """``estimate`` of each entry of a matrix: values float[k, m], samples float[resamples, k, m]."""
    ends = intervals(samples).transpose(1, 2, 0).tolist()
    rows = zip(values.tolist(), ends, strict=True)
    return [[Estimate(v, (low, high)) for v, (low, high) in zip(*row, strict=True)] for row in rows]


def paired_difference(value: float, a: np.ndarray, b: np.ndarray) -> Estimate:
    """A difference of that value with the interval of a - b over the same draws; a, b float[resamples]."""
    return Estimate(float(value), interval(a - b))


def difference(a: Scored, b: Scored) -> Estimate:
    """Score of a minus score of b, paired over the same resamples; undefined where one of them is.

    Resamples in which one of the two is NaN are left out. ``separable`` says whether the interval covers 0.
    """
    if a.score.value is None or b.score.value is None:
        return undefined(a.score.reason or b.score.reason or "one of the two scores is undefined")
    both = np.isfinite(a.samples) & np.isfinite(b.samples)
    if not both.any():
        return undefined("no resample in which both scores are defined")
    return paired_difference(a.score.value - b.score.value, a.samples[both], b.samples[both])


def separable(difference: Estimate) -> bool:
    """False when the interval of a difference covers 0."""
    return difference.ci is not None and not difference.ci[0] <= 0 <= difference.ci[1]


def apart_from_zero(values: np.ndarray, least: float) -> np.ndarray:
    """Resampled denominators float[...] of a ratio, with those smaller than ``least`` at that size, sign kept.

    So a resample without room makes the ratio large instead of being left out.
    """
    return np.where(np.abs(values) < least, np.copysign(least, values), values)


def mean_known(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are numbers; None when none is."""
    kept = [v for v in values if v is not None and np.isfinite(v)]
    return float(np.mean(kept)) if kept else None


def mean_of(estimates: Sequence[Estimate], samples: Sequence[np.ndarray]) -> tuple[Estimate, int]:
    """(mean over the defined estimates, number left out); samples float[resamples] of each, all over the same draws."""
    kept = [(e, s) for e, s in zip(estimates, samples, strict=True) if e.value is not None]
    if not kept:
        return undefined("no defined part"), len(estimates)
    value = float(np.mean([e.value for e, _ in kept]))
    return estimate(value, np.mean([s for _, s in kept], axis=0)), len(estimates) - len(kept)


def over_draws(scores: Sequence[Estimate]) -> Estimate:
    """Mean of repeated draws of one score, with the range of the draws in place of an interval.

    Undefined draws are left out; if all are undefined, the first is returned with its reason.
    """
    values = [s.value for s in scores if s.value is not None]
    return Estimate(float(np.mean(values)), (min(values), max(values))) if values else scores[0]


def over_pairs(scores: Sequence[tuple[str, Scored]]) -> OverPairs:
    """Aggregate (pair, score of one direction): mean over a pair's defined directions, then over pairs."""
    by_pair: dict[str, list[Scored]] = {}
    for pair, score in scores:
        by_pair.setdefault(pair, []).append(score)
    values, samples, left_out = [], [], 0
    for own in by_pair.values():
        mean, out = mean_of([s.score for s in own], [s.samples for s in own])
        left_out += out
        if mean.value is not None:
            values.append(mean.value)
            samples.append(np.mean([s.samples for s in own if s.score.value is not None], axis=0))
    if not values:
        reason = next((s.score.reason for _, s in scores if s.score.reason), None)
        return OverPairs(undefined(reason or "no pair"), np.empty(0), 0, left_out)
    total = np.mean(samples, axis=0)
    return OverPairs(estimate(float(np.mean(values)), total), total, len(values), left_out)


LEVEL_WITH_TRAINING = "train and test texts"
"""What intervals of ``controls.refits`` vary: the probes' training texts (C stays as chosen) and the texts scored."""


def minimum_reliable_difference(difference: Estimate) -> float | None:
    """Half the width of a paired difference's interval: a smaller difference may come from the draw of texts alone."""
    return None if difference.ci is None else (difference.ci[1] - difference.ci[0]) / 2


def difference_words(difference: Estimate, level: str = LEVEL) -> str:
    """Such as "+0.061 [+0.020, +0.101] (test texts)", or the same with "not separable"."""
    if difference.value is None or difference.ci is None:
        return f"n/a ({difference.reason})"
    words = "" if separable(difference) else "; not separable"
    return f"{difference.value:+.3f} [{difference.ci[0]:+.3f}, {difference.ci[1]:+.3f}] ({level}){words}"


def redraw_within(strata: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """int64[texts]: positions drawn with replacement, as many from each stratum as it has; strata int[texts]."""
    drawn = [
        rng.choice(members, len(members)) for s in np.unique(strata) if len(members := np.flatnonzero(strata == s))
    ]
    return np.concatenate(drawn)
