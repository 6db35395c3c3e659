"""Each conversion of SAELens's registry once, on files in its published layout; downloads are pointed at a folder.

What the published files fix by their size alone (widths of Gemma, Llama and Qwen) is made small.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from foreign_files import rand
from sae_lens.loading import pretrained_sae_loaders as loaders
from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory
from safetensors.torch import save_file
from torch import Tensor

from saeeval_core.errors import UnsupportedSAE
from saeeval_core.saes.loaded import load_sae, verify_affine
from saeeval_core.saes.releases import RegistryRow, registry

D, N = 24, 64
W_ENC, W_DEC, B_ENC, B_DEC, THRESHOLD = rand(D, N), rand(N, D, seed=1), rand(N), 0.3 * rand(D), rand(N).abs()
OWN = {"W_enc": W_ENC, "W_dec": W_DEC, "b_enc": B_ENC, "b_dec": B_DEC}
LINEAR = {"encoder.weight": W_ENC.T, "decoder.weight": W_DEC.T, "encoder.bias": B_ENC, "decoder.bias": B_DEC}
X = 2 * rand(7, D, seed=5)
Write = Callable[[Path, str], object]
"""Writes the files of the SAE at a path in a repository's folder."""


def relu(x: Tensor) -> Tensor:
    return (x @ W_ENC + B_ENC).relu()


def centred(x: Tensor) -> Tensor:
    return relu(x - B_DEC)


def jump(x: Tensor, threshold: Tensor | float = THRESHOLD) -> Tensor:
    pre = x @ W_ENC + B_ENC
    return pre.relu() * (pre > threshold)


def top_50(x: Tensor) -> Tensor:
    values, at = relu(x).topk(50, dim=-1)
    return torch.zeros(len(x), N).scatter_(-1, at, values)


def tensors(path: Path, values: Mapping[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {name: tensor.contiguous().clone() for name, tensor in values.items()}
    torch.save(found, path) if path.suffix in (".pt", ".pth") else save_file(found, path)


def text(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content) if path.suffix == ".yaml" else json.dumps(content))


def arrays(path: Path, values: Mapping[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{name: tensor.numpy() for name, tensor in values.items()})


def saelens(repo: Path, path: str) -> None:
    cfg = {"d_in": D, "d_sae": N, "dtype": "float32", "model_name": "gpt2-small", "hook_name": "blocks.0.hook_attn_out"}
    text(repo / path / "cfg.json", cfg | {"activation_fn_str": "relu", "apply_b_dec_to_input": True, "device": "cpu"})
    tensors(repo / path / "sae_weights.safetensors", OWN)


def heads(repo: Path, path: str) -> None:
    cfg = {"act_size": D, "dict_size": N, "act_name": "blocks.0.attn.hook_z"}
    text(repo / f"{path.split('.pt')[0]}_cfg.json", cfg)
    tensors(repo / path, OWN)


def gemma_3(repo: Path, path: str) -> None:
    text(repo / path / "config.json", {"architecture": "jump_relu", "model_name": "gemma-3-270m-pt"})
    lower = {name.lower(): tensor for name, tensor in OWN.items()} | {"threshold": THRESHOLD}
    tensors(repo / path / "params.safetensors", lower)


def llama_scope(repo: Path, path: str) -> None:
    cfg = {"d_model": D, "d_sae": N, "jump_relu_threshold": 0.5, "hook_point_in": "blocks.0.hook_resid_post"}
    text(repo / path / "hyperparams.json", cfg | {"dataset_average_activation_norm": {"in": D**0.5}})
    tensors(repo / path / "checkpoints" / "final.safetensors", LINEAR)


def llama_scope_r1(repo: Path, path: str) -> None:
    text(
        repo / path / "config.json", {"d_model": 16, "expansion_factor": 4, "hook_point_in": "blocks.0.hook_resid_post"}
    )
    weights = {
        "encoder.weight": rand(N, 16),
        "decoder.weight": rand(16, N),
        "encoder.bias": B_ENC,
        "decoder.bias": rand(16),
    }
    tensors(repo / path / "sae_weights.safetensors", weights | {"log_jumprelu_threshold": THRESHOLD.log()})


def learned(repo: Path, path: str) -> None:
    trainer = {"dict_class": "BatchTopKSAE", "activation_dim": D, "dict_size": N, "layer": 12, "k": 5, "lm_name": "g/m"}
    text(repo / path / "config.json", {"trainer": trainer, "buffer": {"ctx_len": 128}})
    state = {k: v for k, v in LINEAR.items() if k != "decoder.bias"}
    tensors(repo / path / "ae.pt", state | {"b_dec": B_DEC, "threshold": torch.tensor(0.5)})


def mwhanna(repo: Path, path: str) -> None:
    values = {"d_model": {"value": D}, "d_feature": {"value": N}, "batch_size": {"value": 8}}
    text(repo / "wandb-config.yaml", values)
    text(repo / "config.yaml", {"model_name": "Qwen/Qwen3-4B"})
    tensors(repo / path, OWN | {"W_enc": W_ENC.T})


def summed(repo: Path, path: str) -> None:
    hooks = {"feature_input_hook": "hook_resid_mid", "feature_output_hook": "hook_mlp_out"}
    text(repo / "config.yaml", {"model_name": "google/gemma-2-2b"} | hooks)
    encoder = {f"W_enc_{path}": W_ENC.T, f"b_enc_{path}": B_ENC, f"b_dec_{path}": B_DEC}
    tensors(repo / f"W_enc_{path}.safetensors", encoder)
    tensors(repo / f"W_dec_{path}.safetensors", {f"W_dec_{path}": rand(N, 3, D)})


def goodfire(repo: Path, path: str) -> None:
    tensors(repo / path, {name.replace(".", "_linear."): tensor for name, tensor in LINEAR.items()})


def temporal(repo: Path, path: str) -> None:
    from sae_lens.registry import get_sae_class

    sizes = {"n_heads": 4, "n_attn_layers": 1, "bottleneck_factor": 2, "kval_topk": 6, "tied_weights": True}
    sizes |= {"sae_diff_type": "topk"}
    conf = {
        "llm": {"dimin": D},
        "sae": sizes | {"exp_factor": N / D, "scaling_factor": 0.5},
        "data": {"dtype": "float32"},
    }
    text(repo / path / "conf.yaml", conf)
    kind, config = get_sae_class("temporal")
    state = kind(config(d_in=D, d_sae=N, **sizes)).state_dict()
    names = {"W_dec": "D", "b_dec": "b", "W_enc": "E"}
    tensors(repo / path / "latest_ckpt.safetensors", {names.get(k, k): v for k, v in state.items()})


@dataclass(frozen=True)
class Case:
    """One conversion: a release that uses it, its files, and what should come out."""

    release: str
    write: Write
    codes: Callable[[Tensor], Tensor] | None
    hooks: tuple[str, str] = ("blocks.0.hook_resid_post",) * 2
    getter: str | None = None
    """SAELens's function that fixes the published widths."""


CASES = {
    "sae_lens": Case("gpt2-small-attn-out-v5-32k", saelens, centred, ("blocks.0.hook_attn_out",) * 2),
    "connor_rob_hook_z": Case("gpt2-small-hook-z-kk", heads, centred, ("blocks.0.attn.hook_z",) * 2),
    "gemma_2": Case(
        "gemma-scope-2b-pt-res",
        lambda repo, path: arrays(repo / path / "params.npz", OWN | {"threshold": THRESHOLD}),
        jump,
        getter="get_gemma_2_config_from_hf",
    ),
    "gemma_3": Case("gemma-scope-2-270m-pt-res-all", gemma_3, jump),
    "llama_scope": Case("llama_scope_lxr_8x", llama_scope, None),
    "llama_scope_r1_distill": Case("llama_scope_r1_distill", llama_scope_r1, None),
    "dictionary_learning_1": Case(
        "sae_bench_gemma-2-2b_topk_width-2pow12_date-1109",
        learned,
        lambda x: jump(x - B_DEC, 0.5),
        ("blocks.12.hook_resid_post",) * 2,
    ),
    "deepseek_r1": Case(
        "deepseek-r1-distill-llama-8b-qresearch",
        lambda repo, path: tensors(repo / path, LINEAR),
        relu,
        ("blocks.19.hook_resid_post",) * 2,
        "get_deepseek_r1_config_from_hf",
    ),
    "qwen_scope": Case(
        "qwen-scope-3-1.7b-base-w32k-l50",
        lambda repo, path: tensors(repo / path, OWN | {"W_enc": W_ENC.T, "W_dec": W_DEC.T}),
        top_50,
        getter="get_qwen_scope_config_from_hf",
    ),
    "gemma_2_transcoder": Case(
        "gemma-scope-2b-pt-transcoders",
        lambda repo, path: arrays(repo / path / "params.npz", OWN | {"threshold": THRESHOLD}),
        jump,
        ("blocks.0.ln2.hook_normalized", "blocks.0.hook_mlp_out"),
        "get_gemma_2_transcoder_config_from_hf",
    ),
    "mwhanna_transcoder": Case(
        "mwhanna-qwen3-4b-transcoders", mwhanna, relu, ("blocks.0.mlp.hook_in", "blocks.0.hook_mlp_out")
    ),
    "temporal": Case("temporal-sae-gemma-2-2b", temporal, None, ("blocks.12.hook_resid_post",) * 2),
    "goodfire": Case(
        "goodfire-llama-3.1-8b-instruct",
        goodfire,
        relu,
        ("blocks.19.hook_resid_post",) * 2,
        "get_goodfire_config_from_hf",
    ),
}
"""SAELens's name of the conversion -> a case. Refused ones have tests of their own."""
REFUSED = {"mntss_clt_layer_transcoder"}


@cache
def used() -> set[str]:
    return {entry.conversion_func or "sae_lens" for entry in get_pretrained_saes_directory().values()}


def first_row(release: str) -> RegistryRow:
    return next(row for row in registry().values() if row.release == release and "embedding" not in row.path)


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """A folder that stands for every repository of the Hub."""
    from huggingface_hub.errors import EntryNotFoundError
    from safetensors.torch import load_file

    def download(repo_id: str, filename: str, *, subfolder: str | None = None, **_: object) -> str:
        path = tmp_path / repo_id / (subfolder or "") / filename
        if not path.exists():
            raise EntryNotFoundError(f"no {filename}")
        return str(path)

    def shapes(repo_id: str, filename: str) -> dict[str, list[int]]:
        return {k: list(v.shape) for k, v in load_file(download(repo_id, filename)).items()}

    monkeypatch.setattr(loaders, "hf_hub_download", download)
    monkeypatch.setattr(loaders, "get_safetensors_tensor_shapes", shapes)
    return tmp_path


def small(getter: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    def get(*args: object, **named: object) -> dict[str, Any]:
        found = getter(*args, **named)
        return found | {"d_in": D, "d_sae": N} | ({"d_out": D} if "d_out" in found else {})

    return get


def test_every_conversion_that_a_release_uses_has_a_case():
    assert used() == set(CASES) | REFUSED
    # sparsify is offered for releases to come; its folders are read from disk without SAELens's conversion.
    assert set(loaders.NAMED_PRETRAINED_SAE_LOADERS) - used() == {"sparsify"}


@pytest.mark.parametrize("name", CASES)
def test_a_published_file_gives_the_codes_of_its_layout(hub, monkeypatch, name):
    case, row = CASES[name], first_row(CASES[name].release)
    case.write(hub / row.repo, row.path)
    if case.getter:
        changed = small(getattr(loaders, case.getter))
        monkeypatch.setattr(loaders, case.getter, changed)
        monkeypatch.setitem(loaders.NAMED_PRETRAINED_SAE_CONFIG_GETTERS, name, changed)
    sae = load_sae(row.spec)
    assert (sae.info.hook, sae.info.hook_out) == case.hooks
    assert verify_affine(sae) < 1e-4
    assert sae.decoder.shape == (N, sae.info.d_out)
    if case.codes is not None:
        torch.testing.assert_close(sae.encode(X), case.codes(X), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(sae.decoder, W_DEC)


def test_layers_of_a_cross_layer_transcoder_are_refused_though_they_load(hub):
    row = first_row("mntss-gemma-2-2b-2.5m-clt-as-per-layer")
    summed(hub / row.repo, row.path)
    with pytest.warns(UserWarning, match="summing"):
        _, state, _ = loaders.mntss_clt_layer_huggingface_loader(row.repo, row.path)
    assert state["W_dec"].shape == (N, D)
    with pytest.raises(UnsupportedSAE, match="cross-layer"):
        load_sae(row.spec)
