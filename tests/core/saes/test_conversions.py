"""Files in the layouts of published releases, read by SAELens's own loaders: the download is pointed at a folder."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from saeeval_core.models.layouts import LAYOUTS, probe_candidates
from saeeval_core.saes.loaded import load_sae

LOADERS = "sae_lens.loading.pretrained_sae_loaders"


@pytest.fixture
def published(tmp_path, monkeypatch) -> Path:
    """A folder that stands for every repository of the Hub."""
    from huggingface_hub.errors import EntryNotFoundError

    def download(repo_id: str, filename: str, *, subfolder: str | None = None, **_: object) -> str:
        path = tmp_path / repo_id / (subfolder or "") / filename
        if not path.exists():
            raise EntryNotFoundError(f"no {filename}")
        return str(path)

    def shapes(repo_id: str, filename: str) -> dict[str, list[int]]:
        return {k: list(v.shape) for k, v in load_file(download(repo_id, filename)).items()}

    monkeypatch.setattr(f"{LOADERS}.hf_hub_download", download)
    monkeypatch.setattr(f"{LOADERS}.get_safetensors_tensor_shapes", shapes)
    return tmp_path


def write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in tensors.items()}, path)


def gemma_3(folder: Path, d_in: int, *, skip: bool = False, **settings: object) -> None:
    tensors = {
        "w_enc": torch.randn(d_in, 32),
        "w_dec": torch.randn(32, d_in),
        "b_enc": torch.randn(32),
        "b_dec": torch.randn(d_in),
        "threshold": torch.rand(32),
    }
    if skip:
        tensors["affine_skip_connection"] = torch.randn(d_in, d_in)
    write(folder / "params.safetensors", tensors)
    (folder / "config.json").write_text(
        json.dumps({"architecture": "jump_relu", "model_name": "gemma-3-270m-pt"} | settings)
    )


@pytest.mark.parametrize("named", [True, False], ids=["module named", "no module named"])
def test_gemma_scope_2_transcoders_read_the_output_of_the_norm(published, named):
    layer = "model.layers.5"
    modules = {
        "hf_hook_point_in": f"{layer}.pre_feedforward_layernorm.output",
        "hf_hook_point_out": f"{layer}.post_feedforward_layernorm.output",
    }
    sae_id = "layer_5_width_16k_l0_big"
    folder = published / "google" / "gemma-scope-2-270m-pt" / "transcoder_all" / sae_id
    gemma_3(folder, 24, skip=True, affine_connection=True, **(modules if named else {}))
    sae = load_sae(f"gemma-scope-2-270m-pt-transcoders-all/{sae_id}")
    assert (sae.info.hook, sae.info.hook_out) == ("blocks.5.mlp.hook_in", "blocks.5.hook_mlp_out")
    assert sae.info.architecture == "JumpReLUSkipTranscoder" and sae.skip is not None
    x = torch.randn(7, 24)
    torch.testing.assert_close(sae.reconstruct(x, sae.encode(x)), sae.module(x), rtol=1e-4, atol=1e-4)
    expected = ("blocks.5.hook_resid_post", "blocks.5.hook_mlp_out")
    assert probe_candidates(sae.info.hook_out, LAYOUTS["gemma3_text"]) == expected


def test_gemma_scope_2_saes_of_attention_heads(published):
    sae_id = "layer_5_width_16k_l0_big"
    folder = published / "google" / "gemma-scope-2-270m-pt" / "attn_out_all" / sae_id
    gemma_3(folder, 32, hf_hook_point_in="model.layers.5.self_attn.o_proj.input")
    sae = load_sae(f"gemma-scope-2-270m-pt-att-all/{sae_id}")
    assert sae.info.hook == sae.info.hook_out == "blocks.5.attn.hook_z"
    assert sae.encode(torch.randn(7, 32)).shape == (7, 32)
    assert probe_candidates(sae.info.hook_out, LAYOUTS["gemma3_text"]) == ("blocks.5.attn.hook_z",)


def test_transcoders_of_qwen_3(published):
    folder = published / "mwhanna" / "qwen3-0.6b-transcoders-lowl0"
    folder.mkdir(parents=True)
    for name, content in (
        ("wandb-config.yaml", {"d_model": 24, "d_feature": 32, "batch_size": 8}),
        ("config.yaml", {}),
    ):
        values = {k: {"value": v} for k, v in content.items()} or {"model_name": "Qwen/Qwen3-0.6B"}
        (folder / name).write_text(yaml.safe_dump(values))
    tensors = {
        "W_enc": torch.randn(32, 24),
        "W_dec": torch.randn(32, 24),
        "b_enc": torch.randn(32),
        "b_dec": torch.randn(24),
    }
    write(folder / "layer_3.safetensors", tensors)
    sae = load_sae("mwhanna-qwen3-0.6b-transcoders-lowl0/layer_3")
    assert (sae.info.hook, sae.info.hook_out) == ("blocks.3.mlp.hook_in", "blocks.3.hook_mlp_out")
    assert sae.decoder.shape == (32, 24) and sae.info.is_transcoder
