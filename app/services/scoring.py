"""Boards of what is loaded, live scoring on them, and the scores of sets that several sessions and redraws ask for.

Not called "scores": that is the word for the values it hands out.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

import numpy as np

from app.services.loading import Loaded
from app.services.shared import shared
from saeeval_core.config import derive_rng
from saeeval_core.errors import DataError
from saeeval_core.evaluation import prepare
from saeeval_core.evaluation.prepare import DirectionBoards
from saeeval_core.scores.area import shift_area, tpp_area
from saeeval_core.scores.contributions import random_sets, score_set
from saeeval_core.scores.shift import ShiftLatents, ShiftScore, shift_latents
from saeeval_core.scores.tpp import TppBoard, TppLatents, TppScore, tpp_latents
from saeeval_core.scores.uncertainty import Estimate, Scored, over_pairs
from saeeval_core.texts.tasks import DEV

Sets = tuple[tuple[int, ...], ...]
"""Latents ablated per class."""
ABLATIONS = ("mean", "zero")
"""What an ablated latent is set to; the first is the default, the second the paper's (``saeeval validate`` compares them)."""


@dataclass(frozen=True)
class NamedSet:
    """A set to compare with: ids, or why there is none."""

    name: str
    ids: tuple[int, ...] | None
    reason: str = ""


def parts(loaded: Loaded) -> tuple[int, ...]:
    """Parts that are scored under the protocol."""
    return prepare.scored_parts(loaded.protocol)


def live_part(loaded: Loaded) -> int:
    """The part shown while choosing: DEV, or TEST where the protocol has no dev part."""
    return DEV if DEV in prepare.scored_parts(loaded.protocol) else prepare.scored_parts(loaded.protocol)[0]


@shared(max_entries=64)
def shift_directions(loaded: Loaded) -> tuple[DirectionBoards, ...]:
    """Both directions of every pair with their boards (``.boards[DEV]``, ``.boards[TEST]``), in the task set's order.

    ``d.pair`` names the pair; ``d.task.target.column`` the target; ``d.boards[DEV].reason`` says why S is undefined.
    Empty when the task set has no SHIFT pair. DataError when a quadrant has too few texts.
    """
    return _shift_boards(loaded) if loaded.task_set.pairs else ()


def default_direction(loaded: Loaded, pair: str) -> DirectionBoards:
    """The pair's direction with the larger gap on dev (or test where the protocol has no dev)."""
    own = [d for d in shift_directions(loaded) if d.pair == pair]
    return max(own, key=lambda d: d.boards[live_part(loaded)].gap)


@shared(max_entries=64)
def shift_view(loaded: Loaded, pair: str, target: str, part: int) -> ShiftLatents:
    """Live scoring of sets for one direction (``target`` is its target column) on DEV or TEST."""
    direction = next((d for d in shift_directions(loaded) if d.pair == pair and d.task.target.column == target), None)
    if direction is None:
        raise DataError(f"no direction with target '{target}' for pair '{pair}'; choose one of the listed pairs")
    return shift_latents(loaded.residuals, loaded.latents, direction.boards[part], loaded.protocol)


def _probes_key(loaded: Loaded) -> Hashable:
    """Boards depend on the pass, the texts' labels and the settings, not on the SAE."""
    return (replace(loaded.config, saes=()), loaded.residuals.fingerprint)


@shared(max_entries=8, key=_probes_key)
def tpp_boards(loaded: Loaded) -> dict[int, TppBoard]:
    """Part -> board of all probes. DataError when the task set has no classes."""
    c = loaded.config
    task = loaded.task_set.tpp_task(seed=c.seed, protocol=loaded.protocol, per_cell=c.texts_per_cell)
    return prepare.tpp_boards(c, task, loaded.residuals, loaded.protocol)


@shared(max_entries=8, key=_probes_key)
def _shift_boards(loaded: Loaded) -> tuple[DirectionBoards, ...]:
    return tuple(prepare.shift_boards(loaded.config, loaded.task_set, loaded.residuals, loaded.protocol))


@shared(max_entries=24)
def tpp_view(loaded: Loaded, part: int) -> TppLatents:
    """Live TPP matrices (``.at(n)``, ``.score(sets)``) on DEV or TEST, zero ablation; ``.mean_ablated`` is the other.

    DataError when the task set has no classes.
    """
    return tpp_latents(loaded.latents, tpp_boards(loaded)[part])


@shared(max_entries=1024)
def set_score(view: ShiftLatents, ids: tuple[int, ...], ablation: str) -> ShiftScore:
    """Score of one set; kept, because several sessions and redraws ask for the same."""
    return score_set(view, ids, ablation)


@shared(max_entries=512)
def tpp_set_score(loaded: Loaded, part: int, sets: Sets, ablation: str) -> TppScore:
    """The matrix of one set per class under one of ABLATIONS; DataError when the task set has no classes."""
    view = tpp_view(loaded, part)
    return (view.mean_ablated if ablation == "mean" else view).score(sets)


def ranking(view: ShiftLatents, rank: str) -> np.ndarray:
    """Latent ids by falling effect on the attribute probe ("attribute") or on the biased probe ("base")."""
    return view.base_ranking if rank == "base" else view.attribute_ranking


@shared(max_entries=64)
def ranking_curve(
    view: ShiftLatents, rank: str, ablation: str, ns: tuple[int, ...]
) -> tuple[tuple[int, ShiftScore], ...]:
    """Scores of the top n for every n of ``ns`` that the ranking has latents for."""
    order = ranking(view, rank)
    ns = tuple(n for n in ns if n <= len(order))
    if not ns:
        return ()
    if ablation == "zero":
        return tuple(zip(ns, view.curve(order, ns), strict=True))
    return tuple((n, score_set(view, order[:n], ablation)) for n in ns)


@shared(max_entries=256)
def random_score(view: ShiftLatents, size: int, ablation: str) -> tuple[Estimate, np.ndarray]:
    """Random sets of that size: mean S over 5 fixed draws and its samples."""
    return random_sets(view, size, draws=5, rng=derive_rng(0, "random sets", size), ablation=ablation)


@shared(max_entries=32)
def shift_headline(loaded: Loaded, part: int) -> tuple[Estimate, str] | None:
    """(small-N area with mean ablation, mean over pairs, what was averaged); None without pairs."""
    return _mean_over_pairs(loaded, part, shift_area)


@shared(max_entries=32)
def shift_at(loaded: Loaded, n: int, part: int) -> tuple[Estimate, str] | None:
    """(S of the top n by attribution, zero ablation as in the paper, what was averaged); None without pairs."""
    n = min(n, loaded.latents.n_latents)
    return _mean_over_pairs(
        loaded, part, lambda view: set_score(view, tuple(int(i) for i in view.attribute_ranking[:n]), "zero")
    )


@shared(max_entries=32)
def tpp_headline(loaded: Loaded, part: int) -> tuple[Estimate, str] | None:
    """(small-N area with mean ablation, what was scored); None without classes or under redrawn negatives."""
    if loaded.task_set.tpp is None or loaded.protocol.redraw_negatives:
        return None
    return tpp_area(tpp_view(loaded, part)).score, f"{len(loaded.task_set.tpp[1])} classes of {loaded.task_set.tpp[0]}"


@shared(max_entries=32)
def tpp_at(loaded: Loaded, n: int, part: int) -> Estimate:
    """TPP score of the top n per class, zero ablation as in the paper."""
    return tpp_view(loaded, part).at(n).score


def _mean_over_pairs(loaded: Loaded, part: int, score: Callable[[ShiftLatents], Scored]) -> tuple[Estimate, str] | None:
    directions = shift_directions(loaded)
    if not directions:
        return None
    total = over_pairs([(d.pair, score(shift_view(loaded, d.pair, d.task.target.column, part))) for d in directions])
    note = f"mean over {total.pairs} pair(s)" + (
        f", {total.left_out} undefined direction(s) left out" if total.left_out else ", both directions"
    )
    return total.score, note
