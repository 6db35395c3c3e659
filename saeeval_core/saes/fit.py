"""Whether an SAE can belong to a model: widths and blocks."""

from collections.abc import Mapping
from typing import Any

from saeeval_core.errors import UnsupportedSAE
from saeeval_core.models.layouts import layer_of
from saeeval_core.saes.registry import SaeInfo
from saeeval_core.saes.release_names import NO_BLOCK


def check_fits(info: SaeInfo, d_in: int, d_out: int) -> None:
    """UnsupportedSAE unless the SAE reads ``d_in`` and writes ``d_out`` values, the widths of its hooks in the model."""
    sides = (("reads", info.d_in, d_in, info.hook), ("writes", info.d_out, d_out, info.hook_out))
    for what, own, there, hook in sides:
        if own != there:
            raise UnsupportedSAE(
                f"SAE '{info.id}' {what} {own} values but the model has {there} at {hook}; "
                f"choose an SAE made for this model (this one: {info.model or 'model not named'})"
            )


def check_settings(info: SaeInfo, settings: Mapping[str, Any]) -> None:
    """UnsupportedSAE where a model's config.json, or the hook's name, tells that the SAE does not fit: before weights are read."""
    if why := _no_hook(info.hook or ""):
        raise UnsupportedSAE(f"SAE '{info.id}' reads {info.hook}: {why}")
    layers = next((settings[k] for k in ("num_hidden_layers", "n_layer", "num_layers") if k in settings), None)
    width = next((settings[k] for k in ("hidden_size", "n_embd", "d_model") if k in settings), None)
    layer = layer_of(info.hook or "")
    if isinstance(layers, int) and layer is not None and layer >= layers:
        raise UnsupportedSAE(
            f"SAE '{info.id}', made for {info.model or 'another model'}, reads {info.hook}; this model has blocks 0 to {layers - 1}"
        )
    if isinstance(width, int) and "hook_resid_" in (info.hook or ""):
        check_fits(info, width, info.d_out)


def _no_hook(name: str) -> str:
    """Why a hook of that name is in no model, or in none of its blocks; "" where nothing speaks against it."""
    if "{" in name:
        return "a template whose layer was never filled in; write its number into the settings of the SAE"
    if name.rpartition(".")[2] in ("hook_embed", "hook_pos_embed"):
        return NO_BLOCK
    return ""
