"""What the SHIFT lab is about at one moment: a direction of one SAE, a set in it, and how latents are ranked and ablated."""

from dataclasses import dataclass

from app.deciding.desk import Desk, shift_desk, shift_place
from app.deciding.judged import judge_sets
from app.services import access, ledger, scoring
from app.services.loading import Loaded
from app.services.scoring import NamedSet
from saeeval_core.errors import DataError
from saeeval_core.evaluation.boards import Direction
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.places import Place, find_set
from saeeval_core.scores.selections import Rule
from saeeval_core.scores.shift import ShiftLatents
from saeeval_core.texts.parts import PART_NAMES

LATEST = 3
"""Other stored sets that are compared: the newest ones."""


@dataclass(frozen=True)
class Lab:
    """Everything a link says about the lab, looked up."""

    loaded: Loaded
    direction: Direction
    part: int
    who: str
    choice: str
    """The set: "mine" or a number."""
    rank: str
    """"attribute" or "base": whose effects rank the latents."""
    ablation: str
    n: int
    """Size of the top-N set to compare with."""
    rule: Rule
    alpha: float = 1.0
    """Share of every ablated latent that is taken away on screen. A look only: commits and exports are at 1."""

    @property
    def partial(self) -> ShiftLatents:
        """``view``, at this alpha."""
        return scoring.weakened(self.view, self.alpha)

    @property
    def view(self) -> ShiftLatents:
        """Live scoring of sets in this direction."""
        return scoring.shift_view(self.loaded, self.direction.pair, self.direction.task.target.column, self.part)

    @property
    def part_name(self) -> str:
        """ "dev", or "test" where the protocol has no dev part."""
        return PART_NAMES[self.part]

    @property
    def desk(self) -> Desk:
        """Where presses go."""
        return shift_desk(self.loaded, self.direction, self.who, self.choice)

    @property
    def place(self) -> Place:
        """Where the sets of this direction are."""
        return shift_place(self.loaded, self.direction)

    def locked(self, chosen: DecisionSet | None) -> str:
        """Why ``chosen``, the stored set, takes no decisions; "" for one's own and before the first decision.

        On a read-only server none takes any.
        """
        if off := access.why_not("deciding"):
            return off
        if chosen is None or chosen.who == self.who:
            return ""
        return f"this set belongs to {chosen.who}; duplicate it and change your copy"

    @property
    def width(self) -> int:
        """Number of latents."""
        return self.loaded.latents.n_latents

    def chosen(self) -> DecisionSet | None:
        """The stored set; None before its first decision."""
        return find_set(ledger.store(), self.place, self.who, self.choice)

    def ablated(self) -> tuple[int, ...]:
        """Latents ablated in it now, ascending."""
        stored = self.chosen()
        return () if stored is None else tuple(ledger.store().ablated(stored.id, self.width))

    def ablated_or_raise(self) -> tuple[int, ...]:
        """As ``ablated``; DataError for an empty set."""
        ids = self.ablated()
        if not ids:
            raise DataError("the set is empty; ablate at least one latent first")
        return ids

    def top(self, n: int | None = None) -> tuple[int, ...]:
        """The first ``n`` latents of the ranking (default: this lab's N)."""
        return tuple(int(i) for i in scoring.ranking(self.view, self.rank)[: self.n if n is None else n])

    def judged(self) -> list[NamedSet]:
        """What each judge would ablate."""
        return judge_sets(self.loaded, self.view, self.n, self.rule)

    def rivals(self, own: DecisionSet | None) -> list[NamedSet]:
        """Sets to compare ``own`` with: the ranking's top N, the judges', and the newest other stored ones."""
        store = ledger.store()
        others = [s for s in store.list_sets(**self.place.scope) if own is None or s.id != own.id]
        return [
            NamedSet(f"top {self.n} by attribution", self.top()),
            *self.judged(),
            *(NamedSet(f"{s.name} ({s.who})", tuple(store.ablated(s.id, self.width))) for s in others[-LATEST:]),
        ]
