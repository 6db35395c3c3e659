"""All scores of one SAE: every N under zero and under mean ablation, with the small-N area of both curves.

One form for a direction of SHIFT, SHIFT over pairs, TPP, and the controls of each.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from saeeval_core.evaluation.boards import Direction, Evaluation
from saeeval_core.evaluation.select import Selector, TopByAttribution
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.scores.area import AREA, GRID, MEAN, RECOMMENDED, TOP_N, M, small_n_area
from saeeval_core.scores.erasure import Readable
from saeeval_core.scores.selections import Selected
from saeeval_core.scores.shift import ShiftLatents, ShiftScore
from saeeval_core.scores.tpp import TppLatents, TppScore
from saeeval_core.scores.uncertainty import OverPairs, Sampled, Scored, over_draws, over_pairs
from saeeval_core.texts.parts import TEST

S = TypeVar("S", bound=Scored)
Choice = TypeVar("Choice", ShiftScore, TppScore, Readable)


@dataclass(frozen=True)
class Curve(Generic[S]):
    """Scores of one selection under one ablation."""

    ns: tuple[int, ...]
    scores: tuple[S, ...]
    """One per N."""
    n_ablated: tuple[float | None, ...]
    """Latents really ablated at each N, the mean over directions or classes; None for scores that ablate none."""
    area: "Sampled | OverPairs | None"
    """The small-N area; None where N = 1 or N = M is not among ``ns``."""

    def at(self, n: int) -> S:
        """The score at one of ``ns``."""
        return self.scores[self.ns.index(n)]


@dataclass(frozen=True)
class Place:
    """One score of ``Variants``: its variant and N, and the score."""

    variant: str
    """TOP_N, MEAN, AREA or RECOMMENDED."""
    n: int | None
    """None for an area."""
    scored: Scored
    n_ablated: float | None


@dataclass(frozen=True)
class Variants(Generic[S]):
    """Both curves of one SAE."""

    zero: Curve[S]
    mean: Curve[S]

    def places(self) -> Iterator[Place]:
        """Every score, curve by curve, each curve followed by its area."""
        for curve, name, area in ((self.zero, TOP_N, AREA), (self.mean, MEAN, RECOMMENDED)):
            for n, scored, ablated in zip(curve.ns, curve.scores, curve.n_ablated, strict=True):
                yield Place(name, n, scored, ablated)
            if curve.area is not None:
                yield Place(area, None, curve.area, None)

    def headlines(self, *ns: int) -> list[Scored]:
        """[the recommended score, the paper's score at each of ``ns``]; the curve must have an area."""
        assert self.mean.area is not None
        return [self.mean.area, *(self.zero.at(n) for n in ns)]


def with_grid(ns: Sequence[int]) -> tuple[int, ...]:
    """``ns`` and the N that the area needs, ascending."""
    return tuple(sorted({*ns, *GRID}))


def unless_empty(score: Choice, *chosen: Selected) -> Choice:
    """The score; where nothing was chosen, undefined (not 0) with the selections' state as reason."""
    if np.sum(score.n_ablated):
        return score
    return score.without_value(", ".join(dict.fromkeys(c.state for c in chosen)))


def direction_variants(view: ShiftLatents, chosen: Sequence[Selected]) -> Variants[ShiftScore]:
    """One direction, with one selection per N."""

    def curve(own: ShiftLatents) -> Curve[ShiftScore]:
        return _curve([c.n for c in chosen], [unless_empty(own.score(c.ids), c) for c in chosen])

    return Variants(curve(view), curve(view.mean_ablated))


def tpp_variants(view: TppLatents, chosen: Sequence[Sequence[Selected]]) -> Variants[TppScore]:
    """All classes, with one selection per class and N: ``chosen[class][N]``."""
    sets = list(zip(*chosen, strict=True))

    def curve(own: TppLatents) -> Curve[TppScore]:
        return _curve([s[0].n for s in sets], [unless_empty(own.score([c.ids for c in s]), *s) for s in sets])

    return Variants(curve(view), curve(view.mean_ablated))


def variants_over_pairs(
    directions: Sequence[Direction], variants: Sequence[Variants[ShiftScore]]
) -> Variants[OverPairs]:
    """Of every score: mean over the defined directions of each pair, then over pairs."""
    pairs = [d.pair for d in directions]

    def mean(curves: Sequence[Curve[ShiftScore]]) -> Curve[OverPairs]:
        ns = curves[0].ns
        scores = [
            over_pairs(list(zip(pairs, same, strict=True))) for same in zip(*(c.scores for c in curves), strict=True)
        ]
        ablated = [float(np.mean(same)) for same in zip(*(c.n_ablated for c in curves), strict=True)]
        areas = [c.area for c in curves if c.area is not None]
        area = over_pairs(list(zip(pairs, areas, strict=True))) if areas else None
        return Curve(ns, tuple(scores), tuple(ablated), area)

    return Variants(mean([v.zero for v in variants]), mean([v.mean for v in variants]))


def shift_of_selector(
    evaluation: Evaluation, latents: LatentRecording, ns: Sequence[int], select: Selector, part: int = TEST
) -> Variants[OverPairs]:
    """SHIFT over pairs of the latents that a selector chooses."""
    views = evaluation.shift_views(latents, part)
    return variants_over_pairs(evaluation.directions, [direction_variants(v, select.shift(v, ns)) for v in views])


def shift_of_recordings(
    evaluation: Evaluation, recordings: Sequence[LatentRecording], ns: Sequence[int], part: int = TEST
) -> Variants[OverPairs]:
    """SHIFT over pairs of the top N by attribution; ``recordings``: one per direction, in their order."""
    both = zip(recordings, evaluation.directions, strict=True)
    views = [evaluation.shift_view(latents, direction, part) for latents, direction in both]
    select = TopByAttribution()
    return variants_over_pairs(evaluation.directions, [direction_variants(v, select.shift(v, ns)) for v in views])


def tpp_of_selector(
    evaluation: Evaluation, latents: LatentRecording, ns: Sequence[int], select: Selector, part: int = TEST
) -> Variants[TppScore]:
    """TPP of the latents that a selector chooses."""
    view = evaluation.tpp_view(latents, part)
    return tpp_variants(view, select.tpp(view, ns))


def spread(draws: Sequence[Variants[S]]) -> Variants[S]:
    """Mean of repeated draws of the same scores, with the range of the draws in place of the interval and no samples.

    Undefined draws are left out; a score undefined in every draw keeps the reason of the first.
    """

    def one(same: Sequence[Scored]) -> Scored:
        found = over_draws([s.score for s in same])
        return replace(same[0], score=found, samples=np.empty(0))  # type: ignore[type-var]

    def curve(of: Callable[[Variants[S]], Curve[S]]) -> Curve[S]:
        curves = [of(v) for v in draws]
        scores = tuple(one(same) for same in zip(*(c.scores for c in curves), strict=True))
        areas = [c.area for c in curves if c.area is not None]
        return replace(curves[0], scores=scores, area=one(areas) if areas else None)

    return Variants(curve(lambda v: v.zero), curve(lambda v: v.mean))


def constant(score: S, ns: Sequence[int]) -> Variants[S]:
    """``Variants`` of a score that ablates no latents: the same at every N and under both ablations."""
    has_area = 1 in ns and M in ns
    curve = Curve(tuple(ns), (score,) * len(ns), (None,) * len(ns), score if has_area else None)
    return Variants(curve, curve)


def _curve(ns: Sequence[int], scores: Sequence[Choice]) -> Curve[Choice]:
    area = small_n_area(scores, ns) if 1 in ns and M in ns else None
    return Curve(tuple(ns), tuple(scores), tuple(float(np.mean(s.n_ablated)) for s in scores), area)
