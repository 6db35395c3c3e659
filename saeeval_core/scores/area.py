"""The small-N area: one number for a whole curve that rewards few latents doing the work.

    area = (1 / ln M) * integral from N = 1 to M of score(N) d ln N,      M = 20, trapezoids in ln N

A variant beside the score at a fixed N (it is the mean height of the curve on a logarithmic axis). A fixed large N punishes
an SAE that needs few latents; the best N per SAE rewards one that needs many, because enough random directions span any
probe. The ranking, ablation and score are those of the fixed N.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from saeeval_core.errors import ConfigError
from saeeval_core.scores.selections import NOTHING_PASSED
from saeeval_core.scores.shift import ShiftLatents, ShiftScore
from saeeval_core.scores.tpp import TppLatents, TppScore
from saeeval_core.scores.uncertainty import Estimate, Scored, estimate, undefined

AnyScore = TypeVar("AnyScore", ShiftScore, TppScore)

AREA = "small-N area"
MEAN = "mean ablation"
RECOMMENDED = f"{MEAN}, {AREA}"
"""Name of the variant that planted truth speaks for (``validate``): the area with ablated latents set to their mean."""
M = 20
GRID = (1, 2, 3, 5, 10, 20)
"""Default N at which the curve is computed."""


@dataclass(frozen=True)
class Area:
    """One number for a whole curve."""

    score: Estimate
    samples: np.ndarray
    """float[resamples]; empty where the score is undefined."""


DEFINITION = f"small-N area, mean ablation: mean height of the curve of S over ln N, N = 1 to {M}"
"""What ``shift_area`` and ``tpp_area`` compute; ``saeeval validate`` says why it stands beside the paper's score."""


def shift_area(view: ShiftLatents, ns: Sequence[int] = GRID) -> Area:
    """Area of one direction's curve: mean ablation of the top N by attribution."""
    return small_n_area([unless_empty(view.score_mean_ablated(view.attribute_ranking[:n])) for n in ns], ns)


def tpp_area(view: TppLatents, ns: Sequence[int] = GRID) -> Area:
    """Area of the TPP curve: mean ablation of the top N of every class."""
    return small_n_area([unless_empty(view.score_mean_ablated([r[:n] for r in view.rankings])) for n in ns], ns)


def unless_empty(score: AnyScore) -> AnyScore:
    """The score of a ranking's first latents; a ranking without any is a state, not a score of 0."""
    if np.sum(score.n_ablated):
        return score
    return replace(score, score=undefined(NOTHING_PASSED), samples=np.empty(0))


def small_n_area(curve: Sequence[Scored], ns: Sequence[int]) -> Area:
    """Area of one curve; undefined where any needed score is."""
    weights = area_weights(ns)
    used = np.flatnonzero(weights)
    missing = next((curve[i].score for i in used if curve[i].score.value is None), None)
    if missing is not None:
        return Area(undefined(missing.reason or "a score on the curve is undefined"), np.empty(0))
    value = sum(weights[i] * float(curve[i].score.value or 0) for i in used)
    samples = sum(weights[i] * curve[i].samples for i in used)
    assert isinstance(samples, np.ndarray)
    return Area(estimate(value, samples), samples)


def area_weights(ns: Sequence[int]) -> np.ndarray:
    """float[len(ns)] summing to 1: the weight of each score; 0 beyond M. ConfigError unless 1 and M are in ns."""
    n = np.asarray(ns)
    if 1 not in n or M not in n:
        raise ConfigError(f"the small-N area needs N = 1 and N = {M}; found {list(ns)}: add them to --n")
    order = np.flatnonzero(n <= M)[np.argsort(n[n <= M], kind="stable")]
    steps = np.diff(np.log(n[order])) / np.log(M)
    weights = np.zeros(len(n))
    weights[order[:-1]] += steps / 2
    weights[order[1:]] += steps / 2
    return weights
