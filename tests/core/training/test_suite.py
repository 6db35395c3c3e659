"""Several SAEs from one pass over the same activations, each kept at several lengths of training."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from saeeval_core.errors import ConfigError
from saeeval_core.training import suite
from saeeval_core.training.cache import ActivationCache, ActivationSource
from saeeval_core.training.suite import SuiteConfig, suite_folders, train_suite


@pytest.fixture(scope="module")
def activations(tmp_path_factory) -> ActivationCache:
    rng = np.random.default_rng(0)
    x = (np.maximum(rng.normal(-1, 1, (6000, 24)), 0) @ rng.normal(size=(24, 16)) * 5).astype(np.float16)
    source = ActivationSource("toy", "blocks.0.hook_resid_post", "toy")
    return ActivationCache(tmp_path_factory.mktemp("cache"), source, x[:4000], x[4000:])


CONFIG = SuiteConfig(
    ("topk", "matryoshka"), n_latents=128, samples=25_600, checkpoints=3, seeds=(0, 1), batch=256, autocast=False
)


@pytest.fixture(scope="module")
def folders(activations, tmp_path_factory) -> list[Path]:
    return train_suite(activations, tmp_path_factory.mktemp("suite"), CONFIG)


@pytest.fixture(scope="module")
def about(folders) -> list[dict]:
    return [json.loads((f / "about.json").read_text()) for f in folders]


def test_the_first_seed_keeps_every_checkpoint_and_the_others_the_last(folders, about):
    assert len(folders) == len(set(folders)) == 2 * 3 * (3 + 1)
    assert {a["training_samples"] for a in about if a["seed"] == 0} == {0, 1280, 25_600}
    assert {a["training_samples"] for a in about if a["seed"] == 1} == {25_600}


def test_thresholds_give_the_target_l0_and_training_helps(about):
    by_k = {a["target_l0"]: a["l0"] for a in about if a["architecture"] == "topk" and a["training_samples"] == 0}
    assert by_k[16.0] == pytest.approx(16, abs=0.5)
    trained = [a["explained_variance"] for a in about if a["training_samples"] == 25_600]
    assert min(trained) > max(a["explained_variance"] for a in about if a["training_samples"] == 0)


def test_every_point_is_an_sae_that_loads(folders):
    from saeeval_core.saes.loaded import load_sae

    assert load_sae(str(folders[0])).info.hook == "blocks.0.hook_resid_post"


def test_seeds_differ_in_more_than_their_name(folders):
    from safetensors.torch import load_file

    last = [f for f in folders if f.name in ("topk-k16-seed0-25600", "topk-k16-seed1-25600")]
    a, b = (load_file(f / "sae_weights.safetensors")["W_dec"] for f in last)
    assert not a.equal(b)


def test_complete_pieces_are_left_alone_and_others_trained(activations, folders, monkeypatch):
    asked = []
    monkeypatch.setattr(suite, "train_many", lambda runs, *_, **__: asked.append(sorted(runs)))
    assert train_suite(activations, folders[0].parent, CONFIG) == folders and asked == []
    train_suite(activations, folders[0].parent, replace(CONFIG, architectures=("topk", "standard"), seeds=(0,)))
    assert asked == [["standard-l1-2", "standard-l1-4", "standard-l1-8"]]
    # Other settings are other SAEs, even in a folder of the same name.
    train_suite(activations, folders[0].parent, replace(CONFIG, architectures=("topk",), seeds=(0,), lr=2e-3))
    assert asked[1:] == [["topk-k16", "topk-k32", "topk-k64"]]


def test_a_suite_is_listed_by_architecture_sparsity_seed_and_training(folders):
    found = suite_folders(folders[0].parent)
    assert set(found) == set(folders)
    assert [f.name for f in found[-5:-3]] == ["topk-k32-seed1-25600", "topk-k64-seed0-0"]


def test_settings_that_make_no_suite_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown architecture"):
        SuiteConfig(("transformer",))
    with pytest.raises(ConfigError, match="100 batches"):
        SuiteConfig(samples=1000)
    with pytest.raises(ConfigError, match="no SAE folder"):
        suite_folders(tmp_path)


def test_a_suite_of_trained_nulls_stands_beside_the_others():
    config = SuiteConfig(("topk",), samples=51_200, frozen_decoder=True)
    runs = config.runs("topk", 0)
    assert all(name.startswith("null-topk-") and c.frozen_decoder for name, c in runs.items())
    assert not any(c.frozen_decoder for c in replace(config, frozen_decoder=False).runs("topk", 0).values())
