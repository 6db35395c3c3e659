"""The small-N area: one number for a whole curve that rewards few latents doing the work.

    area = (1 / ln M) * integral from N = 1 to M of score(N) d ln N,      M = 20, trapezoids in ln N

A variant beside the score at a fixed N (it is the mean height of the curve on a logarithmic axis). A fixed large N punishes
an SAE that needs few latents; the best N per SAE rewards one that needs many, because enough random directions span any
probe. The ranking, ablation and score are those of the fixed N.
"""

from collections.abc import Sequence

import numpy as np

from saeeval_core.errors import ConfigError
from saeeval_core.scores.uncertainty import Sampled, Scored, estimate, undefined

AREA = "small-N area"
MEAN = "mean ablation"
RECOMMENDED = f"{MEAN}, {AREA}"
"""Name of the variant that planted truth speaks for (``validate``): the area with ablated latents set to their mean."""
M = 20
GRID = (1, 2, 3, 5, 10, 20)
"""Default N at which the curve is computed."""


DEFINITION = f"small-N area, mean ablation: mean height of the curve of S over ln N, N = 1 to {M}"
"""What the recommended score is; ``saeeval validate`` says why it stands beside the paper's."""


def small_n_area(curve: Sequence[Scored], ns: Sequence[int]) -> Sampled:
    """Area of one curve of scores at ``ns``; undefined where any needed score is.

    ConfigError unless 1 and M are in ``ns``.
    """
    weights = area_weights(ns)
    used = np.flatnonzero(weights)
    missing = next((curve[i].score for i in used if curve[i].score.value is None), None)
    if missing is not None:
        return Sampled(undefined(missing.reason or "a score on the curve is undefined"), np.empty(0))
    value = area_of_values([s.score.value for s in curve], ns)
    samples = sum(weights[i] * curve[i].samples for i in used)
    assert value is not None and isinstance(samples, np.ndarray)
    return Sampled(estimate(value, samples), samples)


def area_of_values(values: Sequence[float | None], ns: Sequence[int]) -> float | None:
    """The same of bare numbers; None where one that counts is None."""
    used = [(w, v) for w, v in zip(area_weights(ns), values, strict=True) if w]
    return None if any(v is None for _, v in used) else float(sum(w * v for w, v in used if v is not None))


def area_weights(ns: Sequence[int]) -> np.ndarray:
    """float[len(ns)] summing to 1: the weight of each score; 0 beyond M. ConfigError unless 1 and M are in ns.

    Where all of the default grid is in ``ns`` only that counts, so that areas of different curves are the same number.
    """
    n = np.asarray(ns)
    if 1 not in n or M not in n:
        raise ConfigError(f"the small-N area needs N = 1 and N = {M}; found {list(ns)}: add them to --n")
    counts = np.isin(n, GRID) if set(GRID) <= set(ns) else n <= M
    order = np.flatnonzero(counts)[np.argsort(n[counts], kind="stable")]
    steps = np.diff(np.log(n[order])) / np.log(M)
    weights = np.zeros(len(n))
    weights[order[:-1]] += steps / 2
    weights[order[1:]] += steps / 2
    return weights
