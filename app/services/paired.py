"""Two sets of latents scored on the same resampled texts, so that their difference has a paired interval."""

from dataclasses import dataclass

from app.services import scoring
from app.services.loading import Loaded
from saeeval_core.scores.shift import ShiftLatents
from saeeval_core.scores.tpp_cells import row_difference
from saeeval_core.scores.uncertainty import Estimate, difference


@dataclass(frozen=True)
class Paired:
    """Scores of A and B and their paired difference."""

    a: Estimate
    b: Estimate
    difference: Estimate
    """A minus B."""
    cells: list[list[Estimate]] | None = None
    """TPP: matrix of A minus matrix of B, without intervals."""


def shift(a: tuple[ShiftLatents, tuple[int, ...]], b: tuple[ShiftLatents, tuple[int, ...]], *, ablation: str) -> Paired:
    """SHIFT of (latents, ids ablated) of two SAEs on one board, under one of ``ABLATIONS``."""
    first, second = (scoring.set_score(view, ids, ablation) for view, ids in (a, b))
    return Paired(first.score, second.score, difference(first, second))


def tpp(a: tuple[Loaded, scoring.Sets], b: tuple[Loaded, scoring.Sets], *, part: int, ablation: str) -> Paired:
    """TPP of (what is loaded, ids ablated per class) of two SAEs on the same pass; DataError without classes."""
    first, second = (scoring.tpp_set_score(loaded, part, sets, ablation) for loaded, sets in (a, b))
    cells = [[Estimate(v, None, "undefined in A or B") for v in row] for row in row_difference(first, second)]
    return Paired(first.score, second.score, difference(first, second), cells)
