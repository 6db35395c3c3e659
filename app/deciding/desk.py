"""Desks: where presses come from and go to, with the places of what is loaded."""

from dataclasses import asdict, dataclass

from app.services.loading import Loaded
from saeeval_core.config import RunConfig, fingerprint
from saeeval_core.errors import DataError
from saeeval_core.evaluation.boards import Direction
from saeeval_core.ledger import places
from saeeval_core.ledger.places import Place
from saeeval_core.scores.selections import Rule


def shift_place(loaded: Loaded, direction: Direction) -> Place:
    """Place of SHIFT decisions in one direction of one pair."""
    return places.shift_place(loaded.task_set.texts.name, direction.pair, direction.task.direction, loaded.latents)


def tpp_place(loaded: Loaded, class_name: str) -> Place:
    """Place of the decisions for one class of TPP."""
    return places.tpp_place(loaded.task_set.texts.name, class_name, loaded.latents)


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
