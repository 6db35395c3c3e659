"""Figures: numbers in cells, symmetric scales, undefined shown as undefined, data text inert."""

import re

import numpy as np
import plotly.graph_objects as go
import pytest
from synthetic import CLASSES, make_loaded

from app.figures.common import short, to_html
from app.figures.compared import (
    confusion_matrix,
    difference_map,
    differences,
    forest_with_parts,
    set_comparison,
    settings_forest,
)
from app.figures.shift import score_curve, shift_curve
from app.figures.sweep import rank_agreement, sweep_scatter
from app.figures.tpp import tpp_by_n, tpp_heatmap, tpp_small_multiples
from app.services.scoring import shift_directions, shift_view, tpp_view
from saeeval_core.scores.uncertainty import Estimate, undefined
from saeeval_core.sweep.columns import ScoreRow
from saeeval_core.texts.parts import DEV


@pytest.fixture(scope="module")
def view():
    return tpp_view(make_loaded(), DEV)


def test_heatmap_shows_every_number_and_is_centred_at_zero(view):
    score = view.at(3)
    figure = tpp_heatmap(CLASSES, score.matrix, title="TPP", n_ablated=score.n_ablated)
    (trace,) = figure.data
    assert trace.zmin == -trace.zmax and trace.zmid == 0
    assert trace.zmax >= max(abs(e.value) for row in score.matrix for e in row)
    assert trace.text[0][0] == short(score.matrix[0][0].value)
    assert figure.layout.xaxis.title.text and figure.layout.yaxis.title.text and figure.layout.title.text
    assert list(trace.y) == ["a (3)", "b (3)", "c (3)"]


def test_undefined_cells_are_empty_and_say_why():
    matrix = [[Estimate(0.2, (0.1, 0.3)), undefined("probe 'b' is not better than chance")]] * 2
    (trace,) = tpp_heatmap(["a", "b"], matrix, title="x").data
    assert trace.z[0][1] is None and trace.text[0][1] == "n/a"
    assert "not better than chance" in trace.hovertext[0][1]


def test_class_names_from_data_cannot_become_markup():
    matrix = [[Estimate(0.0, (0.0, 0.1))]]
    figure = tpp_heatmap(["<b>x</b><script>"], matrix, title="<i>t</i>")
    assert "<script>" not in figure.to_json()
    assert "<b>x" not in figure.data[0].x[0] and "<i>" not in figure.layout.title.text


def test_small_multiples_share_one_scale(view):
    figure = tpp_small_multiples(CLASSES, [(n, view.at(n).matrix) for n in (1, 2, 5, 10, 20)], title="all N")
    assert len({trace.zmax for trace in figure.data}) == 1 and len(figure.data) == 5


def test_by_n_has_bands_and_marks_the_current_n(view):
    rows = [(n, s.score, s.intended, s.unintended) for n in (1, 5, 10) for s in (view.at(n),)]
    figure = tpp_by_n(rows, marked=5, title="by N")
    assert sum(t.fill == "toself" for t in figure.data) == 3
    (line,), (label,) = figure.layout.shapes, figure.layout.annotations
    assert line.x0 == 5 and 10**label.x == pytest.approx(5)  # one place, in plotly's two ways to name it
    assert list(figure.layout.xaxis.tickvals) == [1, 5, 10]


def test_shift_curve_marks_the_set_and_the_oracle():
    loaded = make_loaded(n_texts=600)
    direction = shift_directions(loaded)[0]
    live = shift_view(loaded, direction.pair, direction.task.target.column, DEV)
    scores = live.curve(live.attribute_ranking, [1, 2, 5])
    figure = shift_curve(list(zip([1, 2, 5], scores, strict=True)), (2, scores[1]), live.board)
    assert "your set" in [t.name for t in figure.data]
    assert any("oracle" in (a.text or "") for a in figure.layout.annotations)


def test_differences_say_what_is_not_separable():
    figure = differences([("x", Estimate(0.1, (0.05, 0.2))), ("y", Estimate(0.1, (-0.1, 0.2)))], title="d")
    assert {t.name: list(t.y) for t in figure.data} == {"separable": ["x"], "not separable": ["y"]}


def test_difference_map_is_sorted_antisymmetric_and_colours_only_what_is_separable():
    rows = [
        ("m-a", "m-b", Estimate(-0.3, (-0.4, -0.2))),
        ("m-a", "m-c", Estimate(-0.05, (-0.2, 0.1))),
        ("m-b", "m-c", undefined("no gap")),
    ]
    (heat,) = difference_map(rows, title="d", own="m-b").data
    assert list(heat.y) == ["<b>b</b>", "c", "a"]
    at = {(a, b): (heat.z[i][j], heat.text[i][j]) for i, a in enumerate("bca") for j, b in enumerate("bca")}
    assert at["b", "a"] == (0.3, "+.30") and at["a", "b"] == (-0.3, "\u2212.30")
    assert at["a", "c"] == (0.0, "\u2248") and at["b", "c"] == (None, "n/a") and at["a", "a"] == (None, "")


def test_forests_draw_parts_behind_and_leave_undefined_out():
    rows = [("x", Estimate(0.8, (0.7, 0.9)), [("w1", 0.75), ("w2", 0.85)]), ("y", undefined("none"), [])]
    parts, whole = forest_with_parts(rows, title="t", x="s", parts="worlds").data
    assert list(parts.x) == [0.75, 0.85] and list(whole.x) == [0.8]
    figure = settings_forest(
        [("base", "m-a", 0.4), ("leak", "m-a", 0.1), ("leak", "m-b", 0.2)], title="t", x="s", baseline="base"
    )
    assert [(t.name, list(t.x)) for t in figure.data] == [("a", [0.4, 0.1]), ("b", [0.2])]
    assert [s.x0 for s in figure.layout.shapes] == [0.4, 0]


def test_points_with_one_x_stand_apart_and_say_their_own():
    rows = [ScoreRow(sae=f"s{k}", architecture="topk", l0=20.0, value=0.2) for k in range(3)]
    rows.append(ScoreRow(sae="t", architecture="topk", l0=80.0, value=0.2))
    (trace,) = sweep_scatter(rows, x="l0", x_title="L0", y_title="TPP", title="t", log_x=True).data
    assert len(set(trace.x)) == 4 and trace.x[1] == pytest.approx(20.0) and trace.x[3] == 80.0
    assert [c[2] for c in trace.customdata] == [20.0, 20.0, 20.0, 80.0]


def test_sweep_scatter_leaves_failed_and_undefined_rows_out_and_draws_controls_as_lines():
    rows = [
        ScoreRow(sae="s", architecture="topk", l0=20.0, value=0.2, ci_low=0.1, ci_high=0.3),
        ScoreRow(sae="t", architecture="topk", l0=30.0, value=None, reason="no gap"),
        ScoreRow(sae="u", status="failed", error="cannot load"),
        ScoreRow(sae="v", architecture=None, l0=40.0, value=0.3),
        ScoreRow(sae="r", role="control", control="random latents", value=0.01),
    ]
    figure = sweep_scatter(rows, x="l0", x_title="L0", y_title="TPP", title="t", log_x=True)
    assert [list(t.x) for t in figure.data] == [[40.0], [20.0]] and len(figure.layout.shapes) == 1


@pytest.mark.parametrize(
    "figure",
    [
        set_comparison(
            [("mine", Estimate(0.1, (0.0, 0.2)), None), ("judge", undefined("nothing passed"), undefined("x"))]
        ),
        confusion_matrix([0, 1], np.array([[3, 1], [0, 2]]).tolist(), rows="p", columns="q", title="c"),
        rank_agreement(["shift", "tpp"], [[1.0, None], [None, 1.0]], title="r"),
        score_curve({"a": [(1, Estimate(0.1, (0.0, 0.2)))]}, title="s", y="S"),
    ],
)
def test_the_other_figures_draw(figure):
    assert isinstance(figure, go.Figure) and figure.layout.title.text
    assert not re.search(r"<script[^>]+src=", to_html(figure))


def test_controls_that_lie_together_share_a_label_and_all_keep_their_line():
    heights = {"a": 0.0, "b": 0.01, "c": 0.5, "far": 1.0}
    rows = [ScoreRow(role="control", control=name, value=v) for name, v in heights.items()]
    point = ScoreRow(sae="s", architecture="topk", value=0.7, ci_low=0.6, ci_high=0.8, l0=20.0)
    figure = sweep_scatter([*rows, point], x="l0", title="t", x_title="L0", y_title="S", log_x=False)
    assert sorted(a.text for a in figure.layout.annotations) == ["a, b", "c", "far"]
    assert sorted(s.y0 for s in figure.layout.shapes) == [0.0, 0.01, 0.5, 1.0]
