"""Which decision set a session works on: places, the sets in them, and the desks that presses come from."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from app.services.loading import Loaded
from saeeval_core.config import RunConfig, fingerprint
from saeeval_core.errors import DataError
from saeeval_core.evaluation.boards import Direction
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.store import Store
from saeeval_core.scores.selections import Rule

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
    """This person's set of that name, or, in SHIFT, the set of that number whoever made it. None if not there yet.

    Of several with one name it is SHIFT's oldest (the others go by their number) and TPP's newest.
    """
    own = store.list_sets(**place.scope)
    if _is_number(place, choice):
        return next((s for s in own if s.id == int(choice)), None)
    named = [s for s in own if s.who == who and s.name == choice]
    return named[0 if place.metric == "shift" else -1] if named else None


def open_set(store: Store, place: Place, who: str, choice: str = MINE) -> DecisionSet:
    """As ``find_set``, made when it is not there yet. DataError for a number that does not belong here."""
    found = find_set(store, place, who, choice)
    if found is not None:
        return found
    if _is_number(place, choice):
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
    """Where presses come from and go to: a person at one set, in one direction of SHIFT or in all classes of TPP."""

    config: RunConfig
    """Model, SAE and texts; a press brings the protocol and the seed it was made under."""
    places: tuple[Place, ...]
    """One in SHIFT; one per class in TPP, in the order of the classes."""
    who: str
    choice: str
    """The set on screen, as the link names it."""
    target: str
    """The set that decisions go to, as in ``find_set``."""
    n_latents: int
    """Width of the SAE: larger ids are no latents of it."""
    locked: str = ""
    """Why decisions are refused: the set on screen belongs to somebody else. "" when they are not."""
    rule: Rule | None = None
    """A judge's set: the rule that makes it."""

    @property
    def name(self) -> str:
        """The same after a reload or a restart; the browser marks every press with it."""
        places = [asdict(p) for p in self.places]
        return fingerprint([places, self.who, self.choice, None if self.rule is None else asdict(self.rule)])

    @property
    def metric(self) -> str:
        """ "shift" or "tpp"."""
        return self.places[0].metric

    def place(self, of: str) -> Place:
        """The place of a class, or SHIFT's one for "". DataError for a class that is not there."""
        found = [p for p in self.places if (p.direction if p.metric == "tpp" else "") == of]
        if not found:
            raise DataError(f"'{of}' is no class of {self.places[0].task}; reload the page and decide again")
        return found[0]


def shift_desk(loaded: Loaded, direction: Direction, who: str, choice: str) -> Desk:
    """The desk of one direction's set."""
    place = shift_place(loaded, direction)
    return Desk(loaded.config, (place,), who, choice, choice, loaded.latents.n_latents)


def _is_number(place: Place, choice: str) -> bool:
    """Sets of SHIFT have numbers in links; those of TPP, one per class, go by their name."""
    return place.metric == "shift" and choice.isdigit()
