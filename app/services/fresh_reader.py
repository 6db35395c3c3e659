"""Fresh probes of the sets on screen, read beside the presses: a score never waits for them, and of sets that follow
each other quickly only the newest is read to the end.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from app.services import quiet, scoring
from app.services.loading import Loaded
from saeeval_core.errors import SaeEvalError
from saeeval_core.scores.erasure import Readable
from saeeval_core.scores.survivors import Survivor
from saeeval_core.scores.threads import one_thread

T = TypeVar("T")
_MOST = 256
"""Questions whose newest answer is remembered."""


@dataclass(frozen=True)
class Where:
    """What sets are read in."""

    loaded: Loaded
    pair: str
    target: str
    part: int
    alpha: float = 1.0
    """Share of every ablated latent that is taken away."""

    @property
    def key(self) -> Hashable:
        """The same for the same recordings, however often they were opened."""
        return self.loaded.config, self.loaded.latents.fingerprint, self.pair, self.target, self.part, self.alpha


@dataclass(frozen=True, eq=False)
class Still:
    """What fresh probes read after ablating a set."""

    readable: Readable | None = None
    edit_size: float | None = None
    """Share of whitened variance that is removed."""
    carriers: tuple[tuple[int, float], ...] = ()
    """(latent outside the set, attribution): what the fresh probe of the spurious label leans on most."""
    problem: str = ""
    """Why there is nothing to read."""


@dataclass(frozen=True, eq=False)
class Parts:
    """What fresh probes read in each exact part of the ablated residuals."""

    survivors: tuple[Survivor, ...] = ()
    missing: str = ""
    """Why there are fewer parts than could be; "" where nothing is missing."""
    problem: str = ""
    """Why there is nothing to read."""


@dataclass(frozen=True, eq=False)
class Erased:
    """What is still read of the first latents of a ranking."""

    points: tuple[tuple[int, Readable], ...] = ()
    """(N, what is read after ablating the first N)"""
    sizes: tuple[float, ...] = ()
    """Edit size of each."""
    problem: str = ""
    """Why there is nothing to read."""


_one = ThreadPoolExecutor(1, thread_name_prefix="fresh-probes")
_guard = threading.Lock()
_newest: OrderedDict[str, tuple[tuple[object, ...], "Future[object]"]] = OrderedDict()


def still(place: str, where: Where, ids: tuple[int, ...]) -> Still | None:
    """What is still read of the set that is on screen at ``place`` (one person's desk); None while it is being read."""
    return answer(place, (where.key, ids), lambda: _read(where, ids))


def parts(place: str, where: Where, ids: tuple[int, ...]) -> Parts | None:
    """Where in the residuals it still stands, in the same way."""
    return answer(f"{place}/parts", (where.key, ids), lambda: _parts(where, ids))


def erased(place: str, where: Where, rank: str, ns: tuple[int, ...], *, wait: bool = False) -> Erased | None:
    """What is read of the first n of a ranking, for every n of ``ns``, in the same way. ``wait``: begin nothing now.

    It takes longer than one set: where a press comes in between it is put off, and goes on when it is asked for again.
    """
    question, key = f"{place}/erased", (where.key, rank, ns)
    if wait:
        asked, future = _newest.get(question, ((), None))
        known = future is not None and asked == key and future.done() and not future.cancelled()
        return future.result() if known and future else None  # type: ignore[return-value]
    return answer(question, key, lambda: _erased(where, rank, ns))


def answer(
    question: str, key: tuple[object, ...], work: Callable[[], T | None], by: ThreadPoolExecutor = _one
) -> T | None:
    """The answer to a question as it is asked now; None while it is worked out, and where ``work`` put it off."""
    with _guard:
        asked, future = _newest.get(question, ((), None))
        if future is None or asked != key or (future.done() and not future.cancelled() and _put_off(future)):
            if future is not None:
                future.cancel()
            future = by.submit(_beside, work)
            _newest[question] = (key, future)
            _newest.move_to_end(question)
            while len(_newest) > _MOST:
                _newest.popitem(last=False)
    # Another tab at the same desk may just have asked for another set.
    return future.result() if future.done() and not future.cancelled() else None  # type: ignore[return-value]


def _beside(work: Callable[[], T]) -> T:
    """In one thread: the presses keep the rest of the processor."""
    with one_thread():
        return work()


def _put_off(future: "Future[object]") -> bool:
    return future.exception() is None and future.result() is None


def drop(question: str) -> None:
    """A press or move came in between: nobody waits for the answer, and what is asked next is another question."""
    with _guard:
        _, future = _newest.pop(question, ((), None))
    if future is not None:
        future.cancel()


def is_newest(question: str, key: tuple[object, ...]) -> bool:
    """Whether it is still asked in this way: otherwise nobody waits for the answer."""
    with _guard:
        return _newest.get(question, ((), None))[0] == key


def _read(where: Where, ids: tuple[int, ...]) -> Still:
    try:
        view = scoring.shift_erasure(where.loaded, where.pair, where.target, where.part)
        size = scoring.sizes_of_edits(where.loaded, where.pair, where.target, where.part, ids, [len(ids)], where.alpha)[
            0
        ]
        return Still(scoring.fresh(view, ids, where.alpha), size, tuple(view.carriers(ids, where.alpha)))
    except SaeEvalError as error:
        return Still(problem=str(error))


def _parts(where: Where, ids: tuple[int, ...]) -> Parts:
    try:
        found = scoring.shift_survivors(where.loaded, where.pair, where.target, where.part)
        return Parts(tuple(found.read(ids, where.alpha)), found.missing)
    except SaeEvalError as error:
        return Parts(problem=str(error))


def _erased(where: Where, rank: str, ns: tuple[int, ...]) -> Erased | None:
    began = time.monotonic()
    try:
        order = scoring.ranking(scoring.shift_view(where.loaded, where.pair, where.target, where.part), rank)
        view = scoring.shift_erasure(where.loaded, where.pair, where.target, where.part)
        points = []
        for n in (n for n in ns if n <= len(order)):
            if quiet.pressed_since(began):
                return None
            points.append((n, scoring.fresh(view, tuple(int(i) for i in order[:n]), where.alpha)))
        shown = [n for n, _ in points]
        first = [int(i) for i in order[: max(shown, default=0)]]
        sizes = scoring.sizes_of_edits(where.loaded, where.pair, where.target, where.part, first, shown, where.alpha)
        return Erased(tuple(points), tuple(sizes))
    except SaeEvalError as error:
        return Erased(problem=str(error))
