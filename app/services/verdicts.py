"""Verdicts on the loaded SAE's latents: every rater's current one, explanations to show, and people's own ratings."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from app.services import ledger, scoring
from app.services.evidence import evidence_of
from app.services.loading import Loaded
from app.services.shared import shared
from saeeval_core.config import derive_rng
from saeeval_core.judging.agreement import Conflict, ratings_by_rater
from saeeval_core.judging.trusted import Trust, trust
from saeeval_core.judging.verdict_files import load_shipped_verdicts
from saeeval_core.ledger.connection import default_path
from saeeval_core.ledger.store import PressId
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.recordings.known_saes import recorded_sae
from saeeval_core.scores.selections import Rule

ADJUDICATED = "adjudicated"
"""The rater under whose name rulings on conflicts are kept, whoever made them."""
GIVEN_BY = {"human": "person", "llm": "LLM", "imported": "imported", "local": "offline judge"}
"""Kind of a rater, in words."""
_OLD_WORDS = "(word list, not a reading)", "(token list, no explanation)"
"""What LocalJudge wrote in earlier versions, and what it writes now; shipped and stored verdicts keep what was written."""
BLIND_SHIFT, BLIND_TPP = 15, 10
"""Number of latents of each SHIFT and each TPP ranking that are offered for blind rating."""


def current(loaded: Loaded) -> list[Verdict]:
    """The current verdict of every rater on this SAE's latents, for these texts."""
    return _current(loaded, newest(loaded))


def newest(loaded: Loaded) -> int:
    """Changes with every verdict on this SAE; the cache key of everything derived from verdicts."""
    _ship_verdicts(str(default_path()), loaded)
    return ledger.store().newest_verdict(loaded.latents.sae_fingerprint)


def by_standing(given: Iterable[Verdict]) -> list[Verdict]:
    """In the order of display: people's, LLMs', imported ones, then the offline judge's word lists."""
    order = ("human", "llm", "imported", "local")
    return sorted(given, key=lambda v: order.index(v.rater_kind))


def latents_named(loaded: Loaded) -> dict[int, tuple[str, str]]:
    """Latent -> (explanation, who gave it), of the first usable verdict in the order of ``by_standing``."""
    return _named(loaded, newest(loaded))


def cells(loaded: Loaded) -> dict[str, dict[tuple[int | str, str], int]]:
    """Rater -> {(latent, concept): rating} of all ratings given."""
    return ratings_by_rater(current(loaded))


def trust_in(loaded: Loaded, rater: str, rule: Rule) -> Trust | None:
    """How far a judge agrees with people's decisions and others' labels; None where it has rated nothing here."""
    if not any(v.rater == rater and v.ok and v.ratings for v in current(loaded)):
        return None
    return trust(ledger.store(), recorded_sae(loaded.latents), loaded.task_set, rater, rule=rule)


def rate(
    loaded: Loaded,
    latent: int,
    who: str,
    ratings: Mapping[str, int],
    explanation: str = "",
    reason: str = "",
    press: PressId | None = None,
) -> None:
    """Store a person's verdict on one latent, with the hash of the evidence that is shown for it; once for a press."""
    about = (loaded.latents.sae_fingerprint, loaded.latents.sae, loaded.task_set.texts.name)
    shown = evidence_of(loaded, latent).hash
    verdict = Verdict(latent, *about, who, "human", dict(ratings), explanation, reason, evidence_hash=shown)
    with ledger.store().once(press) as fresh:
        if fresh:
            ledger.store().add_verdicts([verdict])


def settle(
    loaded: Loaded, conflict: Conflict, rating: int, who: str, between: tuple[str, str], press: PressId | None = None
) -> None:
    """Store a person's ruling on one conflict of two raters under ADJUDICATED, with earlier rulings on that latent.

    All rulings share one rater name, so that two of them never count as a conflict of raters; the reason says who
    ruled.
    """
    done = cells(loaded).get(ADJUDICATED, {})
    kept = {concept: r for (latent, concept), r in done.items() if latent == conflict.item}
    own = [v for v in current(loaded) if v.latent == conflict.item and v.rater in between]
    reason = f"settled by {who} between {between[0]} and {between[1]}"
    ruling = kept | {conflict.concept: rating}
    rate(loaded, int(conflict.item), ADJUDICATED, ruling, own[0].explanation if own else "", reason, press)


@shared(max_entries=32)
def blind_queue(loaded: Loaded, who: str) -> list[int]:
    """Top candidates of every ranking, shuffled per person, so that their order gives nothing away."""
    part, found = scoring.live_part(loaded), []
    for d in scoring.shift_directions(loaded):
        view = scoring.shift_view(loaded, d.pair, d.task.target.column, part)
        found += [int(i) for i in view.attribute_ranking[:BLIND_SHIFT]]
    if loaded.task_set.tpp is not None:
        for ranking in scoring.tpp_view(loaded, part).rankings:
            found += [int(i) for i in ranking[:BLIND_TPP]]
    unique = np.array(list(dict.fromkeys(found)), dtype=int)
    return derive_rng(0, "blind", who).permutation(unique).tolist()


@shared(max_entries=16)
def _named(loaded: Loaded, _newest: int) -> dict[int, tuple[str, str]]:
    found: dict[int, tuple[str, str]] = {}
    for v in by_standing(current(loaded)):
        if v.ok and v.explanation and v.latent not in found:
            found[v.latent] = (v.explanation, f"explained by {v.rater} \u00b7 {GIVEN_BY[v.rater_kind]}")
    return found


@shared(max_entries=16)
def _current(loaded: Loaded, _newest: int) -> list[Verdict]:
    every = ledger.store().verdicts(loaded.latents.sae_fingerprint, task=loaded.task_set.texts.name)
    here = [v for v in every if v.latent < loaded.latents.n_latents]  # an import of an earlier version was not checked
    return [replace(v, explanation=v.explanation.replace(*_OLD_WORDS)) for v in here]


@shared(max_entries=32)
def _ship_verdicts(_store_path: str, loaded: Loaded) -> int:
    """Put the verdicts that come with the bundle into the store, once."""
    return load_shipped_verdicts(ledger.own_store(), loaded.latents)
