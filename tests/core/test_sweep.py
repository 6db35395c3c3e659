"""Sweeps: every SAE is rows or one failed row, one pass per hook, resumed, typed the same in JSON and CSV."""

import csv
import io
import json

import numpy as np
import pytest

from saeeval_core import pipeline, sweep
from saeeval_core.bench_format import BLANK
from saeeval_core.config import RunConfig
from saeeval_core.sweep import Selection, SweepConfig
from saeeval_core.uncertainty import estimate, undefined

LABELS = {"target": "profession=nurse,surgeon", "spurious": "gender=female,male", "classes": "meal=tea,soup,bread"}


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAEEVAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def config(tiny_model_dir, tiny_sae_dirs, tiny_texts_file) -> SweepConfig:
    texts = RunConfig(task="", texts=str(tiny_texts_file), resamples=60, **LABELS)
    saes = (str(tiny_sae_dirs["topk"]), str(tiny_sae_dirs["standard"]), "/no/such/sae")
    return SweepConfig(saes, tasks=("toys",), ns=(1, 2, 20), model=str(tiny_model_dir), device="cpu", own_texts=texts)


@pytest.fixture(scope="module")
def passes() -> list:
    return []


@pytest.fixture(scope="module")
def result(config, own_cache, passes, tmp_path_factory) -> dict:
    from saeeval_core import recorder

    original = recorder.record
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "record", lambda *a, **k: passes.append(len(a[4])) or original(*a, **k))
        folder = tmp_path_factory.mktemp("out")
        found = sweep.sweep(config, folder / "a.json", folder / "a.csv")
    assert json.loads((folder / "a.json").read_text())["rows"] == found["rows"]
    with (folder / "a.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(found["rows"])
    return found


def test_one_pass_for_all_saes_of_a_hook(result, passes):
    assert passes == [2]


def test_every_row_has_every_column(result):
    assert all(set(r) == set(BLANK) for r in result["rows"])


def test_a_failed_sae_is_one_row_with_its_message(result):
    (row,) = [r for r in result["rows"] if r["status"] == "failed"]
    assert row["sae"] == "/no/such/sae" and row["error"] and row["value"] is None


def test_scores_come_with_intervals_or_a_reason(result):
    scored = [r for r in result["rows"] if r["status"] == "ok"]
    assert {r["metric"] for r in scored} == {"shift", "tpp"}
    for r in scored:
        assert (r["value"] is None) == (r["ci_low"] is None)
        assert r["value"] is not None or r["reason"]
    variants = {r["variant"] for r in scored if r["role"] == "sae" and r["scope"] == "all"}
    assert variants == {"top-N", "mean ablation", "small-N area", "mean ablation, small-N area"}


def test_controls_of_every_sae_and_bases_once(result):
    names = [
        r["sae"] for r in result["rows"]
        if r["role"] == "control" and r["metric"] == "tpp" and r["variant"] == "top-N" and r["n"] == 1
    ]  # fmt: skip
    assert len(names) == len(set(names)) == 2 * 2 + 2


def test_scores_equal_those_of_run(result, config, own_cache):
    single = pipeline.run(config.run_config("toys", "robust", config.saes[:1]))
    expected = single["results"][0]["shift"]["aggregate"][0]["test"]
    (row,) = [r for r in result["rows"] if r["sae"] == config.saes[0] and r["metric"] == "shift" and r["variant"] == "top-N"
              and r["scope"] == "all" and r["n"] == 1]  # fmt: skip
    assert row["value"] == expected["score"] and row["pairs"] == expected["pairs"]
    cell = single["results"][0]["tpp"]["by_n"][0]["test"]
    (row,) = [r for r in result["rows"] if r["sae"] == config.saes[0] and r["metric"] == "tpp" and r["variant"] == "top-N"
              and r["n"] == 1]  # fmt: skip
    assert row["value"] == cell["score"]


def test_differences_carry_their_words(result):
    assert result["differences"]
    for d in result["differences"]:
        assert d["ci_low"] <= d["value"] <= d["ci_high"]
        assert d["separable"] == ("not separable" not in d["words"])
        assert d["half_width"] == pytest.approx((d["ci_high"] - d["ci_low"]) / 2)


def test_a_second_sweep_reuses_finished_units(result, config, own_cache, monkeypatch):
    monkeypatch.setattr(sweep._Scorer, "unit", lambda *_a, **_k: pytest.fail("scored again"))
    assert sweep.sweep(config)["rows"] == result["rows"]


def test_judged_selections_are_rows_with_the_judge(config, own_cache):
    from dataclasses import replace

    one = Selection("judge", "Tester (local)", lambda view, n: view.attribute_ranking[:n][:1], "v1")
    found = sweep.sweep(replace(config, saes=config.saes[:1], metrics=("shift",), controls=False, selections=(one,)))
    judged = [r for r in found["rows"] if r["selection"] == "judge"]
    assert judged and {r["judge"] for r in judged} == {"Tester (local)"} and {r["n_ablated"] for r in judged if r["n"]} == {1.0}


def test_aggregates_average_pairs_of_defined_directions():
    a, b, c = (estimate(v, np.full(3, v)) for v in (0.2, 0.4, 0.9))
    full = np.ones(3)
    value, samples, pairs, out = sweep.over_pairs(
        ["x", "x", "y", "y"], [(a, 0.2 * full), (b, 0.4 * full), (c, 0.9 * full), (undefined("no gap"), np.empty(0))]
    )
    assert value.value == pytest.approx((0.3 + 0.9) / 2) and pairs == 2 and out == 1 and samples == pytest.approx(0.6 * full)
    assert sweep.over_pairs(["x"], [(undefined("no gap"), np.empty(0))])[0].reason == "no gap"


def test_csv_has_the_columns_and_leaves_undefined_empty():
    text = sweep.to_csv([dict(BLANK) | {"sae": "a", "value": None}])
    (row,) = csv.DictReader(io.StringIO(text))
    assert list(row) == list(BLANK) and row["value"] == "" and row["sae"] == "a"
