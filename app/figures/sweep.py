"""Many SAEs: scores against a property of the SAEs such as L0, and rank agreement of metrics."""

import math
from collections.abc import Sequence
from operator import attrgetter

import plotly.graph_objects as go

from app.figures.common import SYMBOLS, bars, finish, plain
from app.theme import GREY, PALETTE, diverging
from saeeval_core.scores.uncertainty import say
from saeeval_core.sweep.columns import ScoreRow


def sweep_scatter(
    rows: Sequence[ScoreRow], *, x: str, x_title: str, y_title: str, title: str, log_x: bool
) -> go.Figure:
    """Score against the column ``x`` of the rows, by architecture; controls as grey lines."""
    figure = go.Figure()
    at = attrgetter(x)
    shown = [r for r in rows if r.value is not None and r.role != "control" and at(r) is not None]
    places = _apart([(id(r), float(at(r))) for r in shown], log=log_x)
    for k, name in enumerate(sorted({str(r.architecture) for r in shown})):
        own = sorted((r for r in shown if str(r.architecture) == name), key=at)
        figure.add_trace(
            go.Scatter(
                x=[places[id(r)] for r in own],
                y=[r.value for r in own],
                name=plain(name),
                mode="markers",
                marker={"color": PALETTE[k % len(PALETTE)], "symbol": SYMBOLS[k % len(SYMBOLS)], "size": 10},
                error_y=bars([r.estimate for r in own]) | {"thickness": 1.2, "width": 3},
                customdata=[[plain(r.sae), say(r.estimate), at(r)] for r in own],
                hovertemplate=f"<b>%{{customdata[0]}}</b><br>{y_title} %{{customdata[1]}}<br>{x_title} %{{customdata[2]}}"
                "<extra></extra>",
            )
        )
    for height, name, shown_at in _control_lines(rows):
        line = {"color": GREY, "dash": "dot", "width": 1}
        figure.add_hline(y=height, line=line)
        if shown_at is not None:
            figure.add_annotation(
                x=1, xref="x domain", xanchor="right", y=shown_at, yanchor="bottom", text=plain(name), showarrow=False
            )
    figure.update_xaxes(title=x_title, type="log" if log_x and all(at(r) > 0 for r in shown) else "linear")
    figure.update_yaxes(title=y_title)
    return finish(figure, title, height=430)


def _apart(points: Sequence[tuple[int, float]], *, log: bool) -> dict[int, float]:
    """Key -> where it is drawn: points with one x stand side by side around it, 1 % of the axis apart; hover says x."""
    into, back = (math.log, math.exp) if log and all(x > 0 for _, x in points) else (float, float)
    groups: dict[float, list[int]] = {}
    for key, x in points:
        groups.setdefault(x, []).append(key)
    step = 0.01 * (into(max(groups)) - into(min(groups))) if groups else 0.0
    return {
        key: x if len(keys) == 1 else back(into(x) + (k - (len(keys) - 1) / 2) * step)
        for x, keys in groups.items()
        for k, key in enumerate(keys)
    }


def _control_lines(rows: Sequence[ScoreRow]) -> list[tuple[float, str, float | None]]:
    """(height, label, height of the label or None) of every control; lines close together share one label."""
    found = sorted((r.value, r.control or r.sae) for r in rows if r.role == "control" and r.value is not None)
    values = [v for r in rows if r.value is not None for v in (r.value, r.ci_low, r.ci_high) if v is not None]
    room = 0.05 * (max(values) - min(values)) if values else 0.0
    groups: list[list[tuple[float, str]]] = []
    for height, name in found:
        if groups and height - groups[-1][0][0] < room:
            groups[-1].append((height, name))
        else:
            groups.append([(height, name)])
    return [
        (height, ", ".join(n for _, n in group), group[-1][0] if k == len(group) - 1 else None)
        for group in groups
        for k, (height, _) in enumerate(group)
    ]


def rank_agreement(
    names: Sequence[str], values: Sequence[Sequence[float | None]], *, title: str, dark: bool = False
) -> go.Figure:
    """Spearman correlation between metrics over SAEs."""
    text = [["n/a" if v is None else f"{v:+.2f}" for v in row] for row in values]
    labels = [plain(n) for n in names]
    figure = go.Figure(
        go.Heatmap(
            z=[list(r) for r in values],
            x=labels,
            y=labels,
            text=text,
            texttemplate="%{text}",
            zmin=-1,
            zmax=1,
            xgap=2,
            ygap=2,
            colorscale=diverging(dark),
            colorbar={"title": "Spearman"},
            hovertemplate="%{y}<br>%{x}<br>rank correlation %{text}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(automargin=True)
    return finish(figure, title, height=160 + 40 * len(names))
