"""The matrices of a language model by its config.json: what a token costs, and how many weights there are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_UNGATED = ("gpt2", "gpt_neo", "gpt_neox", "gptj", "phi", "opt", "bloom", "falcon", "starcoder2")
"""Families whose MLP has two matrices, not three."""


@dataclass(frozen=True)
class Matrix:
    """A matrix by which every token is multiplied."""

    wide: int
    """Values in"""
    out: int
    """Values out"""
    times: float = 1
    """Products with one of this shape, per token."""


@dataclass(frozen=True)
class Shapes:
    """A decoder's matrices."""

    block: tuple[Matrix, ...]
    """Of one block, as often as a token is multiplied by them."""
    blocks: int
    hidden: int
    """Width of the residual stream."""
    inner: int
    """Width inside the MLP."""
    parameters: int
    """Weights in matrices and embeddings; norms and biases are a thousandth of them."""


def shapes_of(settings: Mapping[str, Any]) -> Shapes | None:
    """The shapes of a text model with these settings (config.json); None where they do not say them."""
    hidden, blocks = _number(settings, "hidden_size", "n_embd", "d_model"), block_count(settings)
    heads, rows = _number(settings, "num_attention_heads", "n_head", "num_heads"), _number(settings, "vocab_size")
    if not hidden or not blocks or not heads or not rows:
        return None
    kind = str(settings.get("model_type"))
    head = _number(settings, "head_dim") or hidden // heads
    kept = _number(settings, "num_key_value_heads") or (1 if settings.get("multi_query") else heads)
    experts = _number(settings, "num_experts", "num_local_experts") or 1
    used = _number(settings, "num_experts_per_tok", "experts_per_token") or 1
    inner = (experts > 1 and _number(settings, "moe_intermediate_size")) or _number(settings, *_INNER) or 4 * hidden
    rising = 1 if kind in _UNGATED else 2
    attention = (Matrix(hidden, heads * head), Matrix(hidden, kept * head, 2), Matrix(heads * head, hidden))
    mlp = (Matrix(hidden, inner, rising * used), Matrix(inner, hidden, used))
    tied = settings.get("tie_word_embeddings", kind in ("gpt2", "gemma", "gemma2", "gemma3_text", "bloom", "opt"))
    own = sum(m.wide * m.out * m.times for m in attention) + experts / used * sum(m.wide * m.out * m.times for m in mlp)
    return Shapes((*attention, *mlp), blocks, hidden, inner, int(blocks * own) + rows * hidden * (1 if tied else 2))


def block_count(settings: Mapping[str, Any]) -> int:
    """Number of blocks of a model with these settings; 0 where they do not say it."""
    return _number(settings, *_BLOCKS)


_BLOCKS = ("num_hidden_layers", "n_layer", "num_layers")
_INNER = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")


def _number(settings: Mapping[str, Any], *names: str) -> int:
    """The first of these settings that is a whole number above 0, else 0."""
    found = (settings.get(name) for name in names)
    return next((n for n in found if isinstance(n, int) and not isinstance(n, bool) and n > 0), 0)
