"""The SHIFT lab's aggregate: one row per direction, and the mean over directions, then pairs."""

from dataclasses import dataclass

from app.deciding.lab import Lab
from app.services import scoring
from saeeval_core.scores.uncertainty import OverPairs, over_pairs
from saeeval_core.wording import plural


@dataclass(frozen=True)
class PairTable:
    """What the aggregate shows."""

    rows: list[dict[str, str]]
    """One per direction: heading -> text."""
    totals: list[tuple[str, OverPairs]]
    """(what was scored, its mean)"""


def pair_table(labs: list[Lab]) -> PairTable:
    """From the lab of every direction, each at the person's own set."""
    rows, mine, top = [], [], []
    n = labs[0].n if labs else 0
    for lab in labs:
        view, board, ids = lab.view, lab.view.board, lab.ablated()
        ranked, own = scoring.set_score(view, lab.top(), lab.ablation), scoring.set_score(view, ids, lab.ablation)
        top.append((lab.direction.pair, ranked))
        if ids:
            mine.append((lab.direction.pair, own))
        rows.append(
            {
                "pair": lab.direction.pair,
                "direction": lab.direction.task.direction,
                "base": str(board.base),
                "oracle": str(board.oracle),
                f"S, top {n}": str(ranked.score),
                "my set": plural(len(ids), "latent") if ids else "none yet",
                "S, mine": str(own.score) if ids else "",
            }
        )
    scored = ((f"top {n} by attribution", top), ("my sets (pairs that have one)", mine))
    return PairTable(rows, [(name, over_pairs(scores)) for name, scores in scored if scores])
