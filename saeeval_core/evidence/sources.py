"""The sources of evidence, the same for a judge and for people: the task's own texts, and general text.

Contexts in general text show what a latent responds to when the texts are not about the task.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from saeeval_core.config import RunConfig
from saeeval_core.errors import DataError
from saeeval_core.recordings.obtain import GENERAL, obtain_recordings, recording_key
from saeeval_core.recordings.recording import (
    LatentRecording,
    ResidualRecording,
    find_latents,
    find_residuals,
    recorded_latents,
)
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.news import general_texts
from saeeval_core.texts.sources import read_texts
from saeeval_core.texts.tasks import TaskSet


@dataclass(frozen=True)
class EvidenceSource:
    """Texts, their recording, and one SAE's latents on them."""

    texts: LabelledTexts
    residuals: ResidualRecording
    latents: LatentRecording
    columns: tuple[str, ...] = ()
    """Label columns that name a text's cell; empty for general text."""

    def cell(self, row: int) -> str:
        """Labels of one text, such as "nurse, female"."""
        return ", ".join(v for c in self.columns if (v := str(self.texts.columns[c][row])))


def evidence_sources(
    config: RunConfig,
    task_set: TaskSet,
    residuals: ResidualRecording,
    latents: LatentRecording,
    *,
    texts: Callable[[], LabelledTexts] = general_texts,
) -> list[EvidenceSource]:
    """The task's own texts, then general text where this SAE has been recorded on it. Nothing is recorded here.

    ``texts`` returns the general text; it is called only if the SAE has been recorded on more than the task's texts.
    """
    general = general_source(config, residuals, latents, texts=texts)
    return [task_source(task_set, residuals, latents), *([] if general is None else [general])]


def task_source(task_set: TaskSet, residuals: ResidualRecording, latents: LatentRecording) -> EvidenceSource:
    """The task's own texts with the columns that hold its labels."""
    return EvidenceSource(task_set.texts, residuals, latents, task_set.label_columns)


def general_source(
    config: RunConfig,
    residuals: ResidualRecording,
    latents: LatentRecording,
    *,
    texts: Callable[[], LabelledTexts] = general_texts,
) -> EvidenceSource | None:
    """The stored recording of this SAE on windows of news articles.

    None where there is none (or a damaged one), where the articles are not installed, and where they are the task's own texts.
    """
    if config.task == GENERAL and not config.texts:
        return None
    recorded_on = {r.residual_fingerprint for r in recorded_latents() if r.sae_fingerprint == latents.sae_fingerprint}
    if recorded_on <= {latents.residual_fingerprint}:
        return None  # looking up the texts takes a second
    try:
        general = texts()
    except DataError:
        return None
    key = recording_key(replace(config, task=GENERAL, texts=""), residuals.key.hook, general.fingerprint)
    found = find_residuals(key)
    own = find_latents(replace(key, hook=latents.hook or key.hook), latents.sae_fingerprint)
    return None if found is None or own is None else EvidenceSource(general, found, own)


def file_source(config: RunConfig, file: Path) -> EvidenceSource:
    """A file of texts in place of the news articles, recorded for the first SAE of ``config`` unless it was before.

    Raises what ``read_texts`` and ``obtain_recordings`` raise.
    """
    texts = replace(read_texts(file, config.text_column), name=GENERAL)
    made = obtain_recordings(replace(config, texts=str(file)), TaskSet(texts), config.saes[:1])
    return EvidenceSource(texts, made.residuals, made.latents[0])
