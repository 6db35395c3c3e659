"""Hooks, architecture, width and model of an SAE, as its names in SAELens's registry state them.

The registry has no fields for any of them; release, id and path follow a few conventions. What they do not state is None.
"""

import re
from math import log2

from saeeval_core.models.memory_names import memory_label

NO_BLOCK = "the token embedding has no place in a block; use an SAE of blocks.N"
"""Why an SAE of the embedding cannot be scored."""
_SHORT_NAMES = {"gpt2": "gpt2-small", "mistral-7b-v0.1": "mistral-7b"}
_HOOK_IN_NAME = re.compile(
    r"blocks\.\d+\.(?:attn\.)?hook_(?:resid_pre|resid_mid|resid_post|mlp_out|attn_out|z)(?![a-z])"
)
_SITES = (("resid_post", "hook_resid_post"), ("mlp_out", "hook_mlp_out"), ("attn_out", "attn.hook_z"))
_LLAMA_SCOPE = {"r": "hook_resid_post", "m": "hook_mlp_out", "a": "hook_attn_out"}
_WIDTHS = (
    (re.compile(r"width_(\d+)(k|m)"), "rounded"),
    (re.compile(r"[-_](?:w-?)?(\d+)(k)(?=$|[-_.])"), "rounded"),
    (re.compile(r"2pow(\d+)"), "power"),
    (re.compile(r"hook_resid_pre_(\d{3,})$"), "exact"),
)


_TRANSCODERS = {
    # What it calls hook_mlp_in is the output of the norm before the MLP: the module that these files name themselves.
    "gemma_3": ("mlp.hook_in", "hook_mlp_out"),
    "gemma_2_transcoder": ("ln2.hook_normalized", "hook_mlp_out"),
    "mwhanna_transcoder": ("mlp.hook_in", "hook_mlp_out"),
}
"""SAELens's name of a conversion -> (hook read, hook written) by the transcoders that it loads."""
_FAMILIES = (
    ("gpt2", "gpt2"),
    ("pythia", "gpt_neox"),
    ("gemma-2-", "gemma2"),
    ("gemma-3-", "gemma3_text"),
    ("gemma-", "gemma"),
    ("mistral-", "mistral"),
    ("qwen3-30b-a3b", "qwen3_moe"),
    ("qwen3-", "qwen3"),
    ("qwen2.5-", "qwen2"),
    ("gpt-oss-", "gpt_oss"),
    ("llama-", "llama"),
    ("meta-llama-", "llama"),
    ("deepseek-r1-distill-llama", "llama"),
)
"""How a model's short name starts -> transformers' ``model_type``, for the models of the registry."""
_ALWAYS = {
    "gemma_2": "JumpReLUSAE",
    "gemma_2_transcoder": "JumpReLUTranscoder",
    "llama_scope": "JumpReLUSAE",
    "llama_scope_r1_distill": "JumpReLUSAE",
    "mwhanna_transcoder": "Transcoder",
    "mntss_clt_layer_transcoder": "Transcoder",
    "connor_rob_hook_z": "StandardSAE",
    "goodfire": "StandardSAE",
    "deepseek_r1": "StandardSAE",
    "qwen_scope": "TopKSAE",
    "temporal": "TemporalSAE",
}
"""SAELens's name of a conversion -> the one class that it makes."""
_TRAINERS = (
    ("matryoshka", "JumpReLUSAE"),  # BatchTopK too is read with one threshold for all tokens
    ("batchtopk", "JumpReLUSAE"),
    ("topk", "TopKSAE"),
    ("gated", "GatedSAE"),
    ("vanilla", "StandardSAE"),
    ("standard", "StandardSAE"),
    ("panneal", "StandardSAE"),
)
"""Word in the release or path of a dictionary_learning SAE -> the class that SAELens makes of it."""
_RESIDUAL_WIDTHS = (
    ("pythia-70m", 512),
    ("gpt2-small", 768),
    ("gemma-2b", 2048),
    ("gemma-2-2b", 2304),
    ("gemma-2-9b", 3584),
    ("gemma-2-27b", 4608),
    ("gemma-3-270m", 640),
    ("gemma-3-1b", 1152),
    ("gemma-3-4b", 2560),
    ("gemma-3-12b", 3840),
    ("gemma-3-27b", 5376),
    ("llama-3.1-8b", 4096),
    ("llama-3.3-70b", 8192),
    ("meta-llama-3-8b", 4096),
    ("deepseek-r1-distill-llama-8b", 4096),
    ("mistral-7b", 4096),
    ("qwen3-1.7b", 2048),
    ("qwen3-8b", 4096),
    ("qwen3-30b-a3b", 2048),
    ("qwen3.5-2b", 2048),
    ("qwen3.5-9b", 4096),
    ("qwen3.5-27b", 5120),
    ("qwen3.5-35b-a3b", 2048),
)
"""How a model's short name starts -> width of its residual stream, by SAELens's and TransformerLens's own tables."""
_HEAD_WIDTHS = (
    ("pythia-70m", 512),
    ("gpt2-small", 768),
    ("gemma-2-2b", 2048),
    ("gemma-2-9b", 4096),
    ("gemma-2-27b", 4096),
    ("gemma-3-270m", 1024),
    ("gemma-3-1b", 1024),
    ("gemma-3-4b", 2048),
    ("gemma-3-12b", 4096),
    ("gemma-3-27b", 4096),
)
"""The same for the attention heads side by side."""


def transcoder_hooks(how: str | None, sae_id: str, path: str) -> tuple[str, str] | None:
    """(hook read, hook written) of a transcoder of the registry, or None where its names do not say."""
    layer = re.search(r"layer_?(\d+)", path) or re.search(r"layer_?(\d+)", sae_id)
    if how not in _TRANSCODERS or layer is None or "clt" in path:
        return None
    read, write = _TRANSCODERS[how]
    return f"blocks.{layer[1]}.{read}", f"blocks.{layer[1]}.{write}"


def architecture_of(how: str | None, release: str, sae_id: str, path: str) -> str | None:
    """SAELens's inference class of an SAE of the registry; ``how``: the registry's name of the conversion."""
    if how == "gemma_3" and ("transcoder" in path or "clt" in path):
        return "JumpReLUSkipTranscoder" if "affine" in path else "JumpReLUTranscoder"
    if how == "gemma_3":
        return "JumpReLUSAE"
    if how == "dictionary_learning_1":
        said = f"{release} {path}".lower().replace("_", "")
        return next((architecture for word, architecture in _TRAINERS if word in said), None)
    # SAELens saves a Matryoshka SAE of its own for use as JumpReLU; of the others their cfg.json says it, not the name.
    if how is None and "matryoshka" in f"{release} {sae_id} {path}":
        return "JumpReLUSAE"
    return _ALWAYS.get(how or "")


def hook_width(model: str, hook: str | None) -> int | None:
    """Number of values at a hook of a model of the registry; None for a model or hook that is not known."""
    if hook is None:
        return None
    widths = _HEAD_WIDTHS if hook.endswith("hook_z") else _RESIDUAL_WIDTHS
    name = short_model_name(model)
    return next((width for start, width in widths if name.startswith(start)), None)


def parameters_said(model: str) -> float | None:
    """Number of weights that a model's name states, as in "gemma-3-27b" or "pythia-70m"; None where it states none."""
    said = re.findall(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", short_model_name(model))
    return float(said[0][0]) * {"b": 1e9, "m": 1e6}[said[0][1]] if said else None


def family_of(model: str) -> str | None:
    """transformers' ``model_type`` of a model of the registry, by its name; None for one that is not known."""
    name = short_model_name(model)
    return next((family for start, family in _FAMILIES if name.startswith(start)), None)


def short_model_name(model: str) -> str:
    """A model's name without its organisation, in the spelling the registry uses."""
    name = (memory_label(model) or model.rsplit("/", 1)[-1]).lower()
    return _SHORT_NAMES.get(name, name)


def hook_of(release: str, how: str | None, sae_id: str, path: str) -> str | None:
    """Hook an SAE reads, or None where its names do not say; ``how``: the registry's name of the conversion."""
    if match := _HOOK_IN_NAME.search(sae_id) or _HOOK_IN_NAME.search(path):
        # SAELens writes the attention hook of a few releases without its "attn." part.
        return re.sub(r"(\d)\.hook_z", r"\1.attn.hook_z", match[0])
    if how and how.startswith("llama_scope") and (match := re.match(r"l(\d+)([rma])_", sae_id)):
        return f"blocks.{match[1]}.{_LLAMA_SCOPE[match[2]]}"
    layer = re.search(r"layer_?(\d+)", path) or re.search(r"layer_?(\d+)", sae_id)
    if layer is None:
        return "hook_embed" if how == "gemma_2" and "embedding" in sae_id else None
    if how == "gemma_2":
        site = {"-res": "hook_resid_post", "-mlp": "hook_mlp_out", "-att": "attn.hook_z"}
        return next((f"blocks.{layer[1]}.{hook}" for part, hook in site.items() if part in release), None)
    if how == "gemma_3" or "resid_post" in path:
        return next((f"blocks.{layer[1]}.{hook}" for part, hook in _SITES if part in path), None)
    return f"blocks.{layer[1]}.hook_resid_post" if how in ("qwen_scope", "goodfire") else None


def width_of(name: str) -> int | None:
    """Number of latents that a name states, or None. "16k" or "131k" is the nearest power of two, "80k" 80 x 1024."""
    for pattern, kind in _WIDTHS:
        if match := pattern.search(name):
            number = int(match[1])
            if kind == "exact":
                return number
            return 2**number if kind == "power" else latents_said(number, match[2])
    return None


def latents_said(number: int, unit: str) -> int:
    """Number of latents that "16k" or "1m" means: the nearest power of two, or thousands of 1,024 where none is near."""
    said = number * (1_000 if unit == "k" else 1_000_000)
    power = 2 ** round(log2(said))
    return power if abs(power / said - 1) < 0.05 else number * 1024
