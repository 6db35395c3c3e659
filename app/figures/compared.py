"""Scores and paired differences of several sets or SAEs, and the confusion matrix of two raters."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from app.figures.common import SYMBOLS, finish, interval_dots, plain, short
from app.figures.names import short_names
from app.theme import BLUE, GREY, MIDDLE, PALETTE, diverging, faded
from saeeval_core.scores.uncertainty import Estimate, mean_known, say, separable

_WRITTEN = 24
"""Most SAEs of a map whose cells carry numbers."""


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


def difference_map(
    rows: Sequence[tuple[str, str, Estimate]], *, title: str, own: str = "", dark: bool = False
) -> go.Figure:
    """SAE x SAE map of paired differences (row minus column), best first; what is not separable is "\u2248", without colour.

    rows: (first, second, difference of their scores), each pair once. ``own`` is set in bold.
    """
    gaps = {(a, b): e for a, b, e in rows} | {(b, a): _turned(e) for a, b, e in rows}
    names = _best_first(gaps)
    short_of = short_names(names)
    labels = [f"<b>{plain(short_of[n])}</b>" if n == own else plain(short_of[n]) for n in names]
    cells = [[gaps.get((a, b)) for b in names] for a in names]
    limit = max([0.01, *(abs(e.value) for row in cells for e in row if e is not None and e.value is not None)])
    figure = go.Figure(
        go.Heatmap(
            z=[[_told(e) for e in row] for row in cells],
            x=labels,
            y=labels,
            text=[[_cell(e) for e in row] for row in cells],
            texttemplate="%{text}" if len(names) <= _WRITTEN else None,
            customdata=[[_beside(e) for e in row] for row in cells],
            hovertemplate="%{y} minus %{x}<br>%{customdata[3]}<extra></extra>",
            zmin=-limit,
            zmax=limit,
            xgap=1,
            ygap=1,
            colorscale=[(1 - at, colour) for at, colour in reversed(diverging(dark))],
            colorbar={"title": {"text": "difference", "side": "right"}},
        )
    )
    figure.update_yaxes(autorange="reversed", automargin=True, title="this SAE", showgrid=False)
    figure.update_xaxes(automargin=True, title="minus this one", side="bottom", showgrid=False)
    return finish(figure, title, height=190 + min(30, 900 // max(len(names), 1)) * len(names))


def forest_with_parts(
    rows: Sequence[tuple[str, Estimate, Sequence[tuple[str, float]]]], *, title: str, x: str, parts: str
) -> go.Figure:
    """Estimates with intervals, one row each, and behind each the values of its parts as small grey dots.

    rows: (name, estimate, (part, value) of each part); ``parts``: what the parts are.
    """
    figure = go.Figure()
    own = [(plain(name), part, value) for name, _, values in rows for part, value in values]
    if own:
        figure.add_trace(
            go.Scatter(
                x=[v for _, _, v in own],
                y=[n for n, _, _ in own],
                customdata=[[plain(p)] for _, p, _ in own],
                mode="markers",
                name=plain(parts),
                marker={"color": faded(GREY, 0.55), "size": 6},
                hovertemplate="%{y}<br>%{customdata[0]}: %{x:.2f}<extra></extra>",
            )
        )
    names = [plain(name) for name, _, _ in rows]
    figure.add_trace(interval_dots([e for _, e, _ in rows], names, [""] * len(rows)))
    figure.add_vline(x=0, line={"color": GREY, "dash": "dot"})
    figure.update_xaxes(title=x)
    figure.update_yaxes(autorange="reversed", automargin=True, categoryorder="array", categoryarray=names)
    return finish(figure, title, height=130 + 30 * max(len(rows), 1))


def settings_forest(rows: Sequence[tuple[str, str, float]], *, title: str, x: str, baseline: str = "") -> go.Figure:
    """Values under several settings, one row each and one colour per series; a line at the first series' ``baseline``.

    rows: (setting, series, value).
    """
    figure = go.Figure()
    series = list(dict.fromkeys(s for _, s, _ in rows))
    short_of = short_names(series)
    for k, name in enumerate(series):
        own = [(plain(setting), value) for setting, s, value in rows if s == name]
        figure.add_trace(
            go.Scatter(
                x=[v for _, v in own],
                y=[s for s, _ in own],
                mode="markers",
                name=plain(short_of[name]),
                marker={"color": PALETTE[k % len(PALETTE)], "symbol": SYMBOLS[k % len(SYMBOLS)], "size": 10},
                hovertemplate="%{y}<br>" + plain(name) + ": %{x:.3f}<extra></extra>",
            )
        )
    settings = list(dict.fromkeys(plain(setting) for setting, _, _ in rows))
    start = next((v for setting, s, v in rows if setting == baseline and s == series[0]), None)
    if start is not None:
        figure.add_vline(x=start, line={"color": GREY, "dash": "dash"})
    figure.add_vline(x=0, line={"color": GREY, "dash": "dot"})
    figure.update_xaxes(title=x)
    figure.update_yaxes(autorange="reversed", automargin=True, categoryorder="array", categoryarray=settings)
    return finish(figure, title, height=150 + 26 * max(len(settings), 1))


def _best_first(gaps: Mapping[tuple[str, str], Estimate]) -> list[str]:
    """Names by falling mean of their differences from the others."""
    names = list(dict.fromkeys(a for a, _ in gaps))
    means = {n: mean_known(e.value for (a, _), e in gaps.items() if a == n) for n in names}
    return sorted(names, key=lambda n: (means[n] is None, -(means[n] or 0.0)))


def _turned(e: Estimate) -> Estimate:
    """The difference the other way round."""
    if e.value is None:
        return e
    return Estimate(-e.value, (-e.ci[1], -e.ci[0]) if e.ci else None, e.reason)


def _told(e: Estimate | None) -> float | None:
    """What a cell is coloured by: 0 where the two are not separable, nothing where they were not compared."""
    if e is None or e.value is None:
        return None
    return e.value if separable(e) else 0.0


def _beside(e: Estimate | None) -> tuple[float | None, float | None, float | None, str]:
    """Ends of the interval, the value whatever its colour, and both in words."""
    if e is None:
        return None, None, None, ""
    return *(e.ci or (None, None)), e.value, plain(_difference_words(e))


def _cell(e: Estimate | None) -> str:
    if e is None:
        return ""
    return short(e.value) if e.value is None or separable(e) else "\u2248"


def confusion_matrix(
    labels: Sequence[object],
    counts: Sequence[Sequence[int]],
    *,
    rows: str,
    columns: str,
    title: str,
    dark: bool = False,
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
            colorscale=[
                [0, MIDDLE.dark if dark else MIDDLE.light],
                [1, BLUE],
            ],  # plotly picks a label's colour by its cell
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
