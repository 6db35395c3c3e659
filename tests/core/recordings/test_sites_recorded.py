"""The identity at every row of the table of sites, in every family, against a slow route: each text alone, latents set
to zero where the dictionary writes, and the model itself run on to the hook where probes read."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from families import SETTINGS, WIDTH, family_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys import FILLER, N_LATENTS, save_tiny_sae

from saeeval_core.config import assets_dir
from saeeval_core.errors import UnsupportedSAE
from saeeval_core.recordings.recorder import record_pass
from saeeval_core.recordings.recording import LatentHeader, RecordingKey, load_latents, recorded_latents, save_latents
from saeeval_core.saes.loaded import LoadedSAE, load_sae
from saeeval_core.scores import ablation
from saeeval_core.storage.artifacts import load_meta

ROWS = {
    "resid_pre": ("hook_resid_pre", "hook_resid_pre", "standard"),
    "resid_mid": ("hook_resid_mid", "hook_resid_mid", "topk"),
    "resid_post": ("hook_resid_post", "hook_resid_post", "jumprelu"),
    "mlp_out": ("hook_mlp_out", "hook_mlp_out", "gated"),
    "attn_out": ("hook_attn_out", "hook_attn_out", "standard"),
    "hook_z": ("attn.hook_z", "attn.hook_z", "standard"),
    "transcoder": ("mlp.hook_in", "hook_mlp_out", "transcoder"),
    "skip transcoder": ("mlp.hook_in", "hook_mlp_out", "skip_transcoder"),
    "jumprelu transcoder": ("ln2.hook_normalized", "hook_mlp_out", "jumprelu_transcoder"),
    "jumprelu skip transcoder": ("mlp.hook_in", "hook_mlp_out", "jumprelu_skip_transcoder"),
}
"""Name -> (hook read, hook written, architecture)."""


def dictionary(model, row: str, folder) -> LoadedSAE:
    """A random dictionary of that row in block 1, whose widths are those of the model."""
    read, write, architecture = ROWS[row]
    metadata = {"hook_name": f"blocks.1.{read}"}
    if read != write:
        metadata["hook_name_out"] = f"blocks.1.{write}"
    d_in, d_out = model.widths([f"blocks.1.{read}", f"blocks.1.{write}"])
    more = {"d_out": d_out} if "transcoder" in architecture else {}
    if row == "hook_z":
        more = {"reshape_activations": "hook_z"}
    return load_sae(str(save_tiny_sae(folder, architecture, d_in=d_in, metadata=metadata, **more)))


@torch.no_grad()
def slow_pooled(model, sae: LoadedSAE, text: str, chosen: list[int], probe: str) -> np.ndarray:
    """float64[width]: mean at ``probe`` over the tokens of one text, run with these latents removed where they write."""
    ids = torch.from_numpy(model.tokenize([text]).ids[0][None].astype(np.int64))
    mask = torch.ones_like(ids)
    x = model.activations(ids, mask, [sae.info.hook])[sae.info.hook]
    codes = sae.module.encode(x)
    without = codes.clone()
    without[..., chosen] = 0
    delta = sae.module.decode(without) - sae.module.decode(codes)
    delta[:, 0] = 0  # the first position is never pooled, and what is written there would reach the others
    change: tuple[str, Callable] = (sae.info.hook_out, lambda value: value + delta)
    return model.activations(ids, mask, [probe], change=change)[probe][0, 1:].double().mean(0).numpy()


def possible(row: str) -> list[str]:
    found = []
    for name in SETTINGS:
        layout = family_model(name).layout
        if not (row == "resid_mid" and layout.parallel or row == "jumprelu transcoder" and layout.ln2 is None):
            found.append(name)
    return found


@pytest.mark.parametrize(("row", "name"), [(row, name) for row in ROWS for name in possible(row)])
def test_ablation_in_closed_form_is_what_the_model_does(row, name, tmp_path_factory):
    model = family_model(name)
    sae = dictionary(model, row, tmp_path_factory.mktemp("sae") / "sae")

    @settings(max_examples=2, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(st.integers(1, 30), min_size=1, max_size=3),
        st.integers(0, 10_000),
        st.sets(st.integers(0, N_LATENTS - 1), min_size=1, max_size=12),
    )
    def check(lengths, seed, chosen):
        rng = np.random.default_rng(seed)
        texts, ids = [" ".join(rng.choice(FILLER, n)) for n in lengths], sorted(chosen)
        made = record_pass(model, [], texts, "print", [sae])
        (latents,) = made.latents
        probes = latents.exact.probes if latents.exact else (sae.info.hook,)
        assert set(probes) == set(made.residuals)
        for probe in probes:
            own = latents.at(probe)
            pooled = made.residuals[probe].residuals
            ablated = ablation.ablate_residuals(pooled, own.latents, ids, own.decoder)
            for i, text in enumerate(texts):
                expected = slow_pooled(model, sae, text, ids, probe)
                size = np.abs(pooled[i]).max() + np.abs(expected).max()
                np.testing.assert_allclose(ablated[i], expected, atol=5e-5 * size)

    check()


def test_latents_are_stored_once_and_found_with_where_they_are_exact(tmp_path, cache):
    model = family_model("llama")
    sae = dictionary(model, "hook_z", tmp_path / "sae")
    made = record_pass(model, [], ["river stone", "the old town"], "print", [sae])
    (latents,) = made.latents
    z = "blocks.1.attn.hook_z"
    assert latents.exact.probes == ("blocks.1.hook_resid_mid", "blocks.1.hook_attn_out", z)
    assert set(made.residuals) == set(latents.exact.probes), "where it writes, and at every exact probe hook"
    assert latents.residual_fingerprint == replace(made.residuals[z].key, hook=z).fingerprint
    for recording in made.residuals.values():
        assert latents.belongs_to(recording.key)
    again = load_latents(save_latents(latents, cache / "recordings", storage="float32"))
    assert again.exact == latents.exact and again.key == latents.key and again.fingerprint == latents.fingerprint
    np.testing.assert_array_equal(again.projected, latents.projected)
    assert latents.exact in [r.exact for r in recorded_latents()]
    assert again.at(z).probed == "" and again.at(z).decoder.shape == (N_LATENTS, WIDTH)
    at_mid = again.at("blocks.1.hook_resid_mid")
    np.testing.assert_array_equal(at_mid.decoder, latents.projected)
    assert (
        len(
            {again.scored_fingerprint, at_mid.scored_fingerprint, again.at("blocks.1.hook_attn_out").scored_fingerprint}
        )
        == 3
    )


def test_an_sae_of_the_residual_stream_is_recorded_as_before(tmp_path):
    model = family_model("llama")
    made = record_pass(model, [], ["river stone"], "print", [dictionary(model, "resid_post", tmp_path / "sae")])
    (latents,) = made.latents
    assert (latents.exact, latents.key, latents.projected, latents.probed) == (None, None, None, "")
    assert latents.fingerprint == latents.scored_fingerprint and "writes" not in latents.about
    assert list(made.residuals) == ["blocks.1.hook_resid_post"]


@torch.no_grad()
def test_explained_variance_of_a_transcoder_is_of_what_it_writes(tmp_path):
    model = family_model("gemma3")
    sae = dictionary(model, "skip transcoder", tmp_path / "sae")
    texts = ["river stone water", "the old town by the road"]
    (latents,) = record_pass(model, [], texts, "print", [sae]).latents
    rebuilt, own = [], []
    for text in texts:
        ids = torch.from_numpy(model.tokenize([text]).ids[0][None].astype(np.int64))
        found = model.activations(ids, torch.ones_like(ids), ["blocks.1.mlp.hook_in", "blocks.1.hook_mlp_out"])
        rebuilt.append(sae.module(found["blocks.1.mlp.hook_in"])[0, 1:])
        own.append(found["blocks.1.hook_mlp_out"][0, 1:])
    y, y_hat = torch.cat(own), torch.cat(rebuilt)
    expected = 1 - float((y - y_hat).pow(2).sum() / (y - y.mean(0)).pow(2).sum())
    assert latents.unsupervised["explained_variance"] == pytest.approx(expected, rel=1e-4)


def test_several_hooks_in_one_pass_are_those_of_each_alone(tmp_path):
    model = family_model("gpt_neox")
    saes = [
        dictionary(model, row, tmp_path / row.replace(" ", "")) for row in ("hook_z", "skip transcoder", "resid_pre")
    ]
    texts = ["river stone water", "the old town", "a"]
    together = record_pass(model, ["blocks.2.hook_resid_post"], texts, "print", saes)
    for sae, latents in zip(saes, together.latents, strict=True):
        alone = record_pass(model, [], texts, "print", [sae])
        assert (latents.latents != alone.latents[0].latents).nnz == 0 and latents.fingerprint == alone.latents[
            0
        ].fingerprint
        for hook, recording in alone.residuals.items():
            np.testing.assert_array_equal(recording.residuals, together.residuals[hook].residuals)
    assert together.residuals["blocks.2.hook_resid_post"].residuals.shape == (3, WIDTH)


class Stop(Exception):
    pass


def test_a_pass_with_several_hooks_resumes(tmp_path, monkeypatch):
    model = family_model("llama")
    saes = [dictionary(model, row, tmp_path / row) for row in ("hook_z", "transcoder")]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(FILLER, n)) for n in rng.integers(1, 120, 120)]
    whole = record_pass(model, [], texts, "print", saes)
    seen = []

    def stop(_: object) -> None:
        seen.append(1)
        if len(seen) == 2:
            raise Stop

    with pytest.raises(Stop):
        record_pass(model, [], texts, "print", saes, partial=tmp_path / "state", on_progress=stop)
    again = record_pass(model, [], texts, "print", saes, partial=tmp_path / "state", on_progress=seen.append)
    fresh: list[object] = []
    record_pass(model, [], texts, "print", saes, on_progress=fresh.append)
    assert 0 < len(seen) - 2 < len(fresh)
    for hook, recording in whole.residuals.items():
        np.testing.assert_array_equal(recording.residuals, again.residuals[hook].residuals)
    for one, other in zip(whole.latents, again.latents, strict=True):
        assert (one.latents != other.latents).nnz == 0 and one.unsupervised == other.unsupervised


def test_a_model_without_the_hook_says_so(tmp_path):
    model = family_model("phi")
    sae = dictionary(family_model("llama"), "resid_mid", tmp_path / "sae")
    with pytest.raises(UnsupportedSAE, match="made for tiny-llama: .*run in parallel; use blocks.1.hook_resid_post"):
        record_pass(model, [], ["river"], "print", [sae])


SHIPPED = {"316a872a50acb3c3", "36d16bef5debbbb2", "41b3032f06a11faf", "5a08898b111e6af4"}
"""Fingerprints of the shipped passes: recordings of earlier versions are found only while the formula is the same."""


def test_the_shipped_recordings_are_found_under_the_fingerprints_they_have():
    folder = assets_dir() / "recordings"
    keys = {
        p.stem.removeprefix("residuals-"): RecordingKey.of_sidecar(load_meta(p.with_suffix("")))
        for p in folder.glob("residuals-*.json")
    }
    assert set(keys) == SHIPPED == {key.fingerprint for key in keys.values()}
    assert {key.hook for key in keys.values()} == {"blocks.15.hook_resid_post"}
    for path in folder.glob("latents-*.json"):
        header = LatentHeader.of_sidecar(load_meta(path.with_suffix("")))
        assert keys[header.residual_fingerprint].of_sae(header.sae_fingerprint) == path.stem.removeprefix("latents-")
        assert header.key is None and header.exact is None, "read, written and probed at one hook"
