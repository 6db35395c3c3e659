"""Load one model, SAE and task set with its recordings from disk. A language model is never loaded here."""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from app.services import access, own_tasks
from app.services.shared import shared
from saeeval_core.config import Protocol, RunConfig, get_protocol
from saeeval_core.recordings.known_saes import KnownSae, known_sae
from saeeval_core.recordings.obtain import GENERAL, Recordings, named_probe, probe_of, recording_key, task_set_of
from saeeval_core.recordings.recording import (
    LatentRecording,
    RecordingKey,
    ResidualRecording,
    find_latents,
    find_residuals,
)
from saeeval_core.saes.local import local_path
from saeeval_core.scores.survivors import written_at
from saeeval_core.storage.json_files import require
from saeeval_core.storage.kept import KeptJson, Shelves
from saeeval_core.texts import news
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.tasks import TaskSet

R = TypeVar("R")
_GENERAL = KeptJson(Shelves("texts", shipped=False), "general", version=1)


@dataclass(frozen=True, eq=False)
class Loaded:
    """One model, SAE and task set with its recordings, as every view takes it. Compared and hashed by identity."""

    config: RunConfig
    protocol: Protocol
    task_set: TaskSet
    residuals: ResidualRecording
    latents: LatentRecording


def texts_of(config: RunConfig) -> TaskSet:
    """Texts and tasks of the settings. DataError for a missing or unusable source."""
    return _texts_of(config, own_tasks.stamp(config.task))


@shared(max_entries=8)
def _texts_of(config: RunConfig, _stamp: str) -> TaskSet:
    return TaskSet(general_texts()) if config.task == GENERAL and not config.texts else task_set_of(config)


def load(config: RunConfig) -> Loaded | None:
    """Recordings of the first SAE in ``config``, shipped or made here; None when it must be recorded first.

    Never loads a language model. SaeEvalError when model, SAE or texts cannot be used at all.
    """
    access.check(config)
    texts = texts_of(replace(config, saes=()))
    own = known(config.saes[0])
    if own is None:
        return None
    key = recording_key(config, own.hook, texts.texts.fingerprint)
    try:
        return _loaded(config, key, own, own_tasks.stamp(config.task))
    except LookupError:
        return None


def written(loaded: Loaded) -> ResidualRecording | None:
    """The pooled activations where the SAE writes; None where that is the hook that is probed, or was not recorded."""
    hook = written_at(loaded.latents, loaded.residuals.key.hook)
    return None if hook == loaded.residuals.key.hook else find_residuals(replace(loaded.residuals.key, hook=hook))


def general_texts() -> LabelledTexts:
    """General text, made from the articles once (a second of work) and stored in the cache folder.

    DataError where the articles are not installed.
    """

    def cut() -> list[object]:
        made = news.general_texts()
        return [made.source, made.texts]

    source, texts = _GENERAL.get([], cut, _source_and_texts)
    return LabelledTexts(GENERAL, tuple(texts), {}, source=source)


def _source_and_texts(value: list[Any]) -> tuple[str, list[str]]:
    source, texts = value
    require(isinstance(source, str) and all(isinstance(t, str) for t in texts), "a text is no text")
    return source, texts


def known(sae: str) -> KnownSae | None:
    """``known_sae``, with a folder's weights hashed once. UnsupportedSAE for a folder or file that cannot be used."""
    path = local_path(sae)
    if path is None:
        return known_sae(sae)
    files = [path] if path.is_file() else sorted(path.iterdir())
    return _known_folder(sae, tuple(f.stat().st_mtime_ns for f in files))


@shared(max_entries=64)
def _known_folder(sae: str, _stamp: tuple[int, ...]) -> KnownSae | None:
    return known_sae(sae)


@shared(max_entries=8)
def _loaded(config: RunConfig, key: RecordingKey, sae: KnownSae, _stamp: str) -> Loaded:
    """LookupError, which is not kept, while there is no recording that can be used."""
    texts = texts_of(replace(config, saes=()))
    latents = _latents(key, sae.fingerprint)
    residuals = _residuals(replace(key, hook=_there(probe_of(config, [sae], [latents]))))
    found = Recordings(residuals, [latents.at(residuals.key.hook)])
    return Loaded(named_probe(config, found), get_protocol(config.protocol), texts, residuals, found.latents[0])


@shared(max_entries=4)
def _residuals(key: RecordingKey) -> ResidualRecording:
    return _there(find_residuals(key))


@shared(max_entries=6)
def _latents(key: RecordingKey, sae_fingerprint: str) -> LatentRecording:
    return _there(find_latents(key, sae_fingerprint))


def _there(found: R | None) -> R:
    if found is None:
        raise LookupError("not recorded")
    return found
