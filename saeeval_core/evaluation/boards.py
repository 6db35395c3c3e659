"""The boards of one recording under one protocol: the probes, clean accuracies and resamples that score every SAE."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from saeeval_core.config import Protocol
from saeeval_core.errors import DataError
from saeeval_core.evaluation.fresh import FreshPair
from saeeval_core.evaluation.kept_probes import KeptProbes
from saeeval_core.evaluation.once import once
from saeeval_core.recordings.obtain import check_tokens
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording
from saeeval_core.scores.edit_size import Whitening
from saeeval_core.scores.erasure import (
    FreshBoard,
    ShiftErasure,
    TppErasure,
    shift_erasure,
    tpp_erasure,
    tpp_fresh_board,
    tpp_ground,
)
from saeeval_core.scores.probes import Probe
from saeeval_core.scores.saebench_tpp import RedrawnTpp, redrawn_tpp
from saeeval_core.scores.shift import ShiftBoard, ShiftLatents, shift_board, shift_latents
from saeeval_core.scores.shift_probes import ShiftProbes, fit_shift_probes
from saeeval_core.scores.tpp import TppBoard, TppLatents, fit_tpp_probes, tpp_board, tpp_latents
from saeeval_core.storage.kept import Shelves
from saeeval_core.texts.parts import scored_parts
from saeeval_core.texts.tasks import Draw, DrawnPair, ShiftTask, TppTask


@dataclass(frozen=True, eq=False)
class Direction:
    """One direction of one pair, with its board on every scored part (part -> board)."""

    pair: str
    task: ShiftTask
    boards: Mapping[int, ShiftBoard]
    pair_fresh: FreshPair

    @once
    def fresh(self) -> Mapping[int, FreshBoard]:
        """Part -> what fresh probes of this direction are fitted on and scored on."""
        return {part: self.pair_fresh.board(board) for part, board in self.boards.items()}

    @property
    def name(self) -> str:
        """Such as "nurse/surgeon x female/male, target profession / spurious gender"."""
        return f"{self.task.name}, {self.task.direction}"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One residual recording, its texts' parts and a protocol; probes and boards are made when first used.

    It does not depend on an SAE: the same boards score every SAE recorded on the pass.
    """

    residuals: ResidualRecording
    draw: Draw
    metrics: tuple[str, ...] = ("shift", "tpp")
    """Metrics to score; one that the texts do not define is left out."""
    seed: int = 0
    """Seed of folds, initial weights and resamples; the texts themselves are drawn by ``draw.seed``."""
    resamples: int = 1000
    kept: Shelves | None = None
    """Folders where probes are found and stored; None trains them anew."""

    @property
    def protocol(self) -> Protocol:
        """The protocol of texts, probes and scores."""
        return self.draw.protocol

    @property
    def parts(self) -> tuple[int, ...]:
        """Parts that are scored: dev and test, or test alone."""
        return scored_parts(self.protocol)

    @property
    def scores_shift(self) -> bool:
        """SHIFT is among ``metrics`` and the texts define a pair."""
        return "shift" in self.metrics and bool(self.draw.task_set.pairs)

    @property
    def scores_tpp(self) -> bool:
        """TPP is among ``metrics`` and the texts define classes."""
        return "tpp" in self.metrics and self.draw.task_set.tpp is not None

    @property
    def tpp_is_live(self) -> bool:
        """TPP's score is that of ``tpp_boards``. False under protocols that redraw negatives: see ``redrawn_tpp``."""
        return self.scores_tpp and not self.protocol.redraw_negatives

    @once
    def directions(self) -> tuple[Direction, ...]:
        """Both directions of every pair; empty where SHIFT is not scored.

        DataError for a pair with too few texts (its scores would be noise) or for texts without tokens.
        """
        if not self.scores_shift:
            return ()
        check_tokens(self.residuals)
        return tuple(d for pair in self.draw.shift for d in self._both(pair))

    @once
    def tpp_boards(self) -> Mapping[int, TppBoard]:
        """Part -> board of all probes on all texts of the part, every other class with the same weight.

        DataError when the texts define no classes or hold texts without tokens.
        """
        return {part: self._tpp_board(part) for part in self.parts}

    @once
    def tpp_probes(self) -> list[Probe]:
        """One-vs-rest probes on all training texts. DataError as ``tpp_boards``."""
        task = self.tpp_task
        check_tokens(self.residuals)
        return self._kept("tpp", task, lambda: fit_tpp_probes(self.residuals, task, self.protocol, seed=self.seed))

    @property
    def tpp_task(self) -> TppTask:
        """The classes with their parts. DataError when there are none."""
        if self.draw.tpp is None:
            raise DataError(f"'{self.draw.task_set.texts.name}' has no TPP classes; give --classes COLUMN=A,B,C")
        return self.draw.tpp

    def shift_view(self, latents: LatentRecording, direction: Direction, part: int) -> ShiftLatents:
        """One SAE in one direction on one part, under zero ablation."""
        return shift_latents(self.residuals, latents, direction.boards[part], self.protocol)

    def shift_views(self, latents: LatentRecording, part: int) -> list[ShiftLatents]:
        """One SAE in every direction, under zero ablation."""
        return [self.shift_view(latents, d, part) for d in self.directions]

    def tpp_view(self, latents: LatentRecording, part: int) -> TppLatents:
        """One SAE with all probes on one part, under zero ablation."""
        return tpp_latents(latents, self.tpp_boards[part])

    def shift_erasure(self, latents: LatentRecording, direction: Direction, part: int) -> ShiftErasure:
        """Fresh probes of one SAE in one direction on one part."""
        return shift_erasure(direction.boards[part], direction.fresh[part], latents)

    @once
    def tpp_fresh(self) -> Mapping[int, FreshBoard]:
        """Part -> fresh one-vs-rest probes on the texts of ``tpp_boards``. DataError as they."""
        ground = tpp_ground(self.residuals, self.tpp_task, self.tpp_probes)
        return {part: tpp_fresh_board(self.residuals, board, ground) for part, board in self.tpp_boards.items()}

    @once
    def tpp_whitening(self) -> Whitening:
        """Of all training texts of the classes."""
        return Whitening.of(self.residuals.residuals[self.tpp_task.train_rows])

    def tpp_erasure(self, latents: LatentRecording, part: int) -> TppErasure:
        """Fresh one-vs-rest probes of one SAE on one part."""
        return tpp_erasure(self.tpp_boards[part], self.tpp_fresh[part], latents)

    def redrawn_tpp(self, latents: LatentRecording, ns: Sequence[int]) -> RedrawnTpp:
        """TPP under a protocol that redraws negatives for every number: minutes of work, no intervals."""
        check_tokens(self.residuals)
        return redrawn_tpp(self.residuals, latents, self.tpp_task, self.protocol, ns=ns, seed=self.seed)

    def shift_probes(self, pair: DrawnPair) -> ShiftProbes:
        """The three probes of a pair in its own direction."""

        def train() -> list[Probe]:
            made = fit_shift_probes(self.residuals, pair, self.protocol, seed=self.seed)
            return [made.base, made.oracle, made.attribute]

        # A stored probe does not say which training texts were drawn: their seed has to be the probe's.
        own = self.draw.seed == self.seed
        return ShiftProbes(pair.training, *(self._kept("shift", pair.task, train) if own else train()))

    def _both(self, pair: DrawnPair) -> list[Direction]:
        probes = self.shift_probes(pair)
        both = ((pair.task, probes), (pair.task.swapped(), probes.swapped()))
        fresh = FreshPair(self.residuals, pair.task, probes)
        return [Direction(pair.task.name, task, self._boards(task, own), fresh) for task, own in both]

    def _boards(self, task: ShiftTask, probes: ShiftProbes) -> dict[int, ShiftBoard]:
        return {
            part: shift_board(
                self.residuals, task, probes, self.protocol, part=part, seed=self.seed, resamples=self.resamples
            )
            for part in self.parts
        }

    def _tpp_board(self, part: int) -> TppBoard:
        task, probes = self.tpp_task, self.tpp_probes
        return tpp_board(self.residuals, task, probes, part=part, seed=self.seed, resamples=self.resamples)

    def _kept(self, metric: str, task: ShiftTask | TppTask, train: Callable[[], list[Probe]]) -> list[Probe]:
        if self.kept is None:
            return train()
        return KeptProbes(self.kept, self.residuals, [metric, *task.identity], self.protocol, self.seed).get(train)
