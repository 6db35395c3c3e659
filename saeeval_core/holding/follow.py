"""Does it hold outside the probe? One committed set of SHIFT, followed through later layers of the model.

The exact route says what a probe reads where the SAE writes. What later layers make of the ablated activation has to be
run: at every hook asked for, the three probes of the direction are trained on the clean activations there, and C_b reads
the texts of a pass with the set ablated. See docs/method.md, "Outside the probe".
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from saeeval_core.controls.leace import edited_score
from saeeval_core.errors import ConfigError
from saeeval_core.evaluation.boards import Direction, Evaluation
from saeeval_core.holding.ablated_pass import SetEdit, check_later, pooled_activations
from saeeval_core.holding.damage import Damage, damage_of
from saeeval_core.models.language_model import LanguageModel
from saeeval_core.recordings.recorder import OnProgress, Progress, place_of
from saeeval_core.recordings.recording import LatentRecording, RecordingKey, ResidualRecording
from saeeval_core.saes.loaded import LoadedSAE
from saeeval_core.scores.shift import ShiftBoard, ShiftLatents, shift_board
from saeeval_core.scores.shift_probes import fit_shift_probes
from saeeval_core.scores.uncertainty import Estimate
from saeeval_core.storage.kept import KeptJson, Shelves
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.parts import PART_NAMES, TEST

DAMAGE_TEXTS = 64
"""General texts on which the change of loss is measured."""
_HELD = KeptJson(Shelves("holding", shipped=False), "holding", version=1)


@dataclass(frozen=True)
class AskedSet:
    """The set to follow, in one direction on one part."""

    direction: Direction
    ids: tuple[int, ...]
    ablation: str
    """One of ``ablation.ABLATIONS``."""
    part: int = TEST

    def view(self, evaluation: Evaluation, latents: LatentRecording) -> ShiftLatents:
        """The SAE in this direction on this part, under this ablation."""
        return evaluation.shift_view(latents, self.direction, self.part).under(self.ablation)


@dataclass(frozen=True)
class AtHook:
    """What is left at one hook."""

    hook: str
    base: Estimate
    """Accuracy of C_b, trained there, on the target label before ablation."""
    oracle: Estimate
    accuracy: Estimate
    """Accuracy of C_b there with the set ablated."""
    score: Estimate
    """S there."""
    recoverability: Estimate | None = None
    """R of a fresh probe there; None: not measured."""


@dataclass(frozen=True)
class Held:
    """One set, followed."""

    sae: str
    pair: str
    direction: str
    part: str
    ablation: str
    n_ablated: int
    exact: Estimate
    """S at the probe's own hook in closed form."""
    hooks: tuple[AtHook, ...]
    damage: Damage | None
    """None: not measured."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; a number that nobody measured is null."""
        return asdict(self) | {"exact": self.exact.to_dict(), "hooks": [_at_json(h) for h in self.hooks]}

    @classmethod
    def of_json(cls, row: Mapping[str, Any]) -> "Held":
        """Inverse of ``to_json``. LookupError, TypeError or ValueError for anything else."""
        hooks = tuple(AtHook(**{k: _estimate(v) if k != "hook" else v for k, v in h.items()}) for h in row["hooks"])
        damage = None if row["damage"] is None else Damage(**row["damage"])
        return cls(**{**row, "exact": Estimate.of_dict(row["exact"]), "hooks": hooks, "damage": damage})


def _at_json(at: AtHook) -> dict[str, Any]:
    return {k: v.to_dict() if isinstance(v, Estimate) else v for k, v in vars(at).items()}


def _estimate(row: Mapping[str, Any] | None) -> Estimate | None:
    return None if row is None else Estimate.of_dict(row)


def hold_key(
    evaluation: Evaluation, latents: LatentRecording, asked: AskedSet, hooks: Sequence[str], general: str
) -> list[Any]:
    """Everything that a stored result depends on; ``general``: fingerprint of the general text, "" without."""
    place = [asked.direction.task.identity, asked.direction.task.direction, asked.ablation, asked.part]
    scored = [asdict(evaluation.protocol), evaluation.seed, evaluation.resamples]
    return [latents.scored_fingerprint, *place, sorted(asked.ids), *scored, list(hooks), general]


def kept_hold(key: Sequence[Any]) -> Held | None:
    """The stored result of ``hold_key``; None where there is none."""
    try:
        return _HELD.find(key, Held.of_json)
    except LookupError:
        return None


def keep_hold(key: Sequence[Any], held: Held) -> None:
    """Store a result under its ``hold_key``."""
    _HELD.keep(key, held.to_json())


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
    if evaluation.protocol.imitate_padding_leak:
        raise ConfigError("a forward pass has no padding leak; use --protocol robust")
    view, edit = asked.view(evaluation, latents), edit_of(model, sae, evaluation, latents, asked)
    check_later(model, edit.place.exact.write, hooks)
    texts, work = evaluation.draw.task_set.texts.texts, _Work(on_progress)
    scored, train = view.board.rows, _training_rows(view.board)
    rows = np.union1d(train, scored)
    sample = [] if general is None else list(general.texts[:DAMAGE_TEXTS])
    n_valid = evaluation.residuals.n_valid
    work.total = int(n_valid[rows].sum() + n_valid[scored].sum())
    clean = pooled_activations(model, [texts[i] for i in rows], hooks, None, work.did)
    ablated = pooled_activations(model, [texts[i] for i in scored], hooks, edit, work.did)
    inside = np.searchsorted(rows, scored)
    at = [_at(evaluation, asked, h, (rows, clean[h]), ablated[h] - clean[h][inside]) for h in hooks]
    damage = None if general is None else damage_of(model, edit, sample, f"{len(sample)} of {general.source}")
    task = asked.direction.task
    exact = view.score(asked.ids).score
    return Held(
        latents.sae,
        asked.direction.pair,
        task.direction,
        PART_NAMES[asked.part],
        asked.ablation,
        len(asked.ids),
        exact,
        tuple(at),
        damage,
    )


class _Work:
    """Adds up tokens over several passes for one progress bar."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self.on_progress, self.done, self.total, self.started = on_progress, 0, 0, time.monotonic()

    def did(self, tokens: int) -> None:
        self.done += tokens
        if self.on_progress:
            self.on_progress(Progress(self.done, self.total, time.monotonic() - self.started))


def _training_rows(board: ShiftBoard) -> np.ndarray:
    training = board.probes.training
    return board.task.rows[np.union1d(training.balanced, training.biased)]


def _at(
    evaluation: Evaluation, asked: AskedSet, hook: str, clean: tuple[np.ndarray, np.ndarray], moved: np.ndarray
) -> AtHook:
    """S at a hook. ``clean``: (rows int[texts], their pooled activations); moved float64[scored texts, width]."""
    board = _board(evaluation, asked, hook, clean)
    residuals = evaluation.residuals.residuals[board.rows] if hook == evaluation.residuals.key.hook else None
    if residuals is None:
        residuals = clean[1][np.searchsorted(clean[0], board.rows)]
    found = edited_score(board, residuals + moved)
    return AtHook(hook, board.base, board.oracle, found.accuracy, found.score)


def _board(evaluation: Evaluation, asked: AskedSet, hook: str, clean: tuple[np.ndarray, np.ndarray]) -> ShiftBoard:
    """The direction's board at a hook: the evaluation's own at its probe hook, elsewhere with probes trained there."""
    direction, recorded = asked.direction, evaluation.residuals
    if hook == recorded.key.hook:
        return direction.boards[asked.part]
    rows, values = clean
    residuals = np.full((len(recorded.n_valid), values.shape[1]), np.nan, np.float32)
    residuals[rows] = values
    key = RecordingKey(**{**vars(recorded.key), "hook": hook})
    here = ResidualRecording(key, recorded.bos_id, residuals, recorded.n_valid, recorded.token_ends, recorded.note)
    pair = next(p for p in evaluation.draw.shift if p.task.name == direction.pair)
    probes = fit_shift_probes(here, pair, evaluation.protocol, seed=evaluation.seed)
    if pair.task.direction != direction.task.direction:
        probes = probes.swapped()
    task, protocol = direction.task, evaluation.protocol
    return shift_board(
        here, task, probes, protocol, part=asked.part, seed=evaluation.seed, resamples=evaluation.resamples
    )
