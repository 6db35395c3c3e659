"""``saeeval hold`` and ``saeeval steer``: one set in the running model."""

import json

import pytest

from saeeval_core.config import RunConfig
from saeeval_core.evaluation.prepare import prepare
from saeeval_core.ledger.places import new_set, shift_place
from saeeval_core.ledger.store import Store


@pytest.fixture
def own(args) -> list[str]:
    """Model, SAE, texts and labels."""
    return args[1 : args.index("--metrics")]


def test_a_set_is_followed_once_and_then_read_from_the_disk(call, own, monkeypatch, tmp_path):
    command = ("hold", "--set", "top:3", *own, "--no-damage", "--json", tmp_path / "held.json")
    code, out, err = call(*command)
    assert code == 0, err
    held = json.loads((tmp_path / "held.json").read_text())
    assert [h["hook"] for h in held["hooks"]] == ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]
    assert held["hooks"][0]["score"] == held["exact"] and held["n_ablated"] == 3 and held["damage"] is None
    assert all(h["selective_erasure"]["value"] is not None for h in held["hooks"]) and "still readable" in out
    monkeypatch.setattr("saeeval_core.holding.kept.hold", None)
    assert call(*command)[1] == out


def test_latents_are_ranked_at_a_later_hook(call, own, tmp_path):
    later = "blocks.1.hook_resid_post"
    command = ("hold", *own, "--set", "top:4", "--no-damage", "--hook", later)
    found = []
    for at in ((), ("--attribute-at", "blocks.0.hook_resid_post"), ("--attribute-at", later)):
        code, _, err = call(*command, *at, "--json", tmp_path / "held.json")
        assert code == 0, err
        found.append(json.loads((tmp_path / "held.json").read_text())["latents"])
    assert found[0] == found[1] and len(found[2]) == 4
    call.refuses("ranks for top:N of SHIFT", "hold", *own, "--set", "mine", "--attribute-at", later)


def test_the_sets_of_classes_are_followed_and_one_of_them_is_exported(call, own, tmp_path):
    own = [*own, "--classes", "meal=tea,soup,bread", "--metric", "tpp", "--set", "top:2"]
    code, out, err = call("hold", *own, "--no-damage", "--class", "tea", "--json", tmp_path / "held.json")
    assert code == 0, err
    held = json.loads((tmp_path / "held.json").read_text())
    assert held["n_ablated"] == {"tea": 2} and [c["name"] for c in held["hooks"][1]["classes"]] == ["tea"]
    assert "its probe loses" in out
    call.refuses("choose one with --class", "steer", *own, "--out", tmp_path / "hook")
    code, _, err = call("steer", *own, "--class", "soup", "--out", tmp_path / "hook")
    assert code == 0, err
    call.refuses("unknown class 'wine'", "hold", *own, "--class", "wine")


def test_a_stored_set_is_exported_as_a_hook(call, own, tmp_path, tiny_model_dir, tiny_sae_dirs, tiny_texts_file):
    labels = {"target": "profession=nurse,surgeon", "spurious": "gender=female,male"}
    sae = str(tiny_sae_dirs["topk"])
    prepared = prepare(RunConfig(model=str(tiny_model_dir), saes=(sae,), task="", texts=str(tiny_texts_file), **labels))
    task = prepared.evaluation.directions[0].task
    place = shift_place(prepared.task_set.texts.name, task.name, task.direction, prepared.saes[0])
    new_set(Store(), place, "Ada", "pronouns", {1: "ablate", 5: "ablate"})
    code, _, err = call("steer", "--set", "pronouns", *own, "--out", tmp_path / "hook", "--json", tmp_path / "s.json")
    assert code == 0, err
    assert {p.name for p in (tmp_path / "hook").iterdir()} == {"set.safetensors", "steering_hook.py"}
    assert json.loads((tmp_path / "s.json").read_text())["latents"] == [1, 5]


def test_what_cannot_be_followed_is_said_in_one_line(call, own, tmp_path):
    call.refuses("give top:N with N from 1 to 32", "hold", "--set", "top:0", *own)
    call.refuses("unknown part 'tset'", "hold", "--set", "top:2", "--part", "tset", *own)
    call.refuses("unknown direction 'age'", "hold", "--set", "top:2", "--direction", "age", *own)
    call.refuses("unknown decision set 'none'", "hold", "--set", "none", *own)
    call.refuses("is no file", "hold", "--set", f"set:{tmp_path / 'gone.json'}", *own)
    call.refuses(
        "hook 'blocks.9.hook_resid_post' does not exist",
        "hold",
        "--set",
        "top:2",
        "--hook",
        "blocks.9.hook_resid_post",
        "--no-damage",
        *own,
    )
