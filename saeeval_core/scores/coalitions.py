"""Coalitions: a small set of latents for one concept, found greedily by exact gain (docs/method.md, "Coalitions").

A concept may be a family of latents, none of which does much alone. Each step adds the latent that raises the score of
the whole set most, and the search ends where none does. Search on dev; the score of the found set belongs on test.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

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

Cancelled = Callable[[], bool]


@dataclass(frozen=True)
class Coalition:
    """The latents found, in the order in which they were added."""

    ids: tuple[int, ...]
    scores: tuple[float, ...]
    """Score of the set after each of them."""
    cancelled: bool = False
    """The search was ended from outside, so more might have been added."""

    @property
    def is_family(self) -> bool:
        """The concept needs more than one latent: the first alone reaches less than nine tenths of the score."""
        return len(self.ids) > 1 and self.scores[0] < 0.9 * self.scores[-1]


def by_shift(view: ShiftLatents, *, at_most: int = AT_MOST, cancelled: Cancelled = lambda: False) -> Coalition:
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

    return _greedy(gains, at_most, cancelled)


def by_erasure(
    view: ShiftErasure, candidates: Sequence[int], *, at_most: int = AT_MOST, cancelled: Cancelled = lambda: False
) -> Coalition:
    """The best set for E among ``candidates``, such as the STRONGEST by attribution. Empty where E is undefined."""
    if any(view.board.reasons):
        return Coalition((), ())

    def gains(ids: tuple[int, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for i in candidates:
            yield np.array([i]), np.array([view.value([*ids, i])], dtype=float)

    return _greedy(gains, at_most, cancelled)


def _greedy(
    gains: Callable[[tuple[int, ...]], Iterator[tuple[np.ndarray, np.ndarray]]], at_most: int, cancelled: Cancelled
) -> Coalition:
    """``gains``: set -> chunks of (latents int[k], score of the set with each of them float[k])."""
    ids: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()
    while len(ids) < at_most:
        best, latent = scores[-1] if scores else 0.0, -1
        for tried, found in gains(ids):
            if cancelled():
                return Coalition(ids, scores, cancelled=True)
            found = np.where(np.isin(tried, ids), -np.inf, found)
            if len(found) and found.max() > best + _LEAST:
                best, latent = float(found.max()), int(tried[np.argmax(found)])
        if latent < 0:
            break
        ids, scores = (*ids, latent), (*scores, best)
    return Coalition(ids, scores)
