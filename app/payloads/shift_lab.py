"""What one redraw of the SHIFT lab sends to the browser (components/lab)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.deciding.lab import Lab
from app.deciding.presses import Made, PressLog
from app.payloads.evidence_card import Card, card
from app.payloads.queue import Row, queue_rows
from app.payloads.says import Says, says
from app.payloads.score_card import Look, Record, ScoreCard, Shares, latent_history, record, score_card, shares
from app.payloads.still_readable import PENDING, ErasedCurve, Gone, erased_curve, gone
from app.services import ledger, quiet
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.places import MINE

AHEAD = 2
"""Cards sent beyond the current one, so that moving on shows them at once."""


@dataclass(frozen=True)
class Asked:
    """What the browser says about itself with a press or a move."""

    current: int | None = None
    """The latent it is at; anything else than a latent means the first of the queue."""
    have: frozenset[int] = frozenset()
    """Latents whose cards it has."""
    queue: str = ""
    """Hash of the queue it has."""
    carry: bool = False
    """Leave-one-out changes are looked at."""
    parts: bool = False
    """Where the concept survived is looked at."""
    alpha: str | None = None
    """The share of every ablated latent that its slider asks for; None where it asks for no other."""
    pressed: bool = False
    """Something was decided, so that the next cards can wait."""


def read_asked(sent: Mapping[str, object]) -> Asked:
    """From a browser's message; what cannot be read is as if it had not been said."""
    have, current, queue, alpha = sent.get("have"), sent.get("current"), sent.get("queue"), sent.get("alpha")
    return Asked(
        current if type(current) is int else None,
        frozenset(i for i in have if type(i) is int) if isinstance(have, list) else frozenset(),
        queue if isinstance(queue, str) else "",
        sent.get("carry") is True,
        sent.get("parts") is True,
        alpha if isinstance(alpha, str) else None,
        bool(sent.get("log")),
    )


@dataclass
class Seen:
    """Sets that one session saw in each place: the one shown now and the one before the last change."""

    sets: dict[object, tuple[tuple[int, ...], tuple[int, ...] | None]] = field(default_factory=dict)

    def before(self, where: object, ids: tuple[int, ...]) -> tuple[int, ...] | None:
        """The set as it was before the last change of it."""
        last, before = self.sets.get(where, (ids, None))
        if last != ids:
            last, before = ids, last
        self.sets[where] = (last, before)
        return before


@dataclass(frozen=True)
class LabPayload:
    """Everything the lab draws."""

    scope: str
    """Another one means that nothing the browser keeps is valid any more."""
    made: Made
    ack: Mapping[str, int]
    refused: Sequence[tuple[str, int, str]]
    present: bool
    locked: str
    """Why nothing can be decided: somebody else's set. "" when it can."""
    says: Says
    queue: list[Row] | None
    """None when the browser has these rows."""
    queue_hash: str
    decisions: Mapping[int, str]
    current: int | None
    cards: Mapping[str, Card]
    shares: Shares | None
    score: ScoreCard
    gone: Gone
    erased: ErasedCurve
    record: Record


def lab_payload(lab: Lab, log: PressLog, seen: Seen, asked: Asked, *, present: bool) -> LabPayload:
    """The lab as it is now; the dev score that it shows counts as a look."""
    if asked.pressed or asked.alpha is not None:
        quiet.note_press()
    store, view, chosen = ledger.store(), lab.view, lab.chosen()
    decisions = {} if chosen is None else store.decisions(chosen.id, lab.width)
    ids = tuple(sorted(i for i, d in decisions.items() if d == "ablate"))
    locked = lab.locked(chosen)
    desk = replace(lab.desk, locked=locked)
    made = log.sit(desk, lab.loaded, lab.ablation, lab.n)
    before = seen.before((desk.name, lab.ablation, lab.alpha), ids)
    rows, hash_ = queue_rows(lab.loaded, view, lab.rank, decisions)
    order = [r[0] for r in rows]
    known = asked.current is not None and 0 <= asked.current < lab.loaded.latents.n_latents
    current = asked.current if known else next(iter(order), None)
    name = f"{MINE if chosen is None else chosen.name} ({lab.who if chosen is None else chosen.who})"
    look = Look(ids, before, name, len(decisions), lab.rank, lab.ablation, lab.n, asked.carry)
    if chosen is not None and not locked:
        store.note_look(chosen.id, lab.who, ids, lab.alpha)
    still = PENDING if asked.pressed and ids else gone(lab, ids, parts=asked.parts)
    return LabPayload(
        f"{made.desk}/{lab.rank}",
        made,
        log.acks,
        log.refused,
        present,
        locked,
        says(lab),
        None if asked.queue == hash_ else rows,
        hash_,
        decisions,
        current,
        _cards(lab, chosen, order, current, asked),
        None if current is None else shares(lab.partial, ids, current, lab.ablation),
        score_card(lab.partial, look, lab.rivals(chosen)),
        still,
        erased_curve(lab, wait=asked.pressed or still.pending),
        record(store, chosen, ids, lab.part, locked),
    )


def _cards(
    lab: Lab, chosen: DecisionSet | None, order: list[int], current: int | None, asked: Asked
) -> dict[str, Card]:
    """Cards the browser lacks: the current one, and when nothing was decided the next ones too."""
    if current is None:
        return {}
    at = order.index(current) if current in order and not asked.pressed else None
    ahead = [] if at is None else [order[k] for k in range(at - 1, at + AHEAD + 1) if 0 <= k < len(order)]
    wanted = [i for i in dict.fromkeys([current, *ahead]) if i not in asked.have]
    cards = {str(i): card(lab.loaded, i, lab.view) for i in wanted}
    if chosen is not None and str(current) in cards:
        history = latent_history(ledger.store().history(chosen.id, current))
        cards[str(current)] = replace(cards[str(current)], history=history)
    return cards
