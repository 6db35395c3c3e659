"""What all figures share: colours, inert text, bands and dots with intervals, one layout, and figures as HTML.

Undefined values are shown as gaps with the reason on hover, never as 0. Text from data sets is escaped by plotly only in
part, so every string that may come from data goes through ``plain``.
"""

import math
from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from app.theme import BLUE, GREY, faded
from saeeval_core.scores.uncertainty import Estimate, say

CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "displayModeBar": "hover",
    "modeBarButtonsToRemove": ["toImage", "select2d", "lasso2d", "autoScale2d"],
}
"""Of every plotly figure: its toolbar holds what the mouse alone cannot do; pictures are taken out by our own buttons."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")


def plain(text: object) -> str:
    """Text from data, made inert for plotly's small HTML."""
    return escape(str(text), quote=False)


def short(value: float | None) -> str:
    """A number for a small cell: "+.12", "-.03", "n/a"."""
    if value is None:
        return "n/a"
    text = f"{value:+.2f}"
    return text.replace("+0.", "+.").replace("-0.", "−.").replace("-", "−")


def finish(figure: go.Figure, title: str, *, height: int) -> go.Figure:
    """The layout all figures share; the page's own background shows through."""
    figure.update_layout(
        title={"text": plain(title), "x": 0, "y": 0.985, "yanchor": "top", "font": {"size": 15}},
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 10, "r": 10, "t": 78, "b": 40},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.01, "x": 0},
        hoverlabel={"align": "left"},
        modebar={"orientation": "v", "bgcolor": "rgba(0,0,0,0)"},  # beside the plot, not on the title
    )
    return figure


def band(
    figure: go.Figure, points: Sequence[tuple[float, Estimate]], name: str, colour: str, *, said: str = "N ="
) -> None:
    """Add a line over N with its intervals as a band behind it; points without a value are left out.

    ``said``: what stands before a value of another axis than that of N.
    """
    known = [(x, e) for x, e in points if e.value is not None]
    ranged = [(x, e.ci) for x, e in known if e.ci is not None]
    if ranged:
        xs = [x for x, _ in ranged]
        figure.add_trace(
            go.Scatter(
                x=xs + xs[::-1],
                y=[c[1] for _, c in ranged] + [c[0] for _, c in ranged][::-1],
                fill="toself",
                mode="none",
                fillcolor=faded(colour, 0.15),
                hoverinfo="skip",
                showlegend=False,
                name=f"{name}, interval",
            )
        )
    figure.add_trace(
        go.Scatter(
            x=[x for x, _ in known],
            y=[e.value for _, e in known],
            mode="lines+markers",
            name=plain(name),
            line={"color": colour},
            customdata=[[plain(say(e)), *(e.ci or (None, None))] for _, e in known],
            hovertemplate=f"{said} %{{x}}: %{{customdata[0]}}<extra>" + plain(name) + "</extra>",
        )
    )


def n_axis(figure: go.Figure, ns: Sequence[int], title: str) -> None:
    """The axis of N: logarithmic where every N is at least 1, with its ticks at the values that were scored."""
    log = bool(ns) and min(ns) > 0
    ticks = {"tickvals": sorted(set(ns))} if log else {}
    figure.update_xaxes(title=title, type="log" if log else "linear", **ticks)


def mark_n(figure: go.Figure, n: int) -> None:
    """A dotted line at ``n``, at least 1, on a logarithmic axis of N, with its name above the plot.

    Plotly takes the value itself for a line on such an axis, but the logarithm for an annotation.
    """
    figure.add_vline(x=n, line={"dash": "dot", "color": GREY})
    figure.add_annotation(x=math.log10(n), y=1, yref="paper", yanchor="bottom", text=f"N = {n}", showarrow=False)


def bars(estimates: Sequence[Estimate]) -> dict[str, object]:
    """Error bars of estimates that have a value, for plotly; of length 0 where there is no interval."""
    known = [(e.value or 0.0, e.ci) for e in estimates]
    return {
        "type": "data",
        "symmetric": False,
        "array": [ci[1] - value if ci else 0 for value, ci in known],
        "arrayminus": [value - ci[0] if ci else 0 for value, ci in known],
    }


def interval_dots(
    estimates: Sequence[Estimate], names: Sequence[str], notes: Sequence[str], colour: str = BLUE
) -> go.Scatter:
    """One dot with error bars per named estimate; notes are shown on hover. Those without a value are left out."""
    kept = [(e, n, note) for e, n, note in zip(estimates, names, notes, strict=True) if e.value is not None]
    return go.Scatter(
        x=[e.value for e, _, _ in kept],
        y=[n for _, n, _ in kept],
        mode="markers",
        marker={"color": colour, "size": 10},
        error_x=bars([e for e, _, _ in kept]),
        customdata=[[plain(say(e)), plain(note)] for e, _, note in kept],
        hovertemplate="%{y}: %{customdata[0]}<br>%{customdata[1]}<extra></extra>",
        showlegend=False,
    )


def to_html(figure: go.Figure, *, library: bool = True) -> str:
    """A whole page that opens offline (``library``), or only the figure for a page that already has plotly."""
    return figure.to_html(full_html=library, include_plotlyjs=library, config=CONFIG)
