"""Tiny dictionaries in other people's files, in their published layouts, and how their own code encodes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

D, N, K = 16, 32, 5
HOOK = "blocks.3.hook_resid_post"
Encode = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Made:
    """Files on disk, and what their own library computes from them."""

    path: Path
    encode: Encode
    """[tokens, d_in] -> [tokens, latents]"""
    decoder: Tensor
    """[latents, d_out]"""
    bias: Tensor
    kind: str
    """Words that the SAE's notes say."""


def rand(*shape: int, seed: int = 0) -> Tensor:
    """Random normal values."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def top(pre: Tensor, k: int = K) -> Tensor:
    """The largest k of relu(pre), other latents 0."""
    values, at = pre.relu().topk(k, dim=-1)
    return torch.zeros_like(pre).scatter_(-1, at, values)


def trainer_config(dict_class: str, **settings: object) -> dict:
    """dictionary_learning's ``config.json``."""
    trainer = {"dict_class": dict_class, "trainer_class": "X", "activation_dim": D, "dict_size": N, "layer": 3}
    trainer |= {"lm_name": "me/toy", "submodule_name": "resid_post_layer_3", "k": K, "lr": 1e-3}
    return {"trainer": trainer | settings, "buffer": {"d_submodule": D, "ctx_len": 128, "io": "out"}}


def write_learned(folder: Path, dict_class: str, state: dict[str, Tensor], **settings: object) -> Path:
    """A folder of dictionary_learning."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "ae.pt")
    (folder / "config.json").write_text(json.dumps(trainer_config(dict_class, **settings)))
    return folder


def learned(folder: Path, dict_class: str) -> Made:
    """One class of dictionary_learning."""
    w_enc, w_dec, b_enc, b_dec = rand(D, N), rand(N, D, seed=1), rand(N), 0.3 * rand(D)
    linear = {"encoder.weight": w_enc.T.contiguous(), "decoder.weight": w_dec.T.contiguous(), "encoder.bias": b_enc}
    matrices = {"W_enc": w_enc, "b_enc": b_enc, "W_dec": w_dec, "b_dec": b_dec}
    k = torch.tensor(K, dtype=torch.int)
    centred = lambda x: (x - b_dec) @ w_enc + b_enc  # noqa: E731
    single, several = torch.tensor(0.7), rand(N).abs()
    gate, mag, r = rand(N, seed=3), rand(N, seed=4), 0.1 * rand(N, seed=5)

    def gated(x: Tensor) -> Tensor:
        pre = (x - b_dec) @ w_enc
        return ((pre + gate) > 0) * (r.exp() * pre + mag).relu()

    states: dict[str, tuple[dict[str, Tensor], Encode]] = {
        "AutoEncoder": (linear | {"bias": b_dec}, lambda x: centred(x).relu()),
        "AutoEncoderNew": (linear | {"decoder.bias": b_dec}, lambda x: (x @ w_enc + b_enc).relu()),
        "GatedAutoEncoder": (
            {k_: v for k_, v in linear.items() if k_ != "encoder.bias"}
            | {"decoder_bias": b_dec, "r_mag": r, "gate_bias": gate, "mag_bias": mag},
            gated,
        ),
        "JumpReluAutoEncoder": (
            matrices | {"threshold": several},
            lambda x: ((x @ w_enc + b_enc) * ((x @ w_enc + b_enc) > several)).relu(),
        ),
        "AutoEncoderTopK": (linear | {"b_dec": b_dec, "k": k, "threshold": single}, lambda x: top(centred(x))),
        "BatchTopKSAE": (
            linear | {"b_dec": b_dec, "k": k, "threshold": single},
            lambda x: centred(x).relu() * (centred(x).relu() > single),
        ),
        "MatryoshkaBatchTopKSAE": (
            matrices | {"k": k, "threshold": single, "group_sizes": torch.tensor([8, N - 8])},
            lambda x: centred(x).relu() * (centred(x).relu() > single),
        ),
    }
    state, encode = states[dict_class]
    return Made(write_learned(folder, dict_class, state), encode, w_dec, b_dec, f"dictionary_learning's {dict_class}")


def sparsified(folder: Path, **settings: object) -> Made:
    """A folder of sparsify, named after a module; ``transcode``, ``skip_connection`` and ``signed`` as in its settings."""
    folder.mkdir(parents=True)
    cfg = {"activation": "topk", "expansion_factor": N // D, "normalize_decoder": True, "num_latents": 0, "k": K}
    cfg |= {"multi_topk": False, "skip_connection": False, "transcode": False, "d_in": D} | settings
    w_enc, w_dec, b_enc, b_dec = rand(N, D), rand(N, D, seed=1), rand(N), 0.3 * rand(D)
    tensors = {"encoder.weight": w_enc, "encoder.bias": b_enc, "W_dec": w_dec, "b_dec": b_dec}
    tensors |= {"W_skip": rand(D, D, seed=2)} if cfg["skip_connection"] else {}
    save_file(tensors, folder / "sae.safetensors")
    (folder / "cfg.json").write_text(json.dumps(cfg))
    (folder.parent / "config.json").write_text(json.dumps({"model": "me/toy", "sae": cfg}))

    def encode(x: Tensor) -> Tensor:
        pre = (x if cfg["transcode"] else x - b_dec) @ w_enc.T + b_enc
        if not cfg.get("signed"):
            return top(pre)
        at = pre.abs().topk(K, dim=-1).indices
        return torch.zeros_like(pre).scatter_(-1, at, pre.gather(-1, at))

    return Made(folder, encode, w_dec, b_dec, "sparsify's")


def scoped(folder: Path, *, affine: bool | None = None, d_out: int = D, **settings: object) -> Made:
    """A folder of Gemma Scope 2; ``affine``: None for an SAE of the residual stream, else a transcoder with or without it."""
    folder.mkdir(parents=True)
    block, out = "model.layers.3", None
    hooks = {"hf_hook_point_in": f"{block}.output", "hf_hook_point_out": f"{block}.output"}
    if affine is not None:
        names = ("pre_feedforward_layernorm", "post_feedforward_layernorm")
        hooks = {f"hf_hook_point_{side}": f"{block}.{n}.output" for side, n in zip(("in", "out"), names, strict=True)}
        out = rand(D, d_out, seed=2) if affine else None
    cfg = hooks | {"width": N, "model_name": "gemma-v3-270m-pt", "architecture": "jump_relu", "l0": 10}
    cfg |= {"affine_connection": bool(affine), "type": "sae" if affine is None else "transcoder"} | settings
    w_enc, w_dec, b_enc, b_dec, threshold = (
        rand(D, N),
        rand(N, d_out, seed=1),
        rand(N),
        0.3 * rand(d_out),
        rand(N).abs(),
    )
    tensors = {"w_enc": w_enc, "w_dec": w_dec, "b_enc": b_enc, "b_dec": b_dec, "threshold": threshold}
    tensors |= {} if out is None else {"affine_skip_connection": out}
    save_file(tensors, folder / "params.safetensors")
    (folder / "config.json").write_text(json.dumps(cfg))

    def encode(x: Tensor) -> Tensor:
        pre = x @ w_enc + b_enc
        return pre.relu() * (pre > threshold)

    kind = "SAE" if affine is None else "affine transcoder" if affine else "transcoder"
    return Made(folder, encode, w_dec, b_dec, f"Gemma Scope 2's {kind}")


def plain_arrays(d_in: int = D, n: int = N, d_out: int | None = None) -> dict[str, np.ndarray]:
    """Random arrays of the plain form."""
    out = d_out or d_in
    found = {"W_enc": rand(d_in, n), "b_enc": rand(n), "W_dec": rand(n, out, seed=1), "b_dec": 0.3 * rand(out)}
    return {name: tensor.numpy() for name, tensor in found.items()}


def plain(path: Path, act: str = "ReLU", *, subtract: bool | None = None, d_out: int | None = None) -> Made:
    """A file of the plain form."""
    arrays = plain_arrays(d_out=d_out)
    w_enc, b_enc, w_dec, b_dec = (torch.from_numpy(arrays[k]) for k in ("W_enc", "b_enc", "W_dec", "b_dec"))
    threshold = rand(N).abs()
    arrays |= {"JumpReLU": {"threshold": threshold.numpy()}, "TopK": {"k": np.array(K)}}.get(act, {})
    arrays |= {} if subtract is None else {"apply_b_dec_to_input": np.array(int(subtract))}
    save_arrays(path, arrays)

    def encode(x: Tensor) -> Tensor:
        pre = (x - b_dec if subtract else x) @ w_enc + b_enc
        return top(pre) if act == "TopK" else pre.relu() * (pre > threshold) if act == "JumpReLU" else pre.relu()

    return Made(path, encode, w_dec, b_dec, f"plain form ({path.name}): {act}")


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """An ``.npz`` or ``.safetensors`` file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        save_file({name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}, path)
    return path
