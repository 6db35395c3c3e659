"""Loss recovered: 1 for an SAE that loses nothing, 0 for one that rebuilds zeros, in between for a real one."""

from dataclasses import replace

import pytest
import torch
from toys import HOOK, save_tiny_sae

from saeeval_core.baselines import residual_basis
from saeeval_core.errors import UnsupportedSAE
from saeeval_core.loss_recovered import loss_recovered
from saeeval_core.saes import load_sae


def test_the_residual_basis_recovers_everything_and_silence_nothing(tiny_model, tiny_texts):
    texts = list(tiny_texts.texts[:12])
    whole = residual_basis(16, hook=HOOK)
    assert loss_recovered(tiny_model, whole, HOOK, texts) == pytest.approx(1, abs=1e-4)
    silent = replace(whole, encoder=lambda x: torch.zeros_like(x))
    assert loss_recovered(tiny_model, silent, HOOK, texts) == pytest.approx(0, abs=1e-4)


def test_an_sae_that_does_not_rebuild_its_input_is_refused(tiny_model, tiny_texts, tmp_path):
    sae = load_sae(str(save_tiny_sae(tmp_path / "t", "transcoder")))
    with pytest.raises(UnsupportedSAE, match="does not rebuild"):
        loss_recovered(tiny_model, sae, HOOK, list(tiny_texts.texts[:3]))
