"""The plane of what both labels lose and its curves: every dictionary can be told apart, undefined points are counted."""

import pytest

from app.figures.loss_plane import WITH_INTERVALS, loss_curves, loss_plane, loss_rows, plane_words
from saeeval_core.controls.about import MEANS, RIVALS
from saeeval_core.evaluation.result import LossPath, LossPoint
from saeeval_core.scores.uncertainty import Estimate, undefined


def at(n: int, x: float, y: float, edit: float | None = 0.01) -> LossPoint:
    e = [Estimate(v, (v - 0.05, v + 0.05)) for v in (y, x, y, y - x)]
    return LossPoint(n, *e, edit)


def path(name: str, kind: str, k: int = 0) -> LossPath:
    ns = (1, 2, 5, 10, 20, 50)
    return LossPath(name, kind, tuple(at(n, 0.01 * n / (k + 1), 0.015 * n, 0.01 * n) for n in ns))


@pytest.fixture
def crowd() -> list[LossPath]:
    saes = [path(f"sae {k}", "sae", k) for k in range(4)]
    rivals = [path(name, "rival", 4 + k) for k, name in enumerate(n for n in RIVALS if n != MEANS)]
    return [
        *saes,
        *rivals[:6],
        LossPath(MEANS, "bound", (at(1, 0.1, 0.9),)),
        LossPath("leace", "bound", (at(1, 0.2, 0.8),)),
    ]


def named(figure) -> list:
    return [t for t in figure.data if t.showlegend is not False]


def test_four_saes_and_six_rivals_differ_in_more_than_colour(crowd):
    lines = named(loss_plane(crowd, title="x"))
    assert [t.name for t in lines] == [p.name for p in crowd]
    looks = [(t.line.color, t.line.dash, t.marker.symbol) for t in lines]
    assert len(set(looks)) == len(looks)
    assert len({(dash, symbol) for _, dash, symbol in looks}) == len(looks)  # without any colour


def test_a_rival_looks_the_same_in_every_picture(crowd):
    one = named(loss_plane([crowd[0], crowd[5]], title="x"))[1]
    other = next(t for t in named(loss_plane(crowd, title="x")) if t.name == one.name)
    assert (one.line.color, one.line.dash, one.marker.symbol) == (
        other.line.color,
        other.line.dash,
        other.marker.symbol,
    )


def test_a_path_starts_where_nothing_is_ablated_and_a_bound_is_a_mark(crowd):
    lines = {t.name: t for t in named(loss_plane(crowd, title="x"))}
    assert (lines["sae 0"].x[0], lines["sae 0"].y[0]) == (0, 0)
    assert lines[MEANS].mode == "markers" and len(lines[MEANS].x) == 1


def test_intervals_are_drawn_on_both_axes_at_chosen_n_only(crowd):
    figure = loss_plane(crowd[:1], title="x")
    (bars,) = [t for t in figure.data if t.name == "sae 0, intervals"]
    assert len(bars.x) == len(WITH_INTERVALS) and bars.error_x.array[0] == pytest.approx(0.05)
    assert len(bars.error_y.array) == len(WITH_INTERVALS)


def test_undefined_points_are_left_out_and_counted(crowd):
    none = undefined("a fresh probe is at chance")
    gap = LossPath("gap", "sae", (at(1, 0.1, 0.2), LossPoint(2, none, none, none, none, None)))
    (line,) = named(loss_plane([gap], title="x"))
    assert len(line.x) == 2 and "left out: 1" in plane_words([gap]) and "left out: 0" in plane_words(crowd)
    assert [r["E"] for r in loss_rows([gap])] == ["0.100 [0.050, 0.150]", "n/a: a fresh probe is at chance"]
    assert not loss_plane([LossPath("none", "sae", gap.points[1:])], title="x").data


def test_curves_run_over_n_or_over_the_edit(crowd):
    for against, first in (("n", 1), ("edit_size", 0.01)):
        lines = named(loss_curves(crowd, of="score", against=against, title="x"))
        assert lines[0].x[0] == first and [t.name for t in lines] == [p.name for p in crowd]
    hidden = LossPath("<b>x</b>", "sae", (at(1, 0.1, 0.2, None),))
    figure = loss_curves([hidden], of="score", against="edit_size", title="x")
    assert not figure.data
    assert "<b>x</b>" not in loss_plane([hidden], title="x").to_json()
