"""Fresh probes of one set per class, and of the Overview's headlines, read beside the presses as those of a direction."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from app.services import scoring, trust
from app.services.fresh_reader import answer, is_newest
from app.services.loading import Loaded
from saeeval_core.config import fingerprint
from saeeval_core.controls.rival_results import Rivals
from saeeval_core.errors import SaeEvalError
from saeeval_core.evaluation.result import Erasure
from saeeval_core.scores.tpp import TppScore
from saeeval_core.scores.uncertainty import Estimate


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


_long = ThreadPoolExecutor(1, thread_name_prefix="fresh-probes-overall")


def still_matrix(place: str, loaded: Loaded, part: int, sets: scoring.Sets) -> StillMatrix | None:
    """What is still read of one set per class, on screen at ``place``; None while it is being read.

    One that is overtaken is given up after the class that is being read.
    """
    key = (loaded.config, loaded.latents.fingerprint, part, sets)
    return answer(place, key, lambda: _read_matrix(loaded, part, sets, lambda: is_newest(place, key)))


def still_overall(loaded: Loaded, metric: str, n: int) -> StillOverall | None:
    """The same of the top n by attribution on test, SHIFT over all pairs: seconds of work, beside the others."""
    key = (loaded.config, loaded.latents.fingerprint, metric, n)
    return answer(f"overall {fingerprint([str(k) for k in key])}", key, lambda: _read_overall(loaded, metric, n), _long)


def own_controls(loaded: Loaded) -> Rivals | None:
    """The SAE's own controls at the headline scores; None while they are being scored, seconds after the headlines.

    The SAE's scores that they are compared with are made with them.
    """
    key = (loaded.config, loaded.latents.fingerprint)
    found: Rivals | None = answer(
        f"own controls {fingerprint([str(k) for k in key])}", key, lambda: trust.make_own_controls(loaded), _long
    )
    return found


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
