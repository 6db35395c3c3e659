"""Results in, plotly figures out. Nothing is computed here beyond layout; views and reports draw with the same functions.

Undefined values are shown as gaps with the reason on hover, never as 0. Text from data sets is escaped by plotly only in
part, so every string that may come from data goes through ``plain``.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.theme import BLUE, GREY, ORANGE, PALETTE, diverging, faded
from saeeval_core.scores.shift import ShiftBoard, ShiftScore
from saeeval_core.scores.uncertainty import Estimate, say, separable

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
LEVEL = "95 % interval over resampled texts"


def plain(text: object) -> str:
    """Text from data, made inert for plotly's small HTML."""
    return escape(str(text), quote=False)


def short(value: float | None) -> str:
    """A number for a small cell: "+.12", "-.03", "n/a"."""
    if value is None:
        return "n/a"
    text = f"{value:+.2f}"
    return text.replace("+0.", "+.").replace("-0.", "−.").replace("-", "−")


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
    """Ablated class (rows) x probe (columns) with the numbers in the cells; colour symmetric around 0, up to ``limit``."""
    figure = go.Figure(_heatmap(classes, matrix, n_ablated, relative, limit or _limit([matrix]), dark, showscale=True))
    figure.update_yaxes(title="latents ablated of", autorange="reversed", automargin=True)
    figure.update_xaxes(title="probe of", automargin=True, side="top")
    return _finish(figure, title, height=150 + 44 * len(classes))


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
        vertical_spacing=0.12 / max(rows, 1),
        horizontal_spacing=0.03,
    )
    limit = _limit([m for _, m in matrices])
    for k, (_, matrix) in enumerate(matrices):
        trace = _heatmap(classes, matrix, None, False, limit, dark, showscale=k == 0)
        trace.texttemplate = None
        figure.add_trace(trace, row=k // columns + 1, col=k % columns + 1)
    figure.update_yaxes(autorange="reversed", showticklabels=False)
    figure.update_xaxes(showticklabels=False)
    figure.update_yaxes(title="ablated", col=1)
    return _finish(figure, title, height=90 + 210 * rows)


def tpp_by_n(rows: Sequence[tuple[int, Estimate, Estimate, Estimate]], *, marked: int | None, title: str) -> go.Figure:
    """(N, score, diagonal, off-diagonal) with bands; the N in use is marked."""
    figure = go.Figure()
    for name, place, colour in (
        ("diagonal (intended)", 2, ORANGE),
        ("off-diagonal (unintended)", 3, GREY),
        ("TPP score", 1, BLUE),
    ):
        _band(figure, [(row[0], row[place]) for row in rows], name, colour)
    if marked is not None:
        figure.add_vline(x=marked, line={"dash": "dot", "color": GREY}, annotation_text=f"N = {marked}")
    figure.update_xaxes(
        title="latents ablated per class (N)", type="log" if rows and min(r[0] for r in rows) > 0 else "linear"
    )
    figure.update_yaxes(title="loss of balanced accuracy")
    return _finish(figure, title, height=330)


def shift_curve(
    points: Sequence[tuple[int, ShiftScore]],
    you: tuple[int, ShiftScore] | None,
    board: ShiftBoard,
    *,
    title: str = "Accuracy on the target label against N",
) -> go.Figure:
    """Accuracy of C_b for the first N latents, base and oracle as lines, the current set marked."""
    figure = go.Figure()
    _band(figure, [(n, s.accuracy) for n, s in points], "top N by attribution", BLUE)
    for name, e, dash in (("base (nothing ablated)", board.base, "dash"), ("oracle", board.oracle, "dot")):
        if e.value is not None:
            figure.add_hline(y=e.value, line={"dash": dash, "color": GREY}, annotation_text=f"{name} {e.value:.3f}")
    if you is not None:
        n, score = you
        figure.add_trace(_dot(n, score.accuracy, "your set", f"S = {say(score.score)}"))
    ns = [n for n, _ in points]
    figure.update_xaxes(title="latents ablated (N)", type="log" if ns and min(ns) > 0 else "linear")
    figure.update_yaxes(title="balanced accuracy")
    return _finish(figure, title, height=360)


def score_curve(curves: Mapping[str, Sequence[tuple[int, Estimate]]], *, title: str, y: str) -> go.Figure:
    """Several scores over N with their bands."""
    figure = go.Figure()
    for k, (name, points) in enumerate(curves.items()):
        _band(figure, points, name, PALETTE[k % len(PALETTE)])
    ns = [n for points in curves.values() for n, _ in points]
    figure.update_xaxes(title="latents ablated (N)", type="log" if ns and min(ns) > 0 else "linear")
    figure.update_yaxes(title=y)
    return _finish(figure, title, height=360)


def quadrant_bars(
    names: Sequence[str], before: Sequence[float | None], after: Sequence[float | None], *, title: str
) -> go.Figure:
    """Accuracy per quadrant before and after ablation."""
    figure = go.Figure()
    for name, values, colour in (("before", before, GREY), ("after ablation", after, BLUE)):
        figure.add_trace(
            go.Bar(
                name=name,
                x=[plain(n) for n in names],
                y=list(values),
                marker_color=colour,
                hovertemplate="%{x}<br>accuracy %{y:.3f}<extra>" + name + "</extra>",
            )
        )
    figure.add_hline(y=0.5, line={"dash": "dot", "color": GREY}, annotation_text="chance")
    figure.update_yaxes(title="accuracy", range=[0, 1])
    figure.update_xaxes(title="quadrant (target, spurious)")
    return _finish(figure, title, height=320)


def set_comparison(
    rows: Sequence[tuple[str, Estimate, Estimate | None]], *, title: str = "Sets compared", x: str = "score"
) -> go.Figure:
    """(name, score, paired difference to the first or current one); the difference is in the hover and the label."""
    figure = go.Figure()
    names = [plain(name) for name, _, _ in rows]
    figure.add_trace(_interval_dots([e for _, e, _ in rows], names, [_difference_words(d) for _, _, d in rows]))
    figure.update_xaxes(title=x)
    figure.update_yaxes(autorange="reversed", automargin=True)
    return _finish(figure, title, height=120 + 42 * max(len(rows), 1))


def differences(rows: Sequence[tuple[str, Estimate]], *, title: str, x: str = "difference of scores") -> go.Figure:
    """Paired differences with intervals around a line at 0; those that cover 0 are grey and say "not separable"."""
    figure = go.Figure()
    for told, colour, label in ((True, BLUE, "separable"), (False, GREY, "not separable")):
        own = [(name, e) for name, e in rows if separable(e) == told]
        trace = _interval_dots([e for _, e in own], [plain(n) for n, _ in own], [label] * len(own), colour)
        trace.name, trace.showlegend = label, True
        figure.add_trace(trace)
    figure.add_vline(x=0, line={"color": GREY, "dash": "dot"})
    figure.update_xaxes(title=x)
    figure.update_yaxes(
        autorange="reversed", automargin=True, categoryorder="array", categoryarray=[plain(n) for n, _ in rows]
    )
    return _finish(figure, title, height=130 + 34 * max(len(rows), 1))


def histogram(
    counts: Sequence[float], edges: Sequence[float], *, title: str, x: str, y: str = "count", log_y: bool = False
) -> go.Figure:
    """Bars between given edges (activation density, logits): counts[i] lies between edges[i] and edges[i + 1]."""
    centres = [(a + b) / 2 for a, b in zip(edges, edges[1:], strict=False)]
    figure = go.Figure(
        go.Bar(
            x=centres,
            y=list(counts),
            width=[b - a for a, b in zip(edges, edges[1:], strict=False)],
            marker_color=BLUE,
            customdata=[[a, b] for a, b in zip(edges, edges[1:], strict=False)],
            hovertemplate="%{customdata[0]:.4g} to %{customdata[1]:.4g}: %{y}<extra></extra>",
        )
    )
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y, type="log" if log_y else "linear")
    return _finish(figure, title, height=240)


def confusion_matrix(
    labels: Sequence[object], counts: Sequence[Sequence[int]], *, rows: str, columns: str, title: str
) -> go.Figure:
    """How often rater ``rows`` gave one rating where rater ``columns`` gave another."""
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
    return _finish(figure, title, height=380)


def sweep_scatter(
    rows: Sequence[Mapping[str, Any]], *, x: str, x_title: str, y_title: str, title: str, log_x: bool
) -> go.Figure:
    """Rows of a sweep (keys as in bench_format.BLANK): score against ``x`` by architecture; controls as grey lines."""
    figure = go.Figure()
    shown = [r for r in rows if r["value"] is not None and r["role"] != "control" and r.get(x) is not None]
    for k, name in enumerate(sorted({str(r["architecture"]) for r in shown})):
        own = sorted((r for r in shown if r["architecture"] == name), key=lambda r: r[x])
        known = [r["ci_low"] is not None for r in own]
        figure.add_trace(
            go.Scatter(
                x=[r[x] for r in own],
                y=[r["value"] for r in own],
                name=plain(name),
                mode="markers",
                marker={"color": PALETTE[k % len(PALETTE)], "symbol": SYMBOLS[k % len(SYMBOLS)], "size": 10},
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "thickness": 1.2,
                    "width": 3,
                    "array": [r["ci_high"] - r["value"] if ok else 0 for r, ok in zip(own, known, strict=True)],
                    "arrayminus": [r["value"] - r["ci_low"] if ok else 0 for r, ok in zip(own, known, strict=True)],
                },
                customdata=[[plain(r["sae"]), _row_words(r)] for r in own],
                hovertemplate=f"<b>%{{customdata[0]}}</b><br>{y_title} %{{customdata[1]}}<br>{x_title} %{{x}}<extra></extra>",
            )
        )
    for height, name, shown_at in _control_lines(rows):
        line = {"color": GREY, "dash": "dot", "width": 1}
        figure.add_hline(y=height, line=line)
        if shown_at is not None:
            figure.add_annotation(
                x=1, xref="x domain", xanchor="right", y=shown_at, yanchor="bottom", text=plain(name), showarrow=False
            )
    figure.update_xaxes(title=x_title, type="log" if log_x and all(r[x] > 0 for r in shown) else "linear")
    figure.update_yaxes(title=y_title)
    return _finish(figure, title, height=430)


def _control_lines(rows: Sequence[Mapping[str, Any]]) -> list[tuple[float, str, float | None]]:
    """(height, label, where the label stands) of every control; lines too close for a label each share one, on the highest."""
    found = sorted(
        (r["value"], r["control"] or r["sae"]) for r in rows if r["role"] == "control" and r["value"] is not None
    )
    values = [
        v
        for r in rows
        if r["value"] is not None
        for v in (r["value"], r.get("ci_low"), r.get("ci_high"))
        if v is not None
    ]
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
    return _finish(figure, title, height=160 + 40 * len(names))


def to_html(figure: go.Figure, *, library: bool = True) -> str:
    """A whole page that opens offline (``library``), or only the figure for a page that already has plotly."""
    return figure.to_html(
        full_html=library, include_plotlyjs=library, config={"displaylogo": False, "responsive": True}
    )


def fragment(figure: go.Figure, *, library: bool) -> str:
    """The figure as a piece of a report; the first one of a page carries the library."""
    return figure.to_html(full_html=False, include_plotlyjs=library, config={"displaylogo": False, "responsive": True})


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
        colorscale=diverging(dark),
        showscale=showscale,
        colorbar={"title": {"text": unit, "side": "right"}},
    )


def _limit(matrices: Sequence[Sequence[Sequence[Estimate]]]) -> float:
    """Largest magnitude shown, at least .05 so that noise does not fill the scale."""
    return max([0.05, *(abs(e.value) for m in matrices for row in m for e in row if e.value is not None)])


def _band(figure: go.Figure, points: Sequence[tuple[float, Estimate]], name: str, colour: str) -> None:
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
            customdata=[[plain(say(e))] for _, e in known],
            hovertemplate="N = %{x}: %{customdata[0]}<extra>" + plain(name) + "</extra>",
        )
    )


def _dot(x: float, e: Estimate, name: str, more: str) -> go.Scatter:
    bars = None
    if e.value is not None and e.ci is not None:
        bars = {"type": "data", "symmetric": False, "array": [e.ci[1] - e.value], "arrayminus": [e.value - e.ci[0]]}
    return go.Scatter(
        x=[x],
        y=[e.value],
        mode="markers",
        name=name,
        marker={"size": 13, "symbol": "star", "color": ORANGE},
        error_y=bars,
        hovertemplate=f"{plain(name)}: {plain(say(e))}<br>{plain(more)}<extra></extra>",
    )


def _interval_dots(
    estimates: Sequence[Estimate], names: Sequence[str], notes: Sequence[str], colour: str = BLUE
) -> go.Scatter:
    kept = [(e, n, note) for e, n, note in zip(estimates, names, notes, strict=True) if e.value is not None]
    return go.Scatter(
        x=[e.value for e, _, _ in kept],
        y=[n for _, n, _ in kept],
        mode="markers",
        marker={"color": colour, "size": 10},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [e.ci[1] - e.value if e.ci else 0 for e, _, _ in kept],
            "arrayminus": [e.value - e.ci[0] if e.ci else 0 for e, _, _ in kept],
        },
        customdata=[[plain(say(e)), plain(note)] for e, _, note in kept],
        hovertemplate="%{y}: %{customdata[0]}<br>%{customdata[1]}<extra></extra>",
        showlegend=False,
    )


def _difference_words(d: Estimate | None) -> str:
    if d is None:
        return ""
    return f"difference {say(d)}" + ("" if d.value is None or separable(d) else ", not separable")


def _row_words(r: Mapping[str, Any]) -> str:
    if r["ci_low"] is None:
        return f"{r['value']:.3f} (no interval)"
    return f"{r['value']:.3f} [{r['ci_low']:.3f}, {r['ci_high']:.3f}]"


def _finish(figure: go.Figure, title: str, *, height: int) -> go.Figure:
    figure.update_layout(
        title={"text": plain(title), "x": 0, "y": 0.985, "yanchor": "top", "font": {"size": 15}},
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 10, "r": 10, "t": 78, "b": 40},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.01, "x": 0},
        hoverlabel={"align": "left"},
    )
    return figure
