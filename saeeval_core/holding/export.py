"""A set exported as a steering hook: ``steering_hook.py``, which stands alone, and the set's vectors beside it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from saeeval_core.errors import ModelError, UnsupportedSAE
from saeeval_core.holding import steering_hook
from saeeval_core.holding.ablated_pass import SetEdit
from saeeval_core.holding.steering_hook import Vectors
from saeeval_core.models.language_model import LanguageModel
from saeeval_core.models.sites import short_texts
from saeeval_core.saes.loaded import LoadedSAE
from saeeval_core.storage.artifacts import write_atomic

VECTORS_FILE, HOOK_FILE = "set.safetensors", "steering_hook.py"
_TOLERANCE = 1e-3
"""Largest error of the exported ablation, relative to the length of what it removes."""


def export_hook(model: LanguageModel, edit: SetEdit, folder: Path, about: dict[str, Any]) -> list[Path]:
    """Write the two files into ``folder``; ``about``: JSON values that say what the set is.

    Before anything is written, what the file removes is compared with ``edit`` on two short texts. UnsupportedSAE for an
    SAE whose encoder cannot be written so; ModelError for a hook that the plain model does not know by a module.
    """
    vectors = _vectors(model, edit, about)
    _check(model, edit, vectors)
    tensors = {n: t.contiguous() for n, t in vars(vectors).items() if n != "about"}
    source = Path(steering_hook.__file__).read_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    files = {folder / VECTORS_FILE: save(tensors, {"about": json.dumps(vectors.about)}), folder / HOOK_FILE: source}
    for path, content in files.items():
        write_atomic(path, content)
    return list(files)


def _vectors(model: LanguageModel, edit: SetEdit, about: dict[str, Any]) -> Vectors:
    sae, ids = edit.place.sae, list(edit.ids)
    encoder, bias, threshold, k = _encoder(sae)
    chosen = torch.tensor(ids)
    if not k:
        encoder, bias, threshold = encoder[:, chosen], bias[chosen], threshold[chosen]
        chosen = torch.arange(len(ids))
    rows = sae.decoder[ids].float().cpu()
    offset = torch.as_tensor(np.asarray(edit.set_to), dtype=torch.float32) @ rows
    read, write = edit.place.read, edit.place.exact.write
    places = {"read_hook": read, "write_hook": write, "read_module": _module(model, read)}
    written = {**about, "latents": ids, "k": k, **places, "write_module": _module(model, write)}
    return Vectors(encoder, bias, threshold, chosen, rows * sae.scale_factor, offset, written)


def _encoder(sae: LoadedSAE) -> tuple[Tensor, Tensor, Tensor, int]:
    """(float32[d_in, latents], float32[latents], float32[latents], k): relu above a threshold, k = 0: all of them.

    A gated SAE has this form too: its gate opens where the magnitude exceeds a threshold of its own.
    """
    module = sae.module
    on_raw = sae.info.normalize_activations in ("none", "constant_scalar_rescale")
    has_bias = hasattr(module, "b_enc") or hasattr(module, "r_mag")
    if sae.needs_sequences or not on_raw or not has_bias:
        raise _refused(sae)
    weights = module.W_enc.detach().float().cpu()
    shift = module.b_dec.detach().float().cpu() if module.cfg.apply_b_dec_to_input else torch.zeros(len(weights))
    if hasattr(module, "r_mag"):
        growth = module.r_mag.detach().float().cpu().exp()
        gate, magnitude = (getattr(module, n).detach().float().cpu() for n in ("b_gate", "b_mag"))
        # The gate reads the same product before it grows; what the input is shifted by is added to both.
        return _shifted(sae, weights * growth, magnitude, magnitude - gate * growth, shift, 0)
    bias = module.b_enc.detach().float().cpu()
    threshold = module.threshold.detach().float().cpu() if hasattr(module, "threshold") else torch.zeros(len(bias))
    if getattr(module.cfg, "rescale_acts_by_decoder_norm", False):
        norm = module.W_dec.detach().float().cpu().norm(dim=-1)
        weights, bias = weights * norm, bias * norm
    return _shifted(sae, weights, bias, threshold, shift, int(getattr(module.cfg, "k", 0) or 0))


def _shifted(
    sae: LoadedSAE, weights: Tensor, bias: Tensor, threshold: Tensor, shift: Tensor, k: int
) -> tuple[Tensor, Tensor, Tensor, int]:
    """The same on raw activations: what is taken from the input is folded into the bias, its mean into the weights."""
    bias = bias - shift @ weights
    scale = getattr(sae.module.cfg, "activation_normalization_factor", 1.0) if sae.scale_factor != 1.0 else 1.0
    weights = weights * scale
    return (weights - weights.mean(0) if sae.info.centred else weights), bias, threshold, k


def _module(model: LanguageModel, hook: str) -> str:
    """Path of the module in the transformers model, with ".in" or ".out"."""
    site = model.site(hook)
    if site is None or site.normalised:
        raise ModelError(f"hook '{hook}' of {model.name} is no module's input or output; it cannot be exported")
    path = next(name for name, module in model.hf.named_modules() if module is site.module)
    return f"{path}.{site.side}"


@torch.inference_mode()
def _check(model: LanguageModel, edit: SetEdit, vectors: Vectors) -> None:
    """UnsupportedSAE unless the exported vectors remove on two short texts what ``edit`` removes."""
    ids, mask = short_texts(model)
    read = model.activations(ids, mask, [edit.place.read])[edit.place.read]
    expected, found = edit.removed(read, mask), vectors.removed(read)
    found[:, 0] = 0
    off = (found - expected)[mask.bool()].norm(dim=-1).max() / expected.norm(dim=-1).max().clamp_min(1e-6)
    if not off <= _TOLERANCE:
        raise _refused(edit.place.sae)


def _refused(sae: LoadedSAE) -> UnsupportedSAE:
    return UnsupportedSAE(
        f"SAE '{sae.info.id}' ({sae.info.architecture}, normalisation {sae.info.normalize_activations}) cannot be written "
        "as a hook of its own; exported are ReLU, JumpReLU, TopK and Gated SAEs and transcoders on raw activations"
    )
