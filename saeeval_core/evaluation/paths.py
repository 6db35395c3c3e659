"""What target and spurious label lose as N grows: the way of one dictionary through the plane of both losses.

lost = (C - F) / (C - 1/2) = 1 - R        x: of the target, y: of the spurious label, E = y - x
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from saeeval_core.evaluation.boards import Direction, Evaluation
from saeeval_core.evaluation.erased import lost, one_minus, shift_readable
from saeeval_core.evaluation.result import DirectionResult, LossPath, LossPoint, SaeResult
from saeeval_core.evaluation.select import Selector, TopByAttribution
from saeeval_core.evaluation.variants import unless_empty
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.scores.erasure import Readable
from saeeval_core.scores.shift import ShiftScore
from saeeval_core.scores.uncertainty import OverPairs, Scored, mean_known, over_pairs
from saeeval_core.texts.parts import PART_NAMES, TEST


@dataclass(frozen=True)
class Walked:
    """The paths of one dictionary on one part, and E of their mean with its resamples."""

    paths: tuple[LossPath, ...]
    """The mean over pairs, then every direction."""
    erasure: Mapping[int, OverPairs]
    """N -> E, the mean over pairs."""


@dataclass(frozen=True)
class _Step:
    """One set in one direction."""

    score: ShiftScore
    readable: Readable
    edit_size: float

    @property
    def estimates(self) -> tuple[Scored, Scored, Scored, Scored]:
        """S, what the target lost, what the spurious label lost, E."""
        return (self.score, *lost(self.readable), self.readable)


def walk(
    evaluation: Evaluation,
    recordings: Sequence[LatentRecording],
    ns: Sequence[int],
    blank: LossPath,
    *,
    part: int = TEST,
    select: Selector | None = None,
) -> Walked:
    """Score the sets of a dictionary at every N; ``recordings``: one per direction. ``blank`` names the dictionary."""
    blank = replace(blank, part=PART_NAMES[part])
    every = [
        _steps(evaluation, own, direction, part, ns, select or TopByAttribution())
        for own, direction in zip(recordings, evaluation.directions, strict=True)
    ]
    pairs = [d.pair for d in evaluation.directions]
    own_ns = list(every[0]) if every else []
    means = {n: [_mean(pairs, same) for same in zip(*(s[n].estimates for s in every), strict=True)] for n in own_ns}
    sizes = {n: mean_known(s[n].edit_size for s in every) for n in own_ns}
    total = replace(blank, points=tuple(_point(n, found, sizes[n]) for n, found in means.items()))
    paths = [
        replace(
            blank,
            pair=d.pair,
            target=d.task.target.column,
            points=tuple(_point(n, s.estimates, s.edit_size) for n, s in steps.items()),
        )
        for d, steps in zip(evaluation.directions, every, strict=True)
    ]
    return Walked((total, *paths), {n: found[-1] for n, found in means.items()})


def path_of_result(sae: SaeResult, *, pair: str = "", target: str = "", part: str = "test") -> LossPath | None:
    """An SAE's path in a result: the mean over pairs, or of one direction; None where the result lacks the numbers."""
    if sae.shift is None:
        return None
    if pair:
        own = next((d for d in sae.shift.directions if (d.pair, d.target) == (pair, target)), None)
        points = [] if own is None else list(_of_direction(own, part))
    else:
        points = list(_of_mean(sae, part))
    return LossPath(sae.sae, kind_of(sae.about), tuple(points), pair, target, part) if points else None


def kind_of(about: Mapping[str, object]) -> str:
    """The kind of an SAE's path, from what its files say about it."""
    return "null" if about.get("frozen_decoder") is True else "sae"


def paths_of_result(sae: SaeResult) -> list[LossPath]:
    """All paths of an SAE on test: the mean over pairs, then every direction; those that the result has."""
    places = [("", ""), *((d.pair, d.target) for d in (sae.shift.directions if sae.shift else ()))]
    found = [path_of_result(sae, pair=pair, target=target) for pair, target in places]
    return [p for p in found if p is not None]


def _steps(
    evaluation: Evaluation,
    latents: LatentRecording,
    direction: Direction,
    part: int,
    ns: Sequence[int],
    select: Selector,
) -> dict[int, _Step]:
    view = evaluation.shift_view(latents, direction, part)
    chosen = select.shift(view, ns)
    read = shift_readable(evaluation, latents, direction, part, chosen)
    return {c.n: _Step(unless_empty(view.score(c.ids), c), *read[c.n]) for c in chosen}


def _mean(pairs: Sequence[str], scored: Sequence[Scored]) -> OverPairs:
    return over_pairs(list(zip(pairs, scored, strict=True)))


def _point(n: int, found: Sequence[Scored], edit_size: float | None) -> LossPoint:
    return LossPoint(n, *(f.score for f in found), edit_size)


def _of_mean(sae: SaeResult, part: str) -> Iterator[LossPoint]:
    assert sae.shift is not None
    for n, parts in sae.shift.erasure.items():
        e = parts.get(part)
        if e is not None and e.target_lost is not None and e.spurious_lost is not None:
            score = sae.shift.aggregate[n][part].score
            yield LossPoint(n, score, e.target_lost, e.spurious_lost, e.selective_erasure, e.edit_size)


def _of_direction(d: DirectionResult, part: str) -> Iterator[LossPoint]:
    for a in d.by_n:
        cell = a.parts.get(part)
        if cell is None or cell.erasure is None or cell.fresh is None:
            continue
        kept = cell.fresh.recoverability_target, cell.erasure.recoverability
        target, spurious = map(one_minus, kept)
        yield LossPoint(a.n, cell.score, target, spurious, cell.erasure.selective_erasure, cell.erasure.edit_size)


def path_of_set(blank: LossPath, score: ShiftScore, readable: Readable, edit_size: float) -> LossPath:
    """One chosen set in one direction, as a path of one point; ``blank`` names it."""
    return replace(blank, points=(_point(readable.n_ablated, _Step(score, readable, edit_size).estimates, edit_size),))
