"""Compare view: empty, full and damaged results, and two choices paired."""

import io
import json
import zipfile
from pathlib import Path

import pytest
import streamlit as st
from viewing import opened, texts, view

from app import results
from app.results import Stored
from app.services import paired, scoring
from app.views.compare.sweep import one_line_per_control
from app.views.compare.words import WHY_NOT_READ
from saeeval_core.config import RunConfig
from saeeval_core.errors import ArtifactError
from saeeval_core.scores.ablation import ABLATIONS
from saeeval_core.scores.area import RECOMMENDED
from saeeval_core.scores.erasure import ERASURE
from saeeval_core.scores.tpp_cells import chosen_sets
from saeeval_core.scores.uncertainty import difference
from saeeval_core.sweep.columns import BLANK
from saeeval_core.texts.parts import DEV


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
    assert not at.exception and "1 SAE could not be scored" in said and "0 of 1 pair of SAEs can be told apart" in said
    assert "saeeval sweep --json x" in said
    assert said.count(WHY_NOT_READ) == 3  # where E would stand: beside the scores, among differences and among ranks
    (table,) = (d.value for d in at.dataframe if "separable" in d.value.columns)
    assert table["separable"].tolist() == ["not separable"]


def test_differences_of_two_selections_are_never_pooled(folder):
    content = sweep()
    both = [content["differences"][0] | {"selection": s} for s in ("attribution", "judge")]
    (folder / "sweep.json").write_text(json.dumps(content | {"differences": both}))
    at = view("compare")
    assert "0 of 1 pair of SAEs can be told apart" in texts(at)
    assert at.selectbox(key="w_dif_selection").value == "attribution"


def test_the_result_that_has_the_sae_of_the_sidebar_comes_first(folder):
    own = RunConfig().saes[0]
    other = sweep()
    (folder / "a-large.json").write_text(
        json.dumps(other | {"rows": other["rows"] + [other["rows"][0] | {"sae": "s9"}]})
    )
    (folder / "mine.json").write_text(json.dumps(other | {"rows": [other["rows"][0] | {"sae": own}]}))
    assert view("compare").selectbox(key="w_cmp_file").value == "mine.json"


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


def test_what_fresh_probes_read_stands_beside_every_score(folder):
    content = sweep()
    read = {"recoverability": 0.8, "recoverability_low": 0.7, "recoverability_high": 0.9, "edit_size": 0.01}
    read |= {"selective_erasure": None, "selective_erasure_low": None, "selective_erasure_high": None}
    first, second, bad = content["rows"]
    rows = [first, second, bad, first | {"n": 10} | read, first | {"variant": RECOMMENDED, "n": None}]
    rows.append(second | {"variant": RECOMMENDED, "n": None})
    content["rank_agreement"][0]["y"] = f"t shift {ERASURE}"
    (folder / "sweep.json").write_text(json.dumps(content | {"rows": rows}))
    at = view("compare")
    table = _numbers(at)
    assert texts(at).count(WHY_NOT_READ) == 1  # the differences of this result have no E
    assert table["still readable (R), N = 10"].tolist() == ["0.80 [0.70, 0.90]", "not measured"]
    assert table["selective erasure (E), N = 10"].tolist() == ["n/a: undefined there", "not measured"]


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
        Stored(sae=f"random decoder of s{i}", role="control", control="random decoder", value=i / 10) for i in (1, 2)
    ]
    (line,) = one_line_per_control(rows)
    assert line.value == pytest.approx(0.15) and line.control == "random decoder, mean of 2"


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
    place = {"variant": "top-N", "n": 2, "spearman_by_world": {"steep": 0.6}}
    points = [
        {"world": world, "sae": sae, "role": role, "truth": 0.5, "shift": {"robust": {"top-N": [0.1, 0.7]}}}
        for world, sae, role in (("steep", "a", "trained"), ("steep", "b", "permuted"), ("dev", "c", "trained"))
    ]
    made = {"kind": "planted", "ns": [1, 2], "shift": {"robust": one | place}, "tpp": {"robust": one}, "points": points}
    (folder / "p.json").write_text(json.dumps(made))
    (kept,) = results.stored().planted
    assert kept.scores[0].points == (results.PlantedPoint("steep", "a", "trained", 0.5, 0.7),)
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


def _paired_estimates(at):
    return next(m.value for m in at.markdown if m.value.startswith("A − B:"))


def test_paired_shift_follows_the_links_ablation(folder):
    said = {}
    for ablation in ("mean", "zero"):
        at = view("compare", {"ablation": ablation})
        at.number_input(key="w_two_n_B").set_value(1).run()
        at.segmented_control(key="w_two_metric").set_value("shift").run()
        assert not at.exception
        said[ablation] = _paired_estimates(at)
    assert said["mean"].split("(")[0] != said["zero"].split("(")[0]
    assert "mean ablation" in said["mean"] and "zero ablation" in said["zero"]


def test_both_metrics_pair_what_the_scores_themselves_say(loaded):
    direction = scoring.shift_directions(loaded)[0]
    shift = scoring.shift_view(loaded, direction.pair, direction.task.target.column, DEV)
    top = tuple(int(i) for i in shift.attribute_ranking[:5])
    for ablation in ABLATIONS:
        found = paired.shift((shift, top), (shift, top[:1]), ablation=ablation)
        scores = [scoring.set_score(shift, ids, ablation) for ids in (top, top[:1])]
        assert (found.a, found.b) == tuple(s.score for s in scores) and found.cells is None
        assert found.difference == difference(*scores)
    tpp = scoring.tpp_view(loaded, DEV)
    sets = [tuple(chosen_sets(tpp.rankings, n, [{}] * len(tpp.rankings))) for n in (5, 1)]
    found = paired.tpp(*((loaded, s) for s in sets), part=DEV, ablation="zero")
    five, one = tpp.at(5), tpp.at(1)
    assert found.difference.value == pytest.approx(five.score.value - one.score.value)
    assert found.cells[0][1].value == pytest.approx(five.matrix[0][1].value - one.matrix[0][1].value)


def run_json() -> dict:
    """A real run's JSON (the golden one, which lacks the versions it was made with)."""
    path = Path(__file__).parents[1] / "golden" / "run_default.json"
    return json.loads(path.read_text()) | {"versions": {"saeeval": "0"}}


def test_a_loaded_run_can_be_had_as_saebench_files(folder, monkeypatch):
    offered, real = {}, st.download_button
    monkeypatch.setattr(
        st,
        "download_button",
        lambda label, data, *a, **k: offered.update({label: (data, *a)}) or real(label, data, *a, **k),
    )
    at = view("compare")
    assert "SAEBench files (zip)" not in offered
    at.file_uploader(key="w_cmp_files").upload("my run.json", json.dumps(run_json()).encode(), "application/json").run()
    assert not at.exception and not at.error
    data, name, mime = offered["SAEBench files (zip)"]
    assert (name, mime) == ("my run_saebench.zip", "application/zip")
    with zipfile.ZipFile(io.BytesIO(data())) as archive:
        files = {n: json.loads(archive.read(n)) for n in archive.namelist()}
    (sae,) = (r["sae"] for r in run_json()["results"])
    assert set(files) == {f"{sae}_{kind}_eval_results.json" for kind in ("scr", "tpp")}
    tpp = run_json()["results"][0]["tpp"]
    (ten,) = (c["test"]["score"] for c in tpp["by_n"] if c["n"] == 10)
    content = files[f"{sae}_tpp_eval_results.json"]
    assert content["eval_result_metrics"]["tpp_metrics"]["tpp_threshold_10_total_metric"] == ten
    assert content["eval_result_unstructured"]["saeeval"]["tpp"] == tpp
    assert (content["eval_type_id"], content["sae_lens_id"]) == ("tpp", sae)


def test_only_a_run_has_saebench_files_and_a_broken_one_is_one_line():
    assert results.saebench_files(sweep(), "sweep.json") == results.saebench_files([], "x.json") == {}
    with pytest.raises(ArtifactError, match="give the JSON that saeeval run") as caught:
        results.saebench_files({"results": [{"sae": "s", "tpp": {}}]}, "run.json")
    assert "\n" not in str(caught.value)


def test_a_sweep_whose_summary_lacks_columns_is_a_warning(folder):
    (folder / "sweep.json").write_text(json.dumps(sweep() | {"differences": [{"value": 1.0}]}))
    at = view("compare")
    assert not at.exception and "'sae_a' is missing" in texts(at)
