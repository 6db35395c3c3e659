"""List SAEs and read their settings, without weights, network, torch or SAELens's modules.

Bundled SAEs and local folders are described by their ``cfg.json``, SAELens's registry by the YAML file it ships.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from saeeval_core.config import assets_dir
from saeeval_core.errors import ArtifactError, UnsupportedSAE, unknown_name
from saeeval_core.models.layouts import LAYOUTS, canonical
from saeeval_core.saes.release_names import family_of, hook_of, short_model_name, transcoder_hooks, width_of
from saeeval_core.storage.manifest import check_file
from saeeval_core.storage.notices import notice
from saeeval_core.storage.parse_json import NotJson, parse_json

CFG_FILE, WEIGHTS_FILE = "cfg.json", "sae_weights.safetensors"

CLASSES = {
    "standard": "StandardSAE",
    "topk": "TopKSAE",
    "abstopk": "AbsTopKSAE",
    "jumprelu": "JumpReLUSAE",
    "gated": "GatedSAE",
    "matching_pursuit": "MatchingPursuitSAE",
    "temporal": "TemporalSAE",
    "transcoder": "Transcoder",
    "skip_transcoder": "SkipTranscoder",
    "jumprelu_transcoder": "JumpReLUTranscoder",
    "jumprelu_skip_transcoder": "JumpReLUSkipTranscoder",
}
"""SAELens's ``architecture`` string -> its inference class."""

LOADED_WITH = "model_from_pretrained_kwargs"
"""Key of cfg.json: how the model was loaded that the SAE was trained on."""
UNFOLDED = ("expected_average_only_in", "covariance_whitening")
"""Normalisations that stay outside the weights until folded in."""
_TRAINING_ONLY = ("batchtopk", "matryoshka_batchtopk")
_NORMALISATIONS = (
    "none",
    "layer_norm",
    "constant_norm_rescale",
    "constant_scalar_rescale",
    "expected_average_only_in",
    "covariance_whitening",
)
# Before SAELens 6 these stood at the top level of cfg.json instead of under "metadata".
_OLD_METADATA = (
    "model_name",
    "hook_name",
    "hook_name_out",
    "hf_hook_name",
    "hf_hook_name_out",
    "neuronpedia_id",
    "model_from_pretrained_kwargs",
    "prepend_bos",
    "context_size",
    "dataset_path",
)


@dataclass(frozen=True)
class SaeInfo:
    """The settings of an SAE, from its cfg.json."""

    id: str
    """What the user typed, or the bundled name."""
    location: str
    """Folder on this machine, or Hub repository."""
    architecture: str
    """Inference class in SAELens, e.g. ``TopKSAE``."""
    d_in: int
    """Width of what it reads."""
    n_latents: int
    hook: str | None
    """Hook it reads: the module that it names itself (``hf_hook_name``) where it does."""
    hook_out: str | None
    """Hook it writes, where its decoder rows add something: the same one, except for transcoders."""
    d_out: int
    """Width of what it writes (decoder row length)."""
    model: str | None
    normalize_activations: str = "none"
    dtype: str = "float32"
    training_architecture: str | None = None
    """Trainer's architecture where it differs (BatchTopK and Matryoshka SAEs become JumpReLU when saved)."""
    neuronpedia_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    old: bool = False
    """Saved before SAELens 6."""

    @property
    def is_transcoder(self) -> bool:
        """True for the four classes that read one hook and write another."""
        return self.architecture.endswith("Transcoder")

    @property
    def centred(self) -> bool:
        """True if trained on a model with centred writing weights: what it reads is x minus x's mean over d_in."""
        return bool((self.metadata.get(LOADED_WITH) or {}).get("center_writing_weights"))

    @property
    def notes(self) -> tuple[str, ...]:
        """What its settings say, or leave out, that changes how it should read texts."""
        found = ["a trained null: its random decoder was frozen"] if self.metadata.get("frozen_decoder") is True else []
        if self.metadata.get("prepend_bos") is False:
            found.append("it was trained without a beginning-of-sequence token; texts are read with one here")
        # TransformerLens centres only models with LayerNorm, unless told not to.
        if self.old and self.metadata.get(LOADED_WITH) is None and family_of(self.model or "") in ("gpt2", "gpt_neox"):
            found.append(
                "its cfg.json does not say whether the model's writing weights were centred, as they were by default when "
                "it was saved: load it by its release, or write model_from_pretrained_kwargs.center_writing_weights there"
            )
        return tuple(found)


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

    @property
    def spec(self) -> str:
        """What ``load_sae`` takes."""
        return f"{self.release}/{self.sae_id}"

    @property
    def not_scorable(self) -> str:
        """Why it cannot be scored; "" where it can: hooks and an exact probe hook are known for its model's family."""
        if self.summed:
            return "its decoder rows are sums over the layers that a cross-layer transcoder writes"
        if self.hook is None or self.hook_out is None:
            return "the registry does not say which hooks it reads and writes"
        if self.hook_out == "hook_embed":
            return "the token embedding has no place in a block; use an SAE of blocks.N"
        if not self.hook_out.endswith(("resid_pre", "resid_post")) and family_of(self.model) not in LAYOUTS:
            return f"where {self.hook_out} lies in {self.model} is not known"
        return ""


def bundled_dirs() -> list[Path]:
    """Folders that hold one folder per bundled SAE."""
    return [assets_dir() / "saes"]


def list_bundled(search: Sequence[Path] | None = None) -> list[SaeInfo]:
    """Every bundled SAE, by name; one whose settings are damaged is named on stderr and left out."""
    found = []
    for folder in (f for root in _roots(search) if root.is_dir() for f in sorted(root.iterdir())):
        if (folder / CFG_FILE).exists():
            try:
                found.append(_inspect_folder(folder.name, folder))
            except UnsupportedSAE as error:
                notice(f"bundled SAE left out: {error}")
    return found


def inspect_sae(spec: str, search: Sequence[Path] | None = None) -> SaeInfo:
    """The settings of a bundled SAE or local folder; UnsupportedSAE for anything that is not on this machine."""
    folder = local_folder(spec, search)
    if folder is not None:
        return _inspect_folder(spec, folder)
    hint = f"expected a bundled name or a folder with {CFG_FILE}"
    raise UnsupportedSAE(unknown_name("SAE", spec, _bundled_names(search), hint))


def local_folder(spec: str, search: Sequence[Path] | None = None) -> Path | None:
    """Folder that ``spec`` names on this machine, or None.

    UnsupportedSAE for a path that is a file or missing, or for what can be no path.
    """
    try:
        return _find_folder(spec, search)
    # A name that is too long, NUL and lone surrogates, the home of a user who does not exist.
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UnsupportedSAE(f"SAE {ascii(spec[:60])} can be no path ({why}); give a folder, a name or an id") from None


def _find_folder(spec: str, search: Sequence[Path] | None) -> Path | None:
    for root in _roots(search):
        if spec and not {"/", "\\"} & set(spec) and (root / spec / CFG_FILE).exists():
            return root / spec
    path = Path(spec).expanduser()
    if spec and path.is_dir():
        return path
    if path.is_file():
        raise UnsupportedSAE(f"'{spec}' is a file; give the folder that holds {CFG_FILE} and {WEIGHTS_FILE}")
    if spec.startswith((".", "/", "~", "\\")):
        raise UnsupportedSAE(f"no folder '{spec}'; give a folder that holds {CFG_FILE} and {WEIGHTS_FILE}")
    return None


def parse_cfg(spec: str, location: str, cfg: Mapping[str, Any]) -> SaeInfo:
    """SaeInfo from the content of a cfg.json, in the layout of SAELens 6 or older; UnsupportedSAE if unusable."""
    renamed = [("hook_point", "hook_name"), ("out_hook_point", "hook_name_out"), *((k, k) for k in _OLD_METADATA)]
    old = {new: cfg[key] for key, new in renamed if key in cfg}
    metadata = {**old, **(cfg.get("metadata") or {})}
    _refuse_several_layers(spec, cfg, metadata)
    _check_words(spec, cfg, metadata)
    architecture = cfg.get("architecture")
    if architecture is None and _is_old(cfg, metadata):
        old_activation = cfg.get("activation_fn", cfg.get("activation_fn_str"))
        architecture = "topk" if old_activation == "topk" else "standard"
    found = {**cfg, "architecture": architecture}
    if missing := [key for key in ("architecture", "d_in", "d_sae") if found.get(key) is None]:
        raise UnsupportedSAE(f"SAE '{spec}': cfg.json lacks {', '.join(missing)}; save the SAE again with SAELens")
    if architecture in _TRAINING_ONLY:
        raise UnsupportedSAE(
            f"SAE '{spec}' is a training checkpoint ({architecture}); save it with SAELens's save_inference_model"
        )
    if architecture not in CLASSES:
        raise UnsupportedSAE(
            unknown_name("SAE architecture", str(architecture), CLASSES, f"found in cfg.json of '{spec}'")
        )
    d_in, n_latents, d_out = cfg["d_in"], cfg["d_sae"], cfg.get("d_out", cfg["d_in"])
    for key, value in (("d_in", d_in), ("d_sae", n_latents), ("d_out", d_out)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UnsupportedSAE(
                f"SAE '{spec}': cfg.json has {key} = {_short(value)}; expected a positive whole number"
            )
    _check_k(spec, cfg.get("k"), n_latents)
    normalise = cfg.get("normalize_activations") or "none"
    normalise = "expected_average_only_in" if normalise is True else normalise
    if normalise not in _NORMALISATIONS:
        raise UnsupportedSAE(
            unknown_name("normalize_activations", str(normalise), _NORMALISATIONS, f"found in '{spec}'")
        )
    hook = _hook(metadata, "")
    hook_out = _hook(metadata, "_out") or hook
    if not CLASSES[architecture].endswith("Transcoder") and (cfg.get("is_transcoder") or hook_out != hook):
        raise UnsupportedSAE(
            f"SAE '{spec}' is a transcoder in a layout of before SAELens 6 (it reads {hook} and writes {hook_out}); "
            "save it as one of SAELens's transcoders: (x - b_dec) folded into b_enc, b_dec_out as b_dec"
        )
    return SaeInfo(
        id=spec,
        location=location,
        architecture=CLASSES[architecture],
        d_in=d_in,
        n_latents=n_latents,
        hook=hook,
        hook_out=hook_out,
        d_out=d_out,
        model=metadata.get("model_name"),
        normalize_activations=normalise,
        dtype=str(cfg.get("dtype", "float32")).removeprefix("torch."),
        training_architecture=metadata.get("training_architecture"),
        neuronpedia_id=metadata.get("neuronpedia_id"),
        metadata=metadata,
        old=_is_old(cfg, metadata),
    )


def _check_words(spec: str, cfg: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """UnsupportedSAE for names that are no text (lists, numbers, objects), and for switches that are neither on nor off."""
    named = [(k, cfg.get(k)) for k in ("architecture", "activation_fn", "activation_fn_str", "reshape_activations")]
    names = ("hook_name", "hook_name_out", "hf_hook_name", "hf_hook_name_out", "model_name", "training_architecture")
    named += [(k, metadata.get(k)) for k in names]
    named.append(("neuronpedia_id", metadata.get("neuronpedia_id")))
    normalise = cfg.get("normalize_activations")
    named.append(("normalize_activations", None if isinstance(normalise, bool) else normalise))
    for key, value in named:
        if value is not None and not isinstance(value, str):
            raise UnsupportedSAE(f"SAE '{spec}': cfg.json has {key} = {_short(value)}; expected a name in quotes")
    for key in ("apply_b_dec_to_input", "rescale_acts_by_decoder_norm"):
        if not isinstance(cfg.get(key), bool | None):
            raise UnsupportedSAE(f"SAE '{spec}': cfg.json has {key} = {_short(cfg[key])}; expected true or false")


def _check_k(spec: str, k: object, n_latents: int) -> None:
    if k is None:
        return
    if isinstance(k, bool) or not isinstance(k, int | float) or not 0 < k <= n_latents:
        raise UnsupportedSAE(f"SAE '{spec}': cfg.json has k = {_short(k)}; expected a number from 1 to {n_latents}")


def _short(value: object) -> str:
    return repr(value)[:60]


def _hook(metadata: Mapping[str, Any], side: str) -> str | None:
    """The hook that an SAE reads (side "") or writes ("_out"); its own module decides over TransformerLens's name."""
    named = metadata.get(f"hf_hook_name{side}") or metadata.get(f"hook_name{side}")
    return canonical(named) if named else None


def _refuse_several_layers(spec: str, cfg: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """UnsupportedSAE for whole cross-layer transcoders and crosscoders, whose latents write several layers."""
    kind = str(cfg.get("architecture") or cfg.get("type") or "").lower()
    hooks = [metadata.get(k) for k in ("hook_name", "hook_name_out")]
    several = any(isinstance(h, list) and len(h) > 1 for h in hooks)
    if several or "crosscoder" in kind or "cross_layer" in kind or kind == "clt":
        raise UnsupportedSAE(
            f"SAE '{spec}' writes several layers at once (a crosscoder or whole cross-layer transcoder): what a latent "
            "does there is not one decoder row; use an SAE or transcoder of one layer, or one layer's slice of it"
        )


@cache
def registry() -> dict[tuple[str, str], RegistryRow]:
    """SAELens's whole registry by (release, sae_id), read from the YAML file inside the installed package (~1.5 s)."""
    import yaml

    package = find_spec("sae_lens")
    path = Path(package.origin).parent / "pretrained_saes.yaml" if package and package.origin else None
    if path is None or not path.exists():
        raise UnsupportedSAE("SAELens's registry is not installed; run: pip install 'sae-lens>=6.50,<7'")
    with path.open(encoding="utf-8") as file:
        releases = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    rows = [_row(release, entry, sae) for release, entry in releases.items() for sae in entry["saes"]]
    return {(row.release, row.sae_id): row for row in rows}


def list_registry(model: str | None = None) -> list[RegistryRow]:
    """SAEs of SAELens's registry, all or those made for ``model`` (with or without its organisation's name)."""
    rows = registry().values()
    return [row for row in rows if model is None or short_model_name(row.model) == short_model_name(model)]


def nearest(spec: str, search: Sequence[Path] | None = None) -> str:
    """The error message for an unknown SAE, with the nearest bundled, release or SAE names."""
    releases = {row.release for row in registry().values()}
    release, _, sae_id = spec.replace(":", "/", 1).partition("/")
    if release in releases:
        ids = [row.sae_id for row in registry().values() if row.release == release]
        return unknown_name(
            "SAE", f"{release}/{sae_id}", [f"{release}/{i}" for i in ids], f"the release holds {len(ids)}"
        )
    known = [*_bundled_names(search), *sorted(releases)]
    return unknown_name(
        "SAE", release if "/" in spec else spec, known, "or give a folder, release/sae_id or hub:org/repo"
    )


def _roots(search: Sequence[Path] | None) -> Sequence[Path]:
    return bundled_dirs() if search is None else search


def _bundled_names(search: Sequence[Path] | None) -> list[str]:
    return [
        f.name for root in _roots(search) if root.is_dir() for f in sorted(root.iterdir()) if (f / CFG_FILE).exists()
    ]


def _inspect_folder(spec: str, folder: Path) -> SaeInfo:
    for name in (CFG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise UnsupportedSAE(
                f"no {name} in '{folder}'; expected {CFG_FILE} and {WEIGHTS_FILE} as SAELens saves them"
            )
    try:
        check_file(folder / CFG_FILE)
        cfg = parse_json((folder / CFG_FILE).read_bytes())
    except ArtifactError as error:
        raise UnsupportedSAE(f"bundled SAE '{spec}': {error}") from None
    except (NotJson, OSError) as error:
        raise UnsupportedSAE(f"{folder / CFG_FILE} is not readable JSON ({error}); save the SAE again") from None
    if not isinstance(cfg, dict) or not isinstance(cfg.get("metadata") or {}, dict):
        raise UnsupportedSAE(f"{folder / CFG_FILE} does not hold SAE settings (a JSON object); save the SAE again")
    return parse_cfg(spec, str(folder), cfg)


def _is_old(cfg: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    version = str(cfg.get("sae_lens_version") or metadata.get("sae_lens_version") or "0")
    return not version.split(".")[0].isdecimal() or int(version.split(".")[0]) < 6


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
    return RegistryRow(release, sae_id, model, repo, hook, n_latents, id_, l0, hook_out, summed, path, centred)


def file_fingerprint(info: SaeInfo) -> str | None:
    """``LoadedSAE.fingerprint`` of a folder, from its files alone; None for an SAE that is not on this machine."""
    folder = Path(info.location)
    if not (folder / WEIGHTS_FILE).is_file() or info.normalize_activations in UNFOLDED:
        return None
    return hash_files([folder / CFG_FILE, folder / WEIGHTS_FILE])


def hash_files(paths: Sequence[Path]) -> str:
    """First 16 hex digits of the SHA-256 over the files' SHA-256s."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
