"""How the blocks of each model family are built, by transformers' module names, and what follows for exact ablation.

A dictionary *writes* one hook, and is *probed* at one. The closed form of ablation is exact where the activation at the
probe hook is the one at the write hook plus things that the write does not touch (docs/method.md, "Sites"). Nothing
here loads a model or torch.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from saeeval_core.errors import UnsupportedSAE
from saeeval_core.storage.json_files import require, typed

BLOCK = re.compile(r"blocks\.(\d+)\.(.+)$")
"""TransformerLens's names of what lies in block N."""
_SAME = {
    "hook_in": "hook_resid_pre",
    "hook_out": "hook_resid_post",
    "hook_z": "attn.hook_z",
    "ln2.hook_in": "hook_mlp_in",
}
"""Other spellings of a hook, which SAELens and TransformerLens use too."""
_MODULES = (
    (r"(?:layers|h)\.(\d+)(?:\.output)?", "hook_resid_post"),
    (r"(?:layers|h)\.(\d+)\.input", "hook_resid_pre"),
    (r"(?:layers|h)\.(\d+)\.(?:self_)?attn\.(?:o_proj|c_proj|out_proj|dense)\.input", "attn.hook_z"),
    (r"layers\.(\d+)\.pre_feedforward_layernorm(?:\.output)?", "mlp.hook_in"),
    (r"layers\.(\d+)\.post_feedforward_layernorm(?:\.output)?", "hook_mlp_out"),
)
"""Paths of modules that mean one hook in every family that has them."""


@dataclass(frozen=True)
class Layout:
    """Paths of modules within a block."""

    attn_out: str
    """Its output is what attention adds to the residual stream."""
    z: str
    """The output matrix W_O: its input is z, the heads side by side."""
    mlp: str
    """Its input is what the MLP reads."""
    mlp_out: str
    """Its output is what the MLP adds to the residual stream."""
    ln2: str | None
    """Norm before the MLP; None where there is none of its own."""
    mid: str | None
    """Its input is the residual stream between attention and MLP; None in parallel blocks, which have none."""
    norm_after_attention: bool = False
    """A norm stands between W_O and the residual stream: what attention adds is not linear in z."""

    @property
    def parallel(self) -> bool:
        """Attention and MLP both read the block's input."""
        return self.mid is None


@dataclass(frozen=True)
class Exactness:
    """At which hooks ablation by the decoder rows of a dictionary is exact, as measured on the model."""

    write: str
    """The hook that the decoder rows add to."""
    probes: tuple[str, ...]
    """Exact probe hooks, the default first."""
    errors: Mapping[str, float] = field(default_factory=dict)
    """Verified hook -> relative error."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Hook of the table -> why it is not exact in this model."""

    @classmethod
    def of_dict(cls, row: Mapping[str, Any]) -> "Exactness":
        """Inverse of ``dataclasses.asdict``. LookupError, TypeError or ValueError for anything else."""
        names = [typed(row, "write", str), *typed(row, "probes", list)]
        require(all(isinstance(name, str) for name in names), "a hook is no text")
        return cls(names[0], tuple(names[1:]), typed(row, "errors", dict), typed(row, "refused", dict))

    def check(self, sae: str, probe: str) -> None:
        """UnsupportedSAE, naming the exact hooks, unless the SAE of that name can be probed at ``probe``."""
        if probe not in self.probes:
            reason = self.refused.get(probe, f"what is added at {self.write} does not arrive there unchanged")
            raise UnsupportedSAE(
                f"SAE '{sae}' writes {self.write} and cannot be scored at {probe}: {reason}; "
                f"exact probe hooks: {', '.join(self.probes)}"
            )


_LLAMA = Layout(
    "self_attn", "self_attn.o_proj", "mlp", "mlp", ln2="post_attention_layernorm", mid="post_attention_layernorm"
)
_GEMMA = Layout(
    "post_attention_layernorm",
    "self_attn.o_proj",
    "mlp",
    "post_feedforward_layernorm",
    ln2="pre_feedforward_layernorm",
    mid="pre_feedforward_layernorm",
    norm_after_attention=True,
)
_GPT2 = Layout("attn", "attn.c_proj", "mlp", "mlp", ln2="ln_2", mid="ln_2")
_BLOOM = Layout(
    "self_attention.dense",  # the modules around these two add the residual stream themselves
    "self_attention.dense",
    "mlp",
    "mlp.dense_4h_to_h",
    ln2="post_attention_layernorm",
    mid="post_attention_layernorm",
)
LAYOUTS: Mapping[str, Layout] = {
    **dict.fromkeys(
        (
            *("llama", "mistral", "qwen2", "qwen3", "gemma", "phi3", "olmo", "granite", "smollm3", "starcoder2"),
            *("mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "gpt_oss"),
        ),
        _LLAMA,
    ),
    **dict.fromkeys(("gemma2", "gemma3_text"), _GEMMA),
    **dict.fromkeys(("olmo2", "olmo3"), replace(_GEMMA, ln2=None, mid="mlp")),
    "gpt2": _GPT2,
    "gpt_neo": replace(_GPT2, z="attn.attention.out_proj"),
    "gptj": replace(_GPT2, z="attn.out_proj", ln2=None, mid=None),
    "gpt_neox": replace(_LLAMA, attn_out="attention", z="attention.dense"),
    "phi": replace(_LLAMA, z="self_attn.dense", ln2=None, mid=None),
    "cohere": replace(_LLAMA, ln2=None, mid=None),
    "stablelm": _LLAMA,
    "opt": Layout("self_attn", "self_attn.out_proj", "fc1", "fc2", ln2="final_layer_norm", mid="final_layer_norm"),
    "bloom": _BLOOM,
    "falcon": replace(_BLOOM, attn_out="self_attention"),
}
"""transformers' ``model_type`` -> its blocks; what depends on other settings is decided in ``layout_of``."""


def layout_of(settings: Mapping[str, Any]) -> Layout | None:
    """The blocks of a model with these settings (a text model's config.json); None for a family that is not known."""
    kind = settings.get("model_type")
    found = LAYOUTS.get(str(kind))
    if found is None:
        return None
    if kind == "gpt_neox" and settings.get("use_parallel_residual", True):
        return replace(found, mid=None)
    if kind == "stablelm" and settings.get("use_parallel_residual"):
        return replace(found, ln2=None, mid=None)
    if kind == "opt" and not settings.get("do_layer_norm_before", True):
        return replace(found, ln2=None, mid="fc1")
    if kind == "falcon" and (settings.get("new_decoder_architecture") or settings.get("parallel_attn", True)):
        two = settings.get("new_decoder_architecture") and settings.get("num_ln_in_parallel_attn") != 1
        return replace(found, ln2="ln_mlp" if two else None, mid=None)
    return found


def canonical(hook: str) -> str:
    """One spelling of a hook: TransformerLens's name where ``hook`` has one, else the path of a module as it stands."""
    if match := BLOCK.match(hook):
        return f"blocks.{match[1]}.{_SAME.get(match[2], match[2])}"
    for pattern, name in _MODULES:
        if match := re.fullmatch(rf"(?:[A-Za-z_]+\.)*{pattern}", hook):
            return f"blocks.{match[1]}.{name}"
    return hook


def layer_of(hook: str) -> int | None:
    """Number of the block in which a hook lies; None for a hook outside the blocks."""
    match = BLOCK.match(hook)
    return int(match[1]) if match else None


def probe_candidates(write: str, layout: Layout | None) -> tuple[str, ...]:
    """Hooks where a dictionary that writes ``write`` can be probed by the table, the default first.

    Each still has to be verified on the model itself.
    """
    match = BLOCK.match(write)
    if match is None or layout is None:
        return (write,)
    block = f"blocks.{match[1]}."
    after = block + ("hook_resid_post" if layout.parallel else "hook_resid_mid")
    if match[2] == "hook_mlp_out":
        return (f"{block}hook_resid_post", write)
    if match[2] == "hook_attn_out":
        return (after, write)
    if match[2] == "attn.hook_z" and not layout.norm_after_attention:
        return (after, f"{block}hook_attn_out", write)
    return (write,)


def crosses_output_matrix(write: str, probe: str) -> bool:
    """Between the two hooks lies W_O: what is written per head arrives as its product."""
    return write.endswith("attn.hook_z") and probe != write
