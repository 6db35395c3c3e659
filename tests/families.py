"""Tiny random models of every family, built from configs: three blocks of width 16, no network and no files."""

from functools import cache
from typing import Any

WIDTH, BLOCKS, HEADS = 16, 3, 2

_MODERN = {
    "hidden_size": WIDTH,
    "intermediate_size": 24,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 1,
    "max_position_embeddings": 256,
    "pad_token_id": None,
}
_ROUTED = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12}
_WIDE_HEADS = {"head_dim": 12, "query_pre_attn_scalar": 12, "sliding_window": 4}
_OLD = {"n_embd": WIDTH, "n_layer": BLOCKS, "n_head": HEADS, "n_positions": 256}

SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        name: (name, _MODERN)
        for name in ("llama", "mistral", "qwen2", "gemma", "phi3", "olmo", "smollm3", "starcoder2", "olmo2", "cohere")
    },
    "qwen3": ("qwen3", _MODERN | {"head_dim": 12}),
    "olmo3": ("olmo3", _MODERN | {"sliding_window": 4}),
    "gemma2": ("gemma2", _MODERN | _WIDE_HEADS),
    "gemma3": ("gemma3_text", _MODERN | _WIDE_HEADS),
    "granite": ("granite", _MODERN | {"residual_multiplier": 1.0}),
    "phi": ("phi", _MODERN | {"num_key_value_heads": HEADS}),
    "gpt2": ("gpt2", _OLD),
    "gptj": ("gptj", _OLD | {"rotary_dim": 4}),
    "gpt_neo": (
        "gpt_neo",
        {
            "hidden_size": WIDTH,
            "num_layers": BLOCKS,
            "num_heads": HEADS,
            "attention_types": [[["global"], BLOCKS]],
            "max_position_embeddings": 256,
        },
    ),
    "gpt_neox": ("gpt_neox", _MODERN),
    "gpt_neox sequential": ("gpt_neox", _MODERN | {"use_parallel_residual": False}),
    "opt": ("opt", _MODERN | {"ffn_dim": 24, "word_embed_proj_dim": WIDTH}),
    "bloom": ("bloom", {"hidden_size": WIDTH, "n_layer": BLOCKS, "n_head": HEADS}),
    "falcon": ("falcon", _MODERN | {"num_ln_in_parallel_attn": None}),
    "falcon two norms": ("falcon", _MODERN | {"new_decoder_architecture": True, "num_kv_heads": 1}),
    "falcon sequential": ("falcon", _MODERN | {"parallel_attn": False, "alibi": True}),
    "stablelm": ("stablelm", _MODERN | {"num_key_value_heads": HEADS}),
    "stablelm parallel": ("stablelm", _MODERN | {"use_parallel_residual": True, "num_key_value_heads": HEADS}),
    "mixtral": ("mixtral", _MODERN | _ROUTED),
    "qwen2_moe": ("qwen2_moe", _MODERN | _ROUTED | {"shared_expert_intermediate_size": 12}),
    "qwen3_moe": ("qwen3_moe", _MODERN | _ROUTED),
    "olmoe": ("olmoe", _MODERN | _ROUTED),
    "gpt_oss": ("gpt_oss", _MODERN | _ROUTED | {"head_dim": 8}),
}
"""Name of the case -> (transformers' model_type, settings)."""

UNUSUAL = {
    "scaled residuals": ("granite", _MODERN | {"residual_multiplier": 0.5}),
    "norms after the residual": ("opt", SETTINGS["opt"][1] | {"do_layer_norm_before": False}),
}
"""Models in which rows of the table do not hold."""


@cache
def family_model(name: str, dtype: str = "float32"):
    """The LanguageModel of one case, with weights large enough that every part of a block matters."""
    import torch
    from toys import tiny_tokenizer
    from transformers import AutoConfig, AutoModelForCausalLM

    from saeeval_core.models.language_model import LanguageModel

    kind, settings = (SETTINGS | UNUSUAL)[name]
    config = AutoConfig.for_model(kind, vocab_size=256, bos_token_id=0, eos_token_id=1, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hf = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
        with torch.no_grad():
            for parameter in hf.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    hf = hf.to(getattr(torch, dtype)).eval().requires_grad_(False)
    return LanguageModel(f"tiny {name}", hf, tiny_tokenizer(), 0, "cpu", dtype)
