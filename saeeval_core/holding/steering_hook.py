"""Ablate one set of an SAE's latents in a running model, the SAE's reconstruction error kept.

This file needs torch and safetensors alone; ``set.safetensors`` lies beside it.

    vectors = load("set.safetensors")
    with steered(model, vectors):  # a transformers model
        model.generate(...)
    model.run_with_hooks(tokens, fwd_hooks=transformer_lens_hooks(vectors))  # TransformerLens

TransformerLens must not change the weights: use its bridge, or HookedTransformer.from_pretrained_no_processing. The
first position is left alone, as in scoring, wherever a pass has more than one position.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Vectors:
    """What the ablation needs of the SAE."""

    encoder: Tensor
    """float32[d_in, columns]: the set's latents; of a top-k SAE all latents, because they compete."""
    bias: Tensor
    """float32[columns]"""
    threshold: Tensor
    """float32[columns]: a latent is active above it."""
    chosen: Tensor
    """int64[set]: columns of the set."""
    rows: Tensor
    """float32[set, d_out]: what one unit of each latent adds at the hook that is written."""
    offset: Tensor
    """float32[d_out]: what the set adds after the ablation (the latents' means; 0 under zero ablation)."""
    about: dict[str, Any]
    """k, and the hooks and modules that are read and written."""

    def removed(self, x: Tensor) -> Tensor:
        """float32[..., d_out]: what the ablation takes from the written activation, for x [..., d_in] that is read."""
        x = x.float()
        pre = x @ self.encoder.to(x.device) + self.bias.to(x.device)
        codes = pre.relu() * (pre > self.threshold.to(x.device))
        if k := int(self.about["k"]):
            codes = torch.zeros_like(codes).scatter(-1, pre.topk(k, dim=-1).indices, 1.0) * codes
        codes = codes[..., self.chosen.to(x.device)]
        return codes @ self.rows.to(x.device) - self.offset.to(x.device)


def load(path: str | Path) -> Vectors:
    """The vectors of a ``set.safetensors``."""
    with safe_open(str(path), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Vectors(**tensors, about=json.loads(file.metadata()["about"]))


@contextmanager
def steered(model: torch.nn.Module, vectors: Vectors) -> Iterator[None]:
    """Ablate the set in every pass of a transformers model that is made inside."""
    see, change = _pair(vectors)
    read, write = vectors.about["read_module"], vectors.about["write_module"]
    handles = [_attach(model, write, change)] if read == write else [_attach(model, read, see)]
    if read != write:
        handles.append(_attach(model, write, change))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def transformer_lens_hooks(vectors: Vectors) -> list[tuple[str, Callable[..., Tensor | None]]]:
    """``fwd_hooks`` for TransformerLens's ``run_with_hooks`` and ``hooks``."""
    see, change = _pair(vectors)
    read, write = vectors.about["read_hook"], vectors.about["write_hook"]
    last = [(write, lambda value, **_: change(value))]
    return last if read == write else [(read, lambda value, **_: see(value)), *last]


def _pair(vectors: Vectors) -> tuple[Callable[[Tensor], None], Callable[[Tensor], Tensor]]:
    """(what sees the read activation, what returns the written one with the set ablated)."""
    seen: list[Tensor] = []
    one = vectors.about["read_hook"] == vectors.about["write_hook"]

    def see(value: Tensor) -> None:
        seen[:] = [value.detach()]

    def change(value: Tensor) -> Tensor:
        flat = value.reshape(*value.shape[:2], -1)  # attention heads may come apart
        read = flat if one else seen.pop()
        taken = vectors.removed(read.reshape(*read.shape[:2], -1))
        if taken.shape[1] > 1:
            taken[:, 0] = 0
        return (flat.float() - taken).to(value.dtype).reshape(value.shape)

    return see, change


def _attach(model: torch.nn.Module, place: str, act: Callable[[Tensor], Tensor | None]) -> Any:
    """Call ``act`` with the input or output of a module, "path.in" or "path.out"; what it returns replaces the value."""
    path, _, side = place.rpartition(".")

    def on_input(_module: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        new = act(args[0] if args else kwargs["hidden_states"])
        if new is None:
            return None
        return ((new, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": new})

    def on_output(_module: Any, _args: tuple, out: Any) -> Any:
        new = act(out[0] if isinstance(out, tuple) else out)
        return new if new is None or not isinstance(out, tuple) else (new, *out[1:])

    module = model.get_submodule(path)
    if side == "in":
        return module.register_forward_pre_hook(on_input, with_kwargs=True)
    return module.register_forward_hook(on_output)
