"""``--plan`` says what a run or sweep will take, and loads nothing."""

import json

import pytest

from saeeval_core.config import DEFAULT_SAE


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("saeeval_core.recordings.pace.SECONDS", 0.01)

    def loads(*_: object, **__: object) -> None:
        raise AssertionError("--plan loads nothing")

    monkeypatch.setattr("saeeval_core.models.language_model.load_model", loads)
    monkeypatch.setattr("saeeval_core.saes.loaded.load_sae", loads)


def test_a_run_says_what_it_will_take(call, args, tmp_path):
    code, out, err = call(*args, "--plan", "--json", str(tmp_path / "plan.json"))
    assert code == 0, err
    found = json.loads((tmp_path / "plan.json").read_text())
    (own,) = found["passes"]
    assert (found["kind"], found["units"], own["model_passes"], own["stored_saes"]) == ("plan", 1, 1, 0)
    assert own["fits"] and own["tokens"] > 0 and own["seconds"] > 0 and own["peak_GB"] > 0
    assert own["pace"] == "products measured for two seconds" and own["reason"] == ""
    assert "1 SAE to record, 0 stored; the model reads the texts 1x" in out and "GB: model 0.00" in out


def test_what_is_stored_needs_no_pass(call):
    code, out, _ = call("run", "--plan")
    assert code == 0 and "bios: 1 SAE to score, all recorded: no pass is needed" in out


def test_a_sweep_counts_its_units(call, tmp_path):
    saes = [option for sae in ("topk", "standard") for option in ("--sae", f"smollm2-*-{sae}-4k")]
    tasks = ["--task", "bios", "--task", "reviews", "--protocol", "robust,paper"]
    code, out, err = call("sweep", *saes, *tasks, "--plan", "--json", str(tmp_path / "plan.json"))
    assert code == 0, err
    found = json.loads((tmp_path / "plan.json").read_text())
    named = ("sweep", *saes, "--dtype", "bfloat16", "--kernel", "default", "--plan")
    code, out, err = call(*named, "--json", str(tmp_path / "half.json"))
    assert code == 0 and "bfloat16, kernel default)" in out, err
    (half,) = json.loads((tmp_path / "half.json").read_text())["passes"]
    assert (half["dtype"], half["kernel"], half["stored_saes"]) == ("bfloat16", "default", 0)
    assert found["units"] == 8 and [own["task"] for own in found["passes"]] == ["bios", "reviews"]
    assert [own["stored_saes"] for own in found["passes"]] == [2, 1]
    assert found["passes"][1]["groups"] == [["smollm2-135m-l15-standard-4k"]] and DEFAULT_SAE not in str(found)


def test_a_sweep_names_its_units_and_their_cost(call, tmp_path):
    saes = [option for sae in ("topk", "standard") for option in ("--sae", f"smollm2-*-{sae}-4k")]
    how = [
        "--dtype",
        "bfloat16",
        "--saes-per-unit",
        "1",
        "--texts-per-shard",
        "100",
        "--threads",
        "2",
        "--price",
        "3600",
    ]
    asked = ["sweep", *saes, "--texts-per-cell", "60", "--metrics", "shift", *how, "--plan"]
    code, out, err = call(*asked, "--json", str(tmp_path / "plan.json"))
    assert code == 0, err
    found = json.loads((tmp_path / "plan.json").read_text())
    shards = found["record_units"][0]["unit"]["of"]
    assert shards > 1 and len(found["record_units"]) == 2 * shards and found["score_units"] == 2
    assert found["cost"] == pytest.approx(found["record_seconds"], abs=1e-3) and found["threads"] == 2
    assert [own["seconds"] for own in found["passes"]] == [None], "time is said once, of the units"
    assert "bios: 2 SAEs to record, 0 stored; on disk at most" in out
    table = [line.split() for line in out.splitlines() if " of " in line and line.startswith(" ")]
    assert [row[2:6] for row in table] == ([[f"{k + 1}", "of", f"{shards}", "1"] for k in range(shards)] * 2)[:12]
    assert "score: 2 units, 2 SAEs x 1 task x 1 protocol, time not known yet; stored ones take none" in out
    assert f"cost: {found['cost']:,.2f} for the record units, at 3600 for an hour of one worker" in out
    call.refuses("--price is -1", *asked, "--price", "-1")


def test_without_a_network_what_is_not_known_is_said(call):
    sae = "gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82"
    code, out, err = call("run", "--model", "google/gemma-2-2b", "--sae", sae, "--plan")
    assert code == 0 and "time and memory are not known: model 'google/gemma-2-2b' is not on this machine" in err
    assert "seconds: not known" in out and "model not known, SAEs 0.30" in out


def test_what_cannot_fit_is_refused_before_anything_is_loaded(call, monkeypatch):
    monkeypatch.setattr("saeeval_core.recordings.plan.memory_bytes", lambda: 10**9)
    sae = "gemma-scope-2b-pt-res/layer_12/width_65k/average_l0_72"
    asked = ["--model", "google/gemma-2-2b", "--sae", sae]
    for command in (["run", *asked, "--plan"], ["run", *asked]):
        call.refuses(r"reading SAE '.*l0_72' takes 2.4 GB; there are 1.0 GB; use an SAE of at most 0.5 GB", *command)
