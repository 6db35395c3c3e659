"""Compare view: empty, full and damaged results, and two choices paired."""

import json

import pytest
from viewing import texts, view

from app import results, services
from saeeval_core.bench_format import BLANK
from saeeval_core.config import RunConfig


@pytest.fixture
def loaded(planted_app):
    """The planted bundle, as views get it."""
    return services.load_or_raise(RunConfig())


@pytest.fixture
def folder(loaded, tmp_path, monkeypatch):
    """A results folder of this test's own beside the planted bundle."""
    made = tmp_path / "assets" / "results"
    made.mkdir(parents=True)
    monkeypatch.setattr(results, "assets_dir", lambda: tmp_path / "assets")
    return made


def sweep() -> dict:
    base = dict(BLANK) | {"task": "reviews", "metric": "tpp", "n": 20, "ci_low": 0.1, "ci_high": 0.3}
    rows = [base | {"sae": f"s{i}", "architecture": a, "l0": 10.0 + i, "value": 0.2} for i, a in enumerate(("topk", "standard"))]
    rows.append(dict(BLANK) | {"sae": "bad", "status": "failed", "error": "no weights"})
    gap = {"metric": "tpp", "variant": "top-N", "protocol": "robust", "task": "reviews", "n": 20, "part": "test", "sae_a": "s0",
           "sae_b": "s1", "value": 0.0, "ci_low": -0.1, "ci_high": 0.1, "half_width": 0.1, "level": "test texts"}  # fmt: skip
    ranks = [{"x": "l0", "y": "tpp top-20", "spearman": 0.5, "n_saes": 2}]
    return {"kind": "sweep", "schema": 1, "made_by": "saeeval sweep --json x", "rows": rows, "differences": [gap], "rank_agreement": ranks}


def test_empty_state_gives_the_command(folder):
    at = view("compare")
    assert not at.exception and "No sweep has been stored" in texts(at) and "saeeval sweep" in texts(at)


def test_full_state_shows_scores_failures_and_what_is_not_separable(folder):
    (folder / "sweep.json").write_text(json.dumps(sweep()))
    at = view("compare")
    said = texts(at)
    assert not at.exception and "1 SAE(s) could not be scored" in said and "0 of 1 pairs are separable" in said
    assert "saeeval sweep --json x" in said
    (table,) = (d.value for d in at.dataframe if "separable" in d.value.columns)
    assert table["separable"].tolist() == ["not separable"]


def test_axis_without_values_says_so(folder):
    (folder / "sweep.json").write_text(json.dumps(sweep()))
    at = view("compare")
    at.selectbox(key="w_cmp_x").set_value("training_tokens").run()
    assert not at.exception and "2 have no such value" in texts(at)


def test_a_damaged_file_is_a_warning_and_the_others_are_shown(folder):
    (folder / "a.json").write_text("{")
    (folder / "b.json").write_text(json.dumps(sweep()))
    at = view("compare")
    assert not at.exception and "not readable JSON" in texts(at) and "could not be scored" in texts(at)


def test_planted_truth_and_faults_are_shown(folder):
    one = {"spearman": 0.6, "spearman_ci": [0.2, 0.8], "n_saes": 12, "oracle_rank": 1.0, "random_score": 0.0,
           "permuted_score": 0.01, "trend_with_training": 0.3, "headline": "small-N area"}  # fmt: skip
    (folder / "p.json").write_text(json.dumps({"kind": "planted", "shift": {"robust": one}, "tpp": {"robust": one}}))
    (folder / "f.json").write_text(json.dumps({"kind": "faults", "rows": [{"setting": "padding leak", "metric": "tpp"}]}))
    at = view("compare")
    assert not at.exception and "Planted truth" in texts(at) and "Why old settings fail" in texts(at)


def test_a_set_against_itself_is_not_separable(folder):
    at = view("compare")
    assert not at.exception and "not separable" in texts(at)
    at.number_input(key="w_two_n_B").set_value(1).run()
    assert "A − B:" in texts(at)
    at.segmented_control(key="w_two_metric").set_value("shift").run()
    assert not at.exception and "A − B:" in texts(at)
