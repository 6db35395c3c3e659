"""Fresh probes of one pair: fitted on the same balanced training texts in both directions, for every SAE of a pass."""

from dataclasses import dataclass

from saeeval_core.evaluation.once import once
from saeeval_core.recordings.recording import ResidualRecording
from saeeval_core.scores.edit_size import Whitening
from saeeval_core.scores.erasure import FreshBoard, shift_fresh_board, shift_ground
from saeeval_core.scores.readers import Ground
from saeeval_core.scores.shift import ShiftBoard
from saeeval_core.scores.shift_probes import ShiftProbes
from saeeval_core.texts.tasks import ShiftTask


@dataclass(frozen=True, eq=False)
class FreshPair:
    """What fresh probes and edit sizes of a pair are made from, each when it is first used."""

    residuals: ResidualRecording
    task: ShiftTask
    """In the pair's own direction."""
    probes: ShiftProbes
    """In the same direction."""

    @once
    def ground(self) -> Ground:
        """The balanced training texts, labels target and spurious of the pair's own direction."""
        return shift_ground(self.residuals, self.task, self.probes)

    @once
    def whitening(self) -> Whitening:
        """Of the same texts."""
        return Whitening.of(self.ground.residuals)

    def board(self, board: ShiftBoard) -> FreshBoard:
        """Fresh probes on a SHIFT board of either direction."""
        own = board.task.target == self.task.target
        return shift_fresh_board(self.residuals, board, self.ground if own else self.ground.swapped())
