"""The score card of one decision set as plain JSON values; the browser draws it (widgets/lab/score.js)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.services import scoring
from saeeval_core.ledger.store import Commit, Decision, DecisionSet, Store
from saeeval_core.scores.contributions import share
from saeeval_core.scores.shift import ShiftLatents, ShiftScore
from saeeval_core.scores.uncertainty import Estimate, difference, separable, undefined
from saeeval_core.texts.parts import PART_NAMES

CURVE_NS = (0, 1, 2, 3, 5, 10, 20, 50, 100)
CARRY_MAX = 40
"""Largest set for which every leave-one-out change is shown."""
_HOW = {
    "zero": "S = (accuracy after ablation \u2212 base) / (oracle \u2212 base), zero ablation, quadrant-balanced {part} texts ({n}); "
    "95 % percentile interval of {k} resamples of those texts.",
    "mean": "S = (accuracy after ablation \u2212 base) / (oracle \u2212 base), latents set to their mean over C_b's training texts, "
    "quadrant-balanced {part} texts ({n}); 95 % percentile interval of {k} resamples of those texts.",
}


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


def score_json(view: ShiftLatents, look: Look, rivals: Sequence[scoring.NamedSet]) -> dict[str, Any]:
    """Scores of a set beside the set before, the curve, the sets to compare and, if asked, every leave-one-out change."""
    board, ids, ablation = view.board, look.ids, look.ablation
    mine = scoring.set_score(view, ids, ablation)
    other = scoring.set_score(view, ids, "zero" if ablation == "mean" else "mean")
    part = PART_NAMES[board.part]
    return {
        "part": part,
        "n": len(ids),
        "decided": look.decided,
        "setName": look.set_name,
        "score": mine.score.to_dict(),
        "delta": _delta(view, look, mine),
        "accuracy": mine.accuracy.to_dict(),
        "base": board.base.to_dict(),
        "oracle": board.oracle.to_dict(),
        "worst": mine.worst_group.to_dict(),
        "worstName": mine.worst_group_name,
        "leakage": mine.leakage.to_dict(),
        "other": other.score.to_dict(),
        "otherName": "S, zero ablation (paper)" if ablation == "mean" else "S, mean ablation",
        "otherHint": "the same set under the other ablation: a large difference means a shifted threshold",
        "how": _HOW[ablation].format(part=part, n=len(board.rows), k=len(mine.samples) or 1000),
        "curve": _curve(view, look, mine),
        "sets": [
            {
                "name": f"{look.set_name} (this set)",
                "n": len(ids),
                "score": mine.score.to_dict(),
                "diff": None,
                "mine": True,
            },
            *(_rival_row(view, mine, r, ablation) for r in rivals),
            _random_row(view, ids, mine, ablation),
        ],
        "carry": _carry(view, ids, mine, ablation) if look.carry else None,
        "canCarry": 1 < len(ids) <= CARRY_MAX,
    }


def shares_json(view: ShiftLatents, ids: tuple[int, ...], latent: int, ablation: str) -> dict[str, Any]:
    """Solo score and step of one latent."""
    s = share(view.under(ablation), ids, latent, whole=scoring.set_score(view, ids, ablation))
    return {"latent": latent, "inside": s.inside, "solo": s.solo.to_dict(), "change": s.change.to_dict()}


def log_json(store: Store, chosen: DecisionSet | None, ids: tuple[int, ...]) -> dict[str, Any]:
    """Commits, looks and the newest decisions of the set."""
    if chosen is None:
        return {"commits": [], "looks": 0, "log": []}
    history = store.history(chosen.id)
    return {
        "commits": [_commit(c, ids) for c in reversed(store.commits(chosen.id))][:5],
        "looks": store.dev_looks(chosen.id),
        "log": [_change(d) for d in reversed(history[-12:])],
    }


def latent_history(decisions: Sequence[Decision]) -> list[list[str]]:
    """Rows (when, who, change, reason) of one latent's decisions, newest first."""
    return [
        [when(d.at), d.who, f"{d.old} → {d.new}" + (" (undo)" if d.undoes else ""), d.reason]
        for d in reversed(decisions)
    ]


def test_json(view: ShiftLatents, ids: tuple[int, ...], ablation: str) -> dict[str, Any]:
    """What a commit stores: the test scores of the set under the ablation that was chosen, plain values."""
    s = scoring.set_score(view, ids, ablation)
    parts: Mapping[str, Estimate] = {
        "score": s.score,
        "accuracy": s.accuracy,
        "worst_group": s.worst_group,
        "leakage": s.leakage,
        "base": view.board.base,
        "oracle": view.board.oracle,
    }
    return {
        "part": PART_NAMES[view.board.part],
        "ablation": ablation,
        "n_ablated": len(ids),
        "worst_group_name": s.worst_group_name,
    } | {k: e.to_dict() for k, e in parts.items()}


def when(at: str) -> str:
    """Stored time (UTC, ISO) to the minute."""
    return at.replace("T", " ")[:16]


def _point(n: int, s: ShiftScore) -> dict[str, Any]:
    return {"n": n, "accuracy": s.accuracy.to_dict(), "score": s.score.to_dict()}


def _delta(view: ShiftLatents, look: Look, mine: ShiftScore) -> dict[str, Any] | None:
    if look.before is None or look.before == look.ids:
        return None
    return difference(mine, scoring.set_score(view, look.before, look.ablation)).to_dict()


def _curve(view: ShiftLatents, look: Look, mine: ShiftScore) -> dict[str, Any]:
    points = scoring.ranking_curve(view, look.rank, look.ablation, tuple(k for k in CURVE_NS if k))
    nothing = scoring.set_score(view, (), look.ablation)
    return {
        "n": look.n,
        "base": view.board.base.value,
        "oracle": view.board.oracle.value,
        "points": [_point(0, nothing), *(_point(k, s) for k, s in points)],
        "you": _point(len(look.ids), mine),
    }


def _rival_row(view: ShiftLatents, mine: ShiftScore, rival: scoring.NamedSet, ablation: str) -> dict[str, Any]:
    if rival.ids is None:
        nothing = undefined(rival.reason)
        return _row(rival.name, "\u2013", nothing, nothing)
    s = scoring.set_score(view, rival.ids, ablation)
    return _row(rival.name, len(rival.ids), s.score, difference(s, mine))


def _random_row(view: ShiftLatents, ids: tuple[int, ...], mine: ShiftScore, ablation: str) -> dict[str, Any]:
    if not ids:
        return _row("random, same size", 0, mine.score, difference(mine, mine))
    drawn = scoring.random_score(view, len(ids), ablation)
    return _row("random, same size", len(ids), drawn.score, difference(drawn, mine))


def _row(name: str, n: int | str, score: Estimate, diff: Estimate) -> dict[str, Any]:
    same = diff.value is not None and not separable(diff)
    return {"name": name, "n": n, "score": score.to_dict(), "diff": diff.to_dict(), "mine": False, "same": same}


def _carry(view: ShiftLatents, ids: tuple[int, ...], mine: ShiftScore, ablation: str) -> list[dict[str, Any]]:
    if not 1 < len(ids) <= CARRY_MAX or mine.score.value is None:
        return []
    without = {i: scoring.set_score(view, tuple(k for k in ids if k != i), ablation) for i in ids}
    rows = [{"latent": i, "change": difference(mine, s).to_dict()} for i, s in without.items()]
    return sorted(rows, key=lambda r: -abs(r["change"]["value"]))


def _commit(c: Commit, ids: tuple[int, ...]) -> dict[str, Any]:
    e = c.test["score"]
    text = (
        "n/a"
        if e["value"] is None
        else f"S {e['value']:.3f}" + (f" [{e['ci'][0]:.2f}, {e['ci'][1]:.2f}]" if e["ci"] else "")
    )
    return {
        "text": text,
        "n": len(c.ids),
        "looks": c.dev_looks,
        "who": c.who,
        "at": when(c.at),
        "stale": tuple(c.ids) != ids,
    }


def _change(d: Decision) -> list[str]:
    return [when(d.at), d.who, str(d.latent), f"{d.old} \u2192 {d.new}" + (" (undo)" if d.undoes else "")]
