"""Load one model, SAE and task set with its recordings from disk. A language model is never loaded here."""

from dataclasses import dataclass, replace
from pathlib import Path

from app.services.shared import shared
from saeeval_core.config import Protocol, RunConfig, get_protocol
from saeeval_core.recordings.known_saes import KnownSae, known_sae
from saeeval_core.recordings.obtain import GENERAL, recording_key, task_set_of
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording, load_latents, load_residuals
from saeeval_core.saes.registry import local_folder
from saeeval_core.storage.artifacts import exists
from saeeval_core.storage.kept import RECORDINGS, KeptJson, Shelves
from saeeval_core.texts import news
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.tasks import TaskSet

_GENERAL = KeptJson(Shelves("texts", shipped=False), "general", version=1)


@dataclass(frozen=True, eq=False)
class Loaded:
    """One model, SAE and task set with its recordings, as every view takes it. Compared and hashed by identity."""

    config: RunConfig
    protocol: Protocol
    task_set: TaskSet
    residuals: ResidualRecording
    latents: LatentRecording


@shared(max_entries=8)
def texts_of(config: RunConfig) -> TaskSet:
    """Texts and tasks of the settings. DataError for a missing or unusable source."""
    return TaskSet(general_texts()) if config.task == GENERAL and not config.texts else task_set_of(config)


def load(config: RunConfig) -> Loaded | None:
    """Recordings of the first SAE in ``config``, shipped or made here; None when it must be recorded first.

    Never loads a language model. SaeEvalError when model, SAE or texts cannot be used at all.
    """
    texts = texts_of(replace(config, saes=()))
    found = _stored(config, texts.texts.fingerprint)
    return None if found is None else _loaded(config, found[0], found[1])


def general_texts() -> LabelledTexts:
    """General text, made from the articles once (a second of work) and stored in the cache folder.

    DataError where the articles are not installed.
    """

    def cut() -> list[object]:
        made = news.general_texts()
        return [made.source, made.texts]

    source, texts = _GENERAL.get([], cut)
    return LabelledTexts(GENERAL, tuple(texts), {}, source=source)


def _stored(config: RunConfig, texts_fingerprint: str) -> tuple[str, str] | None:
    """(path of the residuals, path of the latents) of a finished recording, or None."""
    known = _known(config.saes[0])
    if known is None:
        return None
    key = recording_key(config, known.hook, texts_fingerprint)
    residuals = next(filter(exists, RECORDINGS.places(f"residuals-{key.fingerprint}")), None)
    latents = next(filter(exists, RECORDINGS.places(f"latents-{key.of_sae(known.fingerprint)}")), None)
    return None if residuals is None or latents is None else (str(residuals), str(latents))


def _known(sae: str) -> KnownSae | None:
    folder = local_folder(sae)
    if folder is None:
        return known_sae(sae)
    return _known_folder(sae, tuple(f.stat().st_mtime_ns for f in sorted(folder.iterdir())))


@shared(max_entries=64)
def _known_folder(sae: str, _stamp: tuple[int, ...]) -> KnownSae | None:
    return known_sae(sae)


@shared(max_entries=8)
def _loaded(config: RunConfig, residuals: str, latents: str) -> Loaded:
    texts = texts_of(replace(config, saes=()))
    return Loaded(config, get_protocol(config.protocol), texts, _residuals(residuals), _latents(latents))


@shared(max_entries=4)
def _residuals(path: str) -> ResidualRecording:
    return load_residuals(Path(path))


@shared(max_entries=6)
def _latents(path: str) -> LatentRecording:
    return load_latents(Path(path))
