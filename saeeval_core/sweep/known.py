"""What is recorded of an SAE, from the sidecars of its recording where they say it: a driver reads no arrays."""

from dataclasses import dataclass, replace

from saeeval_core.config import RunConfig
from saeeval_core.recordings.obtain import identified, obtain_recordings, probe_of, recording_key
from saeeval_core.recordings.recording import LatentHeader, LatentRecording, RecordingKey
from saeeval_core.storage.artifacts import load_meta
from saeeval_core.storage.kept import RECORDINGS, Shelves
from saeeval_core.texts.tasks import TaskSet


@dataclass(frozen=True)
class Recorded:
    """The identity of what a score unit scores."""

    latents: LatentHeader | LatentRecording
    fingerprint: str
    """Of the latents at the probe hook."""
    hook: str
    """The probe hook."""
    dtype: str
    kernel: str
    names: tuple[str, ...] = ()
    """Artifacts of the recording below the cache folder, without suffix; none where they could not be stored."""


def recorded(run: RunConfig, task_set: TaskSet, sae: str, *, shipped: bool) -> Recorded:
    """What is stored of this SAE; made where it is not. Raises as ``obtain_recordings``."""
    found = _by_sidecars(run, task_set, sae, shipped)
    if found is not None:
        return found
    pass_ = obtain_recordings(replace(run, saes=(sae,)), task_set, [sae], shipped=shipped)
    latents, key = pass_.latents[0], pass_.residuals.key
    return Recorded(latents, latents.scored_fingerprint, key.hook, key.dtype, pass_.residuals.kernel)


def _by_sidecars(run: RunConfig, task_set: TaskSet, sae: str, shipped: bool) -> Recorded | None:
    known, shelves = identified(run, sae), Shelves(RECORDINGS.folder, shipped)
    key = recording_key(run, known.hook, task_set.texts.fingerprint)
    name = f"latents-{key.of_sae(known.fingerprint)}"
    header = shelves.first(name, "recording", lambda path: LatentHeader.of_sidecar(load_meta(path)))
    probe = None if header is None else probe_of(run, [known], [header])
    if header is None or probe is None:
        return None
    own = f"residuals-{replace(key, hook=probe).fingerprint}"
    meta = shelves.first(own, "recording", load_meta)
    if meta is None:
        return None
    dtype, kernel = RecordingKey.of_sidecar(meta).dtype, str(meta.get("kernel", ""))
    names = tuple(f"{RECORDINGS.folder}/{n}" for n in (name, own))
    return Recorded(header, header.scored_fingerprint(probe), probe, dtype, kernel, names)
