"""From the name of an SAE to its hook, fingerprint and width, without loading its weights where possible."""

from dataclasses import dataclass

from saeeval_core.errors import UnsupportedSAE
from saeeval_core.recordings.recording import LatentRecording, recorded_latents, recorded_passes
from saeeval_core.saes.registry import file_fingerprint, inspect_sae, local_folder, registry


@dataclass(frozen=True)
class KnownSae:
    """The identity of an SAE, under which recordings and verdicts are stored."""

    id: str
    hook: str
    """The hook it reads, where texts are recorded. "" in a recording that does not say."""
    fingerprint: str
    n_latents: int
    neuronpedia_id: str | None = None


def recorded_sae(latents: LatentRecording) -> KnownSae:
    """The identity of a recorded SAE."""
    hook = str((latents.about or {}).get("hook") or "")
    return KnownSae(latents.sae, hook, latents.sae_fingerprint, latents.n_latents)


def known_sae(spec: str) -> KnownSae | None:
    """Identity of a bundled SAE, a folder, or one that was recorded here; None for one that must be loaded first.

    UnsupportedSAE for a folder that cannot be used or does not say which hook it reads.
    """
    if local_folder(spec) is not None:
        info = inspect_sae(spec)
        fingerprint = file_fingerprint(info)
        if fingerprint is not None:
            return _with_hook(info.id, info.hook, fingerprint, info.n_latents, info.neuronpedia_id)
    passes = recorded_passes()
    for found in recorded_latents():
        key = passes.get(found.residual_fingerprint)
        if found.sae == spec and key is not None:
            return KnownSae(spec, key.hook, found.sae_fingerprint, found.shape[1], _neuronpedia_id(spec))
    return None


def identify(spec: str) -> KnownSae:
    """As ``known_sae``; an SAE of SAELens's registry or the Hub that was never recorded is downloaded and loaded.

    Raises what ``saes.loaded.load_sae`` raises.
    """
    found = known_sae(spec)
    if found is not None:
        return found
    from saeeval_core.saes.loaded import load_sae

    loaded = load_sae(spec)
    info = loaded.info
    return _with_hook(info.id, info.hook, loaded.fingerprint, info.n_latents, info.neuronpedia_id)


def _with_hook(spec: str, hook: str | None, fingerprint: str, n_latents: int, neuronpedia_id: str | None) -> KnownSae:
    if not hook:
        raise UnsupportedSAE(f"SAE '{spec}' does not say which hook it reads; add metadata.hook_name to its cfg.json")
    return KnownSae(spec, hook, fingerprint, n_latents, neuronpedia_id)


def _neuronpedia_id(spec: str) -> str | None:
    release, _, sae_id = spec.replace(":", "/", 1).partition("/")
    if not sae_id or local_folder(spec) is not None:
        return None
    row = registry().get((release, sae_id))
    return row.neuronpedia_id if row else None
