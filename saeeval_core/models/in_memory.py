"""Language models that are in memory already: transformers', TransformerLens's bridge, nnsight's wrapped ones.

Nothing of what is passed in is changed: its tokenizer is copied, its modules are read, its training mode is put back.
"""

import copy
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from saeeval_core.errors import ModelError
from saeeval_core.models.language_model import LanguageModel, model_of
from saeeval_core.models.memory_names import memory_name

_DTYPES = ("float32", "bfloat16", "float16")
_SAME = 1e-3
"""Largest difference, relative to the activation, between a bridge and the model inside it."""
_WHAT = "a model of transformers, TransformerLens's TransformerBridge or nnsight's LanguageModel"
_NOT_SETTINGS = ("_name_or_path", "transformers_version")


def from_model(model: Any, tokenizer: Any = None, *, name: str = "") -> LanguageModel:
    """The model and tokenizer under a name that holds the hash of weights, settings and tokenizer.

    ``name``: what it is called in results; by default the last part of the name it was loaded by. ``tokenizer`` can be
    left out for a wrapper that has one. ModelError for anything but these models, weights that are not loaded, a
    missing or slow tokenizer, and a bridge whose activations are not those of the model inside it.
    """
    hf, own = _inside(model)
    tokenizer = own if tokenizer is None else tokenizer
    if tokenizer is None:
        raise ModelError(
            "the model comes without its tokenizer; give it too: tokenizer=..., the one it was trained with"
        )
    tokenizer = copy.deepcopy(tokenizer)
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError("the tokenizer is no fast tokenizer of transformers; give the fast one")
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    dtype = str(hf.dtype).removeprefix("torch.")
    if dtype not in _DTYPES:
        raise ModelError(
            f"the model's weights are {dtype}; expected {' or '.join(_DTYPES)}: convert it, as model.float()"
        )
    label = name or str(hf.config.name_or_path or "").rstrip("/").rsplit("/", 1)[-1] or type(hf).__name__
    found = model_of(memory_name(label, _fingerprint(hf, tokenizer)), hf, tokenizer, str(hf.device), dtype)
    if hf is not model and hasattr(model, "run_with_cache"):
        _check_bridge(model, found)
    return found


@contextmanager
def as_in_use(model: LanguageModel) -> Iterator[None]:
    """Without dropout while inside; afterwards every module is in the mode it was in."""
    modes = [(module, module.training) for module in model.hf.modules()]
    model.hf.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _inside(model: Any) -> tuple[Any, Any]:
    """(transformers model, tokenizer of its wrapper or None)."""
    from transformers import PreTrainedModel

    found, origin = model, type(model).__module__.split(".")[0]
    if origin == "nnsight":
        found = getattr(model, "_module", None) or getattr(model, "_model", None)
    elif type(model).__name__ == "TransformerBridge":
        found = _unbridged(model.original_model)
    if not isinstance(found, PreTrainedModel):
        merge = "; merge an adapter first: model.merge_and_unload()" if origin == "peft" else ""
        raise ModelError(f"a {type(found).__name__} of {origin} is no model that can be read here; give {_WHAT}{merge}")
    if any(p.device.type == "meta" for p in found.parameters()):
        raise ModelError("the model's weights are not loaded (device meta); load them: nnsight's dispatch=True does")
    return found, None if found is model else getattr(model, "tokenizer", None)


def _unbridged(bridged: Any) -> Any:
    """transformers' own modules in the place of TransformerLens's, with the same weights."""
    from transformer_lens.model_bridge.generalized_components.base import GeneralizedComponent

    weights = {id(t): t for t in (*bridged.parameters(), *bridged.buffers())}
    plain = copy.deepcopy(bridged, weights)
    todo = [plain]
    while todo:
        module = todo.pop()
        for name, child in module._modules.items():
            while isinstance(child, GeneralizedComponent) and child.original_component is not None:
                child = child.original_component
            module._modules[name] = child
            todo += [child] if child is not None else []
    return plain


@torch.inference_mode()
def _check_bridge(bridge: Any, model: LanguageModel) -> None:
    """ModelError unless the residual stream of a bridge is that of the model inside it: its weights may be processed."""
    layer = model.n_layers // 2
    hook = f"blocks.{layer}.hook_resid_post"
    ids = torch.arange(8, device=model.device)[None] % model.hf.get_input_embeddings().weight.shape[0]
    with as_in_use(model):
        own = model.activations(ids, torch.ones_like(ids), [hook])[hook].float()
    _, cache = bridge.run_with_cache(ids, names_filter=[f"blocks.{layer}.hook_out"])
    off = (cache[f"blocks.{layer}.hook_out"].float() - own).norm() / own.norm()
    if not float(off) <= _SAME:
        raise ModelError(
            f"the bridge's residual stream is not that of the model inside it (relative difference {float(off):.1e}): its "
            "weights or settings were changed; pass a bridge as boot_transformers gives it, or the model itself"
        )


def _fingerprint(hf: Any, tokenizer: Any) -> str:
    """64 hex digits of settings, tokenizer and weights: of what a pass runs, which is all below the output embedding."""
    settings = {k: v for k, v in hf.config.to_dict().items() if k not in _NOT_SETTINGS}
    rules = json.loads(tokenizer.backend_tokenizer.to_str()) | {
        "post_processor": None
    }  # special tokens are added by us
    digest = hashlib.sha256(json.dumps([settings, rules], sort_keys=True, default=str).encode())
    digest.update(f"{tokenizer.bos_token} {tokenizer.eos_token}".encode())
    body = hf.base_model
    for name, tensor in sorted([*body.named_parameters(), *body.named_buffers()], key=lambda own: own[0]):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
