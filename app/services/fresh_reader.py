"""Fresh probes of the sets on screen, read beside the presses: a score never waits for them, and of sets that follow
each other quickly only the newest is read to the end."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from app.services import scoring
from app.services.loading import Loaded
from saeeval_core.config import fingerprint
from saeeval_core.errors import SaeEvalError
from saeeval_core.evaluation.result import Erasure
from saeeval_core.scores.erasure import Readable
from saeeval_core.scores.threads import one_thread
from saeeval_core.scores.tpp import TppScore
from saeeval_core.scores.uncertainty import Estimate

_MOST = 256
"""Places whose newest set is remembered."""
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Still:
    """What fresh probes read after ablating a set."""

    readable: Readable | None = None
    carriers: tuple[tuple[int, float], ...] = ()
    """(latent outside the set, attribution): what the fresh probe of the spurious label leans on most."""
    problem: str = ""
    """Why there is nothing to read."""


@dataclass(frozen=True, eq=False)
class StillMatrix:
    """What fresh one-vs-rest probes read after ablating one set per class."""

    score: TppScore | None = None
    """The matrix: shares of what is read of clean texts that are lost."""
    clean: tuple[Estimate, ...] = ()
    """Balanced accuracy of every class's fresh probe on clean texts."""
    reader: str = ""
    problem: str = ""
    """Why there is nothing to read."""


@dataclass(frozen=True)
class StillOverall:
    """What fresh probes read of one metric's headline on test."""

    erasure: Erasure | None = None
    problem: str = ""
    """Why there is nothing to read."""


_one = ThreadPoolExecutor(1, thread_name_prefix="fresh-probes")
_long = ThreadPoolExecutor(1, thread_name_prefix="fresh-probes-overall")
_guard = threading.Lock()
_newest: OrderedDict[str, tuple[tuple[object, ...], "Future[Any]"]] = OrderedDict()


def still(place: str, loaded: Loaded, pair: str, target: str, part: int, ids: tuple[int, ...]) -> Still | None:
    """What is still read of the set that is on screen at ``place`` (one person's desk); None while it is being read."""
    key = (loaded.config, loaded.latents.fingerprint, pair, target, part, ids)
    return _answer(place, key, lambda: _read(loaded, pair, target, part, ids))


def still_matrix(place: str, loaded: Loaded, part: int, sets: scoring.Sets) -> StillMatrix | None:
    """The same of one set per class. One that is overtaken is given up after the class that is being read."""
    key = (loaded.config, loaded.latents.fingerprint, part, sets)
    return _answer(place, key, lambda: _read_matrix(loaded, part, sets, lambda: _is_newest(place, key)))


def still_overall(loaded: Loaded, metric: str, n: int) -> StillOverall | None:
    """The same of the top n by attribution on test, SHIFT over all pairs: seconds of work, beside the others."""
    key = (loaded.config, loaded.latents.fingerprint, metric, n)
    return _answer(
        f"overall {fingerprint([str(k) for k in key])}", key, lambda: _read_overall(loaded, metric, n), _long
    )


def _answer(place: str, key: tuple[object, ...], read: Callable[[], T], by: ThreadPoolExecutor = _one) -> T | None:
    with _guard:
        asked, future = _newest.get(place, ((), None))
        if future is None or asked != key:
            if future is not None:
                future.cancel()
            future = by.submit(_beside, read)
            _newest[place] = (key, future)
            _newest.move_to_end(place)
            while len(_newest) > _MOST:
                _newest.popitem(last=False)
    # Another tab at the same desk may just have asked for another set.
    return future.result() if future.done() and not future.cancelled() else None


def _beside(read: Callable[[], T]) -> T:
    """In one thread: the presses keep the rest of the processor."""
    with one_thread():
        return read()


def _is_newest(place: str, key: tuple[object, ...]) -> bool:
    with _guard:
        return _newest.get(place, ((), None))[0] == key


def _read(loaded: Loaded, pair: str, target: str, part: int, ids: tuple[int, ...]) -> Still:
    try:
        view = scoring.shift_erasure(loaded, pair, target, part)
        return Still(scoring.fresh(view, ids), tuple(view.carriers(ids)))
    except SaeEvalError as error:
        return Still(problem=str(error))


def _read_matrix(loaded: Loaded, part: int, sets: scoring.Sets, wanted: Callable[[], bool]) -> StillMatrix:
    try:
        view = scoring.tpp_erasure(loaded, part)
        for ids in sets:
            if not wanted():
                return StillMatrix(problem="another set was asked for")
            scoring.fresh_row(view, ids)
        clean = tuple(view.board.clean.of(j) for j in range(len(sets)))
        return StillMatrix(scoring.fresh_matrix(view, sets), clean, view.board.reader)
    except SaeEvalError as error:
        return StillMatrix(problem=str(error))


def _read_overall(loaded: Loaded, metric: str, n: int) -> StillOverall:
    try:
        return StillOverall(scoring.erased(loaded, metric, n))
    except SaeEvalError as error:
        return StillOverall(problem=str(error))
