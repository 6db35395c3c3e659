"""Dictionaries in other people's files: recognised by content, their codes those of their own library."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_files import (
    HOOK,
    D,
    K,
    Made,
    N,
    learned,
    plain,
    plain_arrays,
    rand,
    save_arrays,
    scoped,
    sparsified,
    write_learned,
)
from safetensors.torch import save_file

from saeeval_core.errors import ConfigError, UnsupportedSAE
from saeeval_core.saes.asked import with_hooks
from saeeval_core.saes.formats import _LEARNED
from saeeval_core.saes.loaded import load_sae, verify_affine
from saeeval_core.saes.local import file_fingerprint, inspect_sae
from saeeval_core.saes.placed import placed, split

X = 2 * rand(9, D, seed=7)


def same_codes(spec: str, made: Made) -> None:
    sae = load_sae(spec)
    torch.testing.assert_close(sae.encode(X), made.encode(X), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sae.decoder, made.decoder)
    torch.testing.assert_close(sae.bias, made.bias)
    assert (sae.encode(X) != 0).any() and (sae.encode(X) == 0).any()
    assert verify_affine(sae) < 1e-5
    assert any(made.kind in note for note in sae.info.notes), sae.info.notes
    assert sae.fingerprint == file_fingerprint(inspect_sae(spec))


@pytest.mark.parametrize("dict_class", _LEARNED)
def test_every_class_of_dictionary_learning(tmp_path, dict_class):
    made = learned(tmp_path / "mine", dict_class)
    same_codes(str(made.path), made)
    info = inspect_sae(str(made.path))
    assert (info.hook, info.hook_out, info.model) == (HOOK, HOOK, "me/toy")
    assert (info.d_in, info.n_latents) == (D, N)


def test_a_checkpoint_of_dictionary_learning_finds_its_settings_one_folder_up(tmp_path):
    made = learned(tmp_path / "mine", "AutoEncoder")
    (made.path / "checkpoints").mkdir()
    at = shutil.move(made.path / "ae.pt", made.path / "checkpoints" / "ae_500.pt")
    same_codes(str(at), made)


def test_a_threshold_that_was_never_estimated_is_said(tmp_path):
    made = learned(tmp_path / "mine", "BatchTopKSAE")
    state = torch.load(made.path / "ae.pt", weights_only=True) | {"threshold": torch.tensor(-1.0)}
    torch.save(state, made.path / "ae.pt")
    assert any("not sparse" in note for note in load_sae(str(made.path)).info.notes)


@pytest.mark.parametrize(
    ("name", "layer", "hook"),
    [
        ("resid_post_layer_3", 3, HOOK),
        ("model.layers.3", 3, HOOK),
        ("mlp_out_layer_3", 3, "blocks.3.hook_mlp_out"),
        ("attention_out_layer_3", 3, "blocks.3.hook_attn_out"),
        ("resid_post_layer_3", 4, None),
        ("somewhere", 3, None),
        (None, 3, None),
    ],
)
def test_the_hook_of_dictionary_learning_is_read_never_guessed(tmp_path, name, layer, hook):
    made = learned(tmp_path / "mine", "AutoEncoder")
    config = json.loads((made.path / "config.json").read_text())
    config["trainer"] |= {"submodule_name": name, "layer": layer}
    (made.path / "config.json").write_text(json.dumps(config))
    assert inspect_sae(str(made.path)).hook == hook


@pytest.mark.parametrize(
    ("folder", "settings", "hooks"),
    [
        ("layers.3", {}, (HOOK, HOOK)),
        ("h.3", {"num_latents": N, "signed": True}, (HOOK, HOOK)),
        ("layers.3.mlp", {}, ("blocks.3.hook_mlp_out",) * 2),
        ("layers.3.self_attn", {}, ("blocks.3.hook_attn_out",) * 2),
        ("layers.3.mlp", {"transcode": True}, ("blocks.3.mlp.hook_in", "blocks.3.hook_mlp_out")),
        (
            "layers.3.mlp",
            {"transcode": True, "skip_connection": True},
            ("blocks.3.mlp.hook_in", "blocks.3.hook_mlp_out"),
        ),
        ("mine", {}, (None, None)),
    ],
)
def test_folders_of_sparsify(tmp_path, folder, settings, hooks):
    made = sparsified(tmp_path / folder, **settings)
    same_codes(str(made.path), made)
    sae = load_sae(str(made.path))
    assert (sae.info.hook, sae.info.hook_out) == hooks and sae.info.model == ("me/toy" if hooks[0] else None)
    assert sae.info.is_transcoder == bool(settings.get("transcode"))
    out = made.encode(X) @ made.decoder + made.bias
    if settings.get("skip_connection"):
        out = out + X @ rand(D, D, seed=2).T
    torch.testing.assert_close(sae.reconstruct(X, sae.encode(X)), out, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("affine", [None, False, True])
def test_gemma_scope_2(tmp_path, affine):
    made = scoped(tmp_path / "layer_3_width_16k_l0_small", affine=affine)
    same_codes(str(made.path), made)
    sae = load_sae(str(made.path))
    hooks = (HOOK, HOOK) if affine is None else ("blocks.3.mlp.hook_in", "blocks.3.hook_mlp_out")
    assert (sae.info.hook, sae.info.hook_out, sae.info.model) == (*hooks, "google/gemma-3-270m")
    assert sae.info.is_transcoder == (affine is not None)
    out = made.encode(X) @ made.decoder + made.bias
    out = out + X @ rand(D, D, seed=2) if affine else out
    torch.testing.assert_close(sae.reconstruct(X, sae.encode(X)), out, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("affine", [False, True])
def test_gemma_scope_2_writes_another_width_than_it_reads(tmp_path, affine):
    made = scoped(tmp_path / "a", affine=affine, d_out=24)
    same_codes(str(made.path), made)
    if affine:
        expected = made.encode(X) @ made.decoder + made.bias + X @ rand(D, 24, seed=2)
        sae = load_sae(str(made.path / "params.safetensors"))
        torch.testing.assert_close(sae.reconstruct(X, sae.encode(X)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("place", "hooks"),
    [
        ("resid_post/layer_3_width_16k_l0_small", (HOOK, HOOK)),
        ("attn_out_all/layer_3_width_16k_l0_big", ("blocks.3.attn.hook_z",) * 2),
        ("mlp_out/layer_3_width_1m_l0_big", ("blocks.3.hook_mlp_out",) * 2),
        ("transcoder_all/layer_3_width_16k_l0_big", ("blocks.3.mlp.hook_in", "blocks.3.hook_mlp_out")),
    ],
)
def test_gemma_scope_2_without_its_settings_belongs_where_its_folders_say(tmp_path, place, hooks):
    made = scoped(tmp_path / "models--google--gemma-scope-2-1b-it" / "snapshots" / "a1" / place)
    (made.path / "config.json").unlink()
    info = load_sae(str(made.path)).info
    assert (info.hook, info.hook_out, info.model) == (*hooks, "google/gemma-3-1b-it")
    alone = scoped(tmp_path / "alone")
    (alone.path / "config.json").unlink()
    assert inspect_sae(str(alone.path)).hook is None
    assert load_sae(placed(str(alone.path), HOOK)).info.hook == HOOK


def test_gemma_scope_2_of_several_layers_is_refused_with_the_reason(tmp_path):
    made = scoped(tmp_path / "crosscoder" / "a", type="crosscoder")
    with pytest.raises(UnsupportedSAE, match="several layers at once.*use an SAE or transcoder of one layer"):
        inspect_sae(str(made.path))
    layers = scoped(tmp_path / "clt" / "width_262k_l0_big").path
    (layers / "params.safetensors").rename(layers / "params_layer_0.safetensors")
    for spec in (layers, layers / "params_layer_0.safetensors"):
        with pytest.raises(UnsupportedSAE, match="several layers at once"):
            inspect_sae(str(spec))
    deep = scoped(tmp_path / "deep").path
    arrays = {k: torch.from_numpy(v) for k, v in plain_arrays().items()}
    lower = {k.lower(): v for k, v in arrays.items()} | {"threshold": rand(N).abs(), "w_dec": rand(N, 4, D)}
    save_file(lower, deep / "params.safetensors")
    with pytest.raises(UnsupportedSAE, match="several layers at once"):
        inspect_sae(str(deep))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"architecture": "top_k"}, "architecture is 'top_k'.*only jump_relu"),
        ({"affine_connection": True}, "affine_connection.*do not agree"),
        ({"affine_connection": "yes"}, "affine_connection = 'yes' in config.json; expected true or false"),
        ({"hf_hook_point_in": None}, "lacks hf_hook_point_in"),
        ({"type": ["sae"]}, "several layers"),
    ],
)
def test_odd_settings_of_gemma_scope_2_cost_a_line(tmp_path, settings, line):
    with pytest.raises(UnsupportedSAE, match=line):
        inspect_sae(str(scoped(tmp_path / "a", **settings).path))


def test_a_file_of_the_hubs_cache_belongs_where_its_folder_lies(tmp_path):
    place = "models--google--gemma-scope-2b-pt-res/snapshots/a1/layer_3/width_16k/average_l0_50"
    blob = plain(tmp_path / "blobs" / "0123.npz", "JumpReLU").path
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "params.npz").symlink_to(blob)
    info = inspect_sae(str(tmp_path / place))
    assert (info.hook, info.model) == (HOOK, "gemma-2-2b")


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
@pytest.mark.parametrize("act", ["ReLU", "JumpReLU", "TopK"])
@pytest.mark.parametrize("subtract", [None, False, True])
def test_the_plain_form(tmp_path, ending, act, subtract):
    made = plain(tmp_path / f"mine.{ending}", act, subtract=subtract)
    same_codes(placed(str(made.path), HOOK), made)
    assert inspect_sae(str(made.path)).hook is None


@pytest.mark.parametrize("act", ["ReLU", "JumpReLU", "TopK"])
@pytest.mark.parametrize("d_out", [None, 2 * D])
def test_the_plain_form_as_a_transcoder(tmp_path, act, d_out):
    made = plain(tmp_path / "mine.npz", act, subtract=None if d_out else True, d_out=d_out)
    spec = placed(str(made.path), "blocks.3.hook_mlp_out", "blocks.3.mlp.hook_in")
    same_codes(spec, made)
    info = load_sae(spec).info
    assert (info.hook, info.hook_out, info.is_transcoder) == ("blocks.3.mlp.hook_in", "blocks.3.hook_mlp_out", True)


def test_bfloat16_and_one_threshold_for_all(tmp_path):
    arrays = {k: torch.from_numpy(v).bfloat16() for k, v in plain_arrays().items()} | {"threshold": torch.tensor(0.5)}
    save_file(arrays, tmp_path / "mine.safetensors")
    sae = load_sae(str(tmp_path / "mine.safetensors"))
    pre = X @ arrays["W_enc"].float() + arrays["b_enc"].float()
    torch.testing.assert_close(sae.encode(X), pre.relu() * (pre > 0.5), rtol=1e-4, atol=1e-4)


def test_a_square_encoder_is_taken_as_d_in_x_latents_and_says_so(tmp_path):
    arrays = plain_arrays(n=D)
    sae = load_sae(str(save_arrays(tmp_path / "mine.npz", arrays)))
    torch.testing.assert_close(sae.encode(X), (X @ arrays["W_enc"] + arrays["b_enc"]).relu(), rtol=1e-4, atol=1e-4)
    assert any("square" in note for note in sae.info.notes)
    assert not any("square" in note for note in inspect_sae(str(plain(tmp_path / "b.npz").path)).notes)


@pytest.mark.parametrize(
    ("repo", "hooks"),
    [
        ("gemma-scope-2b-pt-res", (HOOK, HOOK)),
        ("gemma-scope-2b-pt-mlp", ("blocks.3.hook_mlp_out",) * 2),
        ("models--google--gemma-scope-2b-pt-att/snapshots/abc", ("blocks.3.attn.hook_z",) * 2),
        ("gemma-scope-2b-pt-transcoders", ("blocks.3.ln2.hook_normalized", "blocks.3.hook_mlp_out")),
        ("somewhere", (None, None)),
    ],
)
def test_gemma_scope(tmp_path, repo, hooks):
    folder = tmp_path / repo / "layer_3" / "width_16k" / "average_l0_7"
    made = plain(folder / "params.npz", "JumpReLU")
    same_codes(str(folder), Made(made.path, made.encode, made.decoder, made.bias, "Gemma Scope"))
    info = inspect_sae(str(folder))
    assert (info.hook, info.hook_out) == hooks and info.model == (None if hooks[0] is None else "gemma-2-2b")


def test_a_folder_with_one_file_is_that_file_and_saelens_stays_saelens(tmp_path, tiny_sae_dirs):
    made = plain(tmp_path / "mine" / "mine.npz")
    same_codes(str(made.path.parent), made)
    folder = next(iter(tiny_sae_dirs.values()))
    assert inspect_sae(str(folder)).foreign is None
    assert inspect_sae(str(folder / "sae_weights.safetensors")).n_latents == inspect_sae(str(folder)).n_latents


def test_hooks_stand_in_the_name(tmp_path):
    assert split("a/b.npz@blocks.3.hook_resid_post").write == HOOK
    found = split("rel/id@layers.3:blocks.4.hook_mlp_out")
    assert (found.name, found.read, found.write) == ("rel/id", HOOK, "blocks.4.hook_mlp_out")
    assert split("me@example.org/x").name == "me@example.org/x"
    (tmp_path / f"x@{HOOK}").mkdir()
    assert not split(str(tmp_path / f"x@{HOOK}")).write
    with pytest.raises(ConfigError, match="blocks.6.hook_resid_post"):
        placed("a", "somewhere")


def test_the_hooks_of_the_command_line_go_to_dictionaries_that_name_none(tmp_path, tiny_sae_dirs):
    mine, own = str(plain(tmp_path / "mine.npz").path), str(next(iter(tiny_sae_dirs.values())))
    assert with_hooks([mine, own], HOOK, "") == (f"{mine}@{HOOK}", own)
    assert with_hooks([mine], "", "") == (mine,)
    for hook, read, says in ((HOOK, "", "names no hook|name no hook"), ("", HOOK, "goes with --hook")):
        with pytest.raises(ConfigError, match=says):
            with_hooks([own], hook, read)


def test_given_hooks_are_part_of_the_identity(tmp_path):
    mine = str(plain(tmp_path / "mine.npz").path)
    one, other = load_sae(placed(mine, HOOK)), load_sae(placed(mine, "blocks.4.hook_resid_post"))
    assert one.fingerprint != other.fingerprint and one.info.id == f"{mine}@{HOOK}"
    assert any("was given" in note for note in one.info.notes)


def learned_two(folder: Path) -> Path:
    made = learned(folder, "AutoEncoder")
    np.savez(folder / "params.npz", **plain_arrays())
    return made.path


def changed(**changes: object) -> Callable[[Path], Path]:
    """A plain file with arrays added, replaced or, where None, left out."""

    def write(folder: Path) -> Path:
        arrays = plain_arrays() | changes
        return save_arrays(folder / "mine.npz", {k: v for k, v in arrays.items() if v is not None})

    return write


ODD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "two formats": (learned_two, "looks like dictionary_learning"),
    "two files": (lambda p: (plain(p / "a.npz"), plain(p / "b.npz"))[0].path.parent, "2 files"),
    "no b_dec": (changed(b_dec=None), "lacks b_dec"),
    "transposed": (changed(W_enc=plain_arrays()["W_enc"].T), "transpose"),
    "another width": (changed(W_dec=np.zeros((N, D + 1))), "expected"),
    "threshold and k": (changed(threshold=np.zeros(N), k=np.array(3)), "keep one"),
    "an unknown array": (changed(W_skip=np.zeros((D, D))), "W_skip"),
    "k of 0": (changed(k=np.array(0)), "k is 0"),
    "k of 2.5": (changed(k=np.array(2.5)), "k is 2.5"),
    "k above": (changed(k=np.array(N + 1)), "from 1 to"),
    "NaN": (changed(W_dec=np.full((N, D), np.nan, np.float32)), "NaN"),
    "a class of another library": (lambda p: write_learned(p, "CrossCoder", {}), "dict_class"),
    "no config": (lambda p: (p.mkdir(), torch.save({}, p / "ae.pt"), p)[-1], "no config.json"),
    "group max": (lambda p: sparsified(p / "layers.3", activation="groupmax").path, "activation"),
    "another width in the settings": (
        lambda p: write_learned(
            p, "AutoEncoder", torch.load(learned(p, "AutoEncoder").path / "ae.pt"), dict_size=N + 1
        ),
        "settings say",
    ),
    "another class in the settings": (
        lambda p: write_learned(p, "GatedAutoEncoder", torch.load(learned(p, "AutoEncoder").path / "ae.pt")),
        "lack",
    ),
    "k above the latents": (lambda p: sparsified(p / "layers.3", k=N + K).path, "from 1 to"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_cannot_be_is_one_line_with_the_way_out(tmp_path, name):
    write, says = ODD[name]
    with pytest.raises(UnsupportedSAE, match=says) as error:
        load_sae(str(write(tmp_path / "x")))
    assert "\n" not in str(error.value)
