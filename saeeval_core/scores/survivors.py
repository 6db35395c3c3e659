"""Where a concept survived: fresh probes on the exact parts of ablated residuals (docs/method.md, "Is it gone?").

    x' = (L - what was ablated) + (y - L) + (x - y)         L = sum_i f_i D_i,  y the pooled activation at the write hook

Each part is read by its own fresh probe, so the parts need not add up: the same concept may stand in two of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from saeeval_core.models.layouts import BLOCK, crosses_output_matrix
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording
from saeeval_core.scores.erasure import Accuracies, FreshBoard, ShiftErasure
from saeeval_core.scores.readers import Ground
from saeeval_core.scores.shift import ShiftBoard
from saeeval_core.scores.uncertainty import Estimate, undefined

LATENTS = "what the other latents write"
BESIDES = "what the write hook holds besides: reconstruction error, bias, skip"
STREAM = "the rest of the residual stream"
ELSE = "everything that the latents do not write"
"""The second and third part together."""


@dataclass(frozen=True)
class Survivor:
    """What a fresh probe reads of the spurious label in one part of the ablated residuals."""

    part: str
    """LATENTS, BESIDES, STREAM or ELSE."""
    fresh: Estimate
    """Balanced accuracy."""
    recoverability: Estimate
    """The same as a share of what a fresh probe reads of the clean whole; undefined where R is."""


@dataclass(frozen=True, eq=False)
class Survivors:
    """The parts of one SAE's residuals in one direction on one part of the texts."""

    whole: ShiftErasure
    boards: Mapping[str, FreshBoard]
    """Part -> fresh probes on it, before ablation."""
    missing: str = ""
    """Why the parts are two and not three; "" where nothing is missing."""

    def read(self, ids: Sequence[int] | np.ndarray, strength: float = 1.0) -> list[Survivor]:
        """What every part still says after ablating latents int[set]; only LATENTS depends on them.

        ``strength`` as in ``ShiftErasure.score``.
        """
        board = self.boards[LATENTS]
        return [
            self._survivor(LATENTS, board.read(*self.whole.codes.edits(ids, strength))),
            *(self._survivor(name, found) for name, found in self._others.items()),
        ]

    @cached_property
    def _others(self) -> dict[str, Accuracies]:
        return {name: b.clean for name, b in self.boards.items() if name != LATENTS}

    def _survivor(self, part: str, found: Accuracies) -> Survivor:
        reason = self.whole.board.reasons[1]
        return Survivor(part, found.of(1), undefined(reason) if reason else self.whole.board.kept(found).of(1))


def written_at(latents: LatentRecording, probe: str) -> str:
    """The hook whose pooled activation y holds what the decoder rows of ``latents.at(probe)`` add up to."""
    write = latents.exact.write if latents.exact else probe
    block = BLOCK.match(write)
    if crosses_output_matrix(write, probe) and block:
        return f"blocks.{block[1]}.hook_attn_out"
    return write


def survivors(
    residuals: ResidualRecording,
    latents: LatentRecording,
    board: ShiftBoard,
    whole: ShiftErasure,
    written: ResidualRecording | None,
) -> Survivors:
    """The parts of one SAE on a SHIFT board; ``whole`` are its fresh probes there.

    ``written``: the recording at ``written_at``. Without it the second and third part stand together; where it is the
    hook that is probed the third part is empty and left out.
    """
    train = board.task.rows[board.probes.training.balanced]
    rows = np.concatenate([train, board.rows])
    x = residuals.residuals[rows].astype(np.float64)
    own = latents.latents[rows].astype(np.float64) @ latents.decoder.astype(np.float64)
    parts, missing = {LATENTS: own, ELSE: x - own}, ""
    hook = written_at(latents, residuals.key.hook)
    if hook == residuals.key.hook:
        parts = {LATENTS: own, BESIDES: x - own}
    elif written is None or written.residuals.shape[1] != x.shape[1]:
        missing = f"the pooled activation at {hook} was not recorded; record these texts again to tell the two apart"
    else:
        y = written.residuals[rows].astype(np.float64)
        parts = {LATENTS: own, BESIDES: y - own, STREAM: x - y}
    return Survivors(whole, {name: _board(whole.board, part, len(train)) for name, part in parts.items()}, missing)


def _board(whole: FreshBoard, part: np.ndarray, n_train: int) -> FreshBoard:
    """Fresh probes of the same labels on one part float64[training and scored texts, d_model] of the residuals."""
    g = whole.ground
    ground = Ground.of(part[:n_train], g.labels, g.share, g.c)
    return replace(whole, ground=ground, residuals=part[n_train:])
