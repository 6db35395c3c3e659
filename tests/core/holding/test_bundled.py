"""On the bundled model and SAE, too, the ablated pass is the exact route, and so is the exported hook."""

import numpy as np
import pytest

from saeeval_core.config import DEFAULT_MODEL, DEFAULT_SAE
from saeeval_core.holding import ablated_pass, steering_hook
from saeeval_core.holding.export import VECTORS_FILE, export_hook
from saeeval_core.models.language_model import load_model
from saeeval_core.recordings.recorder import place_of, record
from saeeval_core.saes.loaded import load_sae

TEXTS = ("She works as a nurse at the county hospital.", "He teaches history, and wrote a book on rivers.")
LATER = "blocks.20.hook_resid_post"


@pytest.mark.slow
@pytest.mark.parametrize("means", [0.0, 0.25])
def test_a_few_texts_of_the_bundled_model(means, tmp_path):
    model, sae = load_model(DEFAULT_MODEL, device="cpu"), load_sae(DEFAULT_SAE)
    hook = sae.info.hook
    residuals, (latents,) = record(model, hook, TEXTS, "texts", [sae])
    strongest = np.argsort(-np.asarray(latents.latents.mean(axis=0)).ravel())[:20]
    edit = ablated_pass.SetEdit(place_of(model, sae), tuple(map(int, strongest)), np.full(20, means))
    found = ablated_pass.pooled_activations(model, TEXTS, [hook, LATER], edit)
    taken = (latents.latents[:, strongest].toarray() - means) @ latents.decoder[strongest]
    size = np.linalg.norm(taken, axis=1).max()
    assert np.abs(found[hook] - (residuals.residuals - taken)).max() < 1e-3 * size
    export_hook(model, edit, tmp_path, {})
    with steering_hook.steered(model.hf, steering_hook.load(tmp_path / VECTORS_FILE)):
        steered = ablated_pass.pooled_activations(model, TEXTS, [LATER])[LATER]
    assert np.abs(steered - found[LATER]).max() < 1e-3 * np.abs(found[LATER]).max()
