"""Reports and SAEBench's format: round trips, checks, and nothing executable from data."""

import json
import re

import pytest

from saeeval_core.errors import ArtifactError
from saeeval_core.evaluation.result_json import from_json
from saeeval_core.formats.report import ReportFigure, ReportLatent, latent_card, report_html
from saeeval_core.formats.saebench_files import SAEBENCH_NS, export_saebench, load_rows, rows_of

HOSTILE = "</script><script>alert(1)</script>"


def run_result() -> dict:
    """The shape of ``saeeval run``'s JSON, with hand-made numbers."""

    def shift_cell(n: int, score: float | None) -> dict:
        return {
            "n": n,
            "n_ablated": n,
            "test": {"score": score, "ci": [0, 1] if score is not None else None, "reason": None},
        }

    def direction(base: float, score: float | None) -> dict:
        return {
            "pair": "a/b x f/m",
            "target": "kind",
            "spurious": "gender",
            "base": {"test": {"value": base}},
            "by_n": [shift_cell(n, score) for n in (1, 5)],
        }

    matrix = [[0.3, 0.1, 0.1], [0.0, None, 0.0], [0.0, 0.1, 0.3]]
    aggregate = [
        {"n": 5, "test": {"score": 0.4, "ci": [0.3, 0.5], "reason": None, "pairs": 1, "directions_left_out": 1}}
    ]
    tpp_cell = {
        "n": 5,
        "n_ablated": [5, 5, 5],
        "test": {
            "matrix": matrix,
            "matrix_ci": None,
            "score": 0.25,
            "ci": [0.2, 0.3],
            "reason": None,
            "intended": {"value": 0.3, "ci": None, "reason": None},
            "unintended": {"value": 0.05, "ci": None, "reason": None},
        },
    }
    row = {
        "sae": "toy-sae",
        "selection": "attribution",
        "unsupervised": {"l0": 12.5, "explained_variance": 0.8, "dead": 0.1},
        "about": {"architecture": "topk", "n_latents": 40, "hook": "blocks.1.hook_resid_post", "d_in": 24},
        "shift": {"directions": [direction(0.6, 0.4), direction(0.5, None)], "aggregate": aggregate},
        "tpp": {"classes": ["a", "b", "c"], "by_n": [tpp_cell]},
    }
    failed = {"sae": "broken", "error": "no weights"}
    return {
        "config": {"seed": 3, "ns": [1, 5], "protocol": "robust"},
        "model": {"name": "toy", "dtype": "float32"},
        "task": {"name": "toy", "composed": True},
        "results": [row, failed],
        "versions": {"saeeval": "0.1.0", "sae-lens": "6.50"},
    }


def test_report_is_one_offline_page_with_everything_and_no_live_text():
    page = report_html(
        run_result(),
        [ReportFigure("Matrix", "<div id='f'></div>", how="test texts", rows=[{"x": 1.0, "y": None}])],
        title=f"Report {HOSTILE}",
        command="saeeval run --seed 3",
        when="2026-01-01 10:00",
        headline=[("TPP", "0.25 [0.20, 0.30]")],
        latents=[ReportLatent(7, "ablate", "a", HOSTILE, [HOSTILE], [], [("bios", [(HOSTILE, 2.0), ("x", 0.0)])])],
        log=[{"when": "now", "who": HOSTILE, "old": "none", "new": "ablate"}],
    )
    assert "<script" not in page and page.count("&lt;script&gt;") >= 4
    assert not re.search(r"(src|href)\s*=\s*['\"]?https?:", page)
    for part in ("<div id='f'>", "saeeval run --seed 3", "0.25 [0.20, 0.30]", "latent 7", "sae-lens", "robust", "n/a"):
        assert part in page


def test_tokens_that_are_white_space_can_be_seen():
    card = latent_card(ReportLatent(7, "ablate", promoted=["\n", "  ", " a", "\t"]))
    assert all(f"<code>{shown}</code>" in card for shown in ("⏎", "␣␣", " a", "⇥"))


def test_saebench_files_follow_its_schema_and_carry_the_matrix():
    files = export_saebench(from_json(run_result()), when_ms=1)
    assert set(files) == {"toy-sae_scr_eval_results.json", "toy-sae_tpp_eval_results.json"}
    scr, tpp = files["toy-sae_scr_eval_results.json"], files["toy-sae_tpp_eval_results.json"]
    metrics = scr["eval_result_metrics"]["scr_metrics"]
    # The second direction starts lower, so it is SAEBench's pick; N = 1 has no field in the schema.
    assert metrics == {"scr_dir1_threshold_5": 0.4, "scr_dir2_threshold_5": None, "scr_metric_threshold_5": None}
    assert scr["eval_result_details"][0]["dataset_name"].startswith("toy_scr_")
    assert tpp["eval_result_metrics"]["tpp_metrics"]["tpp_threshold_5_total_metric"] == 0.25
    unstructured = tpp["eval_result_unstructured"]
    assert unstructured["toy_tpp_results"]["a"]["tpp_threshold_5_total_metric"] == pytest.approx(0.2)
    assert unstructured["saeeval"]["tpp"]["by_n"][0]["test"]["matrix"][1] == [0.0, None, 0.0]
    assert json.loads(json.dumps(tpp)) == tpp and 5 in SAEBENCH_NS


def test_saebench_accepts_our_files():
    scr_output = pytest.importorskip(
        "sae_bench.evals.scr_and_tpp.eval_output", reason="needs sae-bench (make bench-setup)"
    )
    files = export_saebench(from_json(run_result()), when_ms=1)
    known = {f for f in scr_output.TppMetrics.__dataclass_fields__}
    assert set(files["toy-sae_tpp_eval_results.json"]["eval_result_metrics"]["tpp_metrics"]) <= known


def test_published_and_own_files_become_rows_of_one_kind(tmp_path):
    files = export_saebench(from_json(run_result()), when_ms=1)
    path = tmp_path / "x.json"
    path.write_text(json.dumps(files["toy-sae_tpp_eval_results.json"]))
    (published,) = load_rows(path)
    assert published.role == "imported" and published.value == 0.25 and published.ci_low is None
    own = rows_of(run_result(), "run.json")
    assert {(r.metric, r.n, r.value, r.ci_low) for r in own} == {
        ("shift", 5, 0.4, 0.3),
        ("tpp", 5, 0.25, 0.2),
        ("", None, None, None),
    }
    assert own[-1].status == "failed" and own[-1].error == "no weights"
    assert rows_of({"kind": "sweep", "rows": [{"sae": "s", "value": 1.0}]}, "s.json")[0].variant == "top-N"


@pytest.mark.parametrize(
    "content",
    [{}, [], {"eval_result_metrics": {}}, {"results": [{}]}, {"eval_type_id": "core", "eval_result_metrics": {}}],
)
def test_other_json_is_refused_in_one_line(content):
    with pytest.raises(ArtifactError):
        rows_of(content, "x.json")
