"""Which sets can be told as a story: those that are committed."""

from dataclasses import dataclass

from app.deciding.desk import shift_place
from app.services import ledger, scoring
from app.services.loading import Loaded
from saeeval_core.evaluation.boards import Direction
from saeeval_core.ledger.commit_rows import Commit
from saeeval_core.ledger.decisions import DecisionSet


@dataclass(frozen=True)
class Told:
    """A set that can be told: it is committed."""

    chosen: DecisionSet
    direction: Direction
    commit: Commit
    """The newest one."""

    @property
    def label(self) -> str:
        """As the list names it."""
        return f"{self.chosen.name} ({self.chosen.who}): {self.direction.pair}, {self.direction.task.direction}"


def committed(loaded: Loaded) -> list[Told]:
    """Committed sets of the loaded SAE and task, oldest commit first."""
    store, found = ledger.store(), []
    for direction in scoring.shift_directions(loaded):
        for chosen in store.list_sets(**shift_place(loaded, direction).scope):
            if commits := store.commits(chosen.id):
                found.append(Told(chosen, direction, commits[-1]))
    return sorted(found, key=lambda t: t.commit.id)
