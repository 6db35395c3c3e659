"""Presses: what a person decides in the lab, on the TPP page or over a table, and what each does to the store.

One protocol for all of them. The browser numbers its presses and sends each until it is acknowledged; every press names
the desk it was made at, so it lands there, whatever is on screen when it arrives. The store keeps each press with its
effect, so one that is sent again, to this session or to another one after a restart, is answered and not done twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.deciding.class_refs import ATTRIBUTION, NUMBERED, meant
from app.deciding.class_sets import class_sets, open_sets
from app.deciding.desk import Desk, shift_place
from app.services import access, loading, scoring
from app.services.loading import Loaded
from saeeval_core.config import PROTOCOLS
from saeeval_core.errors import DataError, SaeEvalError, unknown_name
from saeeval_core.ledger.commits import ShiftCommit, TppCommit, Under, commit_shift, commit_tpp
from saeeval_core.ledger.connection import StoreError
from saeeval_core.ledger.decisions import DECISIONS, Decision
from saeeval_core.ledger.places import Place, find_set, own_set
from saeeval_core.ledger.store import PressId, Store
from saeeval_core.scores.ablation import ABLATIONS
from saeeval_core.scores.tpp_cells import chosen_sets
from saeeval_core.texts.parts import TEST

KINDS = ("decide", "undo", "commit")
LONGEST_REASON = 500
"""Characters of a reason that are kept."""
MOST_LATENTS = 100_000
"""Latents in one press; more is no press of a person."""
LARGEST = 2**53 - 1
"""Largest whole number that a browser counts to."""
OWN_TEXTS = "own"
"""In place of a task: texts that a person brought."""
REMEMBERED = 50
"""Refusals that a session tells its pages about."""


@dataclass(frozen=True)
class Made:
    """Where and under which settings a press is made; the server says it with every redraw, each press brings it back."""

    desk: str
    """Name of the desk."""
    choice: str
    """The set on screen there, as the link names it: with it a session that has never been there finds the desk."""
    model: str
    """As the link names it, like ``sae`` and ``task``: where the desk is found when another page is open."""
    sae: str
    task: str
    protocol: str
    seed: int
    ablation: str
    """One of ``ABLATIONS``; what a commit scores."""
    n: int
    """Latents taken from each class's ranking; a commit of TPP needs it."""


@dataclass(frozen=True)
class Press:
    """One press."""

    client: str
    """Id of the page it was made on."""
    seq: int
    """Number on that page: rising, never given twice."""
    made: Made
    kind: str
    """One of KINDS."""
    of: str = ""
    """Class; "" in SHIFT."""
    latents: tuple[int, ...] = ()
    decision: str = ""
    """One of ``DECISIONS`` for kind "decide"."""
    reason: str = ""

    def given_by(self, who: str) -> PressId:
        """What the store keeps of it."""
        return PressId(self.client, self.seq, who, self.kind)


@dataclass(frozen=True)
class Refused:
    """Stands for a press that could not be read."""

    client: str
    seq: int
    why: DataError


@dataclass(frozen=True)
class Refusal:
    """A press that was not carried out."""

    desk: str
    """Name of the desk it was made at; "" where that could not be read."""
    why: SaeEvalError


Committing = Callable[[Store, Desk, Press], ShiftCommit | TppCommit | None]
Finding = Callable[[Made], Desk | None]


@dataclass(frozen=True)
class Done:
    """A press that was carried out, now or before."""

    desk: Desk
    changed: list[Decision] = field(default_factory=list)
    committed: ShiftCommit | TppCommit | None = None


@dataclass
class PressLog:
    """What one session knows of presses: where it has been, and what it has carried out."""

    desks: dict[str, Desk] = field(default_factory=dict)
    acks: dict[str, int] = field(default_factory=dict)
    """Client -> number of its last press that was answered: stored, or refused. What the store says, kept at hand."""
    refused: list[tuple[str, int, str]] = field(default_factory=list)
    """(client, number, why) of the last presses that were refused."""
    at: str = ""
    """Name of the desk that was drawn last."""

    def sit(self, desk: Desk, loaded: Loaded, ablation: str, n: int) -> Made:
        """Take presses from this desk from now on; what they are marked with."""
        config = loaded.config
        self.at = desk.name
        self.desks[self.at] = desk
        where = config.model, config.saes[0], config.task or OWN_TEXTS
        return Made(self.at, desk.choice, *where, config.protocol, config.seed, ablation, n)


def read_press(sent: object) -> Press:
    """A press from what a browser sent. DataError in one line for anything that is not one."""
    raw = _fields(sent, "a press")
    made = _fields(raw.get("made"), "'made'")
    latents = raw.get("latents", ())
    if not isinstance(latents, list | tuple) or len(latents) > MOST_LATENTS:
        raise DataError("'latents' of a press is no list of latents; reload the page and decide again")
    kind = _one_of(raw, "kind", KINDS)
    return Press(
        _text(raw, "client", 80),
        _whole(raw.get("seq"), "seq"),
        Made(
            _text(made, "desk", 80),
            _text(made, "choice", 1000),
            _text(made, "model", 2000),
            _text(made, "sae", 2000),
            _text(made, "task", 2000),
            _one_of(made, "protocol", PROTOCOLS),
            _whole(made.get("seed"), "seed"),
            _one_of(made, "ablation", ABLATIONS),
            _whole(made.get("n"), "n"),
        ),
        kind,
        _text(raw, "of", 1000),
        tuple(_whole(i, "latents") for i in latents),
        _one_of(raw, "decision", DECISIONS) if kind == "decide" else "",
        _text(raw, "reason"),
    )


def read_presses(sent: object) -> list[Press | Refused]:
    """The presses in a browser's message. DataError when not even their numbers can be read."""
    found: list[Press | Refused] = []
    log = _fields(sent, "a message").get("log", ())
    for raw in log if isinstance(log, list | tuple) else ():
        try:
            found.append(read_press(raw))
        except DataError as error:
            numbered = _fields(raw, "a press")
            found.append(Refused(_text(numbered, "client", 80), _whole(numbered.get("seq"), "seq"), error))
    return found


def apply(
    store: Store,
    log: PressLog,
    presses: Sequence[Press | Refused],
    commit: Committing | None = None,
    find: Finding = lambda _: None,
) -> list[Done]:
    """As ``carry_out``; the error of what was refused is raised after the rest has been done."""
    done, refusals = carry_out(store, log, presses, commit, find)
    if refusals:
        raise refusals[0].why
    return done


def carry_out(
    store: Store,
    log: PressLog,
    presses: Sequence[Press | Refused],
    commit: Committing | None = None,
    find: Finding = lambda _: None,
) -> tuple[list[Done], list[Refusal]]:
    """Carry out presses that are numbered above ``log.acks`` of their client, in order; what was done, what refused.

    A press lands where it was made; ``find`` gives a desk that this session has not been at. A press that the store
    knows is answered and not done again. One that cannot be done (its desk is nowhere, its set refuses it) is answered
    too, so that it is reported once. StoreError is raised at once: that press and those after it are not answered and
    may be sent again.
    """
    done: list[Done] = []
    refused: list[Refusal] = []
    pages = list(dict.fromkeys(p.client for p in presses))
    for press in sorted(presses, key=lambda p: (pages.index(p.client), p.seq)):
        if press.seq <= log.acks.get(press.client, 0):
            continue
        try:
            if isinstance(press, Refused):
                raise press.why
            done.append(carry_out_one(store, log, press, commit, find))
        except StoreError:
            raise
        except SaeEvalError as error:
            refused.append(Refusal("" if isinstance(press, Refused) else press.made.desk, error))
            log.refused = [*log.refused, (press.client, press.seq, str(error))][-REMEMBERED:]
        log.acks[press.client] = press.seq
    return done, refused


def carry_out_one(
    store: Store, log: PressLog, press: Press, commit: Committing | None = None, find: Finding = lambda _: None
) -> Done:
    """Carry out one press where it was made, unless the store knows it. SaeEvalError where it is refused."""
    access.demand("deciding")
    desk = log.desks.get(press.made.desk) or find(press.made)
    if desk is None:
        raise DataError(
            "a press belongs to another SAE, texts, set or person than can be opened here; open them and decide again"
        )
    log.desks[press.made.desk] = desk
    given = press.given_by(desk.who)
    if press.kind == "commit":
        return Done(desk, committed=None if store.carried_out(given) else (commit or commit_press)(store, desk, press))
    with store.once(given) as fresh:
        return Done(desk, _change(store, desk, press) if fresh else [])


def _change(store: Store, desk: Desk, press: Press) -> list[Decision]:
    if desk.locked:
        raise DataError(desk.locked)
    place = desk.place(press.of)
    if press.kind == "undo":
        return [] if desk.choice == ATTRIBUTION else _undo(store, desk, place)  # a ranking holds nothing to take back
    if beyond := [i for i in press.latents if i >= desk.n_latents]:
        raise DataError(f"latent {beyond[0]} is none of this SAE, which has 0 to {desk.n_latents - 1}")
    target = own_set(store, place, desk.who, _target(store, desk))
    decisions = dict.fromkeys(press.latents, press.decision)
    return store.decide(target.id, desk.who, decisions, press.reason[:LONGEST_REASON])


def _undo(store: Store, desk: Desk, place: Place) -> list[Decision]:
    """Where nothing was decided, no set is made."""
    target = _target(store, desk)
    if find_set(store, place, desk.who, target) is None:
        return []
    return store.undo(own_set(store, place, desk.who, target).id, desk.who)


def _target(store: Store, desk: Desk) -> str:
    """The desk's target by the name it has now: a numbered set of TPP may have been renamed since the desk was drawn."""
    if desk.metric != "tpp" or not desk.choice.startswith(NUMBERED):
        return desk.target
    place = desk.places[0]
    every = store.list_sets(metric="tpp", task=place.task, sae_fingerprint=place.sae_fingerprint)
    found = meant(desk.choice, desk.who, every)
    return found.name if found is not None and found.who == desk.who else desk.target


def commit_press(store: Store, desk: Desk, press: Press) -> ShiftCommit | TppCommit | None:
    """Freeze the desk's set and score it on test, once, under the settings that the press was made under.

    None where the store knows the press: it was scored before, and is not again. DataError for an empty set, a set of
    somebody else, and texts or recordings that are gone.
    """
    config = replace(desk.config, protocol=press.made.protocol, seed=press.made.seed)
    loaded = loading.load(config)
    if loaded is None:
        raise DataError(f"'{config.saes[0]}' has no recording of these texts any more; run it, then commit")
    return (_commit_shift if desk.metric == "shift" else _commit_tpp)(store, desk, press, loaded)


def _commit_shift(store: Store, desk: Desk, press: Press, loaded: Loaded) -> ShiftCommit | None:
    place, made = desk.place(""), press.made
    here = (d for d in scoring.shift_directions(loaded) if shift_place(loaded, d) == place)
    if (direction := next(here, None)) is None:
        raise DataError("the texts have changed since this set was made; open the set again and commit")
    where = loaded, direction.pair, direction.task.target.column, TEST
    view, fresh_probes = scoring.shift_view(*where), (scoring.shift_erasure(*where), direction.pair_fresh.whitening)
    with store.once(press.given_by(desk.who)) as fresh:  # scored inside: two servers never score one press
        if not fresh:
            return None
        chosen = own_set(store, place, desk.who, desk.target)
        ids = store.ablated(chosen.id, desk.n_latents)
        under = Under(made.ablation, made.protocol, made.seed)
        return commit_shift(store, chosen, desk.who, view, *fresh_probes, ids, under)


def _commit_tpp(store: Store, desk: Desk, press: Press, loaded: Loaded) -> TppCommit | None:
    made = press.made
    rankings = scoring.tpp_view(loaded, scoring.live_part(loaded)).rankings
    view, whitening = scoring.tpp_view(loaded, TEST), scoring.evaluation(loaded).tpp_whitening
    fresh_probes = scoring.tpp_erasure(loaded, TEST), whitening
    with store.once(press.given_by(desk.who)) as fresh:
        if not fresh:
            return None
        sets = class_sets(loaded, desk.choice, desk.who, made.n, desk.rule)
        ids = chosen_sets(rankings, made.n, sets.decisions)
        kept_in = open_sets(store, desk, sets)
        under = Under(made.ablation, made.protocol, made.seed)
        return commit_tpp(store, kept_in, desk.who, view, *fresh_probes, ids, made.n, under)


def _fields(sent: object, what: str) -> Mapping[str, object]:
    if not isinstance(sent, Mapping):
        raise DataError(f"{what} is no object with fields; reload the page and decide again")
    return sent


def _text(raw: Mapping[str, object], key: str, longest: int = 10_000) -> str:
    value = raw.get(key, "")
    if not isinstance(value, str) or len(value) > longest:
        raise DataError(f"'{key}' of a press is no text of at most {longest} characters; reload the page")
    return value.encode("utf-8", "replace").decode()  # half of a character pair is no text that can be stored


def _whole(value: object, key: str) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise DataError(f"'{key}' of a press is {repr(value)[:40]}, not a whole number from 0; reload the page")
    return value


def _one_of(raw: Mapping[str, object], key: str, known: Sequence[str] | Mapping[str, object]) -> str:
    value = _text(raw, key, 80)
    if value not in known:
        raise DataError(f"{unknown_name(key, value, known)}; reload the page and decide again")
    return value
