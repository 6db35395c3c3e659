"""The comparison with SAEBench: what its JSON says, from runs of given lengths, and how a failed side is told."""

import subprocess

import pytest

from saeeval_core.bench import compare
from saeeval_core.bench.compare import run_bench
from saeeval_core.bench.rescore import rescore_ms
from saeeval_core.bench.sides import BenchConfig
from saeeval_core.errors import ConfigError, DataError

CONFIG = BenchConfig("t.csv", "text", "a=1,0", "b=1,0", "model", "sae", repeats=3)
SCORED = {"clean|male / female": 0.75, "male / female|2|male / female": 0.5}


@pytest.fixture
def sides(monkeypatch):
    """Stands in for the processes: each run of a side takes longer than the one before."""
    lengths = {"theirs": [30.0, 10.0, 20.0], "ours": [3.0, 1.0, 2.0], "bfloat16": [2.0, 0.5, 1.0]}

    def run(side, config, folder):
        if side == "extra":
            return {"recorder_efficiency": 0.9, "recorder_pairs_s": [[0.9, 1.0]], "rescore_ms": 1.5}
        total = lengths[side].pop()
        found = {"total": total, "sae_part": total / 2, "peak_mb": 10 * total, "tokens": 100, "accuracies": SCORED}
        if side == "bfloat16":
            found["accuracies"] = {k: v + 0.25 for k, v in SCORED.items()}
        masked = {"accuracies_masked": {k: v - 0.125 for k, v in SCORED.items()}}
        return found | (masked if side != "theirs" else {})

    monkeypatch.setattr(compare, "_in_process", run)
    monkeypatch.setattr(compare, "find_spec", lambda name: object())
    return lengths


def test_the_json_has_medians_ratios_and_every_run(sides):
    result = run_bench(CONFIG, say=lambda line: None).to_dict()
    assert set(result) == {"config", "summary", "runs", "extra"}
    assert result["summary"] == {
        "sae_part_ratio": 10,
        "whole_run_ratio": 10,
        "memory_ratio": 0.1,
        "max_abs_accuracy_difference": 0,
        "max_abs_accuracy_difference_masked": 0.125,
        "recorder_efficiency": 0.9,
        "rescore_ms": 1.5,
        "theirs_total_s": 20,
        "ours_total_s": 2,
        "theirs_sae_part_s": 10,
        "ours_sae_part_s": 1,
        "theirs_peak_mb": 200,
        "ours_peak_mb": 20,
        "theirs_tokens": 100,
        "ours_tokens": 100,
        "repeats": 3,
        "bfloat16_whole_run_ratio": 20,
        "bfloat16_sae_part_ratio": 20,
        "bfloat16_memory_ratio": 0.05,
        "bfloat16_max_abs_accuracy_difference": 0.25,
    }
    run = {"total", "sae_part", "peak_mb", "tokens", "accuracies"}
    assert [set(r) for r in result["runs"]["theirs"]] == [run] * 3
    assert [set(r) for r in result["runs"]["ours"]] == [run | {"accuracies_masked"}] * 3
    assert result["config"]["repeats"] == 3 and set(result["extra"]) >= {"recorder_pairs_s", "rescore_ms"}


def test_sides_that_scored_different_things_are_not_compared(sides, monkeypatch):
    run = compare._in_process

    def another_key(side, *rest):
        return run(side, *rest) | ({"accuracies": {side: 0.5}} if side != "extra" else {})

    monkeypatch.setattr(compare, "_in_process", another_key)
    with pytest.raises(DataError, match="scored different things"):
        run_bench(CONFIG, say=lambda line: None)


def test_a_failed_side_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(compare, "find_spec", lambda name: object())
    done = subprocess.CompletedProcess([], 1, "", "Traceback\nValueError: no such SAE\n")
    monkeypatch.setattr(compare.subprocess, "run", lambda *args, **kwargs: done)
    with pytest.raises(ConfigError, match="the side 'theirs' failed: ValueError: no such SAE$"):
        run_bench(CONFIG, say=lambda line: None)
    monkeypatch.setattr(compare, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="make bench-setup"):
        run_bench(CONFIG, say=lambda line: None)


def test_one_decision_is_timed_on_arrays_of_the_size_asked_for():
    assert 0 < rescore_ms(n_texts=400, n_latents=160, density=0.05) < 1000
