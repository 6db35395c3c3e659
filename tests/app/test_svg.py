"""Figures without a browser: every figure of the dashboard as SVG, and its numbers as rows."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from synthetic import CLASSES, make_loaded

from app.figures.compared import (
    confusion_matrix,
    difference_map,
    differences,
    forest_with_parts,
    set_comparison,
    settings_forest,
)
from app.figures.numbers import numbers
from app.figures.shift import score_curve
from app.figures.svg import to_svg
from app.figures.svg_marks import BOTH, DARK, LIGHT
from app.figures.sweep import rank_agreement, sweep_scatter
from app.figures.tpp import tpp_by_n, tpp_heatmap, tpp_small_multiples
from app.figures.typed import before_after, waterfall
from app.services.scoring import tpp_view
from saeeval_core.scores.uncertainty import Estimate, undefined
from saeeval_core.sweep.columns import ScoreRow
from saeeval_core.texts.parts import DEV

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "<script>a</script> & 'b' \"c\""
CURVE = {"a": [(1, Estimate(0.1, (0.0, 0.2))), (10, Estimate(0.3, (0.2, 0.4)))]}
MATRIX = [[Estimate(0.2, (0.1, 0.3)), undefined("chance")], [Estimate(-0.1, (-0.2, 0.0)), Estimate(0.0, (0.0, 0.1))]]


def figures():
    view = tpp_view(make_loaded(), DEV)
    yield tpp_heatmap([HOSTILE, "b"], MATRIX, title=HOSTILE)
    yield tpp_small_multiples(CLASSES, [(n, view.at(n).matrix) for n in (1, 2, 5, 10, 20)], title="all N")
    yield tpp_by_n([(n, s.score, s.intended, s.unintended) for n in (1, 5) for s in (view.at(n),)], marked=5, title="N")
    yield score_curve(CURVE, title="curve", y="S")
    yield set_comparison([(HOSTILE * 3, MATRIX[0][0], None), ("judge", MATRIX[0][1], None)])
    yield differences([("x", MATRIX[0][0]), ("y", MATRIX[1][0])], title="d")
    pairs = [("a", "b", MATRIX[0][0]), ("a", "c", MATRIX[1][1]), ("b", "c", MATRIX[0][1])]
    yield difference_map(pairs, title="map", own="b")
    yield forest_with_parts([("x", MATRIX[0][0], [("w", 0.1)])], title="f", x="Spearman", parts="worlds")
    yield settings_forest([("base", "s", 0.2), ("other", "t", 0.1)], title="s", x="score", baseline="base")
    yield before_after(["one", HOSTILE], [1.0, -1.0], [0.5, 0.5], title="b")
    yield waterfall(1.0, [("latent 3", 0.5), ("2 others", -0.2)], title="w")
    yield confusion_matrix([0, 1], [[3, 1], [0, 2]], rows=HOSTILE, columns="q", title="c")
    yield rank_agreement(["shift", "tpp"], [[1.0, None], [None, 1.0]], title="r")
    rows = [ScoreRow(sae="s", architecture="topk", l0=20.0, value=0.2, ci_low=0.1, ci_high=0.3)]
    yield sweep_scatter(rows, x="l0", x_title="L0", y_title="TPP", title="t", log_x=True)
    yield score_curve({}, title="nothing defined", y="S")


def test_numbers_of_every_figure_are_numbers():
    for figure in figures():
        for row in numbers(figure, "test"):
            assert all(row[k] is None or isinstance(row[k], (int, float)) for k in ("value", "low", "high")), row


def test_a_map_gives_its_values_though_what_is_not_separable_has_no_colour():
    rows = numbers(difference_map([("a", "b", Estimate(0.02, (-0.1, 0.1)))], title="m", own="a"))
    told = {(r["y"], r["x"]): (r["value"], r["low"], r["high"]) for r in rows}
    assert told["a", "b"] == (0.02, -0.1, 0.1) and told["b", "a"] == (-0.02, -0.1, 0.1)


def test_every_figure_of_a_page_is_drawn_in_one_place():
    drawn = [p for p in (ROOT / "app").rglob("*.py") if "plotly_chart(" in p.read_text(encoding="utf-8")]
    assert [p.name for p in drawn] == ["chart.py"], "so that its toolbar and files are the same everywhere"


@pytest.mark.parametrize("look", [BOTH, LIGHT, DARK])
def test_every_figure_is_well_formed_small_and_stays_inside_its_frame(look):
    for figure in figures():
        svg = to_svg(figure, look=look, caption=HOSTILE)
        root = ElementTree.fromstring(svg)
        assert len(svg) < 40_000 and "<script" not in svg and "nan" not in svg
        width, height = float(root.get("width")), float(root.get("height"))
        for line in root.iter("{http://www.w3.org/2000/svg}line"):
            assert all(-1 <= float(line.get(k)) <= width + 1 for k in ("x1", "x2"))
            assert all(-1 <= float(line.get(k)) <= height + 1 for k in ("y1", "y2"))


def test_a_file_has_its_own_paper_and_ink_and_a_page_lends_both():
    figure = score_curve(CURVE, title="curve", y="S")
    assert "light-dark(" in to_svg(tpp_heatmap(["a", "b"], MATRIX, title="m"))
    assert "light-dark(" not in to_svg(tpp_heatmap(["a", "b"], MATRIX, title="m"), look=DARK)
    assert "color:" in to_svg(figure, look=LIGHT) and "color:" not in to_svg(figure)


def test_a_line_stands_where_its_values_are():
    svg = to_svg(score_curve({"a": CURVE["a"], "b": [(100, Estimate(0.2))]}, title="c", y="S"))
    xs = [float(x) for x in re.findall(r"<circle cx='([\d.]+)'[^>]*><title>", svg)]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)  # 1, 10, 100 on a logarithmic axis


def test_numbers_of_a_figure_are_its_values_with_their_intervals():
    rows = numbers(tpp_heatmap([HOSTILE, "b"], MATRIX, title="m"), "dev")
    assert rows[0] == {"series": "", "x": HOSTILE, "y": HOSTILE, "value": 0.2, "low": 0.1, "high": 0.3, "part": "dev"}
    assert rows[1]["value"] is None and len(rows) == 4
    assert [(r["x"], r["value"], r["low"], r["high"]) for r in numbers(score_curve(CURVE, title="c", y="S"))] == [
        (1, 0.1, 0.0, 0.2),
        (10, 0.3, 0.2, 0.4),
    ]
    (lying,) = numbers(set_comparison([("x", MATRIX[0][0], None)]))
    assert lying["y"] == "x" and (lying["low"], lying["high"]) == pytest.approx((0.1, 0.3))
