"""Does it hold outside the probe? One committed set of SHIFT, followed through later layers of the model.

The exact route says what a probe reads where the SAE writes. What later layers make of the ablated activation has to be
run: at every hook asked for, the three probes of the direction are trained on the clean activations there, and C_b reads
the texts of a pass with the set ablated; fresh probes are fitted on the training texts of that pass. See docs/method.md,
"Outside the probe".
"""

from collections.abc import Sequence

import numpy as np

from saeeval_core.controls.leace import edited_score
from saeeval_core.errors import ConfigError
from saeeval_core.evaluation.boards import Direction, Evaluation
from saeeval_core.evaluation.fresh import FreshPair
from saeeval_core.holding.ablated_pass import SetEdit, check_later
from saeeval_core.holding.asked import AskedSet, check_protocol
from saeeval_core.holding.held import AtHook, Held
from saeeval_core.holding.passes import Pooled, Reader, residuals_at, taken
from saeeval_core.models.language_model import LanguageModel
from saeeval_core.recordings.recorder import OnProgress, place_of
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording
from saeeval_core.saes.loaded import LoadedSAE
from saeeval_core.scores.erasure import FreshBoard, readable_after
from saeeval_core.scores.readers import RIDGE
from saeeval_core.scores.shift import ShiftBoard, shift_board
from saeeval_core.scores.shift_probes import ShiftProbes, fit_shift_probes
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.parts import PART_NAMES


def edit_of(
    model: LanguageModel, sae: LoadedSAE, evaluation: Evaluation, latents: LatentRecording, asked: AskedSet
) -> SetEdit:
    """The ablation of the set in passes of the model. ConfigError for an empty set; errors of ``place_of``."""
    if not asked.ids:
        raise ConfigError("the set ablates no latent, so there is nothing to follow; mark at least one")
    set_to = asked.view(evaluation, latents).set_to[list(asked.ids)]
    return SetEdit(place_of(model, sae), asked.ids, set_to)


def hold(
    model: LanguageModel,
    sae: LoadedSAE,
    evaluation: Evaluation,
    latents: LatentRecording,
    asked: AskedSet,
    hooks: Sequence[str],
    *,
    general: LabelledTexts | None = None,
    on_progress: OnProgress | None = None,
) -> Held:
    """Follow a set: minutes of work. ``latents``: the SAE's recording, probed where ``evaluation`` is.

    ConfigError for an empty set, a hook before the one written, or a protocol that imitates the padding leak (no forward
    pass has it); ModelError for an unknown hook. An exception of ``on_progress`` stops it.
    """
    check_protocol(evaluation)
    view, edit = asked.view(evaluation, latents), edit_of(model, sae, evaluation, latents, asked)
    check_later(model, edit.place.exact.write, hooks)
    balanced, biased = training_rows(view.board)
    changed = np.union1d(balanced, view.board.rows)
    every = np.union1d(biased, changed)
    reader = Reader(model, evaluation, hooks, on_progress)
    reader.plan(every)
    reader.plan(changed)
    reader.plan_damage(general)
    clean, ablated = reader.read(every), reader.read(changed, edit)
    at = [_at(evaluation, asked, h, clean, ablated) for h in hooks]
    damage = reader.damage(edit, general)
    names = asked.direction.pair, asked.direction.task.direction, PART_NAMES[asked.part]
    exact = view.score(asked.ids).score
    return Held(latents.sae, *names, asked.ablation, RIDGE, asked.ids, exact, tuple(at), damage)


def training_rows(board: ShiftBoard) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the recording int[texts] that train the direction's balanced probes, and those that train C_b."""
    training = board.probes.training
    return board.task.rows[training.balanced], board.task.rows[training.biased]


def _at(evaluation: Evaluation, asked: AskedSet, hook: str, clean: Pooled, ablated: Pooled) -> AtHook:
    board, fresh = boards_at(evaluation, asked, hook, clean)
    train, scored = (taken(hook, rows, clean, ablated) for rows in (training_rows(board)[0], board.rows))
    old = edited_score(board, scored.of(fresh.residuals))
    left = readable_after(fresh, train, scored, len(asked.ids))
    fresh_figures = left.recoverability, left.recoverability_target, left.score
    return AtHook(hook, board.base, board.oracle, old.accuracy, old.score, *fresh_figures)


def boards_at(evaluation: Evaluation, asked: AskedSet, hook: str, clean: Pooled) -> tuple[ShiftBoard, FreshBoard]:
    """The direction's boards at a hook: the evaluation's own at its probe hook, elsewhere with probes trained there.

    ``clean``: the training texts of all three probes, and the scored texts.
    """
    direction, here = asked.direction, residuals_at(evaluation.residuals, hook, clean)
    if here is evaluation.residuals:
        return direction.boards[asked.part], direction.fresh[asked.part]
    probes = probes_at(evaluation, direction, here)
    task, protocol, seed = direction.task, evaluation.protocol, evaluation.seed
    board = shift_board(here, task, probes, protocol, part=asked.part, seed=seed, resamples=evaluation.resamples)
    own = direction.pair_fresh.task
    return board, FreshPair(here, own, probes if own.target == task.target else probes.swapped()).board(board)


def probes_at(evaluation: Evaluation, direction: Direction, here: ResidualRecording) -> ShiftProbes:
    """The direction's three probes on a recording of their training texts; on the evaluation's own, its own."""
    if here is evaluation.residuals:
        return next(iter(direction.boards.values())).probes
    pair = next(p for p in evaluation.draw.shift if p.task.name == direction.pair)
    probes = fit_shift_probes(here, pair, evaluation.protocol, seed=evaluation.seed)
    return probes if pair.task.target == direction.task.target else probes.swapped()
