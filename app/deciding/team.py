"""Several people on the same latents: how many each decided, how far two sets agree, and a set that settles the rest.

An adjudicated set is a set of its maker's: it starts with what two sets agree on, and every ruling says in the log who had
said what. So it is scored, shared and taken out like any other.
"""

from collections import Counter
from dataclasses import dataclass

from saeeval_core.errors import DataError
from saeeval_core.judging.agreement import Agreement, Cells, agreement
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.places import Place, new_set
from saeeval_core.ledger.store import PressId, Store

SIDES = {"ablate": 1, "keep": 0}
"""What two sets can agree on; "unsure" takes no side."""


@dataclass(frozen=True)
class Decided:
    """One stored set of a place, with what is decided in it."""

    stored: DecisionSet
    decisions: dict[int, str]

    @property
    def label(self) -> str:
        """Name and owner."""
        return f"{self.stored.name} ({self.stored.who})"

    @property
    def counts(self) -> Counter[str]:
        """Decision -> number of latents."""
        return Counter(self.decisions.values())

    @property
    def sides(self) -> Cells:
        """As ratings of one concept, for the statistics of agreement."""
        return {(i, "ablate"): SIDES[d] for i, d in self.decisions.items() if d in SIDES}


def decided(store: Store, place: Place, n_latents: int) -> list[Decided]:
    """Every set of the place in which something is decided, the oldest first."""
    every = [Decided(s, store.decisions(s.id, n_latents)) for s in store.list_sets(**place.scope)]
    return [d for d in every if d.decisions]


def agreed(a: Decided, b: Decided) -> Agreement:
    """Of "ablate" against "keep" on the latents that both decided; intervals resample latents."""
    return agreement(a.label, b.label, a.sides, b.sides)


def copied(a: Decided, b: Decided) -> Decided | None:
    """The one that started as a copy of the other, if one did: then they are not two people's independent views."""
    if b.stored.copied_from == a.stored.id:
        return b
    return a if a.stored.copied_from == b.stored.id else None


def same(a: Decided, b: Decided) -> dict[int, str]:
    """latent -> what both say."""
    return {i: d for i, d in a.decisions.items() if d in SIDES and b.decisions.get(i) == d}


def conflicts(a: Decided, b: Decided) -> list[int]:
    """Latents that one ablates and the other keeps, ascending."""
    return sorted(i for i, d in a.decisions.items() if {d, b.decisions.get(i)} == set(SIDES))


def ruling_on(every: list[Decided], a: Decided, b: Decided, who: str) -> Decided | None:
    """This person's adjudicated set of two others; None before it is started."""
    return next((d for d in every if (d.stored.who, d.stored.name) == (who, _name(a, b))), None)


def start(store: Store, press: PressId, place: Place, a: Decided, b: Decided) -> DecisionSet | None:
    """An adjudicated set with what both say. DataError where they agree on nothing: then there is nothing to start from."""
    with store.once(press) as fresh:
        if not fresh:
            return None
        if not (both := same(a, b)):
            raise DataError("these two sets agree on no latent, so a set of both would be empty")
        return new_set(store, place, press.who, _name(a, b), both, f"agreed by {a.label} and {b.label}")


def settle(store: Store, press: PressId, ruling: Decided, a: Decided, b: Decided, latent: int, decision: str) -> None:
    """A ruling on one latent, with what both had said as its reason."""
    said = ", ".join(f"{d.label} said {d.decisions.get(latent, 'nothing')}" for d in (a, b))
    with store.once(press) as fresh:
        if fresh:
            store.decide(ruling.stored.id, press.who, {latent: decision}, f"settled by {press.who}: {said}")


def _name(a: Decided, b: Decided) -> str:
    return f"adjudicated: {a.label}, {b.label}"
