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
from saeeval_core.errors import SaeEvalError
from saeeval_core.scores.erasure import Readable
from saeeval_core.scores.threads import one_thread

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


_one = ThreadPoolExecutor(1, thread_name_prefix="fresh-probes")
_guard = threading.Lock()
_newest: OrderedDict[str, tuple[tuple[object, ...], "Future[Any]"]] = OrderedDict()


def still(place: str, loaded: Loaded, pair: str, target: str, part: int, ids: tuple[int, ...]) -> Still | None:
    """What is still read of the set that is on screen at ``place`` (one person's desk); None while it is being read."""
    key = (loaded.config, loaded.latents.fingerprint, pair, target, part, ids)
    return answer(place, key, lambda: _read(loaded, pair, target, part, ids))


def answer(question: str, key: tuple[object, ...], work: Callable[[], T], by: ThreadPoolExecutor = _one) -> T | None:
    """The answer to a question as it is asked now; None while it is worked out."""
    with _guard:
        asked, future = _newest.get(question, ((), None))
        if future is None or asked != key:
            if future is not None:
                future.cancel()
            future = by.submit(_beside, work)
            _newest[question] = (key, future)
            _newest.move_to_end(question)
            while len(_newest) > _MOST:
                _newest.popitem(last=False)
    # Another tab at the same desk may just have asked for another set.
    return future.result() if future.done() and not future.cancelled() else None


def _beside(work: Callable[[], T]) -> T:
    """In one thread: the presses keep the rest of the processor."""
    with one_thread():
        return work()


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


def _read(loaded: Loaded, pair: str, target: str, part: int, ids: tuple[int, ...]) -> Still:
    try:
        view = scoring.shift_erasure(loaded, pair, target, part)
        return Still(scoring.fresh(view, ids), tuple(view.carriers(ids)))
    except SaeEvalError as error:
        return Still(problem=str(error))
