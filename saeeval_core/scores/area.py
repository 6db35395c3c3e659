"""The small-N area: one number for a curve of scores over N, high when few latents are enough.

    area = (1 / ln M) * integral from N = 1 to M of score(N) d ln N,      M = 20, trapezoids in ln N

The mean height of the curve on a logarithmic axis; ours, not the paper's (docs/method.md, "Small-N area"). A large
fixed N penalises an SAE that needs few latents; the best N per SAE rewards one that needs many, because enough random
directions span any probe. Ranking, ablation and score are those of the score at a fixed N.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from saeeval_core.errors import ConfigError
from saeeval_core.scores.uncertainty import Sampled, Scored, estimate, undefined

AREA = "small-N area"
TOP_N = "top-N"
"""Name of the variant that ablates the first N latents to zero, as the paper does."""
MEAN = "mean ablation"
RECOMMENDED = f"{MEAN}, {AREA}"
"""Name of the recommended variant, chosen on planted worlds (``planted.validate``): the area under mean ablation."""
M = 20
GRID = (1, 2, 3, 5, 10, 20)
"""Default N at which the curve is computed."""


DEFINITION = f"small-N area, mean ablation: mean height of the curve of S over ln N, N = 1 to {M}"
"""What the recommended score is, as results say it."""


def small_n_area(curve: Sequence[Scored], ns: Sequence[int]) -> Sampled:
    """Area of one curve, with one score for each of ``ns``; undefined where a score that counts is.

    Its samples are float[resamples], the same weighted sum of the scores' samples. ConfigError unless 1 and M are in
    ``ns``.
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
    """The same for plain numbers; None where one that counts is None. ConfigError unless 1 and M are in ``ns``."""
    used = [(w, v) for w, v in zip(area_weights(ns), values, strict=True) if w]
    return None if any(v is None for _, v in used) else float(sum(w * v for w, v in used if v is not None))


def score_in(
    curves: Mapping[str, Sequence[float | None]], variant: str, n: int | None, ns: Sequence[int]
) -> float | None:
    """One number of several curves over ``ns``: that of a variant at ``n``, or with None the area it is named after.

    KeyError for a curve, ValueError for an N that is not there; ConfigError as ``area_weights``.
    """
    if n is not None:
        return curves[variant][list(ns).index(n)]
    return area_of_values(curves[variant.removesuffix(f", {AREA}")], ns)


def area_weights(ns: Sequence[int]) -> np.ndarray:
    """float64[len(ns)] summing to 1: the weight of each score; 0 beyond M. ConfigError unless 1 and M are in ``ns``.

    Where ``ns`` holds the whole default grid, only the grid counts, so that areas of different ``ns`` can be compared.
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
