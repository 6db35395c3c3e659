"""SAEs: the ablation identity for every SAELens class and normalisation, loading, refusals, registry, signed dictionaries."""

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import httpx2
import numpy as np
import pytest
import torch
from baselines import pca_basis, residual_basis
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sae_lens import (
    SAE,
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    MatryoshkaBatchTopKTrainingSAE,
    MatryoshkaBatchTopKTrainingSAEConfig,
)
from sae_lens.registry import get_sae_class
from sae_lens.saes.sae import SAEMetadata
from safetensors.torch import load_file, save_file

from saeeval_core.errors import UnsupportedSAE
from saeeval_core.saes import registry, releases
from saeeval_core.saes.fit import check_fits, check_settings
from saeeval_core.saes.loaded import load_sae, verify_affine
from saeeval_core.saes.local import inspect_sae
from saeeval_core.saes.registry import list_bundled
from saeeval_core.saes.releases import list_registry

torch.set_num_threads(1)

D_IN, N, HOOK = 16, 32, "blocks.3.hook_resid_post"
EXTRA = {
    "topk": {"k": 6},
    "abstopk": {"k": 6},
    "matching_pursuit": {"max_iterations": 6},
    "temporal": {"n_heads": 4, "bottleneck_factor": 2, "kval_topk": 6},
    **{kind: {"d_out": D_IN, "apply_b_dec_to_input": False} for kind in registry.CLASSES if "transcoder" in kind},
}
NORMS = ("none", "layer_norm", "constant_norm_rescale")


def tiny(architecture: str, seed: int = 0, **settings_):
    """Random tiny SAE of a class, with a bias and (where it has one) a threshold that lets about half through."""
    cls, config = get_sae_class(architecture)
    metadata = settings_.pop("metadata", {"model_name": "toy", "hook_name": HOOK})
    values = {"d_in": D_IN, "d_sae": N, "metadata": SAEMetadata(**metadata), **EXTRA.get(architecture, {}), **settings_}
    sae = cls(config(**values))
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            if "attn_layers" not in name:
                parameter.copy_(torch.randn(parameter.shape) * (0.1 if name.startswith("b_") else 1.0))
        if hasattr(sae, "threshold"):
            sae.threshold.abs_()
        if architecture == "matching_pursuit":
            sae.W_dec.div_(sae.W_dec.norm(dim=-1, keepdim=True))
    return sae.eval()


def saved(folder: Path, architecture: str, **settings_) -> Path:
    tiny(architecture, **settings_).save_model(folder)
    return folder


def tokens(seed: int, count: int = 7, scale: float = 3.0) -> torch.Tensor:
    return scale * torch.randn(count, D_IN, generator=torch.Generator().manual_seed(seed)) + 0.5


def own_decode(module, x: torch.Tensor, codes: torch.Tensor, sequences: bool = False) -> torch.Tensor:
    """SAELens's decode of given codes: its encode on the same x first, which sets the norms some classes remember."""
    batch = (lambda t: t[None]) if sequences else (lambda t: t)
    with torch.no_grad():
        module.encode(batch(x))
        out = module.decode(batch(codes))
    return out[0] if sequences else out


def cases() -> list:
    found = []
    for architecture in registry.CLASSES:
        for norm in (*NORMS, "constant_scalar_rescale") if architecture == "temporal" else NORMS:
            extra = {"activation_normalization_factor": 0.37} if norm == "constant_scalar_rescale" else {}
            for rescale in (False, True) if architecture in ("topk", "abstopk") else (None,):
                more = {} if rescale is None else {"rescale_acts_by_decoder_norm": rescale}
                for bias in (True, False) if "transcoder" not in architecture else (False,):
                    settings_ = {"normalize_activations": norm, "apply_b_dec_to_input": bias, **extra, **more}
                    name = "-".join(str(v) for v in (architecture, norm, rescale, bias) if v is not None)
                    found.append(pytest.param(architecture, settings_, id=name))
    return found


@pytest.mark.parametrize(("architecture", "settings_"), cases())
def test_removing_a_latent_changes_the_decode_by_minus_f_d_s(tmp_path, architecture, settings_):
    folder = saved(tmp_path / "sae", architecture, **settings_)
    original = SAE.load_from_disk(folder)
    sae = load_sae(str(folder))
    x = tokens(1)
    codes = sae.encode(x)
    scale = sae.token_scale(x)
    scale = torch.ones(len(x)) if scale is None else scale
    full = own_decode(original, x, codes, sae.needs_sequences)
    assert (codes != 0).any(), "a control: something must be active"
    for latent in codes.ne(0).any(0).nonzero().flatten()[:8]:
        without = codes.clone()
        without[:, latent] = 0
        delta = own_decode(original, x, without, sae.needs_sequences) - full
        expected = -codes[:, latent, None] * sae.decoder[latent] * scale[:, None]
        torch.testing.assert_close(delta, expected, rtol=1e-4, atol=2e-5 * float(full.abs().max()))


@pytest.mark.parametrize(("architecture", "settings_"), cases())
def test_codes_and_reconstruction_are_those_of_saelens(tmp_path, architecture, settings_):
    folder = saved(tmp_path / "sae", architecture, **settings_)
    original = SAE.load_from_disk(folder)
    sae = load_sae(str(folder))
    x = tokens(2)
    with torch.no_grad():
        theirs = original.encode(x[None])[0] if sae.needs_sequences else original.encode(x)
    codes = sae.encode(x)
    assert torch.equal(codes, theirs)
    sae.encode(tokens(3))  # another batch in between must not matter
    ours = sae.reconstruct(x, codes)
    if ours is None:
        assert sae.needs_sequences
    elif sae.info.is_transcoder:
        with torch.no_grad():
            torch.testing.assert_close(ours, original(x), rtol=1e-4, atol=1e-4)
    else:
        torch.testing.assert_close(ours, own_decode(original, x, codes), rtol=1e-4, atol=1e-4)
    zero = sae.zero_code()
    assert zero.shape == (N,) and torch.isfinite(zero).all()
    assert sae.non_negative == (architecture != "abstopk")
    assert not sae.non_negative or (codes >= 0).all()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    architecture=st.sampled_from([a for a in registry.CLASSES if a != "temporal"]),
    norm=st.sampled_from(NORMS),
    seed=st.integers(0, 10_000),
    chosen=st.sets(st.integers(0, N - 1), min_size=1, max_size=10),
    count=st.integers(1, 9),
)
def test_any_set_of_latents_is_removed_exactly_after_pooling(tmp_path_factory, architecture, norm, seed, chosen, count):
    """The mean over tokens of what decode loses equals the sum of pooled s f times D (the identity scores stand on)."""
    folder = saved(tmp_path_factory.mktemp("sae"), architecture, seed=seed, normalize_activations=norm)
    original, sae = SAE.load_from_disk(folder), load_sae(str(folder))
    x = tokens(seed, count)
    codes = sae.encode(x)
    scale = sae.token_scale(x)
    pooled = (codes if scale is None else codes * scale[:, None]).double().mean(0)
    without = codes.clone()
    rows = sorted(chosen)
    without[:, rows] = 0
    full = own_decode(original, x, codes)
    lost = (full - own_decode(original, x, without)).double().mean(0)
    size = float(full.abs().max()) + 1
    torch.testing.assert_close(lost, pooled[rows] @ sae.decoder[rows].double(), rtol=1e-4, atol=1e-5 * size)


@pytest.mark.parametrize("kind", ["batchtopk", "matryoshka"])
@pytest.mark.parametrize("rescale", [False, True])
def test_batchtopk_and_matryoshka_come_back_as_jumprelu(tmp_path, kind, rescale):
    values = {"d_in": D_IN, "d_sae": N, "k": 5, "rescale_acts_by_decoder_norm": rescale}
    values["metadata"] = SAEMetadata(model_name="toy", hook_name=HOOK)
    if kind == "batchtopk":
        trained = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(**values))
    else:
        trained = MatryoshkaBatchTopKTrainingSAE(
            MatryoshkaBatchTopKTrainingSAEConfig(**values, matryoshka_widths=[8, N])
        )
    trained.topk_threshold = torch.tensor(0.02, dtype=trained.topk_threshold.dtype)
    trained.save_inference_model(tmp_path)
    sae = load_sae(str(tmp_path))
    assert sae.info.architecture == "JumpReLUSAE"
    assert "batchtopk" in sae.info.training_architecture
    assert verify_affine(sae) < 1e-5
    codes = sae.encode(tokens(0, 50))
    assert codes.any() and codes[codes > 0].min() > 0.02


def test_a_training_checkpoint_of_batchtopk_is_refused_with_the_way_out(tmp_path):
    config = BatchTopKTrainingSAEConfig(d_in=D_IN, d_sae=N, k=5)
    BatchTopKTrainingSAE(config).save_model(tmp_path)
    refuse("training checkpoint.*save_inference_model", str(tmp_path))


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_other_dtypes_load_and_keep_a_float32_decoder(tmp_path, dtype):
    sae = load_sae(str(saved(tmp_path, "standard")), dtype=dtype)
    assert sae.decoder.dtype == torch.float32
    assert sae.encode(tokens(0)).dtype == getattr(torch, dtype)


def test_save_and_load_keeps_everything(tmp_path):
    metadata = {"model_name": "toy", "hook_name": HOOK, "neuronpedia_id": "toy/3"}
    first = load_sae(str(saved(tmp_path / "a", "topk", metadata=metadata)))
    first.module.save_model(tmp_path / "b")
    second = load_sae(str(tmp_path / "b"))
    assert torch.equal(first.encode(tokens(0)), second.encode(tokens(0)))
    assert torch.equal(first.decoder, second.decoder)
    assert second.info == replace(first.info, id=second.info.id, location=second.info.location)
    assert (second.info.model, second.info.hook, second.info.neuronpedia_id) == ("toy", HOOK, "toy/3")
    assert (second.info.d_in, second.info.n_latents, second.info.dtype) == (D_IN, N, "float32")


def test_the_fingerprint_follows_the_content_not_the_place(tmp_path):
    one = load_sae(str(saved(tmp_path / "a", "standard")))
    same = load_sae(str(saved(tmp_path / "b", "standard")))
    other = load_sae(str(saved(tmp_path / "c", "standard", seed=1)))
    assert len(one.fingerprint) == 16
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_zero_code_is_what_a_zeroed_token_adds(tmp_path):
    plain = load_sae(str(saved(tmp_path / "a", "standard")))
    torch.testing.assert_close(plain.zero_code(), plain.encode(torch.zeros(1, D_IN))[0])
    assert plain.zero_code().count_nonzero() > 0
    for norm in ("layer_norm", "constant_norm_rescale"):
        normed = load_sae(str(saved(tmp_path / norm, "standard", normalize_activations=norm)))
        assert not normed.zero_code().any()


def test_threads_never_see_each_others_norms(tmp_path, monkeypatch):
    """SAELens keeps a batch's norms on the module; a second thread that encodes meanwhile must wait."""
    sae = load_sae(str(saved(tmp_path, "standard", normalize_activations="constant_norm_rescale")))
    x, other = tokens(0), tokens(1, scale=30.0)
    alone = sae.encode(x)
    inside, plain = threading.Event(), sae.module.hook_sae_input.forward

    def slow(value: torch.Tensor) -> torch.Tensor:
        if not inside.is_set():
            inside.set()
            finished.wait(0.3)  # long enough for the other thread, unless it is made to wait
            inner.append(sae.module.__dict__.get("x_norm_coeff"))
            early.append(finished.is_set())
        return plain(value)

    finished, inner, early, results = threading.Event(), [], [], []
    monkeypatch.setattr(sae.module.hook_sae_acts_pre, "forward", slow)
    first = threading.Thread(target=lambda: results.append(sae.encode(x)))
    first.start()
    inside.wait(5)
    second = threading.Thread(target=lambda: (sae.encode(other), finished.set()))
    second.start()
    first.join()
    second.join()
    assert early == [False], "the second encode ran inside the first"
    torch.testing.assert_close(results[0], alone)
    assert inner[0] is not None
    assert "x_norm_coeff" not in sae.module.__dict__, "norms of a batch are not kept"


def test_temporal_codes_depend_on_the_text_and_ignore_padding(tmp_path):
    sae = load_sae(str(saved(tmp_path, "temporal")))
    assert sae.needs_sequences
    text, other = tokens(1, 5), tokens(2, 3)
    padded = torch.zeros(2, 5, D_IN)
    padded[0], padded[1, :3] = text, other
    batch = sae.encode(padded)
    torch.testing.assert_close(batch[0], sae.encode(text))
    torch.testing.assert_close(batch[1, :3], sae.encode(other))
    assert not torch.allclose(sae.encode(text)[1:], sae.encode(text.flip(0)).flip(0)[1:])


@pytest.mark.filterwarnings("ignore:\\nThis SAE has non-empty")
def test_centred_saes_read_x_without_its_mean(tmp_path):
    metadata = {
        "model_name": "toy",
        "hook_name": HOOK,
        "model_from_pretrained_kwargs": {"center_writing_weights": True},
    }
    sae = load_sae(str(saved(tmp_path, "standard", metadata=metadata)))
    x = tokens(0)
    assert sae.info.centred
    torch.testing.assert_close(sae.encode(x), sae.encode(x + 5), rtol=1e-4, atol=1e-4)
    shifted = sae.reconstruct(x + 5, sae.encode(x))
    torch.testing.assert_close(shifted, sae.reconstruct(x, sae.encode(x)) + 5, rtol=1e-4, atol=1e-4)


# Refusals: one line each, no traceback of another library.


def refuse(pattern: str, spec: str, **options) -> None:
    with pytest.raises(UnsupportedSAE, match=pattern) as caught:
        load_sae(spec, **options)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("kind", ["expected_average_only_in", "covariance_whitening"])
@pytest.mark.parametrize("architecture", ["standard", "topk", "jumprelu", "gated", "matching_pursuit"])
def test_unfolded_normalisation_without_its_factor_is_refused(tmp_path, kind, architecture):
    refuse("unfolded normalisation", str(saved(tmp_path, architecture, normalize_activations=kind)))


@pytest.mark.parametrize("architecture", ["standard", "topk", "jumprelu", "gated", "matching_pursuit"])
def test_a_stored_scaling_factor_is_folded(tmp_path, architecture):
    folder = saved(tmp_path, architecture, normalize_activations="expected_average_only_in")
    before = SAE.load_from_disk(folder)
    (folder / "activation_scaler.json").write_text(json.dumps({"scaling_factor": 0.25}))
    sae = load_sae(str(folder))
    x = tokens(0)
    with torch.no_grad():
        # Matching pursuit is tied, so its unit decoder rows stay and its codes take the units of x instead.
        units = 0.25 if architecture == "matching_pursuit" else 1.0
        torch.testing.assert_close(units * sae.encode(x), before.encode(0.25 * x), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(sae.reconstruct(x, sae.encode(x)), before(0.25 * x) / 0.25, rtol=1e-4, atol=1e-3)
    assert sae.info.normalize_activations == "none"
    fingerprint = sae.fingerprint
    (folder / "activation_scaler.json").write_text(json.dumps({"scaling_factor": 0.5}))
    assert load_sae(str(folder)).fingerprint != fingerprint


def test_stored_whitening_is_folded(tmp_path):
    folder = saved(tmp_path, "standard", normalize_activations="covariance_whitening")
    before = SAE.load_from_disk(folder)
    matrix = torch.linalg.qr(torch.randn(D_IN, D_IN, dtype=torch.float64))[0] * 0.5
    mean = torch.randn(D_IN, dtype=torch.float64)
    stored = {"mean": mean, "matrix": matrix.contiguous(), "inverse_matrix": torch.linalg.inv(matrix).contiguous()}
    save_file(stored, folder / "activation_whitening.safetensors")
    sae = load_sae(str(folder))
    x = tokens(0)
    with torch.no_grad():
        white = ((x.double() - mean) @ matrix).float()
        torch.testing.assert_close(sae.encode(x), before.encode(white), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("content", ["{}", "{", "[1]", '{"scaling_factor": null}', '{"scaling_factor": -1}'])
def test_a_useless_scaling_file_is_refused(tmp_path, content):
    folder = saved(tmp_path, "standard", normalize_activations="expected_average_only_in")
    (folder / "activation_scaler.json").write_text(content)
    refuse("unfolded normalisation", str(folder))


def test_an_sae_of_attention_heads_takes_them_side_by_side(tmp_path):
    metadata = {"model_name": "toy", "hook_name": "blocks.3.attn.hook_z"}
    folder = saved(tmp_path, "standard", metadata=metadata, reshape_activations="hook_z")
    sae, x = load_sae(str(folder)), tokens(0)
    with torch.no_grad():
        theirs = SAE.load_from_disk(folder).encode(x.unflatten(-1, (2, D_IN // 2)))
    assert sae.info.hook == sae.info.hook_out == "blocks.3.attn.hook_z" and torch.equal(sae.encode(x), theirs)


def test_a_decoder_that_is_not_affine_is_refused(tmp_path, monkeypatch):
    folder = saved(tmp_path, "standard")
    cls = type(tiny("standard"))
    monkeypatch.setattr(cls, "decode", lambda self, f: torch.tanh(f @ self.W_dec))
    refuse("exact ablation is not possible", str(folder))


def test_a_decoder_that_rescales_silently_is_refused(tmp_path, monkeypatch):
    folder = saved(tmp_path, "standard")
    monkeypatch.setattr(type(tiny("standard")), "decode", lambda self, f: 1.01 * f @ self.W_dec + self.b_dec)
    refuse("exact ablation is not possible", str(folder))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinite_weights_are_refused(tmp_path, value):
    folder = saved(tmp_path, "jumprelu")
    tensors = load_file(folder / "sae_weights.safetensors")
    tensors["W_enc"][0, 0] = value
    save_file(tensors, folder / "sae_weights.safetensors")
    refuse("W_enc contains NaN or infinite", str(folder))


def test_an_infinite_threshold_is_a_latent_that_never_fires(tmp_path):
    folder = saved(tmp_path, "jumprelu")
    tensors = load_file(folder / "sae_weights.safetensors")
    tensors["threshold"][3] = float("inf")
    save_file(tensors, folder / "sae_weights.safetensors")
    codes = load_sae(str(folder)).encode(tokens(0, 200))
    assert not codes[:, 3].any() and codes.any()


@pytest.mark.parametrize("keep", [0, 4, 200, -10])
def test_truncated_weights_are_refused(tmp_path, keep):
    weights = saved(tmp_path, "standard") / "sae_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    refuse("damaged or cut short", str(tmp_path))


def test_weights_that_are_not_safetensors_are_refused(tmp_path):
    (saved(tmp_path, "standard") / "sae_weights.safetensors").write_bytes(b"\x80\x04not weights" * 50)
    refuse("damaged or cut short", str(tmp_path))


def test_weights_of_another_sae_are_refused(tmp_path):
    saved(tmp_path / "a", "standard")
    saved(tmp_path / "b", "gated")
    (tmp_path / "a" / "sae_weights.safetensors").replace(tmp_path / "b" / "sae_weights.safetensors")
    refuse("does not match its settings", str(tmp_path / "b"))


def test_a_wrong_width_in_the_settings_is_refused(tmp_path):
    edit(saved(tmp_path, "standard"), d_sae=N + 1)
    refuse("does not match its settings", str(tmp_path))


def edit(folder: Path, remove: tuple[str, ...] = (), **values) -> None:
    cfg = json.loads((folder / "cfg.json").read_text()) | values
    (folder / "cfg.json").write_text(json.dumps({k: v for k, v in cfg.items() if k not in remove}))


@pytest.mark.parametrize("key", ["architecture", "d_in", "d_sae"])
def test_a_missing_key_is_named(tmp_path, key):
    edit(saved(tmp_path, "standard"), remove=(key,))
    refuse(f"lacks {key}", str(tmp_path))


@pytest.mark.parametrize("key", ["dtype", "metadata"])
def test_other_missing_keys_give_one_line_or_a_default(tmp_path, key):
    edit(saved(tmp_path, "standard"), remove=(key,))
    try:
        assert load_sae(str(tmp_path)).info.n_latents == N
    except UnsupportedSAE as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("value", ["16", 0, -1, 1.5, True])
def test_a_size_that_is_not_a_size_is_refused(tmp_path, value):
    edit(saved(tmp_path, "standard"), d_in=value)
    refuse("positive whole number", str(tmp_path))


def test_unknown_architecture_and_normalisation_are_refused(tmp_path):
    edit(saved(tmp_path / "a", "standard"), architecture="jumpreluu")
    refuse("unknown SAE architecture 'jumpreluu'; nearest: jumprelu", str(tmp_path / "a"))
    edit(saved(tmp_path / "b", "standard"), normalize_activations="layernorm")
    refuse("nearest: layer_norm", str(tmp_path / "b"))


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b'"x"', b"\xff\xfe\x00", b'{"metadata": 3}'])
def test_settings_that_are_not_settings_are_refused(tmp_path, content):
    (saved(tmp_path, "standard") / "cfg.json").write_bytes(content)
    refuse("cfg.json", str(tmp_path))


def test_missing_folders_and_files_are_named(tmp_path):
    refuse("no folder", str(tmp_path / "nowhere"))
    refuse("no folder", "./nowhere")
    (tmp_path / "empty").mkdir()
    refuse("no cfg.json", str(tmp_path / "empty"))
    (saved(tmp_path / "half", "standard") / "sae_weights.safetensors").unlink()
    refuse("no sae_weights.safetensors", str(tmp_path / "half"))
    refuse("is a file", str(tmp_path / "half" / "cfg.json"))
    refuse("dtype 'int8'", str(tmp_path / "half"), dtype="int8")


def test_an_sae_saved_before_saelens_6_loads(tmp_path):
    folder = saved(tmp_path, "standard")
    cfg = {"d_in": D_IN, "d_sae": N, "dtype": "torch.float32", "hook_point": HOOK, "model_name": "old-toy"}
    cfg |= {"activation_fn_str": "relu", "normalize_activations": False, "apply_b_dec_to_input": True}
    (folder / "cfg.json").write_text(json.dumps(cfg))
    sae = load_sae(str(folder))
    assert (sae.info.hook, sae.info.model, sae.info.architecture) == (HOOK, "old-toy", "StandardSAE")
    edit(folder, activation_fn_str="topk", activation_fn_kwargs={"k": 4})
    assert load_sae(str(folder)).info.architecture == "TopKSAE"
    edit(folder, normalize_activations=True)
    refuse("unfolded", str(folder))


# Does it fit the model?


def test_check_fits(tmp_path):
    info = inspect_sae(str(saved(tmp_path / "a", "standard")))
    check_fits(info, D_IN, D_IN)
    with pytest.raises(UnsupportedSAE, match="reads 16 values but the model has 17"):
        check_fits(info, D_IN + 1, D_IN)
    with pytest.raises(UnsupportedSAE, match="writes 16 values but the model has 8"):
        check_fits(info, D_IN, 8)


def test_a_transcoder_reads_and_writes_two_hooks(tmp_path):
    metadata = {"model_name": "toy", "hook_name": "blocks.3.hook_mlp_in", "hook_name_out": "blocks.3.hook_mlp_out"}
    info = inspect_sae(str(saved(tmp_path, "transcoder", metadata=metadata, d_out=8)))
    assert (info.d_in, info.d_out) == (D_IN, 8)
    assert (info.hook, info.hook_out) == ("blocks.3.hook_mlp_in", "blocks.3.hook_mlp_out")
    assert load_sae(str(tmp_path)).decoder.shape == (N, 8)
    check_fits(info, D_IN, 8)


def test_the_module_that_an_sae_names_itself_decides_over_its_hook_name(tmp_path):
    metadata = {
        "hook_name": "blocks.3.hook_mlp_in",
        "hook_name_out": "blocks.3.hook_mlp_out",
        "hf_hook_name": "model.layers.3.pre_feedforward_layernorm.output",
        "hf_hook_name_out": "model.layers.3.post_feedforward_layernorm.output",
    }
    info = inspect_sae(str(saved(tmp_path / "a", "jumprelu_transcoder", metadata=metadata)))
    assert (info.hook, info.hook_out) == ("blocks.3.mlp.hook_in", "blocks.3.hook_mlp_out")
    metadata = {"hook_name": "transformer.h.1"}
    assert inspect_sae(str(saved(tmp_path / "b", "standard", metadata=metadata))).hook == "blocks.1.hook_resid_post"


def test_a_transcoder_of_an_old_layout_is_not_read_as_an_sae(tmp_path):
    folder = saved(tmp_path, "standard")
    edit(folder, is_transcoder=True, out_hook_point="blocks.3.hook_mlp_out", hook_point="blocks.3.ln2.hook_normalized")
    refuse("transcoder in a layout of before SAELens 6 .*save it as one of SAELens's transcoders", str(folder))
    edit(folder, is_transcoder=None)
    refuse("writes blocks.3.hook_mlp_out", str(folder))


def test_what_writes_several_layers_is_refused_with_what_to_use(tmp_path):
    folder = saved(tmp_path, "standard")
    edit(folder, architecture="crosscoder")
    refuse("writes several layers at once.*one layer's slice", str(folder))
    edit(folder, architecture="standard", metadata={"hook_name": ["blocks.0.hook_mlp_out", "blocks.1.hook_mlp_out"]})
    refuse("writes several layers at once", str(folder))


# Names: bundled, registry, Hub.


def test_bundled_saes_are_found_by_name(tmp_path):
    saved(tmp_path / "toy-l3-topk", "topk")
    (tmp_path / "not-an-sae").mkdir()
    assert [info.id for info in list_bundled([tmp_path])] == ["toy-l3-topk"]
    assert load_sae("toy-l3-topk", search=[tmp_path]).info.location == str(tmp_path / "toy-l3-topk")
    with pytest.raises(UnsupportedSAE, match="unknown SAE 'toy-l3-topkk'; nearest: toy-l3-topk"):
        inspect_sae("toy-l3-topkk", [tmp_path])
    refuse("unknown SAE 'toy-l3-topkk'; nearest: toy-l3-topk", "toy-l3-topkk", search=[tmp_path])
    assert list_bundled([tmp_path / "nowhere"]) == []


def test_the_registry_is_listed_offline():
    rows = list_registry()
    assert len(rows) > 10_000
    jb = {row.sae_id: row for row in list_registry("gpt2") if row.release == "gpt2-small-res-jb"}
    row = jb["blocks.8.hook_resid_pre"]
    assert (row.hook, row.neuronpedia_id, row.spec) == (
        "blocks.8.hook_resid_pre",
        "gpt2-small/8-res-jb",
        "gpt2-small-res-jb/blocks.8.hook_resid_pre",
    )
    assert {row.model for row in list_registry("google/gemma-2-2b")} == {"gemma-2-2b"}
    assert list_registry("no-such-model") == []
    assert all(row.expected_l0 is None or row.expected_l0 > 1 for row in rows)
    assert any(row.expected_l0 is None for row in rows)
    assert set(releases.registry_models()) == {row.model for row in rows}


@pytest.mark.parametrize(
    ("spec", "hook", "n_latents"),
    [
        ("gemma-scope-2b-pt-res-canonical/layer_12/width_16k/canonical", "blocks.12.hook_resid_post", 16384),
        ("gemma-scope-2b-pt-mlp/layer_15/width_65k/average_l0_72", "blocks.15.hook_mlp_out", 65536),
        ("gemma-scope-2-4b-pt-res-all/layer_6_width_262k_l0_small", "blocks.6.hook_resid_post", 262144),
        ("gpt2-small-resid-post-v5-32k/blocks.3.hook_resid_post", "blocks.3.hook_resid_post", 32768),
        ("gpt2-small-res-jb-feature-splitting/blocks.8.hook_resid_pre_6144", "blocks.8.hook_resid_pre", 6144),
        ("llama_scope_lxr_8x/l15r_8x", "blocks.15.hook_resid_post", 32768),
        ("qwen-scope-3.5-27b-w80k-l50/layer44", "blocks.44.hook_resid_post", 81920),
        (
            "sae_bench_gemma-2-2b_topk_width-2pow14_date-1109/blocks.12.hook_resid_post__trainer_0",
            "blocks.12.hook_resid_post",
            16384,
        ),
        ("mwhanna-qwen3-4b-transcoders/layer_3", "blocks.3.mlp.hook_in", None),
        ("gemma-scope-2b-pt-transcoders/layer_0/width_16k/average_l0_76", "blocks.0.ln2.hook_normalized", 16384),
        ("gemma-scope-2-4b-pt-transcoders-all/layer_0_width_16k_l0_big", "blocks.0.mlp.hook_in", 16384),
        ("gpt2-small-hook-z-kk/blocks.0.hook_z", "blocks.0.attn.hook_z", None),
    ],
)
def test_hook_and_width_are_read_from_the_names(spec, hook, n_latents):
    release, _, sae_id = spec.partition("/")
    row = releases.registry()[release, sae_id]
    assert (row.hook, row.n_latents) == (hook, n_latents)


@pytest.mark.parametrize(
    ("spec", "architecture", "widths"),
    [
        ("gemma-scope-2b-pt-att/layer_0/width_16k/average_l0_104", "JumpReLUSAE", (2048, 2048)),
        ("gemma-scope-2-270m-pt-transcoders-all/layer_0_width_16k_l0_big", "JumpReLUTranscoder", (640, 640)),
        ("gemma-scope-2-270m-pt-transcoders-all/layer_0_width_16k_l0_big_affine", "JumpReLUSkipTranscoder", (640, 640)),
        (
            "saebench_gemma-2-2b_width-2pow14_date-0107/blocks.12.hook_resid_post__trainer_0",
            "JumpReLUSAE",
            (2304, 2304),
        ),
        (
            "sae_bench_gemma-2-2b_topk_width-2pow14_date-1109/blocks.12.hook_resid_post__trainer_0",
            "TopKSAE",
            (2304, 2304),
        ),
        ("qwen-scope-3.5-27b-w80k-l50/layer44", "TopKSAE", (5120, 5120)),
        ("gpt2-small-resid-post-v5-32k/blocks.3.hook_resid_post", None, (768, 768)),
        ("llama-3.1-8b-instruct-andyrdt/resid_post_layer_3_trainer_1", None, (4096, 4096)),
        ("mwhanna-qwen3-4b-transcoders/layer_3", "Transcoder", None),
    ],
)
def test_architecture_and_sizes_are_what_names_state_and_else_blank(spec, architecture, widths):
    release, _, sae_id = spec.partition("/")
    row = releases.registry()[release, sae_id]
    assert (row.architecture, row.widths) == (architecture, widths)


@pytest.mark.parametrize(
    ("hook", "line"),
    [
        ("hook_embed", "the token embedding has no place in a block"),
        ("blocks.{layer}.hook_resid_post", "a template whose layer was never filled in"),
        ("blocks.7.hook_resid_post", "this model has blocks 0 to 1"),
    ],
)
def test_a_hook_that_cannot_be_is_refused_before_a_model_is_loaded(tmp_path, hook, line):
    info = inspect_sae(str(saved(tmp_path / "a", "standard", metadata={"hook_name": hook})))
    with pytest.raises(UnsupportedSAE, match=line):
        check_settings(info, {"num_hidden_layers": 2})


def test_nearly_every_sae_of_the_registry_can_be_scored():
    rows = list_registry()
    reasons = [row.not_scorable for row in rows if row.not_scorable]
    assert len(reasons) < 0.01 * len(rows)
    assert set(reasons) == {
        "its decoder rows are sums over the layers that a cross-layer transcoder writes",
        "the token embedding has no place in a block; use an SAE of blocks.N",
    }
    written = {row.hook_out.split(".", 2)[2] for row in rows if not row.not_scorable}
    assert {"hook_mlp_out", "attn.hook_z", "hook_attn_out", "hook_resid_mid"} < written
    with pytest.raises(UnsupportedSAE, match="one layer of a cross-layer transcoder"):
        load_sae("mntss-gemma-2-2b-2.5m-clt-as-per-layer/layer_0")


def test_what_only_the_release_says_holds_for_the_same_files_on_the_hub_and_in_its_cache(hub, tmp_path, monkeypatch):
    row = releases.RegistryRow("r", "i", "gpt2-small", "org/repo", HOOK, N, None, None, HOOK, path="sub", centred=True)
    monkeypatch.setattr("saeeval_core.saes.loaded.registry", lambda: {("r", "i"): row})
    x = tokens(0)
    plain, centred = load_sae("hub:org/repo"), load_sae("hub:org/repo/sub")
    assert not plain.info.centred and centred.info.centred
    torch.testing.assert_close(centred.encode(x), centred.encode(x + 5), rtol=1e-3, atol=1e-3)
    cached = saved(tmp_path / "models--org--repo" / "snapshots" / "abc" / "sub", "topk")
    assert load_sae(str(cached)).info.centred
    assert not load_sae(str(saved(tmp_path / "elsewhere", "topk"))).info.centred


def test_res_jb_is_centred_by_its_release():
    rows = [row for row in releases.registry().values() if row.centred]
    assert "gpt2-small-res-jb" in {row.release for row in rows} and all(row.model == "gpt2-small" for row in rows)
    row = releases.registry()["gpt2-small-res-jb", "blocks.8.hook_resid_pre"]
    assert (row.repo, row.path) == ("jbloom/GPT2-Small-SAEs-Reformatted", "blocks.8.hook_resid_pre")


def test_what_its_settings_leave_out_is_said(tmp_path):
    folder = saved(tmp_path / "a", "standard", metadata={"hook_name": HOOK, "prepend_bos": False})
    assert ["without a beginning-of-sequence token" in note for note in inspect_sae(str(folder)).notes] == [True]
    cfg = {"d_in": D_IN, "d_sae": N, "dtype": "torch.float32", "hook_point": HOOK, "model_name": "gpt2-small"}
    (folder / "cfg.json").write_text(json.dumps(cfg | {"activation_fn_str": "relu"}))
    assert ["center_writing_weights" in note for note in inspect_sae(str(folder)).notes] == [True]
    (folder / "cfg.json").write_text(json.dumps(cfg | {"activation_fn_str": "relu", "model_name": "gemma-2b"}))
    assert inspect_sae(str(folder)).notes == (), "its norms have no mean to lose"


def test_unknown_names_get_the_nearest():
    refuse("nearest: gpt2-small-res-jb", "gpt2-small-res-jbb")
    refuse("nearest: gpt2-small-res-jb", "gpt2-small-res-jbb/blocks.8.hook_resid_pre")
    refuse("nearest: .*blocks.8.hook_resid_pre.*holds 13", "gpt2-small-res-jb:blocks.8.hook_resid_prx")
    refuse("holds 13", "gpt2-small-res-jb")
    refuse("unknown SAE", "")
    refuse("not a Hub repository", "hub:alone")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub with one SAE; ``hub.error`` makes every download fail with it."""

    class Hub:
        error: Exception | None = None

    saved(tmp_path / "hub" / "org" / "repo" / "sub", "topk")
    saved(tmp_path / "hub" / "org" / "repo", "standard")

    def download(repo_id, filename, **_):
        if Hub.error is not None:
            raise Hub.error
        path = tmp_path / "hub" / repo_id / filename
        if not path.exists():
            raise RemoteEntryNotFoundError("no file", response=answer(404))
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("sae_lens.loading.pretrained_sae_loaders.hf_hub_download", download)
    monkeypatch.setattr("saeeval_core.storage.hub._resolves", lambda endpoint: True)
    return Hub


def answer(status: int) -> httpx2.Response:
    return httpx2.Response(status, request=httpx2.Request("GET", "https://huggingface.co/org/repo"))


def test_hub_repositories_load_like_folders(hub, tmp_path):
    sae = load_sae("hub:org/repo/sub")
    assert (sae.info.id, sae.info.architecture) == ("hub:org/repo/sub", "TopKSAE")
    assert sae.fingerprint == load_sae(str(tmp_path / "hub/org/repo/sub")).fingerprint
    assert load_sae("org/repo").info.architecture == "StandardSAE"
    refuse("no SAE at that path", "org/repo/other")


def test_registry_releases_load_through_saelens(hub, tmp_path):
    metadata = {"model_name": "gpt2-small", "hook_name": "blocks.8.hook_resid_pre"}
    saved(tmp_path / "hub/jbloom/GPT2-Small-SAEs-Reformatted/blocks.8.hook_resid_pre", "standard", metadata=metadata)
    sparsity = {"sparsity": torch.zeros(N)}
    save_file(
        sparsity, tmp_path / "hub/jbloom/GPT2-Small-SAEs-Reformatted/blocks.8.hook_resid_pre/sparsity.safetensors"
    )
    sae = load_sae("gpt2-small-res-jb:blocks.8.hook_resid_pre")
    assert sae.info.neuronpedia_id == "gpt2-small/8-res-jb"
    assert sae.info.location == "jbloom/GPT2-Small-SAEs-Reformatted"
    again = load_sae("gpt2-small-res-jb/blocks.8.hook_resid_pre")
    assert again.fingerprint == sae.fingerprint


def test_a_release_for_a_centred_model_says_so(hub, tmp_path):
    place = tmp_path / "hub/jbloom/GPT2-Small-SAEs-Reformatted/blocks.8.hook_resid_pre"
    edit(saved(place, "standard"), remove=("metadata",), hook_point="blocks.8.hook_resid_pre", model_name="gpt2-small")
    save_file({"sparsity": torch.zeros(N)}, place / "sparsity.safetensors")
    sae = load_sae("gpt2-small-res-jb/blocks.8.hook_resid_pre")
    assert sae.info.centred and sae.info.hook == "blocks.8.hook_resid_pre"


def test_an_unfolded_release_without_a_factor_is_refused(hub, tmp_path):
    place = tmp_path / "hub/jbloom/GPT2-Small-SAEs-Reformatted/blocks.8.hook_resid_pre"
    saved(place, "standard", normalize_activations="expected_average_only_in")
    refuse("unfolded normalisation.*release gives no factor", "gpt2-small-res-jb/blocks.8.hook_resid_pre")


@pytest.mark.parametrize("spec", ["hub:org/repo", "gpt2-small-res-jb/blocks.8.hook_resid_pre"])
@pytest.mark.parametrize(
    ("error", "pattern"),
    [
        (LocalEntryNotFoundError("no connection"), "Hub cannot be reached.*path of its folder"),
        (GatedRepoError("gated", response=answer(403)), "HF_TOKEN"),
        (RepositoryNotFoundError("401", response=answer(401)), "HF_TOKEN"),
        (HfHubHTTPError("forbidden", response=answer(403)), "HF_TOKEN"),
        (RepositoryNotFoundError("404", response=answer(404)), "no repository"),
        (HfHubHTTPError("busy", response=answer(503)), "answered 503"),
        (httpx2.ConnectError("refused\nsecond line"), "cannot be fetched"),
        (OSError(28, "No space left on device"), "No space left"),
    ],
)
def test_failures_of_the_hub_are_one_line(hub, spec, error, pattern):
    hub.error = error
    refuse(pattern, spec)


def test_without_a_network_the_line_comes_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr("saeeval_core.storage.hub._resolves", lambda endpoint: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    refuse("Hub cannot be reached", "hub:org/certainly-not-cached")
    refuse("Hub cannot be reached", "gpt2-small-res-jb/blocks.8.hook_resid_pre")


def test_describing_saes_needs_neither_torch_nor_saelens(tmp_path):
    saved(tmp_path / "toy", "topk")
    code = (
        "import sys; from pathlib import Path; from saeeval_core.saes.local import inspect_sae;"
        "from saeeval_core.saes.registry import list_bundled; from saeeval_core.saes.releases import list_registry;"
        f"inspect_sae('toy', [Path({str(tmp_path)!r})]); list_bundled(); list_registry('gpt2');"
        "print([m for m in ('torch', 'sae_lens', 'transformers', 'transformer_lens') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_importing_the_loader_does_not_import_saelens():
    code = "import sys, saeeval_core.saes.loaded; print([m for m in ('sae_lens', 'transformers') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# Signed dictionaries.


def test_residual_basis_is_the_identity():
    sae = residual_basis(D_IN, hook=HOOK)
    x = tokens(0)
    assert torch.equal(sae.encode(x), x)
    assert torch.equal(sae.reconstruct(x, sae.encode(x)), x)
    assert sae.token_scale(x) is None and not sae.non_negative and not sae.zero_code().any()
    check_fits(sae.info, D_IN, D_IN)


def test_pca_basis_orders_components_and_ablates_to_the_mean():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, D_IN)) * np.linspace(5, 0.1, D_IN) + 2
    sae = pca_basis(rows)
    x = torch.tensor(rows[:5], dtype=torch.float32)
    codes = sae.encode(x)
    torch.testing.assert_close(sae.reconstruct(x, codes), x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sae.decoder @ sae.decoder.T, torch.eye(D_IN), rtol=1e-4, atol=1e-4)
    spread = sae.encode(torch.tensor(rows, dtype=torch.float32)).std(0)
    assert (spread.diff() <= 1e-4).all()
    gone = x - codes[:, :1] * sae.decoder[0]
    torch.testing.assert_close(sae.encode(gone)[:, 0], torch.zeros(5), rtol=0, atol=1e-4)
