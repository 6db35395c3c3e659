"""The plane of what target and spurious label lose, and the same dictionaries as curves against N or edit size."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from app.figures.common import SYMBOLS, bars, finish, plain, short
from app.theme import GREY, ORANGE, PALETTE, faded
from saeeval_core.config import HEADLINE_N
from saeeval_core.controls.about import BOUNDS, RIVALS, TRAINED_NULL
from saeeval_core.evaluation.result import LossPath, LossPoint
from saeeval_core.scores.uncertainty import Estimate, say

WITH_INTERVALS = (10, 20, 50)
"""N at which the intervals of an SAE are drawn; of a rival at the first of them alone."""
CURVES = {"score": "S (zero ablation)", "selective_erasure": "E", "spurious_lost": "spurious label lost"}
"""Fields of a point -> what a curve of them shows."""
AGAINST = {"n": "latents ablated (N)", "edit_size": "share of variance removed (edit size)"}
_DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot")
_LABELLED = (1, HEADLINE_N, 100)
"""N that are written beside a path where there are several."""


@dataclass(frozen=True)
class _Style:
    colour: str
    dash: str
    symbol: str
    width: float


def loss_plane(paths: Sequence[LossPath], *, title: str, near: bool = False) -> go.Figure:
    """x: share of what a clean probe reads of the target label that is lost; y: the same of the spurious label.

    Each dictionary is a path over N that starts where nothing is ablated; edits that know the label are marks. Points
    without a value are left out: ``plane_words`` counts them. ``near``: the axes show the SAEs, whatever else goes beyond.
    """
    figure = go.Figure()
    shown = [p for p in paths if _defined(p)]
    fitted = [p for p in shown if p.kind == "sae"] if near else shown
    x = _range([q.target_lost for p in fitted for q in _defined(p)], wide=near)
    y = _range([q.spurious_lost for p in fitted for q in _defined(p)], wide=near)
    _guides(figure, x, y)
    alone = sum(p.kind == "sae" for p in shown) == 1
    for path, style in zip(shown, _styles(shown), strict=True):
        _add_path(figure, path, style, label_all=alone and near and path.kind == "sae")
    note = "better: up and to the left; dotted: equal E"
    figure.add_annotation(
        x=0, y=1, xref="paper", yref="paper", xanchor="left", yanchor="bottom", text=note, showarrow=False
    )
    lines = {"zeroline": True, "zerolinecolor": faded(GREY, 0.5), "showgrid": False}
    figure.update_xaxes(title="target lost", range=x, **lines)
    figure.update_yaxes(title="spurious lost", range=y, **lines)
    return _legend_below(finish(figure, title, height=450), len(shown))


def loss_curves(paths: Sequence[LossPath], *, of: str, against: str, title: str) -> go.Figure:
    """One of CURVES over one of AGAINST, for every dictionary; those of one point are marks, drawn against N as lines."""
    figure = go.Figure()
    shown = [p for p in paths if any(getattr(q, of).value is not None for q in p.points)]
    for path, style in zip(shown, _styles(shown), strict=True):
        _add_curve(figure, path, style, of, against)
    ticks = sorted({q.n for p in shown for q in p.points}) if against == "n" else []
    figure.update_xaxes(title=AGAINST[against], type="log", **({"tickvals": ticks} if ticks else {}))
    figure.update_yaxes(title=CURVES[of], zeroline=True)
    return _legend_below(finish(figure, title, height=430), len(shown))


def plane_words(paths: Sequence[LossPath]) -> str:
    """How the plane is computed, and what it leaves out."""
    ns = ", ".join(map(str, WITH_INTERVALS))
    left = sum(len(p.points) - len(_defined(p)) for p in paths)
    return (
        "Shares of what a clean fresh probe reads above chance, (C − F) / (C − ½); numbers beside a path: latents ablated. "
        f"Light bars: 95 % intervals at N = {ns} of SAEs, at {WITH_INTERVALS[0]} of rivals. Undefined points left out: {left}."
    )


def loss_rows(paths: Sequence[LossPath]) -> list[Mapping[str, str | int]]:
    """The numbers of the pictures as a table."""
    return [
        {
            "dictionary": p.name,
            "direction": f"{p.pair}, target {p.target}" if p.pair else "mean over pairs",
            "N": q.n if len(p.points) > 1 else "",
            "S": say(q.score),
            "target lost": say(q.target_lost),
            "spurious lost": say(q.spurious_lost),
            "E": say(q.selective_erasure),
            "edit size": "n/a" if q.edit_size is None else f"{q.edit_size:.4f}",
        }
        for p in paths
        for q in p.points
    ]


def _defined(path: LossPath) -> list[LossPoint]:
    return [q for q in path.points if q.target_lost.value is not None and q.spurious_lost.value is not None]


def _styles(paths: Sequence[LossPath]) -> list[_Style]:
    """SAEs solid in the first colours, by place; every rival always in its own colour, dash and open marker."""
    saes = [p.name for p in paths if p.kind == "sae"]
    return [_style(p, saes.index(p.name) if p.kind == "sae" else 0) for p in paths]


def _style(path: LossPath, place: int) -> _Style:
    if path.kind == "sae":
        return _Style(PALETTE[place % len(PALETTE)], "solid", SYMBOLS[place % 4], 2.6)
    if path.kind == "set":
        return _Style(ORANGE, "solid", "star", 2)
    if path.name in BOUNDS:
        return _Style(GREY, "solid", ("star", "hexagram")[BOUNDS.index(path.name)], 1.5)
    name = TRAINED_NULL if path.kind == "null" else path.name
    k = RIVALS.index(name) if name in RIVALS else 0
    return _Style(PALETTE[-1 - k % len(PALETTE)], _DASHES[k % len(_DASHES)], f"{SYMBOLS[k % 4]}-open", 1.6)


def _add_path(figure: go.Figure, path: LossPath, style: _Style, *, label_all: bool) -> None:
    own, one = _defined(path), len(path.points) == 1
    written = [_label(q.n, path, label_all) for q in own]
    start = [] if one else [0.0]
    figure.add_trace(
        go.Scatter(
            x=[*start, *(q.target_lost.value for q in own)],
            y=[*start, *(q.spurious_lost.value for q in own)],
            mode="markers" if one else "lines+markers+text" if any(written) else "lines+markers",
            name=plain(path.name),
            line={"color": style.colour, "dash": style.dash, "width": style.width},
            marker={"color": style.colour, "symbol": style.symbol, "size": 13 if one else [0, *[7] * len(own)]},
            text=["" for _ in start] + [f" {n}" if n else "" for n in written],
            textposition="middle right" if path.kind == "sae" else "top center",
            textfont={"size": 11, "color": style.colour},
            customdata=[["nothing ablated"] for _ in start] + [[_words(path, q)] for q in own],
            hovertemplate="%{customdata[0]}<extra>" + plain(path.name) + "</extra>",
        )
    )
    crossed = [q for q in own if one or q.n in (WITH_INTERVALS if path.kind == "sae" else WITH_INTERVALS[:1])]
    if crossed or own:
        figure.add_trace(_crosses(crossed or own[-1:], style, path.name))


def _crosses(points: Sequence[LossPoint], style: _Style, name: str) -> go.Scatter:
    light = {"color": faded(style.colour, 0.4), "thickness": 1, "width": 0}
    return go.Scatter(
        x=[q.target_lost.value for q in points],
        y=[q.spurious_lost.value for q in points],
        mode="markers",
        marker={"size": 1, "color": style.colour, "opacity": 0},
        error_x=bars([q.target_lost for q in points]) | light,
        error_y=bars([q.spurious_lost for q in points]) | light,
        hoverinfo="skip",
        showlegend=False,
        name=f"{plain(name)}, intervals",
    )


def _label(n: int, path: LossPath, label_all: bool) -> str:
    if len(path.points) == 1:
        return ""
    return str(n) if label_all or (path.kind == "sae" and n in _LABELLED) or n == path.points[-1].n else ""


def _words(path: LossPath, q: LossPoint) -> str:
    at = f"N = {q.n}<br>" if len(path.points) > 1 else ""
    size = "" if q.edit_size is None else f"<br>edit size {q.edit_size:.4f}"
    lines = (
        ("target lost", q.target_lost),
        ("spurious lost", q.spurious_lost),
        ("E", q.selective_erasure),
        ("S", q.score),
    )
    return at + "<br>".join(f"{name} {plain(say(e))}" for name, e in lines) + size


def _guides(figure: go.Figure, x: Sequence[float], y: Sequence[float]) -> None:
    """Lines of equal E through a picture of these ranges, each named where it enters on the left or below."""
    low, high = y[0] - x[1], y[1] - x[0]
    step = next((s for s in (0.05, 0.1, 0.25) if (high - low) / s <= 8), 0.5)
    for k in range(math.ceil(low / step), math.floor(high / step) + 1):
        e, at = k * step, max(x[0], y[0] - k * step)
        line = {"color": faded(GREY, 0.35), "dash": "dot", "width": 1}
        figure.add_shape(type="line", x0=x[0], y0=x[0] + e, x1=x[1], y1=x[1] + e, line=line, layer="below")
        if y[0] <= at + e <= y[1] - 0.05 * (y[1] - y[0]) and at <= x[1] - 0.1 * (x[1] - x[0]):
            font = {"size": 10, "color": GREY}
            where = {"xanchor": "left", "yanchor": "bottom", "showarrow": False, "font": font}
            figure.add_annotation(x=at, y=at + e, text=f"E = {short(e)}" if k else "E = 0", **where)


def _range(estimates: Sequence[Estimate], *, wide: bool) -> list[float]:
    """The values and 0, with a margin; ``wide``: with their intervals."""
    values = [0.0, *(e.value for e in estimates if e.value is not None)]
    values += [end for e in estimates if wide and e.ci for end in e.ci]
    room = 0.12 * max(max(values) - min(values), 0.05)
    return [min(values) - room, max(values) + room]


def _add_curve(figure: go.Figure, path: LossPath, style: _Style, of: str, against: str) -> None:
    own = [q for q in path.points if getattr(q, of).value is not None and getattr(q, against)]
    if not own:
        return
    one = len(path.points) == 1
    found: list[Estimate] = [getattr(q, of) for q in own]
    shown = path.kind == "sae" or one
    figure.add_trace(
        go.Scatter(
            x=[getattr(q, against) for q in own],
            y=[e.value for e in found],
            mode="markers" if one else "lines+markers",
            name=plain(path.name),
            line={"color": style.colour, "dash": style.dash, "width": style.width},
            marker={"color": style.colour, "symbol": style.symbol, "size": 13 if one else 7},
            error_y=bars(found) | {"color": faded(style.colour, 0.4), "thickness": 1, "width": 0} if shown else None,
            customdata=[[_words(path, q)] for q in own],
            hovertemplate="%{customdata[0]}<extra>" + plain(path.name) + "</extra>",
        )
    )


def _legend_below(figure: go.Figure, names: int) -> go.Figure:
    figure.update_layout(
        legend={"orientation": "h", "yanchor": "top", "y": -0.17, "x": 0},
        margin={"t": 64},
        height=figure.layout.height + 18 * names,
    )
    return figure
