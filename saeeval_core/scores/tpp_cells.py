"""Details of one cell of the TPP matrix: the latents of its row, and the texts whose prediction flipped.

Cell (i, j): the latents of class i are ablated, probe j is scored. All numbers come from the pooled latents of a
``TppLatents``; neither the model nor the SAE runs again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from saeeval_core.scores.tpp import TppBoard, TppLatents, TppScore
from saeeval_core.scores.uncertainty import Estimate, estimate, paired_difference, undefined


@dataclass(frozen=True)
class CellLatent:
    """One ablated latent and its effect on one probe (docs/method.md, "TPP": cell detail)."""

    latent: int
    effect: float
    """I of this probe: (mean on its class - mean on the others) * (D . w), before clamping."""
    solo: Estimate
    """Loss of the probe's balanced accuracy when only this latent is ablated."""
    left_out: Estimate
    """Leave-one-out: Delta of the set - Delta of the set without this latent."""


@dataclass(frozen=True)
class Flip:
    """A text whose prediction changed."""

    row: int
    """Row in the recording (and in its LabelledTexts)."""
    label: int
    """Index of its true class."""
    before: float
    """Logit of the probe before ablation."""
    after: float
    now_wrong: bool
    """True when ablation made a right prediction wrong, False when it made a wrong one right."""
    latents: tuple[tuple[int, float], ...]
    """(latent, what its ablation subtracts from the logit), largest change first."""


def relative_matrix(board: TppBoard, score: TppScore) -> list[list[Estimate]]:
    """Each cell as a share of its probe's clean accuracy above chance: Delta_ij / (A_j - 1/2).

    At 1 the probe is at chance. The interval is the cell's, divided by the same fixed value.
    """
    out = []
    for row in score.matrix:
        cells = []
        for cell, clean in zip(row, board.clean, strict=True):
            room = float(clean.value or 0) - 0.5
            if cell.value is None or cell.ci is None:
                cells.append(cell)
            elif room <= 0:
                cells.append(undefined("the clean probe is not better than chance"))
            else:
                cells.append(Estimate(cell.value / room, (cell.ci[0] / room, cell.ci[1] / room)))
        out.append(cells)
    return out


def cell_latents(view: TppLatents, ids: Sequence[int], probe: int) -> list[CellLatent]:
    """Contribution of every latent of a row to one cell, in the order of ``ids``.

    IndexError for a latent the SAE does not have.
    """
    board, effects = view.board, view.effects
    reason = board.reasons[probe]
    columns = view.contributions(ids, probe)
    whole = columns.sum(1)
    solo_value, solo = _losses(board, probe, columns)
    spared_value, spared = _losses(board, probe, whole[:, None] - columns)
    set_value, set_samples = _losses(board, probe, whole[:, None])
    out = []
    for k, latent in enumerate(ids):
        out.append(
            CellLatent(
                int(latent),
                float(effects[latent, probe]),
                undefined(reason) if reason else estimate(solo_value[k], solo[:, k]),
                undefined(reason)
                if reason
                else paired_difference(set_value[0] - spared_value[k], set_samples[:, 0], spared[:, k]),
            )
        )
    return out


def flipped_texts(view: TppLatents, ids: Sequence[int], probe: int, *, at_most: int = 50) -> tuple[list[Flip], int]:
    """Texts whose prediction by the probe changes, largest change of logit first, and how many there are in all."""
    board, ids = view.board, list(ids)
    contributions = view.contributions(ids, probe)
    before = board.logits[:, probe]
    after = before - contributions.sum(1)
    flipped = np.flatnonzero((before > 0) != (after > 0))
    order = flipped[np.argsort(-np.abs(before - after)[flipped], kind="stable")]
    flips = []
    for t in order[:at_most]:
        places = np.argsort(-np.abs(contributions[t]), kind="stable")
        took = tuple((int(ids[k]), float(contributions[t, k])) for k in places if contributions[t, k] != 0)
        right_before = bool((before[t] > 0) == (board.label[t] == probe))
        flips.append(
            Flip(int(board.rows[t]), int(board.label[t]), float(before[t]), float(after[t]), right_before, took)
        )
    return flips, len(order)


def row_difference(a: TppScore, b: TppScore) -> list[list[float | None]]:
    """Cell by cell, matrix of a minus matrix of b; None where one of them is undefined."""
    return [
        [None if x.value is None or y.value is None else x.value - y.value for x, y in zip(p, q, strict=True)]
        for p, q in zip(a.matrix, b.matrix, strict=True)
    ]


def _losses(board: TppBoard, probe: int, removed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(float64[k], float[resamples, k]): balanced accuracy a probe loses by each column of ``removed`` [texts, k]."""
    truth = (board.label == probe)[:, None]
    right = ((board.logits[:, [probe]] - removed) > 0) == truth
    weighted = right * board.weights[:, [probe]]
    value = float(board.clean[probe].value or 0) - weighted.sum(0)
    return value, board.clean_samples[:, [probe]] - board.resamples.sums(weighted)


def chosen_sets(
    rankings: Sequence[np.ndarray], n: int, decisions: Sequence[Mapping[int, str]]
) -> list[tuple[int, ...]]:
    """Latents ablated for each class: the first n of its ranking, int[eligible], with the changes a person made.

    ``decisions[i]`` maps latents to "ablate" (added beyond n), "keep" (left out within n) or "unsure" (changes
    nothing).
    """
    out = []
    for ranking, own in zip(rankings, decisions, strict=True):
        top = [int(i) for i in ranking[:n]]
        kept = [i for i in top if own.get(i) != "keep"]
        out.append((*kept, *sorted(i for i, d in own.items() if d == "ablate" and i not in top)))
    return out
