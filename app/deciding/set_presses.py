"""Presses on whole sets: new, duplicated, renamed (SHIFT's and TPP's), reset, saved under a name, imported.

Each is stored in one transaction with all it does, so a repeat does nothing: then the answer is None.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.deciding.class_refs import NUMBERED
from app.deciding.class_sets import ClassSets
from app.deciding.desk import tpp_place
from app.deciding.presses import LONGEST_REASON
from app.services.loading import Loaded
from saeeval_core.errors import DataError
from saeeval_core.formats.decision_sets import ExportedSet
from saeeval_core.ledger.decisions import RESET, DecisionSet, Step
from saeeval_core.ledger.places import Place, new_set, open_set, own_set, reset
from saeeval_core.ledger.store import PressId, Store
from saeeval_core.wording import plural

IMPORTED = "imported:"
"""Start of the reason of decisions that came from a file."""
RESET_TO_TOP = f"{RESET}top "
"""Start of the reason of decisions that follow a ranking."""
SEARCHED = "found by greedy search"
"""Start of the name of a set that was searched, and of the reason of its decisions: nobody judged them."""
LONGEST_NAME = 80
"""Characters of a set's name."""


@dataclass(frozen=True)
class Imported:
    """What an import stored."""

    first: DecisionSet
    """The new set, in TPP that of the first class that has decisions."""
    stored: int
    """Latents that are decided now."""
    steps: int
    """Steps of the file's log that were stored; 0 where it has none."""
    notes: tuple[str, ...]
    """One line for each reason why decisions were left out."""


def new(store: Store, press: PressId, place: Place, name: str) -> DecisionSet | None:
    """An empty set."""
    with store.once(press) as fresh:
        return new_set(store, place, press.who, name.strip() or "new set") if fresh else None


def found_by_search(store: Store, press: PressId, place: Place, ids: Iterable[int], what: str) -> DecisionSet | None:
    """A set that ablates what a search for ``what`` found; its name and every decision's reason say so."""
    with store.once(press) as fresh:
        if not fresh:
            return None
        how = f"{SEARCHED} ({what})"
        taken = _names(store, place, press.who)
        name = next(n for n in (how, *(f"{how} {k}" for k in range(2, len(taken) + 3))) if n not in taken)
        return new_set(store, place, press.who, name, dict.fromkeys(ids, "ablate"), how)


def duplicate(store: Store, press: PressId, place: Place, choice: str, name: str, n_latents: int) -> DecisionSet | None:
    """A set of one's own that starts as the chosen one, whoever's that is."""
    with store.once(press) as fresh:
        if not fresh:
            return None
        source = open_set(store, place, press.who, choice)
        return store.duplicate_set(source.id, name.strip() or f"copy of {source.name}", press.who, n_latents)


def rename(store: Store, press: PressId, place: Place, choice: str, name: str) -> DecisionSet | None:
    """Another name for one's own set. DataError for an empty name or a set of somebody else."""
    with store.once(press) as fresh:
        if not fresh:
            return None
        return store.rename_set(own_set(store, place, press.who, choice).id, name, press.who)


def reset_to(
    store: Store, press: PressId, place: Place, choice: str, ids: Iterable[int], reason: str, n_latents: int
) -> None:
    """One's own set ablates exactly these latents. DataError for a set of somebody else."""
    with store.once(press) as fresh:
        if fresh:
            reset(store, own_set(store, place, press.who, choice).id, press.who, ids, reason, n_latents)


def save_as(store: Store, press: PressId, loaded: Loaded, sets: ClassSets, name: str) -> str | None:
    """The changes of a TPP set under a new name of one's own ("": "copy of ..."); what a link says for it.

    DataError for a name that one's own sets have already, and where there is nothing to save.
    """
    with store.once(press) as fresh:
        if not fresh:
            return None
        if sets.empty:
            raise DataError("this set changes nothing on top of the ranking; toggle a latent first")
        name = name.strip() or f"copy of {sets.name}"
        _check_free(name, _names(store, tpp_place(loaded, sets.classes[0]), press.who))
        made = [_saved(store, press.who, loaded, sets, row, name) for row in range(len(sets.classes))]
        return f"{NUMBERED}{next(s.id for s in made if s is not None)}"


def rename_classes(store: Store, press: PressId, loaded: Loaded, sets: ClassSets, name: str) -> str | None:
    """Another name for one's own TPP set, in all its classes; what a link says for it.

    DataError for an empty name, one that another set of one's own has, a set of somebody else, and what is not stored.
    """
    with store.once(press) as fresh:
        if not fresh:
            return None
        if not sets.stored:
            raise DataError(
                "nothing is stored in this set, so it has no name to change; decide or save something first"
            )
        place, name = tpp_place(loaded, sets.classes[0]), name.strip()
        _check_free(name, _names(store, place, press.who) - {sets.name})
        # Older sets of the same name in the same class, too: under the old name they would come to light.
        own = [s for s in _every_class(store, place) if (s.name, s.who) == (sets.name, sets.who)]
        renamed = [store.rename_set(s.id, name, press.who) for s in own]
        return f"{NUMBERED}{min(s.id for s in renamed)}"


def _check_free(name: str, taken: Collection[str]) -> None:
    if name in taken:
        raise DataError(f"you have a set '{name}' already; give another name")


def _saved(store: Store, who: str, loaded: Loaded, sets: ClassSets, row: int, name: str) -> DecisionSet | None:
    """One class of a set under a new name, with its log and looks where it is stored; None where nothing is changed."""
    label, changes = sets.classes[row], sets.decisions[row]
    if label in sets.by_class:
        return store.duplicate_set(sets.by_class[label].id, name, who, loaded.latents.n_latents)
    place = tpp_place(loaded, label)
    return new_set(store, place, who, name, changes, f"saved from {sets.label}") if changes else None


def import_set(store: Store, press: PressId, places: Sequence[Place], found: ExportedSet) -> Imported | None:
    """A set from a file as a new one of one's own, all classes or none; ``places``: SHIFT's one, or one per class.

    With the log that the file holds: every step is the importing person's, and its reason says whose it was.

    DataError where not one decision fits.
    """
    with store.once(press) as fresh:
        if not fresh:
            return None
        parts = {_part(p): p for p in places}
        left = Counter(d.of for d in found.decisions if d.of not in parts)
        stored = len(found.decisions) - left.total()
        if not stored:
            raise DataError(f"nothing was imported: {'; '.join(_notes(left)) or 'the file holds no decision'}")
        name = _free_name(found.name, _names(store, places[0], press.who))
        made, steps = [], {of: _steps(found, of) for of in parts}
        for of in (of for of in parts if steps[of]):
            made.append(new_set(store, parts[of], press.who, name))
            store.replay(made[-1].id, press.who, steps[of])
            store.note_origin(made[-1].id, found.dev_looks)
        logged = sum(map(len, steps.values())) if found.log else 0
        return Imported(made[0], stored, logged, _notes(left))


def _steps(found: ExportedSet, of: str) -> list[Step]:
    """The log of one part, or its decisions where the file holds none."""
    if not found.log:
        own = (d for d in found.decisions if d.of == of)
        return [Step(d.latent, d.decision, _said(d.rater, d.when, d.reason)) for d in own]
    log = (step for step in found.log if step.of == of)
    return [
        Step(s.latent, s.new, _said(s.who, s.at, s.reason if s.undoes is None else f"took back {s.reason}"))
        for s in log
    ]


def _said(who: str, when: str, reason: str) -> str:
    """That it was imported, and what the file says about who decided it, when and why; an import of an import stays one."""
    if not reason.startswith(IMPORTED):
        reason = f"{IMPORTED} {who or 'nobody named'} {when[:16]} {reason}".strip()
    return reason[:LONGEST_REASON]


def _part(place: Place) -> str:
    """What the decisions of a place are marked with in a file: the class, "" in SHIFT."""
    return place.direction if place.metric == "tpp" else ""


def _notes(left: Mapping[str, int]) -> tuple[str, ...]:
    if not left:
        return ()
    classes = ", ".join(f"'{of[:60]}' ({n})" if of else f"no class ({n})" for of, n in left.items())
    return (f"{plural(sum(left.values()), 'decision')} left out, for classes that are not here: {classes}",)


def _names(store: Store, place: Place, who: str) -> set[str]:
    """Names of this person's sets on the same SAE and texts; in TPP those of all classes."""
    found = _every_class(store, place) if place.metric == "tpp" else store.list_sets(**place.scope)
    return {s.name for s in found if s.who == who}


def _every_class(store: Store, place: Place) -> list[DecisionSet]:
    """Stored sets of TPP on the same SAE and texts, for whichever class."""
    return store.list_sets(metric=place.metric, task=place.task, sae_fingerprint=place.sae_fingerprint)


def _free_name(name: str, taken: set[str]) -> str:
    """A name from a file: in one printable line, marked as imported, and not one of ``taken``."""
    plain = "".join(c if c.isprintable() else " " for c in name).strip()[:LONGEST_NAME] or "imported"
    marks = ["(imported)", *(f"(imported {k})" for k in range(2, len(taken) + 3))]
    return next(full for mark in marks if (full := f"{plain} {mark}") not in taken)
