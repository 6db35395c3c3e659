"""SAELens's registry of released SAEs, read from the YAML file it ships: no weights, network or modules of SAELens."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from saeeval_core.errors import UnsupportedSAE, unknown_name
from saeeval_core.models.layouts import LAYOUTS
from saeeval_core.saes.registry import LOADED_WITH, bundled_names
from saeeval_core.saes.release_names import (
    NO_BLOCK,
    architecture_of,
    family_of,
    hook_of,
    hook_width,
    short_model_name,
    transcoder_hooks,
    width_of,
)


@dataclass(frozen=True)
class RegistryRow:
    """One SAE of SAELens's registry. None means that the registry does not say."""

    release: str
    sae_id: str
    model: str
    repo: str
    hook: str | None
    """Hook it reads, where release, id or path say."""
    n_latents: int | None
    neuronpedia_id: str | None
    expected_l0: float | None
    hook_out: str | None = None
    """Hook it writes, where release, id or path say."""
    summed: bool = False
    """A layer of a cross-layer transcoder, of which SAELens adds up the decoder rows of all later layers."""
    path: str = ""
    """Folder or file in the repository."""
    centred: bool = False
    """As in ``SaeInfo``; the release says it, not the SAE's files."""
    architecture: str | None = None
    """Inference class in SAELens, where release, path or kind of file say."""

    @property
    def spec(self) -> str:
        """What ``load_sae`` takes."""
        return f"{self.release}/{self.sae_id}"

    @property
    def widths(self) -> tuple[int, int] | None:
        """Number of values that it reads and writes; None where they are not known of its model."""
        d_in, d_out = hook_width(self.model, self.hook), hook_width(self.model, self.hook_out)
        return None if d_in is None or d_out is None else (d_in, d_out)

    @property
    def not_scorable(self) -> str:
        """Why it cannot be scored; "" where it can: hooks and an exact probe hook are known for its model's family."""
        if self.summed:
            return "its decoder rows are sums over the layers that a cross-layer transcoder writes"
        if self.hook is None or self.hook_out is None:
            return "the registry does not say which hooks it reads and writes"
        if self.hook_out == "hook_embed":
            return NO_BLOCK
        if not self.hook_out.endswith(("resid_pre", "resid_post")) and family_of(self.model) not in LAYOUTS:
            return f"where {self.hook_out} lies in {self.model} is not known"
        return ""


@cache
def registry() -> dict[tuple[str, str], RegistryRow]:
    """SAELens's whole registry by (release, sae_id), read from the YAML file inside the installed package (~1.5 s)."""
    import yaml

    with _registry_file().open(encoding="utf-8") as file:
        releases = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    rows = [_row(release, entry, sae) for release, entry in releases.items() for sae in entry["saes"]]
    return {(row.release, row.sae_id): row for row in rows}


def list_registry(model: str | None = None) -> list[RegistryRow]:
    """SAEs of SAELens's registry, all or those made for ``model`` (with or without its organisation's name)."""
    rows = registry().values()
    return [row for row in rows if model is None or short_model_name(row.model) == short_model_name(model)]


@cache
def registry_models() -> tuple[str, ...]:
    """Names of the models that SAELens's registry has SAEs of, read from its lines alone: parsing it takes seconds."""
    named = re.findall(r"^  model: *['\"]?([^\s'\"#]+)", _registry_file().read_text(encoding="utf-8"), re.MULTILINE)
    return tuple(sorted(set(named), key=str.lower))


def _registry_file() -> Path:
    package = find_spec("sae_lens")
    path = Path(package.origin).parent / "pretrained_saes.yaml" if package and package.origin else None
    if path is None or not path.exists():
        raise UnsupportedSAE("SAELens's registry is not installed; run: pip install 'sae-lens>=6.50,<7'")
    return path


def nearest(spec: str, search: Sequence[Path] | None = None) -> str:
    """The error message for an unknown SAE, with the nearest bundled, release or SAE names."""
    releases = {row.release for row in registry().values()}
    release, _, sae_id = spec.replace(":", "/", 1).partition("/")
    if release in releases:
        ids = [row.sae_id for row in registry().values() if row.release == release]
        return unknown_name(
            "SAE", f"{release}/{sae_id}", [f"{release}/{i}" for i in ids], f"the release holds {len(ids)}"
        )
    known = [*bundled_names(search), *sorted(releases)]
    return unknown_name(
        "SAE", release if "/" in spec else spec, known, "or give a folder, release/sae_id or hub:org/repo"
    )


def _row(release: str, entry: Mapping[str, Any], sae: Mapping[str, Any]) -> RegistryRow:
    sae_id, path, how = str(sae["id"]), str(sae["path"]), entry.get("conversion_func")
    summed = "clt" in f"{how}/{release}/{path}"
    transcoder = summed or "transcoder" in f"{how} {release} {path}"
    own = hook_of(release, how, sae_id, path)
    hook, hook_out = (transcoder_hooks(how, sae_id, path) or (None, None)) if transcoder else (own, own)
    names = (sae_id, path, release, str(sae.get("neuronpedia")), str(entry["repo_id"]))
    n_latents = next((width for name in names if (width := width_of(name))), None)
    # SAELens fills in 0.0 or 1.0 where L0 was not measured.
    l0 = None if sae.get("l0", 0.0) in (0.0, 1.0) else float(sae["l0"])
    model, repo = str(entry["model"]), str(entry["repo_id"])
    loaded_with = (entry.get("config_overrides") or {}).get(LOADED_WITH) or {}
    centred = bool(loaded_with.get("center_writing_weights"))
    id_ = sae.get("neuronpedia")
    architecture = architecture_of(how, release, sae_id, path)
    return RegistryRow(
        release, sae_id, model, repo, hook, n_latents, id_, l0, hook_out, summed, path, centred, architecture
    )
