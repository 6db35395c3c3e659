"""The numbers of a figure as rows of a table: whatever is drawn can be taken out without reading it off the picture."""

from collections.abc import Iterator, Mapping
from html import unescape

import plotly.graph_objects as go

from app.figures.svg_marks import interval_ends, listed

Row = Mapping[str, object]


def numbers(figure: go.Figure, part: str = "") -> list[Row]:
    """Every value drawn, with its interval: ``series``, ``x``, ``y``, ``value``, ``low``, ``high`` and ``part``.

    ``value`` is what has the interval; undefined cells keep their row, with an empty value. A cell's custom data is
    (low, high) and, where its colour is not its value, the value.
    """
    traces = [t for t in figure.data if getattr(t, "mode", "") != "none" and t.hoverinfo != "skip"]
    rows = [row for t in traces for row in (_cells(t) if isinstance(t, go.Heatmap) else _points(t))]
    return [{**row, "part": part} for row in rows]


def _cells(trace: go.Heatmap) -> Iterator[Row]:
    for i, name in enumerate(listed(trace.y)):
        for j, column in enumerate(listed(trace.x)):
            low, high, *more = (None, None) if trace.customdata is None else trace.customdata[i][j]
            names = {"series": "", "x": _named(column), "y": _named(name)}
            yield {**names, "value": more[0] if more else trace.z[i][j], "low": low, "high": high}


def _named(name: object) -> str:
    """A row or column without the bold face of one's own SAE."""
    return unescape(str(name).removeprefix("<b>").removesuffix("</b>"))


def _points(trace: go.Scatter | go.Bar) -> Iterator[Row]:
    lying = trace.error_x.array is not None or all(isinstance(y, str) for y in listed(trace.y))
    for k, (x, y) in enumerate(zip(listed(trace.x), listed(trace.y), strict=True)):
        value = x if lying else y
        low, high = interval_ends(trace.error_x if lying else trace.error_y, k, value)
        own = None if trace.customdata is None else trace.customdata[k]
        if low is None and own is not None and len(own) == 3:  # a line whose intervals are a band
            low, high = own[1], own[2]
        shown = unescape(str(y)) if isinstance(y, str) else y
        yield {"series": unescape(trace.name or ""), "x": x, "y": shown, "value": value, "low": low, "high": high}
