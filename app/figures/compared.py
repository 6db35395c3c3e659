"""Scores and paired differences of several sets or SAEs, and the confusion matrix of two raters."""

from collections.abc import Sequence

import plotly.graph_objects as go

from app.figures.common import finish, interval_dots, plain
from app.theme import BLUE, GREY, faded
from saeeval_core.scores.uncertainty import Estimate, say, separable


def set_comparison(
    rows: Sequence[tuple[str, Estimate, Estimate | None]], *, title: str = "Sets compared", x: str = "score"
) -> go.Figure:
    """Scores with intervals; rows (name, score, paired difference from another score), the difference on hover."""
    figure = go.Figure()
    names = [plain(name) for name, _, _ in rows]
    figure.add_trace(interval_dots([e for _, e, _ in rows], names, [_difference_words(d) for _, _, d in rows]))
    figure.update_xaxes(title=x)
    figure.update_yaxes(autorange="reversed", automargin=True)
    return finish(figure, title, height=120 + 42 * max(len(rows), 1))


def differences(rows: Sequence[tuple[str, Estimate]], *, title: str, x: str = "difference of scores") -> go.Figure:
    """Paired differences with intervals around a line at 0; those that cover 0 are grey and say "not separable"."""
    figure = go.Figure()
    for told, colour, label in ((True, BLUE, "separable"), (False, GREY, "not separable")):
        own = [(name, e) for name, e in rows if separable(e) == told]
        trace = interval_dots([e for _, e in own], [plain(n) for n, _ in own], [label] * len(own), colour)
        trace.name, trace.showlegend = label, True
        figure.add_trace(trace)
    figure.add_vline(x=0, line={"color": GREY, "dash": "dot"})
    figure.update_xaxes(title=x)
    figure.update_yaxes(
        autorange="reversed", automargin=True, categoryorder="array", categoryarray=[plain(n) for n, _ in rows]
    )
    return finish(figure, title, height=130 + 34 * max(len(rows), 1))


def confusion_matrix(
    labels: Sequence[object], counts: Sequence[Sequence[int]], *, rows: str, columns: str, title: str
) -> go.Figure:
    """Confusion matrix of two raters: number of cells with rating i by ``rows`` and j by ``columns``."""
    names = [str(label) for label in labels]
    figure = go.Figure(
        go.Heatmap(
            z=[list(r) for r in counts],
            x=names,
            y=names,
            texttemplate="%{z}",
            showscale=False,
            xgap=2,
            ygap=2,
            colorscale=[[0, faded(BLUE, 0.04)], [1, BLUE]],
            hovertemplate=f"{plain(rows)}: %{{y}}<br>{plain(columns)}: %{{x}}<br>%{{z}} ratings<extra></extra>",
        )
    )
    figure.update_xaxes(title=plain(columns), type="category")
    figure.update_yaxes(title=plain(rows), type="category", autorange="reversed", scaleanchor="x")
    return finish(figure, title, height=380)


def _difference_words(d: Estimate | None) -> str:
    if d is None:
        return ""
    return f"difference {say(d)}" + ("" if d.value is None or separable(d) else ", not separable")
