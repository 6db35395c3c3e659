"""LEACE (Belrose et al., arXiv 2306.03819): the spurious label erased from pooled residuals, without any SAE."""

from typing import TYPE_CHECKING

import numpy as np

from saeeval_core.controls.about import LEACE
from saeeval_core.controls.rivals import dictionary
from saeeval_core.errors import DataError
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording
from saeeval_core.scores.shift import ShiftBoard, ShiftScore

if TYPE_CHECKING:
    from concept_erasure import LeaceEraser


def leace_score(residuals: ResidualRecording, board: ShiftBoard) -> ShiftScore:
    """SHIFT after LEACE on pooled residuals, which takes out what a linear probe could read of the spurious label.

    Fitted on the balanced training texts. For comparison only, because it uses the label to edit the whole residual.
    The covariance is shrunk (concept-erasure's optimal linear shrinkage), because there are about as many texts as
    dimensions.
    """
    import torch

    eraser = _fitted(residuals, board)
    return edited_score(board, eraser(torch.from_numpy(residuals.residuals[board.rows].astype(np.float64))).numpy())


def leace_recording(residuals: ResidualRecording, board: ShiftBoard) -> LatentRecording:
    """The same edit as a dictionary of one signed latent: of one binary label it takes out one direction."""
    eraser = _fitted(residuals, board)
    rows, readers = eraser.proj_left.numpy().T, eraser.proj_right.numpy()
    center = 0.0 if eraser.bias is None else eraser.bias.numpy()
    return dictionary(residuals, LEACE, (residuals.residuals.astype(np.float64) - center) @ readers.T, rows)


def _fitted(residuals: ResidualRecording, board: ShiftBoard) -> "LeaceEraser":
    import torch
    from concept_erasure import LeaceEraser

    task, training = board.task, board.probes.training
    x = torch.from_numpy(residuals.residuals[task.rows[training.balanced]].astype(np.float64))
    z = torch.from_numpy(task.spurious_label[training.balanced].astype(np.float64))
    return LeaceEraser.fit(x, z, shrinkage=True)


def edited_score(board: ShiftBoard, edited: np.ndarray) -> ShiftScore:
    """SHIFT of the board's texts with the pooled residuals ``edited``, float[texts, d_model], in place of their own.

    DataError unless there is one for each scored text.
    """
    if len(edited) != len(board.rows):
        raise DataError(
            f"{len(edited)} edited texts for {len(board.rows)} scored ones; edit each of them, in the same order"
        )
    return board.score(board.base_logits - board.probes.base.logits(edited), 0)
