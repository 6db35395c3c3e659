"""What a pass will take: counted words, paces, sizes, groups, and nothing where nothing is known."""

import inspect
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from saeeval_core.config import DEFAULT_MODEL, DEFAULT_SAE, RunConfig
from saeeval_core.errors import ConfigError
from saeeval_core.models.batches import padded_batches
from saeeval_core.models.identity import model_settings
from saeeval_core.models.shapes import Matrix, shapes_of
from saeeval_core.recordings import plan as module
from saeeval_core.recordings import recorder
from saeeval_core.recordings.context_windows import collecting_bytes
from saeeval_core.recordings.contexts import ContextCollector
from saeeval_core.recordings.pace import known_pace, measured_pace, noting_pace
from saeeval_core.recordings.plan import count_tokens, plan, work_of
from saeeval_core.recordings.recorder import Progress
from saeeval_core.saes.asked import what_is
from saeeval_core.saes.facts import SaeFacts, facts

TEXTS = ["one two"] * 50 + ["three"] * 50


def told(name: str = DEFAULT_SAE) -> SaeFacts:
    return facts(name, what_is(name))


def large(gigabytes: float, name: str = "large", layer: int = 15) -> SaeFacts:
    hook = f"blocks.{layer}.hook_resid_post"
    n = round(gigabytes * 1e9 / 4 / 2 / 576)
    return SaeFacts(name, "folder", "TopKSAE", hook, hook, n, 32.0, DEFAULT_MODEL, gigabytes)


def test_tokens_are_words_and_signs_up_to_what_is_read():
    assert count_tokens(["She works, he rests.", "word " * 500]) == 6 + 127
    assert count_tokens([]) == 0 and count_tokens(["one two"] * 10_000) == 20_000


def test_the_products_of_a_token_stop_at_the_deepest_hook():
    shapes = shapes_of(model_settings(DEFAULT_MODEL))
    assert shapes.parameters == 134_479_872  # 134,515,008 less the norms
    work = work_of(DEFAULT_MODEL, [told()])
    assert work[0] == Matrix(576, 576, 16) and work[-1] == Matrix(576, 4096)
    assert sum(m.wide * m.out * m.times for m in work) == 16 * 3_538_944 + 576 * 4096
    assert work_of("org/model", [told()]) == []


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        # two blocks of 8: attention 4 x 64; a plain MLP 2 x 8 x 32; tied embeddings of 10 rows
        ({"model_type": "gpt2", "n_embd": 8, "n_layer": 2, "n_head": 2, "vocab_size": 10}, 2 * (256 + 512) + 80),
        # grouped keys (8 x 4 each), four experts of three 8 x 16 matrices, own output embedding
        (
            {
                "model_type": "qwen3_moe", "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
                "num_key_value_heads": 1, "vocab_size": 10, "num_experts": 4, "num_experts_per_tok": 2,
                "moe_intermediate_size": 16, "intermediate_size": 99,
            },
            2 * (64 + 2 * 32 + 64 + 4 * 3 * 128) + 160,
        ),
    ],
)  # fmt: skip  # settings as config.json has them
def test_weights_are_counted_from_the_settings(settings, parameters):
    assert shapes_of(settings).parameters == parameters


def test_settings_that_do_not_say_their_shapes_give_none():
    assert shapes_of({}) is None and shapes_of({"hidden_size": "wide", "n_layer": True}) is None


def test_a_pass_leaves_its_pace_even_when_it_was_resumed(cache):
    config, work = RunConfig(), work_of(DEFAULT_MODEL, [told()])
    assert known_pace(config, work) is None
    heard = []
    noting = noting_pace(config, work, heard.append)
    for done, seconds in ((600, 1.0), (800, 2.0)):
        noting(Progress(done, 1000, seconds))
    assert known_pace(config, work) is None, "it is not through yet"
    noting(Progress(1000, 1000, 3.0))
    assert known_pace(config, work) == pytest.approx(200) and len(heard) == 3
    found = plan(config, TEXTS, [told()])
    assert (found.texts, found.tokens, found.measured) == (2, 3, True)
    assert found.seconds == pytest.approx(3 / 200) and found.groups == ((DEFAULT_SAE,),)
    assert known_pace(config, work[:-1]) is None, "other products take another time"


def test_without_an_earlier_pass_the_products_are_measured(cache, monkeypatch):
    monkeypatch.setattr("saeeval_core.recordings.pace.SECONDS", 0.01)
    one, two = Matrix(64, 32), Matrix(64, 32, 2)
    assert measured_pace(RunConfig(device="cpu"), [one, two]) > 0
    monkeypatch.setattr("saeeval_core.recordings.pace._seconds", lambda wide, out, *_: wide * out * 1e-6)
    assert measured_pace(RunConfig(device="cpu"), [one, two]) == pytest.approx(1024 / (3 * 64 * 32 * 1e-6))
    wide = Matrix(2, 4 * 16_384)  # measured at 16,384 columns, four times that
    assert measured_pace(RunConfig(device="cpu"), [wide]) == pytest.approx(1024 / (4 * 2 * 16_384 * 1e-6))
    assert plan(RunConfig(device="cpu"), TEXTS, [told()], seconds=False).seconds is None


def test_of_a_folder_the_weights_are_counted_and_of_an_unknown_model_nothing_is_said(cache, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"dtype": "bfloat16"}))
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 2_000_000)
    found = plan(RunConfig(model=str(tmp_path)), TEXTS, [told()])
    assert found.model_bytes == 4_000_000 and found.seconds is None
    found = plan(RunConfig(model="org/model"), TEXTS, [told("hub:me/mine")])
    assert (found.seconds, found.model_bytes, found.sae_bytes, found.peak_bytes) == (None,) * 4
    assert found.stored_bytes is None and not found.refused


def test_saes_that_fit_together_are_one_pass_and_others_are_groups(cache):
    saes = [large(1, "a"), large(1, "b", 10), large(1, "c"), large(9, "d")]
    assert plan(RunConfig(), TEXTS, saes, seconds=False, memory=10**12).groups == (("a", "b", "c", "d"),)
    found = plan(RunConfig(), TEXTS, saes, seconds=False, memory=30 * 10**9)
    assert found.groups == (("a", "b", "c"), ("d",)) and found.model_passes == 1 and found.keeps_activations
    assert found.activation_bytes == 4 * 3 * 576 * 3 and found.peak_bytes > 9_500_000_000


def test_activations_that_the_disk_does_not_take_mean_a_second_pass_of_the_model(cache, monkeypatch):
    monkeypatch.setattr(module, "_free_disk", lambda: 10)
    found = plan(RunConfig(), TEXTS, [large(1, "a"), large(9, "d")], seconds=False, memory=30 * 10**9)
    assert len(found.groups) == 2 and not found.keeps_activations and found.model_passes == 2
    assert not found.refused and "may not be kept; record fewer SAEs at a time or fewer texts" in found.not_kept


@pytest.mark.parametrize(
    ("memory", "dtype", "says"),
    [
        (10 * 10**9, "float32", r"reading SAE 'large' takes 20.0 GB; there are 10.0 GB; use an SAE of at most 4.7 GB"),
        (20.4 * 10**9, "float32", r"use --dtype bfloat16, with which the model takes 0.3 GB"),
        (0.2 * 10**9, "bfloat16", r"use a smaller model, or a machine with 20.3 GB"),
    ],
)
def test_what_cannot_fit_is_refused_with_what_would(cache, memory, dtype, says):
    found = plan(RunConfig(dtype=dtype), TEXTS, [large(10)], seconds=False, memory=int(memory))
    with pytest.raises(ConfigError, match=says) as error:
        found.check()
    assert "\n" not in str(error.value)
    plan(RunConfig(dtype=dtype), TEXTS, [large(10)], seconds=False, memory=50 * 10**9).check()


def test_what_a_pass_holds_is_as_the_pass_itself_says():
    assert (module._CODES, module._PER_CODE) == (recorder.CODES_AT_ONCE, recorder.BYTES_PER_CODE)
    assert inspect.signature(padded_batches).parameters["tokens_per_batch"].default == module._BATCH
    collector = ContextCollector(7, np.array([0, 1, 2]), torch.device("cpu"))
    kept = {name: array.nbytes for name, array in collector.state().items() if name != "n_texts"}
    assert sum(kept.values()) == collecting_bytes(7, 3)


def test_a_half_known_sae_takes_what_is_known():
    unknown = replace(large(1), n_latents=None, gigabytes=None)
    assert plan(RunConfig(), TEXTS, [unknown, large(1)], seconds=False).sae_bytes is None
