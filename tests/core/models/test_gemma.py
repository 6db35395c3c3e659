"""Gemma 3 270M as it comes in its packages: scaled embeddings, post-norms, sliding windows, 262k tokens. Skips without it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sae_lens.saes.sae import SAEMetadata
from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig

from saeeval_core.config import RunConfig
from saeeval_core.evaluation.prepare import prepare
from saeeval_core.evaluation.result_json import to_json
from saeeval_core.evaluation.score import score
from saeeval_core.models.language_model import load_model
from saeeval_core.models.packages import GEMMA, installed
from saeeval_core.models.sites import exact_hooks
from saeeval_core.recordings.recorder import record

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not installed(GEMMA), reason="Gemma 3 270M is not installed: make gemma"),
]
HOOK = "blocks.9.hook_resid_post"
LABELS = {"target": "profession=nurse,surgeon", "spurious": "gender=female,male", "classes": "meal=tea,soup,bread"}


@pytest.fixture(scope="module")
def gemma():
    return load_model(GEMMA, device="cpu")


def test_it_declares_its_own_first_token_and_says_what_binds_its_user(gemma):
    assert gemma.tokenizer.convert_ids_to_tokens([gemma.bos_id]) == ["<bos>"]
    assert "Gemma Terms of Use" in gemma.note
    assert sum(p.numel() for p in gemma.hf.parameters()) == 268_098_176


@pytest.mark.parametrize(
    "hook", ["hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_mlp_out", "hook_attn_out"]
)
def test_what_is_added_at_a_hook_is_added_to_the_stream(gemma, hook):
    write = f"blocks.9.{hook}"
    found = exact_hooks(gemma, write)
    stream = {"hook_mlp_out": "hook_resid_post", "hook_attn_out": "hook_resid_mid"}.get(hook, hook)
    assert found.probes[0] == f"blocks.9.{stream}" and not found.refused
    assert all(error < 1e-4 for error in found.errors.values())


def test_pooled_residuals_are_those_of_the_plain_model_without_padding(gemma):
    texts = ["Maria Chen is a nurse in Boston.", "The kettle was slow, and I sent it back after a week of trying."]
    residuals, _ = record(gemma, HOOK, texts, "print", [])
    for row, text in enumerate(texts):
        ids = gemma.tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            hidden = gemma.hf(torch.tensor([[gemma.bos_id, *ids]]), output_hidden_states=True).hidden_states[10][0]
        np.testing.assert_allclose(residuals.residuals[row], hidden[1:].mean(0), rtol=1e-3, atol=1e-2)


def test_a_dictionary_of_it_is_scored_from_texts_to_both_scores(tmp_path, monkeypatch, tiny_texts_file):
    monkeypatch.setattr("saeeval_core.scores.probes.C_GRID", np.array([0.01, 1.0]))
    config = RunConfig(
        model=GEMMA,
        task="",
        texts=str(tiny_texts_file),
        saes=(str(random_sae(tmp_path)),),
        ns=(1, 5),
        resamples=50,
        **LABELS,
    )
    result = score(prepare(config))
    assert result.saes[0].shift is not None and result.saes[0].tpp is not None
    assert "Gemma Terms of Use" in json.dumps(to_json(result))


def random_sae(folder: Path) -> Path:
    settings = TopKSAEConfig(d_in=640, d_sae=256, k=16, metadata=SAEMetadata(model_name=GEMMA, hook_name=HOOK))
    sae = TopKSAE(settings)
    with torch.no_grad():
        directions = torch.randn(256, 640, generator=torch.Generator().manual_seed(0))
        sae.W_dec.copy_(torch.nn.functional.normalize(directions, dim=1))
        sae.W_enc.copy_(sae.W_dec.T)
    sae.save_model(folder / "sae")
    return folder / "sae"
