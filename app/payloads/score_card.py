"""The score card of one decision set; the browser draws it (components/lab/score.js)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from app.services import scoring
from saeeval_core.config import DEFAULT_NS
from saeeval_core.ledger.commit_rows import Commit
from saeeval_core.ledger.commits import read_shift
from saeeval_core.ledger.decisions import Decision, DecisionSet
from saeeval_core.ledger.places import looks_words
from saeeval_core.ledger.store import Store
from saeeval_core.scores.contributions import share
from saeeval_core.scores.shift import ShiftLatents, ShiftScore
from saeeval_core.scores.uncertainty import Estimate, difference, say, separable, undefined
from saeeval_core.texts.parts import PART_NAMES, TEST
from saeeval_core.wording import plural

CARRY_MAX = 40
"""Largest set for which every leave-one-out change is shown."""
RANDOM = "random, same size"
_HOW = {
    "zero": "S = (accuracy after ablation \u2212 base) / (oracle \u2212 base), zero ablation, quadrant-balanced {part} texts ({n}); "
    "95 % percentile interval of {k} resamples of those texts.",
    "mean": "S = (accuracy after ablation \u2212 base) / (oracle \u2212 base), latents set to their mean over C_b's training texts, "
    "quadrant-balanced {part} texts ({n}); 95 % percentile interval of {k} resamples of those texts.",
}


_PARTLY = (
    " Only \u03b1 = {alpha:g} of what ablation takes away is taken away, in every score here. It is a look: a commit is "
    "always of the whole ablation, \u03b1 = 1."
)


@dataclass(frozen=True)
class Look:
    """What the score card is about."""

    ids: tuple[int, ...]
    """Latents ablated."""
    before: tuple[int, ...] | None
    """The set before the last change, or None."""
    set_name: str
    decided: int
    rank: str = "attribute"
    ablation: str = "zero"
    n: int = 20
    """Size of the top-N set that is marked in the curve."""
    carry: bool = False
    """Leave-one-out changes are wanted."""


@dataclass(frozen=True)
class Point:
    """One set of the curve."""

    n: int
    accuracy: Estimate
    score: Estimate


@dataclass(frozen=True)
class Curve:
    """Accuracy against the number of ablated latents."""

    n: int
    """Marked."""
    base: float | None
    oracle: float | None
    points: tuple[Point, ...]
    you: Point


@dataclass(frozen=True)
class SetRow:
    """One line of the comparison."""

    name: str
    n: int | str
    score: Estimate
    diff: Estimate | None
    """Paired difference to the set on screen; None for that set itself."""
    mine: bool = False
    same: bool = False
    """The difference is not separable from 0."""
    hint: str = ""
    """What a short name stands for."""


@dataclass(frozen=True)
class Carry:
    """What one latent of the set carries."""

    latent: int
    change: Estimate
    """Leave-one-out change of S."""


@dataclass(frozen=True)
class ScoreCard:
    """Scores of a set beside the set before, the curve and the sets to compare."""

    part: str
    alpha: float
    """Share of every ablated latent that is taken away, in every score of the card."""
    n: int
    decided: int
    set_name: str
    score: Estimate
    delta: Estimate | None
    """Difference to the set before the last change."""
    accuracy: Estimate
    base: Estimate
    oracle: Estimate
    worst: Estimate
    worst_name: str
    leakage: Estimate
    other: Estimate
    """S under the other ablation."""
    other_name: str
    other_hint: str
    how: str
    curve: Curve
    sets: tuple[SetRow, ...]
    carry: tuple[Carry, ...] | None
    """None while nobody asks."""
    can_carry: bool


@dataclass(frozen=True)
class Shares:
    """One latent's part in the score."""

    latent: int
    inside: bool
    solo: Estimate
    change: Estimate


@dataclass(frozen=True)
class CommitNote:
    """A commit in a line."""

    text: str
    gone: str
    """What fresh probes read, in words."""
    n: int
    looks: str
    who: str
    at: str
    stale: bool
    """The set has changed since."""


@dataclass(frozen=True)
class Undone:
    """What the newest step of the log took back."""

    id: int
    """Of that step's last row: another undo has another one."""
    latents: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class Record:
    """What the store says about the set."""

    commits: tuple[CommitNote, ...]
    """Newest first."""
    looks: str
    """Different dev scores that were shown, in words."""
    log: tuple[tuple[str, str, str, str], ...]
    """(when, who, latent, change) of the newest decisions."""
    can_commit: bool
    commit_note: str
    """Why not, when it cannot be committed."""
    undone: Undone | None = None
    """None where the newest step is no undo."""


def score_card(view: ShiftLatents, look: Look, rivals: Sequence[scoring.NamedSet]) -> ScoreCard:
    """The card; leave-one-out changes only if ``look`` asks for them."""
    board, ids, ablation = view.board, look.ids, look.ablation
    mine = scoring.set_score(view, ids, ablation)
    part = PART_NAMES[board.part]
    this = SetRow(f"{look.set_name} (this set)", len(ids), mine.score, None, mine=True)
    return ScoreCard(
        part=part,
        alpha=view.strength,
        n=len(ids),
        decided=look.decided,
        set_name=look.set_name,
        score=mine.score,
        delta=_delta(view, look, mine),
        accuracy=mine.accuracy,
        base=board.base,
        oracle=board.oracle,
        worst=mine.worst_group,
        worst_name=mine.worst_group_name,
        leakage=mine.leakage,
        other=scoring.set_score(view, ids, "zero" if ablation == "mean" else "mean").score,
        other_name="S, zero ablation (paper)" if ablation == "mean" else "S, mean ablation",
        other_hint="the same set under the other ablation: a large difference means a shifted threshold",
        how=_HOW[ablation].format(part=part, n=len(board.rows), k=len(mine.samples) or 1000) + _partly(view.strength),
        curve=_curve(view, look, mine),
        sets=(this, *(_rival(view, mine, r, ablation) for r in rivals), _random(view, ids, mine, ablation)),
        carry=_carry(view, ids, mine, ablation) if look.carry else None,
        can_carry=1 < len(ids) <= CARRY_MAX,
    )


def shares(view: ShiftLatents, ids: tuple[int, ...], latent: int, ablation: str) -> Shares:
    """Solo score and step of one latent."""
    s = share(view.under(ablation), ids, latent, whole=scoring.set_score(view, ids, ablation))
    return Shares(latent, s.inside, s.solo, s.change)


def record(store: Store, chosen: DecisionSet | None, ids: tuple[int, ...], part: int, locked: str = "") -> Record:
    """Commits, looks and the newest decisions of the set; whether it can be committed."""
    note = locked or "Commit: ablate at least one latent first"
    if part == TEST:
        note = "this protocol has no dev part: what you see is test"
    can = bool(ids) and part != TEST and not locked
    if chosen is None:
        return Record((), looks_words(0, 0), (), can, note)
    before = chosen.looks_before
    commits = tuple(_commit(c, ids, before) for c in reversed(store.commits(chosen.id)[-5:]))
    log = store.history(chosen.id)
    looks = looks_words(store.dev_looks(chosen.id), before)
    return Record(commits, looks, tuple(map(_change, reversed(log[-12:]))), can, note, _undone(log))


def latent_history(decisions: Sequence[Decision]) -> tuple[tuple[str, str, str, str], ...]:
    """Rows (when, who, change, reason) of one latent's decisions, newest first."""
    return tuple((when(d.at), d.who, _step(d), d.reason) for d in reversed(decisions))


def when(at: str) -> str:
    """Stored time (UTC, ISO) to the minute."""
    return at.replace("T", " ")[:16]


def _partly(alpha: float) -> str:
    return "" if alpha == 1 else _PARTLY.format(alpha=alpha)


def _delta(view: ShiftLatents, look: Look, mine: ShiftScore) -> Estimate | None:
    if look.before is None or look.before == look.ids:
        return None
    return difference(mine, scoring.set_score(view, look.before, look.ablation))


def _curve(view: ShiftLatents, look: Look, mine: ShiftScore) -> Curve:
    points = scoring.ranking_curve(view, look.rank, look.ablation, DEFAULT_NS)
    nothing = scoring.set_score(view, (), look.ablation)
    return Curve(
        look.n,
        view.board.base.value,
        view.board.oracle.value,
        (_point(0, nothing), *(_point(k, s) for k, s in points)),
        _point(len(look.ids), mine),
    )


def _point(n: int, s: ShiftScore) -> Point:
    return Point(n, s.accuracy, s.score)


def _rival(view: ShiftLatents, mine: ShiftScore, rival: scoring.NamedSet, ablation: str) -> SetRow:
    if rival.ids is None:
        nothing = undefined(rival.reason)
        return _row(rival.name, "\u2013", nothing, nothing, rival.about)
    s = scoring.set_score(view, rival.ids, ablation)
    return _row(rival.name, len(rival.ids), s.score, difference(s, mine), rival.about)


def _random(view: ShiftLatents, ids: tuple[int, ...], mine: ShiftScore, ablation: str) -> SetRow:
    if not ids:
        return _row(RANDOM, 0, mine.score, difference(mine, mine))
    drawn = scoring.random_score(view, len(ids), ablation)
    return _row(RANDOM, len(ids), drawn.score, difference(drawn, mine))


def _row(name: str, n: int | str, score: Estimate, diff: Estimate, hint: str = "") -> SetRow:
    return SetRow(name, n, score, diff, same=diff.value is not None and not separable(diff), hint=hint)


def _carry(view: ShiftLatents, ids: tuple[int, ...], mine: ShiftScore, ablation: str) -> tuple[Carry, ...]:
    if not 1 < len(ids) <= CARRY_MAX or mine.score.value is None:
        return ()
    without = {i: scoring.set_score(view, tuple(k for k in ids if k != i), ablation) for i in ids}
    rows = [Carry(i, difference(mine, s)) for i, s in without.items()]
    return tuple(sorted(rows, key=lambda r: -abs(r.change.value or 0.0)))


def _commit(c: Commit, ids: tuple[int, ...], before: int | None) -> CommitNote:
    made = read_shift(c)
    text = "n/a" if made.score.value is None else f"S {say(made.score)}"
    return CommitNote(
        text, made.gone, len(c.ids), looks_words(c.dev_looks, before), c.who, when(c.at), tuple(c.ids) != ids
    )


def _undone(log: Sequence[Decision]) -> Undone | None:
    if not log or log[-1].undoes is None:
        return None
    last = log[-1]
    same = takewhile(lambda d: d is last or (d.undoes is not None and d.batch == last.batch != ""), reversed(log))
    together = list(same)
    if len(together) == 1:
        text = f"undone: latent {last.latent}, {last.old} \u2192 {last.new}"
    else:
        text = f"undone: one step over {plural(len(together), 'latent')}"
    return Undone(last.id, tuple(d.latent for d in together), text)


def _change(d: Decision) -> tuple[str, str, str, str]:
    return when(d.at), d.who, str(d.latent), _step(d)


def _step(d: Decision) -> str:
    return f"{d.old} \u2192 {d.new}" + (" (undo)" if d.undoes else "")
