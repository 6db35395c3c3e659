"""Dictionaries compared at the same edit size instead of the same N: read off between measured points, never beyond them."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from saeeval_core.config import headline_n
from saeeval_core.evaluation.paths import path_of_result
from saeeval_core.evaluation.result import LossPath, LossPoint, SaeResult
from saeeval_core.scores.uncertainty import Estimate

LETTERS = {"score": "S", "selective_erasure": "E"}
"""Fields of a point that are compared -> their letters."""


def at_edit(path: LossPath, size: float, of: str = "score") -> float | None:
    """A value of a path where its edit has this size: on the line between the two N around it.

    The first such place, as N grows. None where the path does not reach the size, or a value beside it is undefined.
    """
    for point in path.points:
        if point.edit_size == size:
            return _value(point, of)
    for a, b in pairwise(path.points):
        if a.edit_size is None or b.edit_size is None or not min(a.edit_size, b.edit_size) < size:
            continue
        if size < max(a.edit_size, b.edit_size):
            low, high = _value(a, of), _value(b, of)
            share = (size - a.edit_size) / (b.edit_size - a.edit_size)
            return None if low is None or high is None else low + share * (high - low)
    return None


def equal_edit_words(own: LossPath, others: Sequence[LossPath], of: str = "score") -> list[str]:
    """Sentences: at the edit of a path's headline N what the others reach, and the path at the edit of those of one point.

    Others that do not reach an edit are named. Empty where nothing can be compared.
    """
    curves, marks = ([p for p in others if (len(p.points) > 1) is many] for many in (True, False))
    return [*_at_headline(own, curves, of), *(line for mark in marks if (line := _at_mark(own, mark, of)))]


def equal_edit_lines(sae: SaeResult, rivals: Sequence[LossPath], fields: Sequence[str] = tuple(LETTERS)) -> list[str]:
    """An SAE of a run against the run's rivals, the mean over pairs; ``fields``: some of LETTERS."""
    own, others = path_of_result(sae), [p for p in rivals if not p.pair]
    return [] if own is None else [line for of in fields for line in equal_edit_words(own, others, of)]


def _at_headline(own: LossPath, curves: Sequence[LossPath], of: str) -> Iterator[str]:
    if not own.points or not curves:
        return
    n = headline_n([p.n for p in own.points])
    point = next(p for p in own.points if p.n == n)
    mine, size = _value(point, of), point.edit_size
    if mine is None or size is None:
        return
    found = {p.name: at_edit(p, size, of) for p in curves}
    reached = [f"{name} {v:.2f}" for name, v in found.items() if v is not None]
    missed = [name for name, v in found.items() if v is None]
    said = ", ".join([f"{own.name} {LETTERS[of]} {mine:.2f}", *reached])
    yield f"At equal edit ({size:.3f}, N = {n}): {said}" + (f"; not reached by {', '.join(missed)}" if missed else "")


def _at_mark(own: LossPath, mark: LossPath, of: str) -> str:
    point = next(iter(mark.points), None)
    theirs = None if point is None else _value(point, of)
    if point is None or theirs is None or point.edit_size is None:
        return ""
    mine = at_edit(own, point.edit_size, of)
    reached = f"not reached by {own.name}" if mine is None else f"{own.name} {mine:.2f}"
    return f"At equal edit ({point.edit_size:.3f}): {mark.name} {LETTERS[of]} {theirs:.2f}, {reached}"


def _value(point: LossPoint, of: str) -> float | None:
    found: Estimate = getattr(point, of)
    return found.value
