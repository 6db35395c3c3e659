"""What is picked on the left: the models and SAEs on offer, and what a typed name stands for before anything is loaded."""

import re
from pathlib import Path

from app.services import access
from app.services.shared import shared
from saeeval_core.config import RunConfig
from saeeval_core.errors import ConfigError, ModelError, UnsupportedSAE
from saeeval_core.models.identity import is_folder, model_name
from saeeval_core.models.packages import BUNDLED_MODEL, PACKAGED, installed
from saeeval_core.recordings.known_saes import recorded_dictionaries
from saeeval_core.recordings.recording import recorded_latents, recorded_passes
from saeeval_core.saes.asked import what_is, with_hooks
from saeeval_core.saes.facts import SaeFacts, facts
from saeeval_core.saes.local import inspect_sae, local_path
from saeeval_core.saes.registry import SaeInfo, list_bundled
from saeeval_core.saes.releases import list_registry, registry_models
from saeeval_core.saes.unpacked import keep_sent

_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


def sae_facts(spec: str) -> SaeFacts:
    """What a picked or typed name stands for. SaeEvalError if it is none, with the nearest ones, or not to be read here."""
    access.check(RunConfig(saes=(spec,)))
    here = _recorded_here().get(spec)
    return here if here is not None and local_path(spec) is None else facts(spec, what_is(spec), here and here.l0)


def saes_on_offer(model: str) -> tuple[SaeFacts, ...]:
    """SAEs of a model: bundled, recorded here, and, where they may be fetched, those of SAELens's registry."""
    return _on_offer(model, not access.rules().read_only, len(recorded_latents()))


def models_on_offer() -> list[str]:
    """Packaged models, what is recorded here, and the models of SAELens's registry, but where nothing is fetched."""
    here = list(dict.fromkeys([BUNDLED_MODEL, *filter(installed, PACKAGED), *_recorded_models(len(recorded_passes()))]))
    if access.rules().read_only:
        return here
    try:
        named = registry_models()
    except UnsupportedSAE:  # said where an entry of it is asked for
        return here
    return [*here, *(name for name in named if not {name, model_name(name)} & set(here))]


def check_model(spec: str) -> None:
    """ModelError for a name that is neither a packaged model, a folder in transformers' format nor like a Hub id."""
    access.check(RunConfig(model=spec, saes=()))
    if spec in PACKAGED:
        return
    folder = Path(spec).expanduser() if spec.startswith("~") else Path(spec)
    if is_folder(str(folder)):
        if not (folder / "config.json").is_file():
            raise ModelError(f"no config.json in '{spec}'; expected a folder saved by transformers' save_pretrained")
    elif not _HUB_ID.fullmatch(spec):
        raise ModelError(
            f"no folder {ascii(spec[:80])}; give one in transformers' format, or a Hub id such as org/name"
        )


def keep_sae(name: str, content: bytes, hook: str = "", read_hook: str = "") -> str:
    """The name of an SAE that was sent, as a zipped folder or a file; it lies beside the store until somebody removes it.

    The hooks are for files that name none. UnsupportedSAE or ConfigError in one line.
    """
    access.demand("sending files")
    spec = str(keep_sent(name, content, access.kept_saes()))
    (spec,) = with_hooks([spec], hook.strip(), read_hook.strip())
    if inspect_sae(spec).hook is None:
        raise ConfigError(f"'{name}' names no hook; write the hook that it writes, such as blocks.15.hook_resid_post")
    return spec


def sae_notes(spec: str) -> tuple[str, ...]:
    """What is said of a folder or file before it is loaded: what it was taken for, and how."""
    asked = what_is(spec)
    return asked.notes if isinstance(asked, SaeInfo) else ()


@shared(max_entries=32)
def _on_offer(model: str, fetching: bool, _recordings: int) -> tuple[SaeFacts, ...]:
    recorded = _recorded_here()
    found: dict[str, SaeFacts] = {}
    for info in list_bundled():
        here = recorded.get(info.id)
        own = facts(info.id, info, here and here.l0)
        if own.is_for(model) or model == BUNDLED_MODEL:
            found[info.id] = own
    for name, here in recorded.items():
        if here.model == model_name(model):
            found.setdefault(name, here)
    if model != BUNDLED_MODEL and fetching:
        for row in list_registry(model):
            found.setdefault(row.spec, facts(row.spec, row))
    return tuple(found.values())


@shared(max_entries=4)
def _recorded_models(_recorded: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key.model for key in recorded_passes().values()))


def _recorded_here() -> dict[str, SaeFacts]:
    """Every recorded SAE by name: what its recording says, also where the SAE itself is gone."""
    return {
        found.sae: SaeFacts(
            found.sae,
            "recorded here",
            hook=key.hook,
            writes=found.exact.write if found.exact else key.hook,
            n_latents=found.shape[1],
            l0=found.unsupervised.get("l0"),
            model=key.model,
        )
        for found, key in recorded_dictionaries()
    }
