"""From the name of an SAE to its hook, fingerprint and width, without loading its weights where possible."""

import re
from dataclasses import dataclass
from functools import lru_cache

from saeeval_core.errors import ConfigError, SaeEvalError, UnsupportedSAE
from saeeval_core.models.identity import model_name, model_settings
from saeeval_core.models.layouts import layout_of, probe_candidates
from saeeval_core.recordings.recording import (
    LatentHeader,
    LatentRecording,
    RecordingKey,
    recorded_latents,
    recorded_passes,
)
from saeeval_core.saes.local import file_fingerprint, inspect_sae, local_path
from saeeval_core.saes.placed import split
from saeeval_core.saes.releases import registry

NEURONPEDIA = "https://www.neuronpedia.org"
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""One part of an address, with nothing in it that could lead elsewhere."""


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
    return KnownSae(latents.sae, latents.hook, latents.sae_fingerprint, latents.n_latents)


def known_sae(spec: str) -> KnownSae | None:
    """Identity of a bundled SAE, a folder or file, or one that was recorded here; None for one that must be loaded first.

    UnsupportedSAE for one that cannot be used or does not say which hook it reads.
    """
    if local_path(spec) is not None:
        info = inspect_sae(spec)
        fingerprint = file_fingerprint(info)
        if fingerprint is not None:
            return _with_hook(info.id, info.hook, fingerprint, info.n_latents, info.neuronpedia_id)
    for found, key in recorded_dictionaries():
        if found.sae == spec:
            return KnownSae(spec, key.hook, found.sae_fingerprint, found.shape[1], _neuronpedia_id(spec))
    return None


def neuronpedia_place(published: str) -> tuple[str, str]:
    """("gpt2-small", "0-res-jb") of an SAE's id at Neuronpedia. ConfigError for what cannot be one."""
    model, _, source = published.partition("/")
    if not (_PART.fullmatch(model) and _PART.fullmatch(source)):
        raise ConfigError(
            f"'{published}' is no id of Neuronpedia; give MODEL/LAYER-SAE, such as gpt2-small/0-res-jb, with --id"
        )
    return model, source


def neuronpedia_page(sae: str, latent: int) -> str:
    """Address of a latent's page at Neuronpedia; "" where the SAE has no id there."""
    published = _published(sae)
    return f"{NEURONPEDIA}/{published}/{latent}" if published else ""


@lru_cache(maxsize=64)
def _published(sae: str) -> str:
    try:
        here = inspect_sae(sae).neuronpedia_id if local_path(sae) is not None else _neuronpedia_id(sae)
        return "/".join(neuronpedia_place(here or ""))
    except SaeEvalError:
        return ""


def recorded_dictionaries() -> list[tuple[LatentHeader, RecordingKey]]:
    """What all finished latent recordings say, with the key of each one's pass at the hook that was read."""
    passes = recorded_passes()
    keys = ((found, found.key or passes.get(found.residual_fingerprint)) for found in recorded_latents())
    return [(found, key) for found, key in keys if key is not None]


def offered_probes(model: str, sae: str) -> tuple[str, ...]:
    """Probe hooks of an SAE on a model, the default first: the verified ones where it was recorded, else by the table.

    Without loading anything; empty where its hooks are not known.
    """
    for found, key in recorded_dictionaries():
        if (found.sae, key.model) == (sae, model_name(model)) and found.exact is not None:
            return found.exact.probes
    release, _, sae_id = split(sae).name.replace(":", "/", 1).partition("/")
    if local_path(sae) is not None:
        write = inspect_sae(sae).hook_out
    else:
        row = registry().get((release, sae_id)) if sae_id else None
        write = row.hook_out if row else None
    write = write or split(sae).write
    return probe_candidates(write, layout_of(model_settings(model) or {})) if write else ()


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
        raise UnsupportedSAE(
            f"SAE '{spec}' does not say which hook it reads; give --hook, the hook that it writes, write NAME@HOOK in place "
            "of its name, or add metadata.hook_name to its cfg.json"
        )
    return KnownSae(spec, hook, fingerprint, n_latents, neuronpedia_id)


def _neuronpedia_id(spec: str) -> str | None:
    release, _, sae_id = split(spec).name.replace(":", "/", 1).partition("/")
    if not sae_id or local_path(spec) is not None:
        return None
    row = registry().get((release, sae_id))
    return row.neuronpedia_id if row else None
