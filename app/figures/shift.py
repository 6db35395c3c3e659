"""SHIFT scores against N, for reports and downloads.

The curve of the live page is drawn in the browser (components/lab/score.js), because every decision redraws it.
"""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from app.figures.common import band, bars, finish, n_axis, plain
from app.theme import BLUE, GREY, ORANGE, PALETTE
from saeeval_core.scores.shift import ShiftBoard, ShiftScore
from saeeval_core.scores.uncertainty import Estimate, say


def shift_curve(
    points: Sequence[tuple[int, ShiftScore]],
    you: tuple[int, ShiftScore] | None,
    board: ShiftBoard,
    *,
    title: str = "Accuracy on the target label against N",
) -> go.Figure:
    """Accuracy of C_b for the first N latents, base and oracle as lines, the current set marked."""
    figure = go.Figure()
    band(figure, [(n, s.accuracy) for n, s in points], "top N by attribution", BLUE)
    for name, e, dash in (("base (nothing ablated)", board.base, "dash"), ("oracle", board.oracle, "dot")):
        if e.value is not None:
            figure.add_hline(y=e.value, line={"dash": dash, "color": GREY}, annotation_text=f"{name} {e.value:.3f}")
    if you is not None:
        n, score = you
        figure.add_trace(_dot(n, score.accuracy, "your set", f"S = {say(score.score)}"))
    n_axis(figure, [n for n, _ in points], "latents ablated (N)")
    figure.update_yaxes(title="balanced accuracy")
    return finish(figure, title, height=360)


def score_curve(curves: Mapping[str, Sequence[tuple[int, Estimate]]], *, title: str, y: str) -> go.Figure:
    """Several scores over N with their bands."""
    figure = go.Figure()
    for k, (name, points) in enumerate(curves.items()):
        band(figure, points, name, PALETTE[k % len(PALETTE)])
    n_axis(figure, [n for points in curves.values() for n, _ in points], "latents ablated (N)")
    figure.update_yaxes(title=y)
    return finish(figure, title, height=360)


def _dot(x: float, e: Estimate, name: str, more: str) -> go.Scatter:
    return go.Scatter(
        x=[x],
        y=[e.value],
        mode="markers",
        name=name,
        marker={"size": 13, "symbol": "star", "color": ORANGE},
        error_y=bars([e]) if e.value is not None and e.ci is not None else None,
        hovertemplate=f"{plain(name)}: {plain(say(e))}<br>{plain(more)}<extra></extra>",
    )
