"""The exported hook: on its own it does to a model what the ablated pass does."""

import importlib.util

import numpy as np
import pytest
import torch
from toys import HOOK, save_tiny_sae

from saeeval_core.errors import UnsupportedSAE
from saeeval_core.holding import ablated_pass
from saeeval_core.holding.export import HOOK_FILE, VECTORS_FILE, export_hook
from saeeval_core.recordings.recorder import place_of
from saeeval_core.saes.loaded import load_sae

IDS = (3, 7, 11, 19)
LATER = "blocks.1.hook_resid_post"
TEXTS = ("river stone water friend the old", "the town by market")
KINDS = {
    "topk": {},
    "standard": {},
    "jumprelu": {},
    "gated": {},
    "topk scaled": {"rescale_acts_by_decoder_norm": True},
    "standard unshifted": {"apply_b_dec_to_input": False},
    "transcoder": {"hook": "blocks.0.mlp.hook_in", "metadata": {"hook_name_out": "blocks.0.hook_mlp_out"}},
    "standard heads": {"hook": "blocks.0.attn.hook_z"},
}


def edit_of(model, folder, set_to: float = 0.3) -> ablated_pass.SetEdit:
    return ablated_pass.SetEdit(place_of(model, load_sae(str(folder))), IDS, np.full(len(IDS), set_to))


def imported(path):
    spec = importlib.util.spec_from_file_location("exported_hook", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def batch(model):
    rows = [row.astype(np.int64) for row in model.tokenize(list(TEXTS)).ids]
    ids, mask = (torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long) for _ in range(2))
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = torch.from_numpy(row), 1
    return ids, mask


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_alone_gives_the_ablated_forward_of_transformers_and_of_transformer_lens(tiny_model, tmp_path, kind):
    folder = save_tiny_sae(tmp_path / "sae", kind.split()[0], **KINDS[kind])
    edit = edit_of(tiny_model, folder)
    export_hook(tiny_model, edit, tmp_path / "out", {"sae": kind})
    module = imported(tmp_path / "out" / HOOK_FILE)
    vectors = module.load(tmp_path / "out" / VECTORS_FILE)
    assert vectors.about["sae"] == kind and vectors.about["latents"] == list(IDS)
    ids, mask = batch(tiny_model)
    change = edit.change(tiny_model, ids, mask)
    expected = tiny_model.activations(ids, mask, [LATER], change=change)[LATER][mask.bool()]
    clean = tiny_model.activations(ids, mask, [LATER])[LATER][mask.bool()]
    assert (expected - clean).abs().max() > 1e-3
    with module.steered(tiny_model.hf, vectors):
        found = tiny_model.activations(ids, mask, [LATER])[LATER][mask.bool()]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(tiny_model.activations(ids, mask, [LATER])[LATER][mask.bool()], clean)
    kept = {}
    hooks = [*module.transformer_lens_hooks(vectors), (LATER, lambda x, hook: kept.update(x=x))]
    with torch.inference_mode():
        tiny_model.bridge.run_with_hooks(ids, attention_mask=mask, fwd_hooks=hooks)
    torch.testing.assert_close(kept["x"][mask.bool()], expected, atol=1e-3, rtol=1e-3)


def test_of_an_sae_whose_latents_do_not_compete_only_the_sets_columns_are_written(tiny_model, tmp_path):
    for kind, columns in (("standard", len(IDS)), ("topk", 32)):
        export_hook(tiny_model, edit_of(tiny_model, save_tiny_sae(tmp_path / kind, kind)), tmp_path / "out", {})
        vectors = imported(tmp_path / "out" / HOOK_FILE).load(tmp_path / "out" / VECTORS_FILE)
        assert vectors.encoder.shape == (16, columns) and vectors.rows.shape == (len(IDS), 16)


@pytest.mark.parametrize("kind", ["abstopk", "temporal", "matching_pursuit"])
def test_an_encoder_that_cannot_be_written_so_is_refused_and_nothing_is_written(tiny_model, tmp_path, kind):
    edit = edit_of(tiny_model, save_tiny_sae(tmp_path / "sae", kind))
    with pytest.raises(UnsupportedSAE, match="cannot be written as a hook"):
        export_hook(tiny_model, edit, tmp_path / "out", {})
    assert not (tmp_path / "out").exists()


def test_a_later_step_of_generation_is_steered_at_its_only_position(tiny_model, tmp_path):
    edit = edit_of(tiny_model, save_tiny_sae(tmp_path / "sae", "standard"))
    export_hook(tiny_model, edit, tmp_path / "out", {})
    module = imported(tmp_path / "out" / HOOK_FILE)
    vectors = module.load(tmp_path / "out" / VECTORS_FILE)
    ((_, change),) = module.transformer_lens_hooks(vectors)
    x = tiny_model.activations(*batch(tiny_model), [HOOK])[HOOK]
    assert torch.equal(change(x)[:, 0], x[:, 0]) and not torch.equal(change(x[:, :1])[:, 0], x[:, 0])
