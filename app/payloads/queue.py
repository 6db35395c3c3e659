"""Rows of the queue: candidate latents in the order of their effect, with everything they are filtered and sorted by."""

from collections.abc import Iterable

from app.services import scoring, verdicts
from app.services.evidence import tokens_of
from app.services.loading import Loaded
from app.services.shared import shared
from saeeval_core.config import fingerprint
from saeeval_core.judging.verdict import contrast_concepts
from saeeval_core.scores.shift import ShiftLatents

SHOWN = 100
"""Candidates listed; latents decided on are always among them."""

Row = tuple[int, int, str, float, float, int | None, str]
"""id, rank, explanation, effect, density, highest rating, ratings as text"""


def queue_rows(loaded: Loaded, view: ShiftLatents, rank: str, decided: Iterable[int]) -> tuple[list[Row], str]:
    """The first SHOWN latents of the ranking and, after them, decided latents from further down; and the rows' hash.

    A changed hash means that the browser must get the rows again.
    """
    rows, hash_, shown = _top_rows(loaded, view, rank, verdicts.newest(loaded))
    place = _places(view, rank)
    more = sorted(set(decided) - shown, key=lambda i: place.get(i, len(place)))
    if not more:
        return rows, hash_
    rows = [*rows, *(_row(loaded, view, rank, i) for i in more)]
    return rows, fingerprint([hash_, more])


@shared(max_entries=64)
def _top_rows(
    loaded: Loaded, view: ShiftLatents, rank: str, _newest_verdict: int
) -> tuple[list[Row], str, frozenset[int]]:
    top = [int(i) for i in scoring.ranking(view, rank)[:SHOWN]]
    rows = [_row(loaded, view, rank, i) for i in top]
    return rows, fingerprint(rows), frozenset(top)


def _row(loaded: Loaded, view: ShiftLatents, rank: str, latent: int) -> Row:
    named = verdicts.latents_named(loaded).get(latent)
    what = named[0] if named else tokens_of(loaded, latent)
    effect = view.base_effect if rank == "base" else view.attribute_effect
    place = _places(view, rank)
    rating, text = _ratings(loaded, view, verdicts.newest(loaded)).get(latent, (None, ""))
    return (
        latent,
        place.get(latent, len(place)) + 1,
        what,
        float(effect[latent]),
        float(loaded.latents.density[latent]),
        rating,
        text,
    )


@shared(max_entries=64)
def _places(view: ShiftLatents, rank: str) -> dict[int, int]:
    return {int(i): k for k, i in enumerate(scoring.ranking(view, rank))}


@shared(max_entries=64)
def _ratings(loaded: Loaded, view: ShiftLatents, _newest_verdict: int) -> dict[int, tuple[int | None, str]]:
    """latent -> (highest rating of the pair's own concepts, "gender 4/4"), as the judge of best standing gave it.

    A failed verdict is "no verdict", never 0.
    """
    task = view.board.task
    concepts = {name for c in (task.target, task.spurious) for name in contrast_concepts(loaded.task_set, c)}
    out: dict[int, tuple[int | None, str]] = {}
    for v in verdicts.by_standing(verdicts.current(loaded)):
        own = {k: r for k, r in v.ratings.items() if k in concepts}
        if v.rater_kind == "human" or out.get(v.latent, (None, ""))[0] is not None:
            continue
        if not v.ok:
            out.setdefault(v.latent, (None, "no verdict"))
        elif own:
            concept, value = max(own.items(), key=lambda p: p[1])
            out[v.latent] = (value, f"{concept} {value}/4" if value else "0/4")
    return out
