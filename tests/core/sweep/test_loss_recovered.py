"""Loss recovered: 1 for an SAE that loses nothing, 0 for one that rebuilds zeros, None where nothing is rebuilt."""

from dataclasses import replace

import pytest
import torch
from baselines import residual_basis
from toys import HOOK, save_tiny_sae

from saeeval_core.config import RunConfig
from saeeval_core.saes.loaded import load_sae
from saeeval_core.sweep import loss_recovered as module
from saeeval_core.sweep.loss_recovered import loss_recovered, stored_loss_recovered


def test_the_residual_basis_recovers_everything_and_silence_nothing(tiny_model, tiny_texts, tmp_path):
    whole = residual_basis(16, hook=HOOK)
    silent = replace(whole, encoder=lambda x: torch.zeros_like(x))
    temporal = load_sae(str(save_tiny_sae(tmp_path / "t", "temporal")))
    found = loss_recovered(tiny_model, [whole, temporal, silent], list(tiny_texts.texts[:12]))
    assert found[0] == pytest.approx(1, abs=1e-4) and found[1] is None and found[2] == pytest.approx(0, abs=1e-4)


def test_a_transcoder_replaces_what_it_writes(tiny_model, tiny_texts, tmp_path):
    metadata = {"hook_name": "blocks.1.mlp.hook_in", "hook_name_out": "blocks.1.hook_mlp_out"}
    nothing = load_sae(str(save_tiny_sae(tmp_path / "t", "transcoder", metadata=metadata)))
    own = residual_basis(16, hook="blocks.1.hook_mlp_out")
    zeros = replace(nothing, encoder=lambda x: torch.zeros(*x.shape[:-1], 32), bias=torch.zeros(16))
    found = loss_recovered(tiny_model, [own, zeros], list(tiny_texts.texts[:12]))
    assert found == [pytest.approx(1, abs=1e-4), pytest.approx(0, abs=1e-4)]


def test_a_figure_is_measured_once(tiny_model, tiny_model_dir, tiny_sae_dirs, tiny_texts, tmp_path, monkeypatch):
    monkeypatch.setenv("SAEEVAL_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "load_model", lambda *_a, **_k: tiny_model)
    config, saes = RunConfig(model=str(tiny_model_dir)), [str(tiny_sae_dirs["topk"]), str(tiny_sae_dirs["standard"])]
    first = stored_loss_recovered(config, saes[:1], tiny_texts.texts)
    monkeypatch.setattr(
        module, "load_sae", lambda sae, **_: load_sae(sae) if sae == saes[1] else pytest.fail("loaded again")
    )
    both = stored_loss_recovered(config, saes, tiny_texts.texts)
    assert set(both) == set(saes) and both[saes[0]] == first[saes[0]]
    half = replace(config, dtype="bfloat16")
    monkeypatch.setattr(module, "load_sae", lambda sae, **_: load_sae(sae))
    monkeypatch.setattr(module, "loss_recovered", lambda *_: [0.5])
    assert stored_loss_recovered(half, saes[:1], tiny_texts.texts) == {saes[0]: 0.5}, (
        "another precision, another figure"
    )
