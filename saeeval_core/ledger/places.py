"""Places: one SAE in one direction of SHIFT, or for one class of TPP; and the decision sets that belong to one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from saeeval_core.errors import DataError
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.store import Store
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.storage.notices import notice
from saeeval_core.wording import plural

MINE = "mine"
"""Name of a person's first set in a place."""


@dataclass(frozen=True)
class Place:
    """What a decision set is about: one SAE in one direction (SHIFT) or for one class (TPP)."""

    metric: str
    task: str
    direction: str
    sae_fingerprint: str
    recording_fingerprint: str

    @property
    def scope(self) -> dict[str, str]:
        """Arguments of ``Store.list_sets``."""
        return {
            "metric": self.metric,
            "task": self.task,
            "direction": self.direction,
            "sae_fingerprint": self.sae_fingerprint,
        }

    def holds(self, found: DecisionSet) -> bool:
        """Whether a set belongs to this place, on whichever recording of the same SAE and texts it was made."""
        return all(getattr(found, name) == value for name, value in self.scope.items())


def shift_place(texts: str, pair: str, direction: str, latents: LatentRecording) -> Place:
    """The place of SHIFT decisions; ``texts``, ``pair`` and ``direction`` are their names."""
    return Place("shift", f"{texts}: {pair}", direction, latents.sae_fingerprint, latents.fingerprint)


def tpp_place(texts: str, class_name: str, latents: LatentRecording) -> Place:
    """The place of the decisions for one class of TPP."""
    return Place("tpp", texts, class_name, latents.sae_fingerprint, latents.fingerprint)


def find_set(store: Store, place: Place, who: str, choice: str = MINE) -> DecisionSet | None:
    """This person's set of that name, or, in SHIFT, anyone's set of that number; None if there is none.

    Of several with one name it is the oldest for SHIFT (the others have numbers) and the newest for TPP.
    """
    own = store.list_sets(**place.scope)
    if _is_number(place, choice):
        return next((s for s in own if s.id == int(choice)), None)
    named = [s for s in own if s.who == who and s.name == choice]
    return named[0 if place.metric == "shift" else -1] if named else None


def open_set(store: Store, place: Place, who: str, choice: str = MINE) -> DecisionSet:
    """As ``find_set``, but a missing set is created. DataError for a number that does not belong to this place."""
    found = find_set(store, place, who, choice)
    if found is not None:
        return found
    if _is_number(place, choice):
        raise DataError(f"decision set {choice} does not belong to this SAE, pair and direction; choose another set")
    return new_set(store, place, who, choice)


def own_set(store: Store, place: Place, who: str, choice: str = MINE) -> DecisionSet:
    """As ``open_set``. DataError for a set of somebody else: only its owner changes it."""
    found = open_set(store, place, who, choice)
    store.check_owner(found.id, who)
    return found


def new_set(
    store: Store, place: Place, who: str, name: str, start: Mapping[int, str] | None = None, reason: str = ""
) -> DecisionSet:
    """A new set, empty or starting with ``start``."""
    made = store.create_set(
        name,
        who,
        metric=place.metric,
        task=place.task,
        direction=place.direction,
        sae_fingerprint=place.sae_fingerprint,
        recording_fingerprint=place.recording_fingerprint,
    )
    if start:
        store.decide(made.id, who, start, reason)
    return made


def reset(store: Store, set_id: int, who: str, ablate: Iterable[int], reason: str, n_latents: int) -> None:
    """Make the set ablate exactly these latents, as one undoable step; other decisions on them are replaced.

    ``n_latents``: as in ``Store.decisions``.
    """
    wanted = dict.fromkeys((int(i) for i in ablate), "ablate")
    gone = {i: "none" for i in store.ablated(set_id, n_latents) if i not in wanted}
    store.decide(set_id, who, gone | wanted, reason)


def left_out(beyond: Sequence[int], n_latents: int) -> str:
    """In words: stored decisions that name latents beyond the SAE's width are left out. "" where there are none."""
    if not beyond:
        return ""
    named = ", ".join(map(str, beyond[:5])) + (", ..." if len(beyond) > 5 else "")
    return f"decisions on latents that this SAE does not have ({named}; it has 0 to {n_latents - 1}) are left out"


def looks_words(looks: int, before: int | None) -> str:
    """How many dev scores of a set were seen; ``before``: ``DecisionSet.looks_before``."""
    if before is None:
        return f"{plural(looks, 'dev look')} here, and an unknown number before it was imported"
    return plural(looks, "dev look") + (
        f", {before} of them before it was imported, as the file says" if before else ""
    )


def say_left_out(name: str, beyond: Sequence[int], n_latents: int) -> None:
    """The same as a notice about the set of this name; nothing where there are none."""
    if line := left_out(beyond, n_latents):
        notice(f"set '{name}': {line}")


def _is_number(place: Place, choice: str) -> bool:
    """Links name sets of SHIFT by number; those of TPP, one per class, by their common name."""
    return place.metric == "shift" and choice.isascii() and choice.isdigit()
