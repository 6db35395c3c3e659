"""Compare view: empty, full and damaged results, and two choices paired."""

import json

import pytest
import streamlit as st
from viewing import opened, texts, view

from app import results
from app.views import compare
from saeeval_core.config import RunConfig
from saeeval_core.scores.area import RECOMMENDED
from saeeval_core.sweep.columns import BLANK


@pytest.fixture
def loaded(planted_app):
    """The planted bundle, as views get it."""
    return opened(RunConfig())


@pytest.fixture
def folder(loaded, tmp_path, monkeypatch):
    """A results folder of this test's own beside the planted bundle."""
    made = tmp_path / "assets" / "results"
    made.mkdir(parents=True)
    monkeypatch.setattr(results, "assets_dir", lambda: tmp_path / "assets")
    return made


def sweep() -> dict:
    base = dict(BLANK) | {"task": "reviews", "metric": "tpp", "n": 20, "ci_low": 0.1, "ci_high": 0.3}
    rows = [
        base | {"sae": f"s{i}", "architecture": a, "l0": 10.0 + i, "value": 0.2}
        for i, a in enumerate(("topk", "standard"))
    ]
    rows.append(dict(BLANK) | {"sae": "bad", "status": "failed", "error": "no weights"})
    gap = {
        "metric": "tpp",
        "variant": "top-N",
        "protocol": "robust",
        "task": "reviews",
        "n": 20,
        "part": "test",
        "sae_a": "s0",
        "sae_b": "s1",
        "value": 0.0,
        "ci_low": -0.1,
        "ci_high": 0.1,
        "half_width": 0.1,
        "level": "test texts",
    }
    ranks = [{"x": "l0", "y": "tpp top-20", "spearman": 0.5, "n_saes": 2}]
    return {
        "kind": "sweep",
        "schema": 1,
        "made_by": "saeeval sweep --json x",
        "rows": rows,
        "differences": [gap],
        "rank_agreement": ranks,
    }


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


def _numbers(at):
    return next(d.value for d in at.dataframe if "score" in d.value.columns and "SAE" in d.value.columns)


def test_the_recommended_score_comes_first_with_the_papers_beside_it(folder):
    content = sweep()
    more = [r | {"variant": RECOMMENDED, "n": None, "value": 0.3} for r in content["rows"] if r["status"] == "ok"]
    paper = [r | {"n": 10, "value": 0.12} for r in content["rows"] if r["status"] == "ok"]
    (folder / "sweep.json").write_text(json.dumps(content | {"rows": [*content["rows"], *more, *paper]}))
    at = view("compare")
    assert not at.exception and at.selectbox(key="w_cmp_variant").value == RECOMMENDED
    table = _numbers(at)
    assert set(table["score"]) == {0.3} and set(table["S_TPP, zero ablation (paper), N = 10"]) == {0.12}
    assert "ln N" in texts(at) and "threshold" in texts(at)
    at.selectbox(key="w_cmp_variant").set_value("top-N").run()
    assert set(_numbers(at)["score"]) == {0.12}


def test_checkpoints_are_shown_on_request(folder):
    rows = [
        dict(BLANK)
        | {
            "sae": f"s{t}",
            "architecture": "topk",
            "task": "t",
            "metric": "tpp",
            "n": 10,
            "value": 0.1,
            "l0": 9.0,
            "training_tokens": t,
        }
        for t in (0, 100)
    ]
    (folder / "sweep.json").write_text(json.dumps({"kind": "sweep", "rows": rows}))
    at = view("compare")
    assert not at.exception and _numbers(at)["SAE"].tolist() == ["s100"]
    at.segmented_control(key="w_cmp_checkpoints").set_value("all").run()
    assert _numbers(at)["SAE"].tolist() == ["s0", "s100"]
    at.selectbox(key="w_cmp_x").set_value("training_tokens").run()
    assert not at.exception and _numbers(at)["SAE"].tolist() == ["s0", "s100"]


def test_controls_of_many_saes_are_one_line(loaded):
    rows = [
        dict(BLANK)
        | {"sae": f"random decoder of s{i}", "role": "control", "control": "random decoder", "value": i / 10}
        for i in (1, 2)
    ]
    (line,) = compare._one_line_per_control(rows)
    assert line["value"] == pytest.approx(0.15) and line["control"] == "random decoder, mean of 2"


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
    one = {
        "spearman": 0.6,
        "spearman_ci": [0.2, 0.8],
        "n_saes": 12,
        "oracle_rank": 1.0,
        "random_score": 0.0,
        "permuted_score": 0.01,
        "trend_with_training": 0.3,
        "headline": "small-N area",
    }
    (folder / "p.json").write_text(json.dumps({"kind": "planted", "shift": {"robust": one}, "tpp": {"robust": one}}))
    rows = [
        {"setting": "padding leak", "metric": "tpp", "where": "bios", "sae": s, "score": v}
        for s, v in (("a", 0.1), ("pca", 0.2))
    ]
    rows.append({"setting": "padding leak", "metric": "tpp", "where": "planted", "spearman": 0.4})
    (folder / "f.json").write_text(json.dumps({"kind": "faults", "rows": rows}))
    at = view("compare")
    assert not at.exception and "Planted truth" in texts(at) and "Why old settings fail" in texts(at)
    (table,) = (d.value for d in at.dataframe if "setting" in d.value.columns)
    assert table.to_dict("records") == [{"setting": "padding leak", "a": 0.1, "pca": 0.2}]
    at.selectbox(key="w_faults_where").set_value("planted").run()
    (table,) = (d.value for d in at.dataframe if "setting" in d.value.columns)
    assert table["Spearman with truth"].tolist() == [0.4]


def test_a_set_against_itself_is_not_separable(folder):
    at = view("compare")
    assert not at.exception and "not separable" in texts(at)
    at.number_input(key="w_two_n_B").set_value(1).run()
    assert "A − B:" in texts(at)
    at.segmented_control(key="w_two_metric").set_value("shift").run()
    assert not at.exception and "A − B:" in texts(at)


def test_files_about_other_texts_are_never_drawn_together(folder):
    small = sweep() | {"rows": [r for r in sweep()["rows"] if r["sae"] == "s0"]}
    (folder / "a-small.json").write_text(json.dumps(small))
    (folder / "sweep.json").write_text(json.dumps(sweep()))
    at = view("compare")
    assert not at.exception and at.selectbox(key="w_cmp_file").value == "sweep.json"
    assert _numbers(at)["SAE"].tolist() == ["s0", "s1"]
    at.selectbox(key="w_cmp_file").set_value("a-small.json").run()
    assert _numbers(at)["SAE"].tolist() == ["s0"]


def test_a_link_opens_its_tab_and_nonsense_the_first(loaded, monkeypatch):
    opened, real = [], st.tabs
    monkeypatch.setattr(st, "tabs", lambda *args, **more: opened.append(more.get("default")) or real(*args, **more))
    for url in ({"compare_tab": "trust"}, {"compare_tab": "<b>"}, {}):
        assert not view("compare", url).exception
    assert opened == ["Can it be trusted?", "Sweep", "Sweep"]
