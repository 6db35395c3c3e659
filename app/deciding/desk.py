"""Which decision set a session works on, and what its presses do to the store. Shared by every view that decides."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.services.loading import Loaded
from saeeval_core.config import fingerprint
from saeeval_core.errors import DataError
from saeeval_core.evaluation.boards import Direction
from saeeval_core.ledger.store import DecisionSet, Store

MINE = "mine"


@dataclass(frozen=True)
class Place:
    """What a set of decisions is about: one SAE in one direction (SHIFT) or for one class (TPP)."""

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


def shift_place(loaded: Loaded, direction: Direction) -> Place:
    """Place of SHIFT decisions in one direction of one pair."""
    return _place(loaded, "shift", f"{loaded.task_set.texts.name}: {direction.pair}", direction.task.direction)


def tpp_place(loaded: Loaded, class_name: str) -> Place:
    """Place of the decisions for one class of TPP."""
    return _place(loaded, "tpp", loaded.task_set.texts.name, class_name)


def _place(loaded: Loaded, metric: str, task: str, direction: str) -> Place:
    return Place(metric, task, direction, loaded.latents.sae_fingerprint, loaded.latents.fingerprint)


def find_set(store: Store, place: Place, who: str, choice: str = MINE) -> DecisionSet | None:
    """The set a link or picker names: "mine" (this person's own set of that name) or a number. None if not there yet."""
    own = store.list_sets(**place.scope)
    if choice.isdigit():
        return next((s for s in own if s.id == int(choice)), None)
    return next((s for s in own if s.who == who and s.name == choice), None)


def open_set(store: Store, place: Place, who: str, choice: str = MINE) -> DecisionSet:
    """As ``find_set``, made when "mine" is not there yet. DataError for a number that does not belong here."""
    found = find_set(store, place, who, choice)
    if found is not None:
        return found
    if choice.isdigit():
        raise DataError(f"decision set {choice} does not belong to this SAE, pair and direction; choose another set")
    return new_set(store, place, who, choice)


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


def reset(store: Store, set_id: int, who: str, ablate: Iterable[int], reason: str) -> None:
    """Make the set ablate exactly these latents, as one undoable step; other decisions on them are replaced."""
    wanted = dict.fromkeys((int(i) for i in ablate), "ablate")
    gone = {i: "none" for i, d in store.decisions(set_id).items() if i not in wanted and d == "ablate"}
    store.decide(set_id, who, gone | wanted, reason)


@dataclass(frozen=True)
class Desk:
    """Where presses go: a person's set in one place."""

    place: Place
    who: str
    choice: str
    """As in ``find_set``."""

    @property
    def name(self) -> str:
        """The same after a reload or a restart; the browser marks every press with it."""
        return fingerprint([asdict(self.place), self.who, self.choice])


def apply(
    store: Store,
    desks: Mapping[str, Desk],
    log: Sequence[Mapping[str, Any]],
    acks: dict[str, int],
    client: str,
    commit: Callable[[Desk], None],
) -> None:
    """Carry out presses numbered above ``acks[client]`` in order; ``commit`` does what a press on Commit asks for.

    A press lands where it was made, whatever is on screen when it arrives. Each is noted as it is done: when one fails,
    those before it are not carried out again. DataError for a press made where this session has never been.
    """
    for press in sorted(log, key=lambda p: int(p["seq"])):
        if int(press["seq"]) <= acks.get(client, 0):
            continue
        desk = desks.get(str(press["desk"]))
        if desk is None:
            acks[client] = int(press["seq"])
            raise DataError("a press made before the connection was lost belongs to another page; decide there again")
        target = open_set(store, desk.place, desk.who, desk.choice)
        if press["kind"] == "decide":
            latents = {int(i): str(press["decision"]) for i in press["latents"]}
            store.decide(target.id, desk.who, latents, str(press.get("reason", ""))[:500])
        elif press["kind"] == "undo":
            store.undo(target.id, desk.who)
        elif press["kind"] == "commit":
            acks[client] = int(press["seq"])  # noted first: a commit that cannot be done is told once, not for ever
            commit(desk)
        acks[client] = int(press["seq"])
