"""The sets of TPP's classes, each followed through later layers of the model: what its own probe loses there, and others.

At every hook asked for, one-vs-rest probes are trained on the clean activations there; fresh ones are fitted on the
training texts of a pass with the class's set ablated.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from saeeval_core.errors import ConfigError
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.holding.ablated_pass import SetEdit, check_later
from saeeval_core.holding.asked import AskedClasses, check_protocol
from saeeval_core.holding.held import ClassAtHook, ClassesAtHook, HeldClasses
from saeeval_core.holding.passes import Pooled, Reader, residuals_at, taken
from saeeval_core.models.language_model import LanguageModel
from saeeval_core.recordings.recorder import OnProgress, place_of
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.saes.loaded import LoadedSAE
from saeeval_core.scores.erasure import FreshBoard, tpp_fresh_board, tpp_ground
from saeeval_core.scores.readers import RIDGE
from saeeval_core.scores.tpp import TppBoard, TppLatents, fit_tpp_probes, matrix_score, row_estimates, tpp_board
from saeeval_core.scores.uncertainty import Estimate, undefined
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.parts import PART_NAMES


def hold_classes(
    model: LanguageModel,
    sae: LoadedSAE,
    evaluation: Evaluation,
    latents: LatentRecording,
    asked: AskedClasses,
    hooks: Sequence[str],
    *,
    general: LabelledTexts | None = None,
    on_progress: OnProgress | None = None,
) -> HeldClasses:
    """Follow the sets of some classes: one ablated pass per class.

    ConfigError where no class ablates anything, for a hook before the one written or a protocol without live TPP;
    ModelError for an unknown hook. An exception of ``on_progress`` stops it.
    """
    check_protocol(evaluation)
    if not evaluation.tpp_is_live:
        raise ConfigError(f"protocol '{evaluation.protocol.name}' redraws negatives; use --protocol robust")
    view, edits = asked.view(evaluation, latents), edits_of(model, sae, evaluation, latents, asked)
    check_later(model, edits[min(edits)].place.exact.write, hooks)
    rows = np.union1d(view.board.task.train_rows, view.board.rows)
    reader = Reader(model, evaluation, hooks, on_progress)
    reader.plan(rows, 1 + len(edits))
    reader.plan_damage(general, len(edits))
    clean = reader.read(rows)
    ablated = {i: reader.read(rows, edit) for i, edit in edits.items()}
    at = [_at(evaluation, asked, h, clean, ablated) for h in hooks]
    names = evaluation.tpp_task.classes
    damage = {names[i]: d for i, edit in edits.items() if (d := reader.damage(edit, general)) is not None}
    sizes = {names[i]: len(asked.sets[i]) for i in asked.followed}
    part, exact = PART_NAMES[asked.part], _exact(view, asked)
    return HeldClasses(
        latents.sae, evaluation.tpp_task.name, part, asked.ablation, RIDGE, sizes, exact, tuple(at), damage
    )


def edits_of(
    model: LanguageModel, sae: LoadedSAE, evaluation: Evaluation, latents: LatentRecording, asked: AskedClasses
) -> dict[int, SetEdit]:
    """Class -> the ablation of its set, of the followed classes that ablate anything. ConfigError where none does."""
    sets = {i: asked.sets[i] for i in asked.followed if asked.sets[i]}
    if not sets:
        raise ConfigError("the sets ablate no latent, so there is nothing to follow; mark at least one")
    place, set_to = place_of(model, sae), asked.view(evaluation, latents).set_to
    return {i: SetEdit(place, ids, set_to[list(ids)]) for i, ids in sets.items()}


def _exact(view: TppLatents, asked: AskedClasses) -> Estimate:
    return _not_all(view.board, asked) or view.score(asked.sets).score


def _not_all(board: TppBoard, asked: AskedClasses) -> Estimate | None:
    """Why the score of the matrix is undefined; None where every class was followed."""
    names = board.task.classes
    if len(asked.followed) == len(names):
        return None
    return undefined(f"only {', '.join(names[i] for i in asked.followed)} followed; the score needs every class")


@dataclass(frozen=True, eq=False)
class _Rows:
    """One row of a matrix per followed class."""

    value: np.ndarray
    """float64[classes, classes]: [ablated class][probe]; 0 in rows of classes that are not followed."""
    samples: np.ndarray
    """float64[resamples, classes, classes]"""

    @classmethod
    def empty(cls, m: int, resamples: int) -> "_Rows":
        return cls(np.zeros((m, m)), np.zeros((resamples, m, m)))

    def put(self, i: int, value: np.ndarray, samples: np.ndarray) -> None:
        self.value[i], self.samples[:, i] = value, samples


def _at(
    evaluation: Evaluation, asked: AskedClasses, hook: str, clean: Pooled, ablated: dict[int, Pooled]
) -> ClassesAtHook:
    board, fresh = _boards_at(evaluation, asked, hook, clean)
    m, train_rows = len(board.task.classes), board.task.train_rows
    old, left = (_Rows.empty(m, board.resamples.n) for _ in range(2))
    for i, own in ablated.items():
        train, scored = (taken(hook, rows, clean, own) for rows in (train_rows, board.rows))
        after = scored.of(fresh.residuals)
        old.put(i, *board.losses(board.logits - np.stack([p.logits(after) for p in board.probes], axis=1)))
        kept = fresh.kept(fresh.read(train, scored))
        left.put(i, 1 - kept.value, 1 - kept.samples)
    sizes, no_score = [len(ids) for ids in asked.sets], _not_all(board, asked)
    scores = [
        no_score or matrix_score(rows.value, rows.samples, reasons, sizes).score
        for rows, reasons in ((old, board.reasons), (left, fresh.reasons))
    ]
    classes = tuple(_class(board, fresh, i, old, left) for i in asked.followed)
    return ClassesAtHook(hook, *scores, classes)


def _class(board: TppBoard, fresh: FreshBoard, i: int, old: _Rows, left: _Rows) -> ClassAtHook:
    lost = row_estimates(old.value[i], old.samples[:, i], i, board.reasons)
    kept = row_estimates(1 - left.value[i], 1 - left.samples[:, i], i, fresh.reasons)
    return ClassAtHook(board.task.classes[i], *lost, *kept)


def _boards_at(evaluation: Evaluation, asked: AskedClasses, hook: str, clean: Pooled) -> tuple[TppBoard, FreshBoard]:
    """The boards at a hook: the evaluation's own at its probe hook, elsewhere with probes trained there."""
    here = residuals_at(evaluation.residuals, hook, clean)
    if here is evaluation.residuals:
        return evaluation.tpp_boards[asked.part], evaluation.tpp_fresh[asked.part]
    task, seed, resamples = evaluation.tpp_task, evaluation.seed, evaluation.resamples
    probes = fit_tpp_probes(here, task, evaluation.protocol, seed=seed)
    board = tpp_board(here, task, probes, part=asked.part, seed=seed, resamples=resamples)
    return board, tpp_fresh_board(here, board, tpp_ground(here, task, probes))
