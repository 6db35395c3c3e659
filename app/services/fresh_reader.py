"""Fresh probes of the sets on screen, read beside the presses: a score never waits for them, and of sets that follow
each other quickly only the newest is read to the end."""

import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from app.services import scoring
from app.services.loading import Loaded
from saeeval_core.errors import SaeEvalError
from saeeval_core.scores.erasure import Readable

_MOST = 256
"""Places whose newest set is remembered."""


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
_newest: OrderedDict[str, tuple[tuple[object, ...], "Future[Still]"]] = OrderedDict()


def still(place: str, loaded: Loaded, pair: str, target: str, part: int, ids: tuple[int, ...]) -> Still | None:
    """What is still read of the set that is on screen at ``place`` (one person's desk); None while it is being read."""
    key = (loaded.config, loaded.latents.fingerprint, pair, target, part, ids)
    with _guard:
        asked, future = _newest.get(place, ((), None))
        if future is None or asked != key:
            if future is not None:
                future.cancel()
            future = _one.submit(_read, loaded, pair, target, part, ids)
            _newest[place] = (key, future)
            _newest.move_to_end(place)
            while len(_newest) > _MOST:
                _newest.popitem(last=False)
    # Another tab at the same desk may just have asked for another set.
    return future.result() if future.done() and not future.cancelled() else None


def _read(loaded: Loaded, pair: str, target: str, part: int, ids: tuple[int, ...]) -> Still:
    try:
        view = scoring.shift_erasure(loaded, pair, target, part)
        return Still(scoring.fresh(view, ids), tuple(view.carriers(ids)))
    except SaeEvalError as error:
        return Still(problem=str(error))
