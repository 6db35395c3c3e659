"""Commit a stored set by its name: its direction or classes are looked up on the texts, and it is scored on test."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from saeeval_core.errors import DataError, unknown_name
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.ledger.commits import ShiftCommit, TppCommit, Under, commit_shift, commit_tpp, nothing_ablated
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.places import Place, new_set, say_left_out, shift_place, tpp_place
from saeeval_core.ledger.store import Store
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.scores.tpp_cells import chosen_sets
from saeeval_core.texts.parts import TEST


def named_set(store: Store, name: str, who: str) -> DecisionSet:
    """The set with this number, or else the one of this name: that person's own if there is one.

    A first set is called "mine" wherever it was made, so a name may mean several. DataError lists those it could mean.
    """
    sets = store.list_sets()
    for s in sets:
        if str(s.id) == name:
            return s
    named = [s for s in sets if s.name == name]
    found = [s for s in named if s.who == who] or named
    if not found:
        known = dict.fromkeys(f"{s.name} ({s.who})" for s in sets)
        raise DataError(unknown_name("decision set", name, known, "give its name or its number"))
    if len({_belongs(s) for s in found}) > 1:
        listed = "; ".join(f"{s.id}: {s.metric.upper()}, {s.task}, {s.direction}, {s.who}" for s in found)
        raise DataError(f"several decision sets are called '{name}' ({listed}); give the number of one")
    return found[-1]


def _belongs(s: DecisionSet) -> tuple[str, ...]:
    """Sets of one name with the same of these are one choice: in TPP the classes belong together."""
    return (s.metric, s.task, s.sae_fingerprint, s.who, s.direction if s.metric == "shift" else "")


def commit_set(
    store: Store,
    evaluation: Evaluation,
    latents: LatentRecording,
    chosen: DecisionSet,
    who: str,
    *,
    ablation: str,
    n: int,
) -> ShiftCommit | TppCommit:
    """Score a set on test as it is now, and store the result with it.

    A set of TPP is committed with the sets of the same name and person for the other classes, each as changes to the
    top ``n`` of its class; a class without one gets an empty set. DataError where the set belongs to another SAE or
    other texts, or to somebody else. Latents beyond the SAE's width are left out, with a notice.
    """
    store.check_owner(chosen.id, who)
    if chosen.metric == "tpp":
        return _commit_tpp(store, evaluation, latents, chosen, who, ablation, n)
    texts = evaluation.draw.task_set.texts.name
    for d in evaluation.directions:
        if shift_place(texts, d.pair, d.task.direction, latents).holds(chosen):
            _say_left_out(store, [chosen], latents)
            view, ids = evaluation.shift_view(latents, d, TEST), store.ablated(chosen.id, latents.n_latents)
            under = Under(ablation, evaluation.protocol.name, evaluation.seed)
            fresh = evaluation.shift_erasure(latents, d, TEST), d.pair_fresh.whitening
            return commit_shift(store, chosen, who, view, *fresh, ids, under)
    raise elsewhere(chosen, latents, texts)


def _commit_tpp(
    store: Store, evaluation: Evaluation, latents: LatentRecording, chosen: DecisionSet, who: str, ablation: str, n: int
) -> TppCommit:
    view = evaluation.tpp_view(latents, TEST)
    classes = class_sets(store, evaluation, latents, chosen, view.rankings, n)
    if not any(map(len, classes.ids)):
        raise nothing_ablated()
    sets = [
        s or new_set(store, p, chosen.who, chosen.name) for s, p in zip(classes.stored, classes.places, strict=True)
    ]
    under = Under(ablation, evaluation.protocol.name, evaluation.seed)
    fresh = evaluation.tpp_erasure(latents, TEST), evaluation.tpp_whitening
    return commit_tpp(store, sets, who, view, *fresh, classes.ids, n, under)


@dataclass(frozen=True)
class ClassSets:
    """The sets of one name and person, in the order of the classes."""

    places: list[Place]
    stored: list[DecisionSet | None]
    """None for a class on which nothing was decided."""
    ids: list[tuple[int, ...]]
    """Latents ablated: each set as changes to the top of its class's ranking."""


def class_sets(
    store: Store,
    evaluation: Evaluation,
    latents: LatentRecording,
    chosen: DecisionSet,
    rankings: Sequence[np.ndarray],
    n: int,
) -> ClassSets:
    """The stored set of TPP with those of the other classes, as changes to the first ``n`` of each ranking int[eligible].

    DataError where the set belongs to another SAE or other texts. Latents beyond the SAE's width are left out, with a
    notice.
    """
    texts = evaluation.draw.task_set.texts.name
    places = [tpp_place(texts, name, latents) for name in evaluation.tpp_task.classes]
    if not any(place.holds(chosen) for place in places):
        raise elsewhere(chosen, latents, texts)
    same = [s for s in store.list_sets(metric="tpp") if (s.name, s.who) == (chosen.name, chosen.who)]
    found = [next((s for s in reversed(same) if place.holds(s)), None) for place in places]
    _say_left_out(store, [s for s in found if s], latents)
    decisions = [store.decisions(s.id, latents.n_latents) if s else {} for s in found]
    return ClassSets(places, found, chosen_sets(rankings, n, decisions))


def _say_left_out(store: Store, sets: Sequence[DecisionSet], latents: LatentRecording) -> None:
    for s in sets:
        say_left_out(s.name, store.beyond(s.id, latents.n_latents), latents.n_latents)


def elsewhere(chosen: DecisionSet, latents: LatentRecording, texts: str) -> DataError:
    """The error for a set that does not belong to these texts (their name) and this SAE."""
    return DataError(
        f"set '{chosen.name}' was made on '{chosen.task}' ({chosen.direction}), not on '{texts}' with SAE '{latents.sae}'; "
        "choose its SAE and texts with --sae and --task"
    )
