"""Desks found again: where a press was made, in a session that has not been there."""

from collections.abc import Iterator

from app.deciding.class_sets import class_desk, class_sets
from app.deciding.desk import Desk, shift_desk
from app.deciding.presses import Made
from app.services import scoring
from app.services.loading import Loaded
from saeeval_core.scores.selections import Rule


def desk_of(loaded: Loaded, made: Made, who: str, rule: Rule) -> Desk | None:
    """The desk of this name among those of ``loaded`` for this person and the press's set; None if there is none.

    The name is a fingerprint of texts, direction or classes, SAE, recording, person and set: whatever of it differs, a
    press made there is not taken for one of here.
    """
    return next((desk for desk in _desks(loaded, made, who, rule) if desk.name == made.desk), None)


def _desks(loaded: Loaded, made: Made, who: str, rule: Rule) -> Iterator[Desk]:
    for direction in scoring.shift_directions(loaded):
        yield shift_desk(loaded, direction, who, made.choice)
    if loaded.task_set.tpp is not None:
        yield class_desk(loaded, class_sets(loaded, made.choice, who, made.n, rule), who)
