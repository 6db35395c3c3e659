"""Coalitions: a small set of latents for one concept, found greedily by exact gain (docs/method.md, "Coalitions").

A concept may be a family of latents, none of which does much alone. Each step adds the latent that raises the score of
the whole set most, and the search ends where none does. Search on dev; the score of the found set belongs on test.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from saeeval_core.scores.erasure import ShiftErasure
from saeeval_core.scores.shift import ShiftLatents

AT_MOST = 5
"""Most latents in a coalition."""
STRONGEST = 100
"""Latents, by attribution, among which E is searched."""
_CHUNK = 4_000_000
"""Numbers held at once while all latents are tried."""
_LEAST = 1e-9
"""A gain below this is rounding."""

Watch = Callable[["Coalition", float], bool]
"""Called while latents are tried, with what is found so far and the share of the longest search that is done; True ends
the search."""


@dataclass(frozen=True)
class Coalition:
    """The latents found, in the order in which they were added."""

    ids: tuple[int, ...]
    scores: tuple[float, ...]
    """Score of the set after each of them."""
    cancelled: bool = False
    """The search was ended from outside, so more might have been added."""

    @property
    def gains(self) -> tuple[float, ...]:
        """What each latent added to the score when it was added."""
        return tuple(b - a for a, b in zip((0.0, *self.scores), self.scores, strict=False))

    @property
    def words(self) -> str:
        """Such as "One latent gives 0.21, 5 give 0.48: a family."."""
        if not self.ids:
            return "No latent raises the score."
        first, last, n = f"{self.scores[0]:.2f}", f"{self.scores[-1]:.2f}", len(self.ids)
        if n == 1:
            return f"One latent gives {first}, and " + (
                "the search was stopped there." if self.cancelled else "no second one adds to it."
            )
        kind = "a family" if self.is_family else "no family, the first latent does nearly all of it"
        return f"One latent gives {first}, {n} give {last}: {kind}."

    @property
    def is_family(self) -> bool:
        """The concept needs more than one latent: the first alone reaches less than nine tenths of the score."""
        return len(self.ids) > 1 and self.scores[0] < 0.9 * self.scores[-1]


def _unwatched(_found: Coalition, _share: float) -> bool:
    return False


def by_shift(view: ShiftLatents, *, at_most: int = AT_MOST, watch: Watch = _unwatched) -> Coalition:
    """The best set for S among all latents, under the ablation of ``view``. Empty where S is undefined."""
    board = view.board
    if board.reason:
        return Coalition((), ())
    every = np.flatnonzero(np.diff(view.latents.indptr))
    step = max(1, _CHUNK // max(1, len(board.rows)))

    def gains(ids: tuple[int, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        left = board.base_logits - view.removed(ids)
        for chunk in np.split(every, range(step, len(every), step)):
            right = (left[:, None] - view.contributions(chunk) > 0) == board.target[:, None]
            yield chunk, (board.weights @ right - float(board.base.value or 0)) / board.gap

    return _greedy(gains, len(every), at_most, watch)


def by_erasure(
    view: ShiftErasure, candidates: Sequence[int], *, at_most: int = AT_MOST, watch: Watch = _unwatched
) -> Coalition:
    """The best set for E among ``candidates``, such as the STRONGEST by attribution. Empty where E is undefined."""
    if any(view.board.reasons):
        return Coalition((), ())

    train, scored = view.codes.edits(candidates)

    def value(places: list[int]) -> float:
        kept = view.kept_after(train.only(places), scored.only(places))
        return -np.inf if kept is None else kept[0] - kept[1]

    def gains(ids: tuple[int, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        inside = [k for k, i in enumerate(candidates) if i in ids]
        for k, i in enumerate(candidates):
            yield np.array([i]), np.array([-np.inf if k in inside else value([*inside, k])])

    return _greedy(gains, len(candidates), at_most, watch)


def _greedy(
    gains: Callable[[tuple[int, ...]], Iterator[tuple[np.ndarray, np.ndarray]]], n: int, at_most: int, watch: Watch
) -> Coalition:
    """``gains``: set -> chunks of (latents int[k], score of the set with each of them float[k]), ``n`` latents in all."""
    so_far = Coalition((), ())
    while len(so_far.ids) < at_most:
        best, latent, done = so_far.scores[-1] if so_far.scores else 0.0, -1, 0
        for tried, found in gains(so_far.ids):
            if watch(so_far, (len(so_far.ids) + done / n) / at_most):
                return replace(so_far, cancelled=True)
            done += len(tried)
            found = np.where(np.isin(tried, so_far.ids), -np.inf, found)
            if len(found) and found.max() > best + _LEAST:
                best, latent = float(found.max()), int(tried[np.argmax(found)])
        if latent < 0:
            break
        so_far = Coalition((*so_far.ids, latent), (*so_far.scores, best))
    return so_far
