"""The passes that follow a set: pooled activations of its texts at every hook, clean and with the set ablated."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.holding.ablated_pass import SetEdit, pooled_activations
from saeeval_core.holding.damage import damage_of
from saeeval_core.holding.held import Damage
from saeeval_core.models.language_model import LanguageModel
from saeeval_core.recordings.recorder import OnProgress, Progress
from saeeval_core.recordings.recording import RecordingKey, ResidualRecording
from saeeval_core.scores.readers import Edit
from saeeval_core.texts.labelled import LabelledTexts

DAMAGE_TEXTS = 64
"""General texts on which the change of loss is measured."""


@dataclass(frozen=True, eq=False)
class Pooled:
    """Pooled activations of some texts of the recording."""

    rows: np.ndarray
    """int[texts], ascending: their rows."""
    values: Mapping[str, np.ndarray]
    """Hook -> float64[texts, width]"""

    def of(self, hook: str, rows: np.ndarray) -> np.ndarray:
        """float64[rows, width]: of these rows int[rows], all of which were read."""
        return self.values[hook][np.searchsorted(self.rows, rows)]


@dataclass(eq=False)
class Reader:
    """Reads texts of an evaluation, and adds up tokens over several passes for one progress bar."""

    model: LanguageModel
    evaluation: Evaluation
    hooks: Sequence[str]
    on_progress: OnProgress | None
    total: int = 0
    """Valid tokens of all passes that are planned."""
    done: int = 0

    def __post_init__(self) -> None:
        self.started = time.monotonic()

    def plan(self, rows: np.ndarray, times: int = 1) -> None:
        """Announce passes over these rows int[texts]."""
        self.total += times * int(self.evaluation.residuals.n_valid[rows].sum())

    def plan_damage(self, general: LabelledTexts | None, times: int = 1) -> None:
        """Announce ``damage``."""
        if general is not None:
            self.total += times * sum(len(ids) - 1 for ids in self.model.tokenize(_sample(general)).ids)

    def read(self, rows: np.ndarray, edit: SetEdit | None = None) -> Pooled:
        """One pass over the rows int[texts], ascending."""
        texts = self.evaluation.draw.task_set.texts.texts
        found = pooled_activations(self.model, [texts[i] for i in rows], self.hooks, edit, self.did)
        return Pooled(rows, found)

    def damage(self, edit: SetEdit, general: LabelledTexts | None) -> Damage | None:
        """Change of loss and KL on general text; None without."""
        if general is None:
            return None
        sample = _sample(general)
        return damage_of(self.model, edit, sample, f"{len(sample)} of {general.source}", self.did)

    def did(self, tokens: int) -> None:
        """Add what another pass has done."""
        self.done += tokens
        if self.on_progress:
            self.on_progress(Progress(self.done, self.total, time.monotonic() - self.started))


def _sample(general: LabelledTexts) -> list[str]:
    return list(general.texts[:DAMAGE_TEXTS])


def residuals_at(recorded: ResidualRecording, hook: str, clean: Pooled) -> ResidualRecording:
    """The clean pooled activations at a hook as a recording, in which rows that were not read are NaN.

    At its own hook, the recording itself.
    """
    if hook == recorded.key.hook:
        return recorded
    values = clean.values[hook]
    residuals = np.full((len(recorded.n_valid), values.shape[1]), np.nan, np.float32)
    residuals[clean.rows] = values
    key = RecordingKey(**{**vars(recorded.key), "hook": hook})
    return ResidualRecording(key, recorded.bos_id, residuals, recorded.n_valid, recorded.token_ends, recorded.note)


def taken(hook: str, rows: np.ndarray, clean: Pooled, ablated: Pooled) -> Edit:
    """What the ablation took from pooled activations of the rows int[texts] at a hook, whatever its rank there."""
    lost = clean.of(hook, rows) - ablated.of(hook, rows)
    return Edit(lost, np.eye(lost.shape[1]))
