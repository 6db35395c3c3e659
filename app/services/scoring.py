"""Boards of what is loaded, live scoring on them, and cached scores of sets for several sessions and redraws."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.services.loading import Loaded, written
from app.services.shared import shared
from saeeval_core.config import derive_rng
from saeeval_core.errors import DataError
from saeeval_core.evaluation.boards import Direction, Evaluation
from saeeval_core.evaluation.erased import erased_at
from saeeval_core.evaluation.prepare import evaluation_of
from saeeval_core.evaluation.result import Erasure
from saeeval_core.evaluation.select import TopByAttribution
from saeeval_core.evaluation.variants import Variants, shift_of_selector, tpp_of_selector
from saeeval_core.recordings.obtain import draw_of
from saeeval_core.scores.area import GRID
from saeeval_core.scores.contributions import random_sets
from saeeval_core.scores.erasure import Accuracies, Readable, ShiftErasure, TppErasure
from saeeval_core.scores.shift import ShiftLatents, ShiftScore
from saeeval_core.scores.survivors import Survivors, survivors
from saeeval_core.scores.tpp import TppBoard, TppLatents, TppScore
from saeeval_core.scores.uncertainty import OverPairs, Sampled
from saeeval_core.texts.parts import scored_parts
from saeeval_core.wording import plural

Sets = tuple[tuple[int, ...], ...]
"""Latents ablated per class."""


@dataclass(frozen=True)
class NamedSet:
    """A set to compare with: its ids, or the reason why there are none."""

    name: str
    ids: tuple[int, ...] | None
    reason: str = ""
    about: str = ""
    """What a short name stands for; for logs and reports too, where nothing explains it."""

    @property
    def whole_name(self) -> str:
        """The name that can stand alone."""
        return self.about or self.name


def parts(loaded: Loaded) -> tuple[int, ...]:
    """Parts that are scored under the protocol."""
    return scored_parts(loaded.protocol)


def live_part(loaded: Loaded) -> int:
    """The part shown while latents are chosen: DEV, or TEST where the protocol has no dev part."""
    return scored_parts(loaded.protocol)[0]


@shared(max_entries=64)
def shift_directions(loaded: Loaded) -> tuple[Direction, ...]:
    """Both directions of every pair with their boards (``.boards[DEV]``, ``.boards[TEST]``), in the task set's order.

    ``d.pair`` names the pair; ``d.task.target.column`` the target; ``d.boards[DEV].reason`` says why S is undefined.
    Empty when the task set has no SHIFT pair. DataError when a quadrant has too few texts.
    """
    return _directions(loaded)


def default_direction(loaded: Loaded, pair: str) -> Direction:
    """The pair's direction as the task names it; the other one where S is undefined in that and not in this."""
    part = live_part(loaded)
    named, *other = (d for d in shift_directions(loaded) if d.pair == pair)
    return next((d for d in (named, *other) if not d.boards[part].reason), named)


def wider_direction(loaded: Loaded, pair: str) -> Direction:
    """The pair's direction with the larger gap on the live part: what links opened before they named a target."""
    own = [d for d in shift_directions(loaded) if d.pair == pair]
    return max(own, key=lambda d: d.boards[live_part(loaded)].gap)


@shared(max_entries=64)
def shift_view(loaded: Loaded, pair: str, target: str, part: int) -> ShiftLatents:
    """Live scoring of sets for one direction (``target`` is its target column) on DEV or TEST."""
    return evaluation(loaded).shift_view(loaded.latents, _direction(loaded, pair, target), part)


@shared(max_entries=64)
def weakened(view: ShiftLatents, alpha: float) -> ShiftLatents:
    """``view`` with only this share of every ablated latent taken away; itself at 1."""
    return view if alpha == 1 else view.weakened(alpha)


def _direction(loaded: Loaded, pair: str, target: str) -> Direction:
    found = next((d for d in shift_directions(loaded) if d.pair == pair and d.task.target.column == target), None)
    if found is None:
        raise DataError(f"no direction with target '{target}' for pair '{pair}'; choose one of the listed pairs")
    return found


def _probes_key(loaded: Loaded) -> Hashable:
    """Boards depend on the pass, the texts' labels and the settings, not on the SAE."""
    return (replace(loaded.config, saes=()), loaded.residuals.fingerprint)


@shared(max_entries=8, key=_probes_key)
def evaluation(loaded: Loaded) -> Evaluation:
    """The boards of the pass, each made when it is first used."""
    return evaluation_of(loaded.config, draw_of(loaded.config, loaded.task_set), loaded.residuals)


@shared(max_entries=8, key=_probes_key)
def tpp_boards(loaded: Loaded) -> Mapping[int, TppBoard]:
    """Part -> board of all probes. DataError when the task set has no classes."""
    return evaluation(loaded).tpp_boards


@shared(max_entries=8, key=_probes_key)
def _directions(loaded: Loaded) -> tuple[Direction, ...]:
    return evaluation(loaded).directions


@shared(max_entries=24)
def tpp_view(loaded: Loaded, part: int) -> TppLatents:
    """Live TPP matrices (``.at(n)``, ``.score(sets)``) on DEV or TEST, zero ablation; ``.mean_ablated`` is the other.

    DataError when the task set has no classes.
    """
    tpp_boards(loaded)  # made once for all sessions
    return evaluation(loaded).tpp_view(loaded.latents, part)


@shared(max_entries=1024)
def set_score(view: ShiftLatents, ids: tuple[int, ...], ablation: str) -> ShiftScore:
    """Score of one set under one of ABLATIONS; cached, because several sessions and redraws need the same."""
    return view.under(ablation).score(ids)


@shared(max_entries=24)
def shift_erasure(loaded: Loaded, pair: str, target: str, part: int) -> ShiftErasure:
    """Fresh probes of one direction, as ``shift_view``; the first call for a pair takes longer than those after it."""
    direction = _direction(loaded, pair, target)
    return evaluation(loaded).shift_erasure(loaded.latents, direction, part)


@shared(max_entries=1024)
def fresh(view: ShiftErasure, ids: tuple[int, ...], alpha: float = 1.0) -> Readable:
    """What fresh probes still read after ablating this share of a set: the same under every one of ABLATIONS."""
    return view.score(ids, alpha)


def sizes_of_edits(
    loaded: Loaded, pair: str, target: str, part: int, ids: Sequence[int], ns: Sequence[int], alpha: float = 1.0
) -> list[float]:
    """Share of whitened variance that ablating the first n latents takes away, for each of ``ns``."""
    scored = shift_erasure(loaded, pair, target, part).codes.edits(ids, alpha)[1]
    return _direction(loaded, pair, target).pair_fresh.whitening.edit_sizes(scored, ns)


@shared(max_entries=8)
def shift_survivors(loaded: Loaded, pair: str, target: str, part: int) -> Survivors:
    """Fresh probes on the exact parts of the residuals, as ``shift_erasure``."""
    board, whole = _direction(loaded, pair, target).boards[part], shift_erasure(loaded, pair, target, part)
    return survivors(loaded.residuals, loaded.latents, board, whole, written(loaded))


@shared(max_entries=24)
def tpp_erasure(loaded: Loaded, part: int) -> TppErasure:
    """Fresh one-vs-rest probes. DataError when the task set has no classes."""
    tpp_boards(loaded)  # made once for all sessions
    return evaluation(loaded).tpp_erasure(loaded.latents, part)


@shared(max_entries=512)
def fresh_matrix(view: TppErasure, sets: Sets) -> TppScore:
    """The matrix of fresh probes of one set per class."""
    return view.of_rows([fresh_row(view, ids) for ids in sets], tuple(map(len, sets)))


@shared(max_entries=256)
def fresh_row(view: TppErasure, ids: tuple[int, ...]) -> Accuracies:
    """One row of it: a press on the latents of one class leaves the others as they are."""
    return view.row(ids)


def tpp_ablating(loaded: Loaded, part: int, ablation: str) -> TppLatents:
    """``tpp_view`` under one of ABLATIONS."""
    return tpp_view(loaded, part).under(ablation)


@shared(max_entries=512)
def tpp_set_score(loaded: Loaded, part: int, sets: Sets, ablation: str) -> TppScore:
    """The matrix of one set per class under one of ABLATIONS; DataError when the task set has no classes."""
    return tpp_ablating(loaded, part, ablation).score(sets)


def ranking(view: ShiftLatents, rank: str) -> np.ndarray:
    """int64[ranked]: latent ids by falling |I| of the attribute probe ("attribute") or of C_b ("base")."""
    return view.base_ranking if rank == "base" else view.attribute_ranking


@shared(max_entries=64)
def ranking_curve(
    view: ShiftLatents, rank: str, ablation: str, ns: tuple[int, ...]
) -> tuple[tuple[int, ShiftScore], ...]:
    """(n, score of the top n) for every n of ``ns`` that is not beyond the ranking."""
    order = ranking(view, rank)
    ns = tuple(n for n in ns if n <= len(order))
    if not ns:
        return ()
    return tuple(zip(ns, view.under(ablation).curve(order, ns), strict=True))


@shared(max_entries=256)
def random_score(view: ShiftLatents, size: int, ablation: str) -> Sampled:
    """Mean S over 5 fixed draws of random sets of that size."""
    return random_sets(view.under(ablation), size, draws=5, rng=derive_rng(0, "random sets", size))


@shared(max_entries=32)
def shift_variants(loaded: Loaded, part: int) -> Variants[OverPairs] | None:
    """SHIFT over pairs of the top N by attribution, every N of the area; None without pairs."""
    if not shift_directions(loaded):
        return None
    return shift_of_selector(evaluation(loaded), loaded.latents, GRID, TopByAttribution(), part)


@shared(max_entries=32)
def tpp_variants_of(loaded: Loaded, part: int) -> Variants[TppScore] | None:
    """The same of TPP; None without classes or under redrawn negatives."""
    if not evaluation(loaded).tpp_is_live:
        return None
    tpp_boards(loaded)  # made once for all sessions
    return tpp_of_selector(evaluation(loaded), loaded.latents, GRID, TopByAttribution(), part)


@shared(max_entries=32)
def erased(loaded: Loaded, metric: str, n: int) -> Erasure | None:
    """What fresh probes read on test of the top n by attribution, SHIFT over pairs; None for a metric that has none."""
    return erased_at(evaluation(loaded), loaded.latents, metric, n)


def averaged(total: OverPairs) -> str:
    """What a mean over pairs averages, in words."""
    left = f", {plural(total.left_out, 'undefined direction')} left out" if total.left_out else ", both directions"
    return f"mean over {plural(total.pairs, 'pair')}{left}"
