"""List bundled SAEs and read the settings of folders from their ``cfg.json``, without weights, torch or SAELens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saeeval_core.config import assets_dir
from saeeval_core.errors import ArtifactError, UnsupportedSAE, unknown_name
from saeeval_core.models.layouts import canonical
from saeeval_core.saes.formats import Foreign
from saeeval_core.saes.release_names import family_of
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
    foreign: Foreign | None = None
    """What its files say where they are not in SAELens's form."""
    given_hooks: str = ""
    """READ:WRITTEN where its name gives the hooks, because its files name none."""

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
        found = list(self.foreign.notes) if self.foreign else []
        if self.given_hooks:
            found.append(f"its files name no hook; {self.hook_out} was given")
        if self.metadata.get("frozen_decoder") is True:
            found.append("a trained null: its random decoder was frozen")
        if self.metadata.get("prepend_bos") is False:
            found.append("it was trained without a beginning-of-sequence token; texts are read with one here")
        # TransformerLens centres only models with LayerNorm, unless told not to.
        if self.old and self.metadata.get(LOADED_WITH) is None and family_of(self.model or "") in ("gpt2", "gpt_neox"):
            found.append(
                "its cfg.json does not say whether the model's writing weights were centred, as they were by default when "
                "it was saved: load it by its release, or write model_from_pretrained_kwargs.center_writing_weights there"
            )
        return tuple(found)


def bundled_dirs() -> list[Path]:
    """Folders that hold one folder per bundled SAE."""
    return [assets_dir() / "saes"]


def list_bundled(search: Sequence[Path] | None = None) -> list[SaeInfo]:
    """Every bundled SAE, by name; one whose settings are damaged is named on stderr and left out."""
    found = []
    for folder in (f for root in sae_roots(search) if root.is_dir() for f in sorted(root.iterdir())):
        if (folder / CFG_FILE).exists():
            try:
                found.append(inspect_folder(folder.name, folder))
            except UnsupportedSAE as error:
                notice(f"bundled SAE left out: {error}")
    return found


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


def sae_roots(search: Sequence[Path] | None) -> Sequence[Path]:
    """Folders that hold one folder per bundled SAE: those given, or the usual ones."""
    return bundled_dirs() if search is None else search


def bundled_names(search: Sequence[Path] | None = None) -> list[str]:
    """Names of the bundled SAEs."""
    return [
        f.name for root in sae_roots(search) if root.is_dir() for f in sorted(root.iterdir()) if (f / CFG_FILE).exists()
    ]


def inspect_folder(spec: str, folder: Path) -> SaeInfo:
    """The settings in a folder of SAELens's form; UnsupportedSAE where they are missing or cannot be."""
    for name in (CFG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise UnsupportedSAE(
                f"no {name} in '{folder}'; expected {CFG_FILE} and {WEIGHTS_FILE} as SAELens saves them, "
                "or files of dictionary_learning, sparsify, Gemma Scope or the plain form (docs/dictionaries.md)"
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
