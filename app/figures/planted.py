"""What a score says of SAEs whose truth is known: one small plot per setting and planted world."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.figures.common import finish, plain, short
from app.theme import BLUE, GREY, ORANGE

_KINDS = (("trained", "trained SAEs", BLUE, "circle", 6), ("oracle", "the true dictionary", ORANGE, "diamond", 10))


@dataclass(frozen=True)
class Dot:
    """One SAE in one world."""

    sae: str
    role: str
    """ "trained", or "oracle": the true dictionary."""
    truth: float
    """How well its latents match the true ones, 0 to 1."""
    score: float


@dataclass(frozen=True)
class WorldPanel:
    """One world under one setting."""

    world: str
    spearman: float | None
    """Of truth and score over the trained SAEs."""
    dots: Sequence[Dot]


def truth_scatter(rows: Sequence[tuple[str, Sequence[WorldPanel]]], *, title: str) -> go.Figure:
    """Score against truth; rows: (setting, its panels, one per world and the same worlds in every row), one scale a row."""
    wide = max((len(panels) for _, panels in rows), default=1) or 1
    figure = make_subplots(
        rows=max(len(rows), 1),
        cols=wide,
        subplot_titles=[plain(p.world) for p in (rows[0][1] if rows else ())],
        horizontal_spacing=0.035,
        vertical_spacing=0.3 / max(len(rows), 1),
    )
    for down, (setting, panels) in enumerate(rows, 1):
        limits = _reach([d.score for p in panels for d in p.dots])
        for along, panel in enumerate(panels, 1):
            for trace in _traces(panel, showlegend=(down, along) == (1, 1)):
                figure.add_trace(trace, row=down, col=along)
            place = {"row": down, "col": along}
            figure.update_xaxes(title=f"Spearman {short(panel.spearman)}", range=[0, 1.06], dtick=0.5, **place)
            figure.update_yaxes(range=limits, showticklabels=along == 1, **place)
        figure.update_yaxes(title=plain(setting), automargin=True, row=down, col=1)
    figure.update_annotations(font={"size": 10.5})
    figure.update_xaxes(title_font={"size": 11}, title_standoff=2)
    finish(figure, title, height=120 + 205 * len(rows))
    return figure.update_layout(legend={"y": 1 + 0.1 / max(len(rows), 1)})  # above the names of the worlds


def _traces(panel: WorldPanel, *, showlegend: bool) -> list[go.Scatter]:
    traces = []
    for role, name, colour, symbol, size in _KINDS:
        own = [d for d in panel.dots if d.role == role]
        traces.append(
            go.Scatter(
                x=[d.truth for d in own],
                y=[d.score for d in own],
                customdata=[[plain(d.sae)] for d in own],
                mode="markers",
                name=name,
                marker={"color": colour, "symbol": symbol, "size": size, "line": {"color": GREY, "width": 0.5}},
                showlegend=showlegend,
                hovertemplate="%{customdata[0]}<br>truth %{x:.2f}, score %{y:.3f}<extra></extra>",
            )
        )
    return traces


def _reach(values: Sequence[float]) -> list[float]:
    """Ends of an axis that shows all values, and 0."""
    low, high = min([0.0, *values]), max([0.0, *values])
    room = 0.06 * (high - low or 1.0)
    return [low - room, high + room]
