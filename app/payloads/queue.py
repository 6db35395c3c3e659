"""Rows of the queue: candidate latents in the order of their effect, with everything they are filtered and sorted by."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from app.services import scoring, searched, verdicts
from app.services.evidence import tokens_of
from app.services.loading import Loaded
from app.services.shared import shared
from saeeval_core.config import fingerprint
from saeeval_core.judging.verdict import contrast_concepts
from saeeval_core.scores.shift import ShiftLatents
from saeeval_core.texts.parts import TRAIN

SHOWN = 100
"""Candidates listed; latents decided on are always among them."""

ALIKE = 0.6
"""Correlation of pooled activations from which two candidates count as near-duplicates: they fire on the same texts."""


class Row(NamedTuple):
    """One latent of the queue; an array in JSON, because there are hundreds."""

    latent: int
    rank: int
    explanation: str
    effect: float
    density: float
    target: int | None
    """Highest rating of the target's concepts."""
    spurious: int | None
    """The same of the spurious label's."""
    ratings: str
    """In words."""
    alike: int
    """The strongest of its near-duplicates; itself where it has none."""
    words: str
    """What a search looks through (``searched.words_of``)."""


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
    target, spurious, text = _ratings(loaded, view, verdicts.newest(loaded)).get(latent, (None, None, ""))
    return Row(
        latent,
        place.get(latent, len(place)) + 1,
        what,
        float(effect[latent]),
        float(loaded.latents.density[latent]),
        target,
        spurious,
        text,
        _alike(loaded, view, rank).get(latent, latent),
        searched.words_of(loaded, [latent])[0],
    )


@shared(max_entries=64)
def _alike(loaded: Loaded, view: ShiftLatents, rank: str) -> dict[int, int]:
    """latent -> the strongest of its near-duplicates among the candidates, by the training texts of the direction.

    From the strongest down: a latent joins the first one that it correlates with at ALIKE or more and that has joined
    none itself, so that no chain of likeness makes one group of latents that fire on different texts.
    """
    top = [int(i) for i in scoring.ranking(view, rank)[:SHOWN]]
    task = view.board.task
    pooled = loaded.latents.latents[:, top][task.rows[task.part == TRAIN]].toarray().astype(np.float64)
    varies = pooled.std(axis=0) > 0
    likeness = np.zeros((len(top), len(top)))
    if varies.sum() > 1:
        likeness[np.ix_(varies, varies)] = np.corrcoef(pooled[:, varies].T)
    first = list(range(len(top)))
    for k in range(len(top)):
        first[k] = next((j for j in range(k) if first[j] == j and likeness[k, j] >= ALIKE), k)
    return {latent: top[first[k]] for k, latent in enumerate(top)}


@shared(max_entries=64)
def _places(view: ShiftLatents, rank: str) -> dict[int, int]:
    return {int(i): k for k, i in enumerate(scoring.ranking(view, rank))}


@shared(max_entries=64)
def _ratings(loaded: Loaded, view: ShiftLatents, _newest_verdict: int) -> dict[int, tuple[int | None, int | None, str]]:
    """latent -> (target's, spurious label's rating, in words), as the judge of best standing gave it.

    The rating of a label is the highest of its concepts. A failed verdict is "no verdict", never 0.
    """
    task = view.board.task
    sides = [contrast_concepts(loaded.task_set, c) for c in (task.target, task.spurious)]
    out: dict[int, tuple[int | None, int | None, str]] = {}
    for v in verdicts.by_standing(verdicts.current(loaded)):
        if v.rater_kind == "human" or v.latent in out and out[v.latent][:2] != (None, None):
            continue
        if not v.ok:
            out.setdefault(v.latent, (None, None, "no verdict"))
            continue
        own = {k: r for k, r in v.ratings.items() if any(k in side for side in sides)}
        if own:
            target, spurious = (max((own[k] for k in side if k in own), default=None) for side in sides)
            out[v.latent] = target, spurious, ", ".join(f"{k} {r} of 4" for k, r in own.items())
    return out
