"""The numbers over the TPP matrix: the score of old probes, and what fresh ones read as soon as they are read."""

from dataclasses import dataclass

from app.deciding.tpp_page import TppPage
from app.services import fresh_matrix
from app.services.fresh_matrix import StillMatrix
from saeeval_core.scores.tpp import TppScore
from saeeval_core.scores.uncertainty import Estimate, difference, separable, value_and_interval

LOST = "share of accuracy above chance lost"
READ_ANEW = "(clean \u2212 after) / (clean \u2212 .5) of a fresh probe ({}), fitted on the ablated training texts"


@dataclass(frozen=True)
class NumberCard:
    """One headline number."""

    label: str
    value: str
    ci: str
    how: str


def read_anew(page: TppPage) -> StillMatrix | None:
    """What fresh probes read of the sets on screen; None while the background reads it."""
    if not any(page.ids):
        return StillMatrix(problem="no latent of any class is ablated")
    return fresh_matrix.still_matrix(page.desk.name, page.loaded, page.part, page.ids)


def number_cards(
    page: TppPage, before: TppScore | None, still: StillMatrix | None, *, fresh: bool = False
) -> tuple[NumberCard, ...]:
    """Headline numbers with intervals, and the change from what was shown before.

    ``still``: what ``read_anew`` says; with ``fresh`` the two means are those of the fresh probes. A judge's set that
    keeps no latent of any class is a state, not a score of 0.
    """
    name, score, nothing = page.part_name, page.score, page.sets.nothing
    if nothing:
        how = "no latent of any class passes the judge's rule, so there is nothing to score"
        return (NumberCard(f"TPP score ({name})", "n/a", nothing, how),)
    over = f"; 95 % interval over {name} texts"
    anew = _anew_cards(name, still, over)
    cards = [
        _card(f"TPP score ({name})", score.score, f"mean of the diagonal minus mean of the rest{over}"),
        anew[0],
        *(anew[1:] if fresh else _mean_cards(score, over)),
    ]
    if before is not None and before is not score:
        change = difference(score, before)
        words = "" if change.value is None or separable(change) else " not separable"
        how = f"score now minus the score shown before, paired over the same resampled texts{over}"
        cards.append(_card("Change", change, how, signed=True, more=words))
    return tuple(cards)


def _mean_cards(score: TppScore, over: str) -> list[NumberCard]:
    intended, unintended = (
        "mean loss of the probe whose own class's latents are ablated",
        "mean loss of the other probes",
    )
    return [
        _card("Diagonal: intended", score.intended, f"{intended}{over}"),
        _card("Off the diagonal: unintended", score.unintended, f"{unintended}{over}"),
    ]


def _anew_cards(name: str, still: StillMatrix | None, over: str) -> list[NumberCard]:
    """Score, diagonal and rest of the matrix of fresh probes."""
    labels = f"TPP, fresh probes ({name})", "Diagonal, fresh probes", "Off the diagonal, fresh probes"
    if still is None or still.score is None:
        value, why = ("\u2026", "reading") if still is None else ("n/a", still.problem)
        return [NumberCard(label, value, why, "what probes fitted after the ablation still read") for label in labels]
    s, share = still.score, f"of the {LOST}, {READ_ANEW.format(still.reader)}{over}"
    return [
        _card(labels[0], s.score, f"mean of the diagonal minus mean of the rest {share}"),
        _card(labels[1], s.intended, f"mean {share}, of the class whose own latents are ablated"),
        _card(labels[2], s.unintended, f"mean {share}, of the other classes"),
    ]


def _card(label: str, e: Estimate, how: str, *, signed: bool = False, more: str = "") -> NumberCard:
    value, interval = value_and_interval(e, signed=signed)
    if e.value is None:
        return NumberCard(label, value, interval, how)
    return NumberCard(label, value.replace("-", "−"), interval.replace("-", "−") + more, how)
