"""How links and pickers name a TPP set: in forms that no name can be taken for, whatever somebody calls a set."""

from collections.abc import Sequence
from dataclasses import dataclass

from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.places import MINE

ATTRIBUTION = "attribution"
"""The ranking alone."""
JUDGE = "judge:"
"""Start of the value for what a judge would ablate; the rater's name follows."""
NUMBERED = "set:"
"""Start of the value for anybody's stored set; the number of its set for one of the classes follows."""
NAMED = "name:"
"""Start of the value for one's own set of exactly the name that follows, stored or not."""


@dataclass(frozen=True)
class Owned:
    """One set over all classes: the stored sets that share a name and an owner."""

    name: str
    who: str


def owned(every: Sequence[DecisionSet]) -> dict[Owned, int]:
    """Every set there is -> its lowest number, the oldest first. ``every``: stored sets of one SAE and texts."""
    found: dict[Owned, int] = {}
    for s in sorted(every, key=lambda s: s.id):
        found.setdefault(Owned(s.name, s.who), s.id)
    return found


def meant(value: str, who: str, every: Sequence[DecisionSet]) -> Owned | None:
    """The set that a value of the link means to this person; None where there is none.

    "mine" and ``NAMED`` mean one's own, which need not be stored yet. What earlier versions wrote is read as they did:
    NAME is one's own, NAME@WHO somebody's that is stored.
    """
    known = owned(every)
    if value == MINE:
        return Owned(MINE, who)
    if value.startswith(NAMED):
        name = value.removeprefix(NAMED).strip()
        return Owned(name, who) if name else None
    number = value.removeprefix(NUMBERED)
    if value.startswith(NUMBERED) and number.isascii() and number.isdigit():
        return next((Owned(s.name, s.who) for s in every if str(s.id) == number), None)
    if found := next((o for o in known if value == f"{o.name}@{o.who}"), None):
        return found
    return None if "@" in value or value.startswith(JUDGE) or not value.strip() else Owned(value.strip(), who)


def options(chosen: Owned | None, value: str, who: str, every: Sequence[DecisionSet]) -> list[tuple[str, str]]:
    """(value, label) of the person's own sets, then of those of others; ``chosen`` keeps the value it was named by."""
    known = owned(every)
    own = [Owned(MINE, who), *(o for o in known if o.who == who)]
    if chosen is not None and chosen not in known:
        own.insert(0, chosen)
    others = [o for o in known if o.who != who]
    labels = {o: o.name if o.who == who else f"{o.name} (by {o.who})" for o in (*own, *others)}
    return [(value if o == chosen else _value(o, who, known), label) for o, label in labels.items()]


def _value(found: Owned, who: str, known: dict[Owned, int]) -> str:
    return MINE if found == Owned(MINE, who) else f"{NUMBERED}{known[found]}"
