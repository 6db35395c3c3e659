"""What is said of an SAE before it is loaded."""

import json
import shutil

import pytest

from saeeval_core.config import DEFAULT_MODEL
from saeeval_core.models import machine
from saeeval_core.saes import facts as module
from saeeval_core.saes.asked import what_is
from saeeval_core.saes.facts import SaeFacts, facts

GEMMA_2B = "gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82"


def told(name: str) -> SaeFacts:
    return facts(name, what_is(name))


def test_a_released_sae_says_everything_that_its_names_state():
    own = told(GEMMA_2B)
    assert (own.architecture, own.hook, own.writes) == ("JumpReLUSAE", *["blocks.12.hook_resid_post"] * 2)
    assert (own.n_latents, own.l0, own.gigabytes) == (16384, 82, pytest.approx(2 * 2304 * 16384 * 4 / 1e9))
    blank = told("mwhanna-qwen3-4b-transcoders/layer_3")
    assert (blank.hook, blank.writes) == ("blocks.3.mlp.hook_in", "blocks.3.hook_mlp_out")
    assert (blank.n_latents, blank.l0, blank.gigabytes) == (None, None, None)
    assert told("hub:me/mine").reason == ""


def test_a_folder_says_it_from_its_settings(tiny_sae_dirs):
    own = told(str(tiny_sae_dirs["topk"]))
    assert (own.architecture, own.n_latents, own.gigabytes) == ("TopKSAE", 32, pytest.approx(2 * 16 * 32 * 4 / 1e9))
    assert own.hook == own.writes and own.reason == ""


@pytest.mark.parametrize("said", ["smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-135M-Instruct"])
def test_what_was_made_for_the_bundled_model_by_any_of_its_names_is_its_own(said, tiny_sae_dirs, tmp_path):
    folder = shutil.copytree(tiny_sae_dirs["topk"], tmp_path / "sae")
    cfg = json.loads((folder / "cfg.json").read_text())
    cfg["metadata"]["model_name"] = said
    (folder / "cfg.json").write_text(json.dumps(cfg))
    own = told(str(folder))
    for model in (DEFAULT_MODEL, "HuggingFaceTB/SmolLM2-135M-Instruct", f"/models/{DEFAULT_MODEL}"):
        assert own.is_for(model)
    assert not own.is_for("gpt2")


def test_what_this_machine_has_no_memory_for_is_said(monkeypatch):
    monkeypatch.setattr(module, "memory_bytes", lambda: 25_000_000_000)
    assert told(GEMMA_2B).reason == ""
    large = told("gemma-scope-2b-pt-res/layer_5/width_1m/average_l0_114")
    assert large.reason == ("needs 38.7 GB to read it and 4.0 GB for gemma-2-2b in bfloat16; this machine has 25.0 GB")
    assert told("gemma-scope-27b-pt-res/layer_10/width_131k/average_l0_106").reason.startswith("needs 9.7 GB to read")
    assert "token embedding" in told("gemma-scope-2b-pt-res/embedding/width_4k/average_l0_6").reason
    monkeypatch.setattr(module, "memory_bytes", lambda: None)
    assert large.reason == ""


def test_a_containers_limit_is_the_memory(monkeypatch, tmp_path):
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "limit").write_text("1000000\n")
    monkeypatch.setattr(machine, "_LIMITS", (str(tmp_path / "max"), str(tmp_path / "limit"), str(tmp_path / "none")))
    assert machine.memory_bytes.__wrapped__() == 1_000_000


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        ({"hook": "blocks.12.hook_resid_post"}, True),
        ({"hook": "resid_post"}, True),
        ({"hook": "blocks.12"}, True),
        ({"hook": "blocks.1"}, False),
        ({"hook": "blocks.1?.*"}, True),
        ({"hook": "mlp_out"}, False),
        ({"architecture": "jumprelu"}, True),
        ({"architecture": "JumpReLUSAE"}, True),
        ({"architecture": "topk"}, False),
        ({"architecture": "*transcoder"}, False),
        ({"widths": (16384, 16384)}, True),
        ({"widths": (1, 4096)}, False),
        ({"hook": "resid_post", "widths": (1, 4096)}, False),
    ],
)
def test_filters(wanted, matches):
    assert told(GEMMA_2B).matches(**wanted) is matches


def test_filters_look_at_both_hooks_and_at_the_training():
    own = told("gemma-scope-2-270m-pt-transcoders-all/layer_0_width_16k_l0_big")
    assert own.matches("mlp_out") and own.matches("mlp.hook_in") and own.matches(architecture="jumprelu_transcoder")
    matryoshka = told("smollm2-135m-l15-matryoshka-4k")
    assert matryoshka.kind == "JumpReLUSAE (matryoshka)"
    assert matryoshka.matches(architecture="matryoshka") and matryoshka.matches(architecture="jumprelu")
    assert not told("mwhanna-qwen3-4b-transcoders/layer_3").matches(widths=(1, 10**9))
