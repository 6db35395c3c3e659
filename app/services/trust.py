"""Controls, and intervals that also vary the training texts, of what is on a page. Each takes seconds."""

from app.services import access, scoring
from app.services.loading import Loaded
from app.services.shared import shared
from saeeval_core.controls import attach
from saeeval_core.controls.controls import shift_controls, tpp_controls
from saeeval_core.controls.own_controls import own_controls
from saeeval_core.controls.refits import RefitScore, shift_refits, tpp_refits
from saeeval_core.controls.rival_results import OnStep, Places, Rivals, count_steps, kept_rivals, own_scores, rivals_of
from saeeval_core.evaluation.prepare import Prepared
from saeeval_core.evaluation.result import Control, Placed
from saeeval_core.evaluation.select import TopByAttribution
from saeeval_core.recordings.general_text import GeneralText, general_text
from saeeval_core.scores.shift import ShiftLatents, ShiftScore
from saeeval_core.scores.tpp import TppLatents, TppScore
from saeeval_core.scores.uncertainty import Estimate


def controls_at_hand(loaded: Loaded) -> list[Placed] | None:
    """Stored controls of the headline scores on test; None when they have not been made yet."""
    try:
        return _kept_controls(loaded)
    except LookupError:
        return None


def make_controls(loaded: Loaded) -> list[Placed]:
    """Score and store the controls of the headline scores: seconds of work."""
    return attach.controls_of(_prepared(loaded), loaded.latents)


def make_own_controls(loaded: Loaded) -> Rivals:
    """Controls made from the SAE itself, at the headline scores; a read-only server stores nothing."""
    made = own_controls(_prepared(loaded), loaded.latents, keep=not access.rules().read_only)
    headline_scores(loaded)
    return made


def rivals_at_hand(loaded: Loaded) -> Rivals | None:
    """Stored rivals of the task; None when they have not been scored yet."""
    try:
        return _kept_rivals(loaded)
    except LookupError:
        return None


def make_rivals(loaded: Loaded, on_step: OnStep) -> Rivals:
    """Score and store the rivals: a minute of work or more. ``on_step`` as in ``rivals_of``."""
    return rivals_of(_prepared(loaded), _general(loaded)[0], on_step=on_step)


def rival_steps(loaded: Loaded) -> int:
    """How often ``make_rivals`` calls ``on_step``, about."""
    return count_steps(_prepared(loaded), _general(loaded)[0])


@shared(max_entries=16)
def _kept_rivals(loaded: Loaded) -> Rivals:
    found = kept_rivals(_prepared(loaded), _general(loaded)[0])
    if found is None:
        raise LookupError  # errors are not cached, so the next call looks again
    return found


@shared(max_entries=16)
def headline_scores(loaded: Loaded) -> Places:
    """The headline scores of the top N by attribution on test, with E, to be compared in pairs."""
    return own_scores(_prepared(loaded), loaded.latents, TopByAttribution())


@shared(max_entries=16)
def _general(loaded: Loaded) -> tuple[GeneralText | None]:
    # In a tuple: that there is none is remembered too, because looking takes a second.
    return (general_text(loaded.config, loaded.residuals.key.hook),)


@shared(max_entries=16)
def _kept_controls(loaded: Loaded) -> list[Placed]:
    found = attach.kept_controls(_prepared(loaded), loaded.latents)
    if found is None:
        raise LookupError  # errors are not cached, so the next call looks again
    return found


def _prepared(loaded: Loaded) -> Prepared:
    """What ``saeeval run`` would score for the same settings."""
    return Prepared(loaded.config, scoring.evaluation(loaded), [loaded.latents])


@shared(max_entries=64)
def shift_set_controls(loaded: Loaded, view: ShiftLatents, ids: tuple[int, ...], ablation: str) -> list[Control]:
    """Controls of one set in one direction."""
    return shift_controls(loaded.residuals, view, loaded.protocol, ids, ablation, seed=loaded.config.seed)


@shared(max_entries=64)
def shift_retrained(loaded: Loaded, view: ShiftLatents, ids: tuple[int, ...]) -> Estimate:
    """SHIFT + retrain: S of a new probe, trained on texts after zero ablation of these latents."""
    return view.board.retrain_score(loaded.residuals, loaded.latents, ids)


@shared(max_entries=64)
def tpp_set_controls(loaded: Loaded, part: int, sets: tuple[tuple[int, ...], ...], ablation: str) -> list[Control]:
    """Controls of one set per class."""
    return tpp_controls(loaded.residuals, scoring.tpp_view(loaded, part), sets, ablation, seed=loaded.config.seed)


@shared(max_entries=64)
def shift_set_refits(
    loaded: Loaded, view: ShiftLatents, ids: tuple[int, ...], n: int, rank: str, ablation: str
) -> list[RefitScore]:
    """[this set, top n of the ranking] with intervals that also vary the training texts; each refit ranks anew."""

    def scores(own: ShiftLatents) -> list[ShiftScore]:
        own = own.under(ablation)
        return [own.score(ids), own.score(scoring.ranking(own, rank)[:n])]

    boards = [("", view.board)]
    return shift_refits(loaded.residuals, [loaded.latents], boards, loaded.protocol, scores, seed=loaded.config.seed)[0]


@shared(max_entries=64)
def tpp_set_refits(
    loaded: Loaded, part: int, sets: tuple[tuple[int, ...], ...], n: int, ablation: str
) -> list[RefitScore]:
    """[these sets, top n per class], as ``shift_set_refits``."""

    def scores(own: TppLatents) -> list[TppScore]:
        own = own.under(ablation)
        return [own.score(sets), own.at(n)]

    return tpp_refits(
        loaded.residuals, [loaded.latents], scoring.tpp_view(loaded, part).board, scores, seed=loaded.config.seed
    )[0]
