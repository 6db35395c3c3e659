"""The kernel of float32 products: the same numbers up to rounding, chosen once, named in what it made."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from families import BLOCKS, SETTINGS, family_model
from toys import FILLER, HOOK, N_LATENTS

from saeeval_core.config import DEFAULT_KERNEL, KERNELS, ONEDNN, RunConfig
from saeeval_core.errors import Cancelled, ConfigError, ModelError
from saeeval_core.evaluation.prepare import prepare
from saeeval_core.evaluation.score import score
from saeeval_core.models import kernels
from saeeval_core.models.kernels import PackedLinear, PackedMatrix, kernel_for, measured_kernel, pack_linears
from saeeval_core.models.language_model import LanguageModel, load_model
from saeeval_core.models.sites import exact_hooks, through_output_matrix
from saeeval_core.recordings.recorder import record_pass
from saeeval_core.recordings.recording import find_residuals, load_residuals, save_residuals
from saeeval_core.saes.loaded import load_sae

pytestmark = pytest.mark.skipif(not kernels._onednn_is_here(), reason="this build of torch has no oneDNN")
BOUND = 1e-5
"""Largest difference relative to the norm of an activation; rounding is 1e-7 a product."""


def packed(model: LanguageModel) -> LanguageModel:
    own = replace(model, hf=copy.deepcopy(model.hf), kernel=ONEDNN)
    pack_linears(own._blocks)
    return own


def off(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def some_texts(count: int = 60) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(FILLER, n)) for n in rng.integers(1, 120, count)]


@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_is_the_plain_one_up_to_rounding(bias):
    rng = torch.Generator().manual_seed(0)
    plain = torch.nn.Linear(48, 96, bias=bias)
    own = PackedLinear(plain.weight, plain.bias)
    with torch.inference_mode():
        for shape in ((3, 7, 48), (5000, 48), (1, 48)):
            x = torch.randn(shape, generator=rng)
            assert off(own(x), plain(x)) < 1e-6
        strided = torch.randn(48, 20, generator=rng).T
        assert off(own(strided), plain(strided)) < 1e-6
    assert torch.equal(own.weight, plain.weight)
    again = copy.deepcopy(torch.nn.Sequential(own))[0]
    assert type(again) is torch.nn.Linear and torch.equal(again.weight, plain.weight)
    assert (again.bias is None) == (not bias)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "gemma3", "bloom", "opt", "qwen3_moe"])
def test_activations_do_not_depend_on_the_kernel(family):
    assert family in SETTINGS
    plain = family_model(family)
    own = packed(plain)
    assert any(isinstance(m, PackedLinear) for m in own.hf.modules())
    ids = torch.randint(3, 60, (4, 30), generator=torch.Generator().manual_seed(0))
    hooks = [f"blocks.{BLOCKS - 1}.{name}" for name in ("hook_resid_post", "hook_mlp_out", "attn.hook_z")]
    expected = plain.activations(ids, torch.ones_like(ids), hooks)
    for hook, value in own.activations(ids, torch.ones_like(ids), hooks).items():
        assert off(value, expected[hook]) < BOUND


def test_what_reads_weights_finds_them():
    plain = family_model("llama")
    own = packed(plain)
    write = "blocks.1.attn.hook_z"
    rows = torch.randn(3, plain.widths([write])[0], generator=torch.Generator().manual_seed(0))
    assert torch.equal(through_output_matrix(own, write, rows), through_output_matrix(plain, write, rows))
    assert exact_hooks(own, write).probes == exact_hooks(plain, write).probes


def test_hooks_of_the_bridge_are_the_same(tiny_model, tiny_model_dir):
    own = load_model(str(tiny_model_dir), device="cpu", kernel=ONEDNN)
    ids = torch.tensor([[0, 5, 9, 20]])
    hook = "blocks.1.attn.hook_q"
    found = [m.activations(ids, torch.ones_like(ids), [hook])[hook] for m in (own, tiny_model)]
    assert off(*found) < BOUND


@pytest.mark.parametrize("architecture", ["topk", "standard", "jumprelu", "gated", "abstopk"])
def test_codes_do_not_depend_on_the_kernel(tiny_sae_dirs, architecture, monkeypatch):
    calls = []
    product = PackedMatrix.product
    monkeypatch.setattr(PackedMatrix, "product", lambda *a: calls.append(1) or product(*a))
    folder = str(tiny_sae_dirs[architecture])
    plain, own = load_sae(folder), load_sae(folder, kernel=ONEDNN)
    x = torch.randn(50, plain.info.d_in, generator=torch.Generator().manual_seed(0))
    assert off(own.encode(x), plain.encode(x)) < BOUND and calls
    assert own.fingerprint == plain.fingerprint


def test_a_pass_differs_by_rounding_only_and_names_its_kernel(tiny_model, tiny_model_dir, tiny_sae_dirs, tmp_path):
    texts, folder = some_texts(), str(tiny_sae_dirs["standard"])
    fast = load_model(str(tiny_model_dir), device="cpu", kernel=ONEDNN)
    one = record_pass(tiny_model, [], texts, "print", [load_sae(folder)])
    other = record_pass(fast, [], texts, "print", [load_sae(folder, kernel=ONEDNN)])
    plain, own = one.residuals[HOOK], other.residuals[HOOK]
    assert np.abs(plain.residuals - own.residuals).max() < BOUND * np.abs(plain.residuals).max()
    dense = [found.latents[0].latents.toarray() for found in (one, other)]
    assert dense[0].shape == (len(texts), N_LATENTS)
    assert np.abs(dense[0] - dense[1]).max() < BOUND * np.abs(dense[0]).max()
    assert own.fingerprint == plain.fingerprint  # a recording is found whatever made it
    assert (plain.kernel, own.kernel) == (DEFAULT_KERNEL, ONEDNN)
    assert load_residuals(save_residuals(own, tmp_path)).kernel == ONEDNN
    unnamed = load_residuals(save_residuals(replace(own, kernel=""), tmp_path / "earlier"))
    assert unnamed.kernel == ""


def test_a_result_names_the_kernel(cache, tiny_model_dir, tiny_sae_dirs, tiny_texts_file):
    config = RunConfig(
        model=str(tiny_model_dir),
        saes=(str(tiny_sae_dirs["topk"]),),
        task="",
        texts=str(tiny_texts_file),
        target="profession=surgeon,nurse",
        spurious="gender=male,female",
        metrics=("shift",),
        ns=(1,),
        resamples=20,
        device="cpu",
        kernel=ONEDNN,
    )
    prepared = prepare(config)
    assert score(prepared).versions["kernel"] == ONEDNN
    assert find_residuals(prepared.evaluation.residuals.key).kernel == ONEDNN
    # What is there is used, and still says what made it.
    assert score(prepare(replace(config, kernel=DEFAULT_KERNEL))).versions["kernel"] == ONEDNN


def test_a_state_of_another_kernel_is_not_gone_on_with(tiny_model_dir, tiny_sae_dirs, tmp_path):
    texts, sae = some_texts(120), load_sae(str(tiny_sae_dirs["topk"]))
    models = {k: load_model(str(tiny_model_dir), device="cpu", kernel=k) for k in (DEFAULT_KERNEL, ONEDNN)}

    def stop(_: object) -> None:
        raise Cancelled("stopped")

    def batches(kernel: str) -> int:
        seen: list[object] = []
        record_pass(models[kernel], [], texts, "print", [sae], partial=tmp_path, on_progress=seen.append)
        return len(seen)

    with pytest.raises(Cancelled):
        record_pass(models[ONEDNN], [], texts, "print", [sae], partial=tmp_path, on_progress=stop)
    resumed, anew = batches(ONEDNN), batches(DEFAULT_KERNEL)
    assert resumed == anew - 1


def test_auto_is_measured_once_per_machine_and_kept(cache, monkeypatch):
    monkeypatch.delenv(kernels.KERNEL_VARIABLE)
    measured = []
    monkeypatch.setattr(kernels, "measured_kernel", lambda: measured.append(1) or ONEDNN)
    assert [kernel_for("auto", "cpu") for _ in range(3)] == [ONEDNN] * 3 and len(measured) == 1
    monkeypatch.setattr(kernels, "_processor", lambda: "another machine")
    assert kernel_for("auto", "cpu") == ONEDNN and len(measured) == 2
    assert kernel_for("auto", "cuda") == DEFAULT_KERNEL and len(measured) == 2
    assert kernel_for(DEFAULT_KERNEL, "cpu") == DEFAULT_KERNEL
    monkeypatch.setenv(kernels.KERNEL_VARIABLE, DEFAULT_KERNEL)
    assert kernel_for("auto", "cpu") == DEFAULT_KERNEL and kernel_for(ONEDNN, "cpu") == ONEDNN


def test_a_measurement_gives_a_kernel(monkeypatch):
    monkeypatch.setattr(kernels, "_ROWS", 64)
    monkeypatch.setattr(kernels, "_REPEATS", 1)
    assert measured_kernel() in KERNELS[1:]


def test_a_kernel_that_cannot_run_is_one_line(monkeypatch, tiny_model_dir):
    with pytest.raises(ModelError, match="unknown kernel 'mkl'"):
        load_model(str(tiny_model_dir), device="cpu", kernel="mkl")
    with pytest.raises(ModelError, match="runs on the CPU, not on cuda; leave out --kernel"):
        kernel_for(ONEDNN, "cuda")
    monkeypatch.setattr(kernels, "_onednn_is_here", lambda: False)
    assert kernel_for("auto", "cpu") == DEFAULT_KERNEL
    with pytest.raises(ModelError, match="this build of torch does not have it"):
        kernel_for(ONEDNN, "cpu")
    with pytest.raises(ConfigError, match="unknown kernel 'mkl'"):
        RunConfig(kernel="mkl")


def test_settings_name_a_kernel_only_where_one_was_chosen():
    assert '"kernel"' not in RunConfig().to_json()
    chosen = RunConfig(kernel=ONEDNN)
    assert RunConfig.from_json(chosen.to_json()) == chosen
