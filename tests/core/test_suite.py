"""Several SAEs from one pass over the same activations, each kept at several lengths of training."""

import json

import numpy as np
import pytest

from saeeval_core.suite import train_suite
from saeeval_core.training import ActivationCache


@pytest.fixture(scope="module")
def activations(tmp_path_factory) -> ActivationCache:
    rng = np.random.default_rng(0)
    x = (np.maximum(rng.normal(-1, 1, (6000, 24)), 0) @ rng.normal(size=(24, 16)) * 5).astype(np.float16)
    meta = {"model": "toy", "hook": "blocks.0.hook_resid_post", "corpus": "toy"}
    return ActivationCache(tmp_path_factory.mktemp("cache"), meta, [x[:4000]], x[4000:])


def test_every_architecture_sparsity_and_checkpoint_is_an_sae_that_loads(activations, tmp_path):
    from saeeval_core.saes import load_sae

    settings = {"n_latents": 128, "samples": 25_600, "batch": 256, "checkpoints": 3, "architectures": ("topk", "matryoshka")}
    folders = train_suite(activations, tmp_path / "suite", **settings)
    assert len(folders) == 2 * 3 * 3 and len(set(folders)) == len(folders)
    about = [json.loads((f / "about.json").read_text()) for f in folders]
    assert {a["training_samples"] for a in about} == {0, 256, 25_600}
    by_k = {a["target_l0"]: a["l0"] for a in about if a["architecture"] == "topk" and a["training_samples"] == 0}
    assert by_k[16.0] == pytest.approx(16, abs=0.5)
    trained = [a["explained_variance"] for a in about if a["training_samples"] == 25_600]
    assert min(trained) > max(a["explained_variance"] for a in about if a["training_samples"] == 0)
    assert load_sae(str(folders[0])).info.hook == "blocks.0.hook_resid_post"
    # Complete folders are left alone.
    before = [(f / "about.json").stat().st_mtime_ns for f in folders]
    train_suite(activations, tmp_path / "suite", **settings)
    assert [(f / "about.json").stat().st_mtime_ns for f in folders] == before
