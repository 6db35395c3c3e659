"""Training an SAE: what is saved, what resumes what, the figures in about.json."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from saeeval_core.errors import ConfigError, DataError
from saeeval_core.recordings.recorder import record_pass
from saeeval_core.saes.loaded import load_sae
from saeeval_core.training import suite
from saeeval_core.training import trainer as training
from saeeval_core.training.about import About, read_about
from saeeval_core.training.cache import ActivationCache, ActivationSource
from saeeval_core.training.trainer import TrainingConfig, train_sae

WRITTEN = {
    *("architecture", "n_latents", "training_samples", "seed", "seconds", "resumed", "batch", "lr", "target_l0", "l1"),
    *("hook", "model", "corpus_fingerprint", "distinct_tokens", "corpus", "l0", "explained_variance"),
    *("explained_variance_typical", "massive_tokens", "dead", "held_out_tokens"),
}
CONFIG = TrainingConfig("topk", n_latents=32, target_l0=4, samples=6400, batch=64, checkpoints=3)


@pytest.fixture
def cache(tmp_path) -> ActivationCache:
    rng = np.random.default_rng(0)
    x = (rng.random((3000, 24)) < 0.2) * rng.random((3000, 24)) @ rng.normal(size=(24, 16)) * 5
    x = x.astype(np.float16)
    source = ActivationSource("toy", "blocks.0.hook_resid_post", "abc")
    return ActivationCache(tmp_path, source, x[:2500], x[2500:])


def test_an_sae_is_saved_with_its_figures_and_can_be_used(cache, tmp_path):
    about = train_sae(cache, CONFIG, tmp_path / "sae", corpus="toys")
    assert json.loads((tmp_path / "sae" / "about.json").read_text()) == about.to_dict()
    assert about.l0 == pytest.approx(4) and about.explained_variance > 0.1 and not about.resumed
    assert set(about.to_dict()) == WRITTEN and read_about(tmp_path / "sae") == about
    sae = load_sae(str(tmp_path / "sae"))
    assert sae.info.n_latents == 32 and sae.info.hook == "blocks.0.hook_resid_post"


def test_an_sae_trained_on_attention_heads_is_scored_behind_the_output_matrix(cache, tmp_path, tiny_model):
    heads = replace(cache, source=replace(cache.source, model=tiny_model.name, hook="blocks.1.attn.hook_z"))
    train_sae(heads, CONFIG, tmp_path / "sae")
    made = record_pass(tiny_model, [], ["river stone", "the old town"], "print", [load_sae(str(tmp_path / "sae"))])
    assert set(made.residuals) == {f"blocks.1.{h}" for h in ("hook_resid_mid", "hook_attn_out", "attn.hook_z")}
    assert made.latents[0].projected.shape == (32, 16)
    assert not any("made for" in note for note in made.latents[0].notes)


def test_a_killed_training_resumes_and_ends_where_an_undisturbed_one_does(cache, tmp_path, monkeypatch):
    from sae_lens.training.sae_trainer import SAETrainer

    train_sae(cache, CONFIG, tmp_path / "whole")
    real, steps = SAETrainer.step, []

    def dies(self, batch):
        steps.append(1)
        if len(steps) == 70:
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(SAETrainer, "step", dies)
    with pytest.raises(KeyboardInterrupt):
        train_sae(cache, CONFIG, tmp_path / "cut")
    monkeypatch.setattr(SAETrainer, "step", real)
    about = train_sae(cache, CONFIG, tmp_path / "cut")
    assert about.resumed
    whole, cut = (load_sae(str(tmp_path / name)).decoder for name in ("whole", "cut"))
    torch.testing.assert_close(cut, whole, atol=0.02, rtol=0.02)


def test_other_settings_or_activations_start_anew(cache, tmp_path):
    train_sae(cache, CONFIG, tmp_path / "sae")
    assert train_sae(cache, CONFIG, tmp_path / "sae").resumed
    assert not train_sae(cache, replace(CONFIG, target_l0=6), tmp_path / "sae").resumed
    other = replace(cache, source=replace(cache.source, corpus="other"))
    assert not train_sae(other, CONFIG, tmp_path / "sae").resumed


def test_batches_repeat_for_a_seed_and_continue_where_asked(cache):
    first = [b for b, _ in zip(cache.batches(500, 0), range(8), strict=False)]
    later = next(cache.batches(500, 0, start=6))
    torch.testing.assert_close(first[6], later)
    assert not torch.equal(first[0], next(cache.batches(500, 1)))
    assert sorted(torch.cat(first[:5])[:, 0].tolist()) == sorted(cache.train.astype(np.float32)[:, 0].tolist())
    with pytest.raises(DataError, match="fewer than one batch"):
        next(cache.batches(5000, 0))


def test_an_unknown_architecture_is_named():
    with pytest.raises(ConfigError, match="topk"):
        TrainingConfig("topkk")


def test_the_jumprelu_penalty_rises_over_all_of_training():
    config = TrainingConfig("jumprelu-tanh", n_latents=8, samples=1000, batch=10)
    assert training.training_sae(config, 4, ActivationSource("m", "h", "c")).cfg.l0_warm_up_steps == 100


def test_what_a_file_does_not_say_or_nobody_knows_is_left_out(tmp_path):
    assert read_about(tmp_path) is None
    (tmp_path / "about.json").write_text('{"l0": 3.5, "made by": "someone else"}')
    assert read_about(tmp_path) == About(l0=3.5)
    for damaged in ("{", "[1]"):
        (tmp_path / "about.json").write_text(damaged)
        assert read_about(tmp_path) is None


@pytest.mark.parametrize("architecture", ["topk", "standard", "jumprelu-tanh", "gated", "matryoshka"])
def test_a_frozen_decoder_keeps_its_rows_bit_for_bit_and_the_rest_learns(cache, architecture):
    kept = {}
    config = TrainingConfig(architecture, 32, 4, 0.5, batch=64, lr=1e-2, frozen_decoder=True)
    step = training.sae_trainer
    seen = []

    def spied(sae, *args, **more):
        seen.append(sae)
        kept["before"] = {k: v.clone() for k, v in sae.state_dict().items()}
        return step(sae, *args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suite, "sae_trainer", spied)
        made = []
        suite.train_many(
            {"null": config},
            cache.batches(64, 0),
            cache.held_out,
            steps=20,
            snapshots=[20],
            on_snapshot=lambda _, __, sae: made.append(sae),
        )
    after = seen[0].state_dict()
    assert torch.equal(after["W_dec"], kept["before"]["W_dec"])
    assert not torch.equal(after["W_enc"], kept["before"]["W_enc"])
    assert not torch.equal(after["b_dec"], kept["before"]["b_dec"])
    assert made[0].cfg.metadata.frozen_decoder is True


def test_a_trained_null_says_so_in_its_files_and_an_ordinary_sae_says_nothing(cache, tmp_path):
    about = train_sae(cache, replace(CONFIG, frozen_decoder=True), tmp_path / "null")
    assert about.frozen_decoder and read_about(tmp_path / "null") == about and not about.resumed
    info = load_sae(str(tmp_path / "null")).info
    assert any("trained null" in note for note in info.notes)
    train_sae(cache, CONFIG, tmp_path / "sae")
    info = load_sae(str(tmp_path / "sae")).info
    assert not any("trained null" in note for note in info.notes) and "frozen_decoder" not in info.metadata


def test_settings_of_before_decoders_could_be_frozen_keep_their_identity(cache):
    from dataclasses import asdict

    from saeeval_core.config import fingerprint

    old = {k: v for k, v in asdict(CONFIG).items() if k != "frozen_decoder"}
    assert training.training_identity(CONFIG, cache) == fingerprint([old, training.training_source(cache)])
    assert training.training_identity(replace(CONFIG, frozen_decoder=True), cache) != training.training_identity(
        CONFIG, cache
    )
