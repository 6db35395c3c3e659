"""TPP matrices and their scores against N, for reports, downloads and all N at once.

The matrix of the live page is drawn in the browser (components/tpp/matrix.js), where cells can be clicked and moving
the slider redraws only numbers.
"""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.figures.common import band, finish, mark_n, n_axis, plain, short
from app.theme import BLUE, GREY, ORANGE, diverging
from saeeval_core.scores.uncertainty import Estimate, say


def tpp_heatmap(
    classes: Sequence[str],
    matrix: Sequence[Sequence[Estimate]],
    *,
    title: str,
    n_ablated: Sequence[int] | None = None,
    relative: bool = False,
    limit: float | None = None,
    dark: bool = False,
) -> go.Figure:
    """Ablated class (rows) x probe (columns), numbers in the cells; colour symmetric around 0, up to ``limit``."""
    figure = go.Figure(_heatmap(classes, matrix, n_ablated, relative, limit or _limit([matrix]), dark, showscale=True))
    figure.update_yaxes(title="latents ablated of", autorange="reversed", automargin=True)
    figure.update_xaxes(title="probe of", automargin=True, side="top")
    return finish(figure, title, height=150 + 44 * len(classes))


def tpp_small_multiples(
    classes: Sequence[str],
    matrices: Sequence[tuple[int, Sequence[Sequence[Estimate]]]],
    *,
    title: str,
    dark: bool = False,
) -> go.Figure:
    """One small matrix per N on one colour scale."""
    columns = min(4, max(1, len(matrices)))
    rows = -(-len(matrices) // columns)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=[f"N = {n}" for n, _ in matrices],
        vertical_spacing=0.34 / max(rows, 1),
        horizontal_spacing=0.03,
    )
    limit = _limit([m for _, m in matrices])
    for k, (_, matrix) in enumerate(matrices):
        trace = _heatmap(classes, matrix, None, False, limit, dark, showscale=k == 0)
        trace.texttemplate = None
        figure.add_trace(trace, row=k // columns + 1, col=k % columns + 1)
    figure.update_yaxes(autorange="reversed", showticklabels=False)
    figure.update_xaxes(tickangle=-60, tickfont={"size": 10})
    figure.update_yaxes(title="ablated", showticklabels=True, automargin=True, tickfont={"size": 10}, col=1)
    return finish(figure, title, height=110 + 270 * rows)


def tpp_by_n(rows: Sequence[tuple[int, Estimate, Estimate, Estimate]], *, marked: int | None, title: str) -> go.Figure:
    """(N, score, diagonal, off-diagonal) with bands; the N in use is marked."""
    figure = go.Figure()
    for name, place, colour in (
        ("diagonal (intended)", 2, ORANGE),
        ("off-diagonal (unintended)", 3, GREY),
        ("TPP score", 1, BLUE),
    ):
        band(figure, [(row[0], row[place]) for row in rows], name, colour)
    if marked:
        mark_n(figure, marked)
    n_axis(figure, [r[0] for r in rows], "latents ablated per class (N)")
    figure.update_yaxes(title="loss of balanced accuracy")
    return finish(figure, title, height=330)


def _heatmap(
    classes: Sequence[str],
    matrix: Sequence[Sequence[Estimate]],
    n_ablated: Sequence[int] | None,
    relative: bool,
    limit: float,
    dark: bool,
    *,
    showscale: bool,
) -> go.Heatmap:
    names = [plain(c) for c in classes]
    unit = "share of the accuracy above chance lost" if relative else "loss of balanced accuracy"
    rows = names if n_ablated is None else [f"{c} ({n})" for c, n in zip(names, n_ablated, strict=True)]
    hover = [
        [
            f"<b>{names[i]}</b> latents ablated, probe of <b>{names[j]}</b><br>{unit}: {plain(say(e))}"
            for j, e in enumerate(row)
        ]
        for i, row in enumerate(matrix)
    ]
    return go.Heatmap(
        z=[[e.value for e in row] for row in matrix],
        x=names,
        y=rows,
        zmin=-limit,
        zmax=limit,
        zmid=0,
        xgap=2,
        ygap=2,
        text=[[short(e.value) for e in row] for row in matrix],
        texttemplate="%{text}",
        hovertext=hover,
        hoverinfo="text",
        customdata=[[e.ci or (None, None) for e in row] for row in matrix],
        colorscale=diverging(dark),
        showscale=showscale,
        colorbar={"title": {"text": unit, "side": "right"}},
    )


def _limit(matrices: Sequence[Sequence[Sequence[Estimate]]]) -> float:
    """Largest magnitude shown, at least .05 so that noise does not fill the scale."""
    return max([0.05, *(abs(e.value) for m in matrices for row in m for e in row if e.value is not None)])
