"""Figures as SVG, without a browser and without a library on the page: for reports, stories and files.

A figure is described once, as plotly's ``Figure`` (the functions of this room); plotly draws it where it answers to
the mouse, and this draws the same description everywhere else. Only what our figures use is known here.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from app.figures import svg_marks
from app.figures.svg_axes import CATEGORY, Axis, axis
from app.figures.svg_marks import BOTH, TEXT, Look, words
from app.theme import INK, PAPER

WIDTH = 880
LETTER = 6.4
"""Mean width of a letter in pixels at the size of labels."""
_FONT = "font-family='system-ui,-apple-system,Segoe UI,Roboto,Helvetica,Arial,sans-serif'"
_GRID = f"stroke='{TEXT}' stroke-opacity='0.14'"


@dataclass(frozen=True)
class _Panel:
    """One pair of axes with what is drawn on it."""

    x: Axis
    y: Axis
    x_setting: go.layout.XAxis
    y_setting: go.layout.YAxis
    traces: tuple[tuple[int, go.Scatter | go.Heatmap | go.Bar], ...]


@dataclass(frozen=True)
class _Room:
    """Where the panels are, in pixels."""

    left: float
    right: float
    top: float
    bottom: float


def to_svg(figure: go.Figure, *, look: Look = BOTH, width: int = WIDTH, caption: str = "") -> str:
    """The figure as one ``<svg>`` for a page, or as a file (``look`` LIGHT or DARK of svg_marks), with the caption below it.

    Text takes the colour of the page around it (BOTH) or that of the look, on its paper.
    """
    legend = _legend_rows(figure, width)
    title = textwrap.wrap(words_plain(figure.layout.title.text), int(width / 8.2)) or []
    top = 12 + 21 * len(title) + 19 * len(legend)
    height = max(220, int(figure.layout.height or 360) - 78) + top
    room = _room(figure, width, top, height)
    told = textwrap.wrap(caption, int(width / LETTER))
    whole = height + (14 + 17 * len(told) if told else 0)
    drawn = [
        *_paper(look, width, whole),
        *_lines(title, 17, 21, "font-size='15' font-weight='600'"),
        *map(look.bright, _legend(legend, 12 + 21 * len(title))),
        *(piece for panel in _panels(figure, room) for piece in _panel(panel, room, look)),
        *_shapes(figure, room),
        *_lines(told, height + 16, 17, "font-size='12'"),
    ]
    ink = "" if look == BOTH else f" style='color:{look.ink(INK.light, INK.dark)}'"
    label = words(words_plain(figure.layout.title.text)).replace("'", "&#39;")
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {whole}' width='{width}' height='{whole}' "
        f"role='img' aria-label='{label}' {_FONT}{ink}>{''.join(drawn)}</svg>"
    )


def words_plain(text: object) -> str:
    """A figure's text without plotly's escapes."""
    return "" if text is None else svg_marks.unescape(str(text)).replace("<br>", " ")


def _lines(lines: Sequence[str], first: float, step: float, font: str) -> Iterator[str]:
    for k, line in enumerate(lines):
        yield f"<text x='4' y='{first + step * k}' {font} fill='{TEXT}'>{words(line)}</text>"


def _paper(look: Look, width: int, height: int) -> Iterator[str]:
    if look != BOTH:
        yield f"<rect width='{width}' height='{height}' fill='{look.ink(PAPER.light, PAPER.dark)}'/>"


def _room(figure: go.Figure, width: int, top: float, height: float) -> _Room:
    """Room for tick labels and titles of axes on all sides; labels of names are wrapped where they are long."""
    names = [n for _, trace in _traces(figure) for n in (trace.y if trace.y is not None else ()) if isinstance(n, str)]
    longest = max((len(words_plain(n)) for n in names), default=0)
    shown = figure.layout.yaxis.showticklabels is not False
    left = (min(longest, 34) * LETTER + 14 if names and shown else 46) + (20 if figure.layout.yaxis.title.text else 0)
    ramps = any(isinstance(t, go.Heatmap) and t.showscale and t.zmin is not None for _, t in _traces(figure))
    above = 44 if figure.layout.xaxis.side == "top" else 24 if figure.layout.annotations else 8
    below = 12 if figure.layout.xaxis.side == "top" else 48
    return _Room(left, width - (96 if ramps else 16), top + above, height - below)


def _traces(figure: go.Figure) -> list[tuple[int, go.Scatter | go.Heatmap | go.Bar]]:
    return list(enumerate(figure.data))


def _panels(figure: go.Figure, room: _Room) -> Iterator[_Panel]:
    """Subplots in the order of their axes."""
    pairs = list(dict.fromkeys((t.xaxis or "x", t.yaxis or "y") for t in figure.data))
    for x_name, y_name in pairs:
        own = tuple((k, t) for k, t in _traces(figure) if (t.xaxis or "x", t.yaxis or "y") == (x_name, y_name))
        x_setting = figure.layout[x_name.replace("x", "xaxis")]
        y_setting = figure.layout[y_name.replace("y", "yaxis")]
        yield _panel_of(figure, own, (x_setting, y_setting), (x_name, y_name), room)


def _panel_of(
    figure: go.Figure,
    own: tuple[tuple[int, go.Scatter | go.Heatmap | go.Bar], ...],
    settings: tuple[go.layout.XAxis, go.layout.YAxis],
    names: tuple[str, str],
    room: _Room,
) -> _Panel:
    x_setting, y_setting = settings
    x0, x1 = _part(x_setting.domain, room.left, room.right)
    y0, y1 = _part(y_setting.domain, room.bottom, room.top)
    marks = [s for s in figure.layout.shapes if (s.yref or "y") == names[1]]
    xs = [*(v for _, t in own for v in _reach(t, True)), *_shape_values(figure, names[0], "x")]
    ys = [*(v for _, t in own for v in _reach(t, False)), *(v for s in marks for v in (s.y0, s.y1))]
    return _Panel(axis(x_setting, xs, x0, x1), axis(y_setting, ys, y0, y1), x_setting, y_setting, own)


def _shape_values(figure: go.Figure, name: str, of: str) -> list[object]:
    own = [s for s in figure.layout.shapes if s.xref == name]
    return [v for s in own for v in (s[f"{of}0"], s[f"{of}1"])]


def _part(domain: Sequence[float] | None, start: float, end: float) -> tuple[float, float]:
    low, high = domain or (0.0, 1.0)
    return start + low * (end - start), start + high * (end - start)


def _reach(trace: go.Scatter | go.Heatmap | go.Bar, is_x: bool) -> list[object]:
    """The values of a trace along one axis, with the ends of their intervals."""
    values = svg_marks.listed(trace.x if is_x else trace.y)
    if isinstance(trace, go.Heatmap):
        return values
    bars = trace.error_x if is_x else trace.error_y
    if isinstance(trace, go.Bar) and is_x and trace.base is not None:
        values = [*trace.base, *(base + v for base, v in zip(trace.base, values, strict=True))]
    ends = [e for k, v in enumerate(values) for e in svg_marks.interval_ends(bars, k, v) if e is not None]
    return [*values, *ends, *([0.0] if isinstance(trace, go.Bar) and is_x else [])]


def _panel(panel: _Panel, room: _Room, look: Look) -> Iterator[str]:
    yield from _x_ticks(panel)
    yield from _y_ticks(panel, room)
    scatters = [(k, t) for k, t in panel.traces if isinstance(t, go.Scatter)]
    bars = [(k, t) for k, t in panel.traces if isinstance(t, go.Bar)]
    for _, trace in ((k, t) for k, t in panel.traces if isinstance(t, go.Heatmap)):
        yield svg_marks.heatmap(trace, panel.x, panel.y, look)
        if trace.showscale and trace.zmin is not None:
            yield svg_marks.ramp(trace, look, (room.right + 18, room.top, 14, min(room.bottom - room.top, 180)))
    for place, (k, trace) in enumerate(bars):
        share = 0.8 / len(bars)
        offset = (0.1 + place * share, 0.1 + (place + 1) * share - 0.03)
        yield look.bright(svg_marks.bar(trace, panel.x, panel.y, k, offset))
    inside = (
        svg_marks.scatter(t, panel.x, panel.y, k) for k, t in sorted(scatters, key=lambda p: p[1].fill != "toself")
    )
    yield from inside if None is panel.x_setting.range is panel.y_setting.range else _cut(panel, inside)


def _cut(panel: _Panel, inside: Iterator[str]) -> Iterator[str]:
    """What goes beyond a range that was chosen ends at the panel's edge."""
    left, top = min(panel.x.start, panel.x.end), min(panel.y.start, panel.y.end)
    wide, tall = abs(panel.x.end - panel.x.start), abs(panel.y.end - panel.y.start)
    box = f"{left:.1f} {top:.1f} {wide:.1f} {tall:.1f}"
    yield f"<svg x='{left:.1f}' y='{top:.1f}' width='{wide:.1f}' height='{tall:.1f}' viewBox='{box}'>"
    yield from inside
    yield "</svg>"


def _x_ticks(panel: _Panel) -> Iterator[str]:
    along, across, setting = panel.x, panel.y, panel.x_setting
    above = setting.side == "top"
    edge = min(across.start, across.end) if above else max(across.start, across.end)
    if along.kind != CATEGORY:
        yield from (
            f"<line x1='{along.pixel(v):.1f}' x2='{along.pixel(v):.1f}' y1='{across.start:.1f}' y2='{across.end:.1f}' {_GRID}/>"
            for v, _ in along.ticks
        )
    if setting.showticklabels is not False:
        each = abs(along.end - along.start) / max(len(along.ticks), 1) if along.kind == CATEGORY else 0
        shown = along.ticks if each else _apart(along)
        for value, said in shown:
            fit = said if not each else textwrap.shorten(said.replace("_", " "), max(4, int(each / 6)), placeholder="…")
            y = edge - 7 if above else edge + 16
            yield (
                f"<text x='{along.pixel(value):.1f}' y='{y:.1f}' font-size='11.5' text-anchor='middle' fill='{TEXT}'>"
                f"{words(fit if fit != '…' else said[: max(3, int(each / 6))])}</text>"
            )
    if setting.title.text:
        y = edge - 28 if above else edge + 38
        middle = (along.start + along.end) / 2
        yield f"<text x='{middle:.1f}' y='{y:.1f}' font-size='12.5' text-anchor='middle' fill='{TEXT}'>{words(setting.title.text)}</text>"


def _apart(along: Axis) -> list[tuple[float, str]]:
    """The ticks whose labels do not touch the one before."""
    kept: list[tuple[float, str]] = []
    for value, said in along.ticks:
        if not kept or abs(along.pixel(value) - along.pixel(kept[-1][0])) > (len(said) + len(kept[-1][1])) * 3.6 + 5:
            kept.append((value, said))
    return kept


def _y_ticks(panel: _Panel, room: _Room) -> Iterator[str]:
    along, across, setting = panel.y, panel.x, panel.y_setting
    left = min(across.start, across.end)
    if along.kind != CATEGORY:
        yield from (
            f"<line x1='{across.start:.1f}' x2='{across.end:.1f}' y1='{along.pixel(v):.1f}' y2='{along.pixel(v):.1f}' {_GRID}/>"
            for v, _ in along.ticks
        )
    if setting.showticklabels is not False:
        for value, said in along.ticks:
            lines = textwrap.wrap(said, 34) or [said]
            for k, line in enumerate(lines[:3]):
                y = along.pixel(value) + 4 + 13 * (k - (min(len(lines), 3) - 1) / 2)
                yield f"<text x='{left - 7:.1f}' y='{y:.1f}' font-size='11.5' text-anchor='end' fill='{TEXT}'>{words(line)}</text>"
    if setting.title.text:
        middle, x = (along.start + along.end) / 2, 13 if left - room.left < 1 else left - 10
        yield (
            f"<text transform='translate({x:.1f} {middle:.1f}) rotate(-90)' font-size='12.5' text-anchor='middle' "
            f"fill='{TEXT}'>{words(setting.title.text)}</text>"
        )


def _legend_rows(figure: go.Figure, width: int) -> list[list[tuple[int, go.Scatter | go.Bar, float]]]:
    """Rows of (place of the trace, trace, left edge): named traces, where there is more than one."""
    own = [(k, t) for k, t in _traces(figure) if not isinstance(t, go.Heatmap) and t.showlegend is not False and t.name]
    own = [(k, t) for k, t in own if isinstance(t, go.Bar) or t.mode != "none"]
    if len(own) < 2 and not any(t.showlegend for _, t in own):
        return []
    rows: list[list[tuple[int, go.Scatter | go.Bar, float]]] = [[]]
    left = 4.0
    for k, trace in own:
        wide = 44 + len(words_plain(trace.name)) * 6.6
        if left > 4 and left + wide > width:
            rows.append([])
            left = 4.0
        rows[-1].append((k, trace, left))
        left += wide
    return rows


def _legend(rows: Sequence[Sequence[tuple[int, go.Scatter | go.Bar, float]]], top: float) -> Iterator[str]:
    for row, entries in enumerate(rows):
        y = top + 9 + 19 * row
        for k, trace, left in entries:
            if isinstance(trace, go.Bar):
                yield f"<rect x='{left + 4:.1f}' y='{y - 5:.1f}' width='16' height='10' style='fill:{trace.marker.color}'/>"
            else:
                colour = svg_marks.colour_of(trace, k)
                if "lines" in (trace.mode or ""):
                    paint = svg_marks.stroke(trace.line, colour, 2)
                    yield f"<line x1='{left:.1f}' x2='{left + 24:.1f}' y1='{y}' y2='{y}' {paint}/>"
                if "markers" in (trace.mode or ""):
                    yield svg_marks.symbol(str(trace.marker.symbol or "circle"), left + 12, y, 8, colour)
            yield f"<text x='{left + 29:.1f}' y='{y + 4:.1f}' font-size='12' fill='{TEXT}'>{words(trace.name)}</text>"


def _shapes(figure: go.Figure, room: _Room) -> Iterator[str]:
    """Lines across a panel and the words beside them."""
    panels = {(t.xaxis or "x", t.yaxis or "y"): p for p in _panels(figure, room) for _, t in p.traces}
    first = panels.get(("x", "y"), next(iter(panels.values()), None))
    if first is None:
        return
    for shape in figure.layout.shapes:
        x0, x1 = (_where(first.x, shape.xref, v, room, True) for v in (shape.x0, shape.x1))
        y0, y1 = (_where(first.y, shape.yref, v, room, False) for v in (shape.y0, shape.y1))
        if None not in (x0, x1, y0, y1):
            paint = svg_marks.stroke(shape.line, TEXT, 1)
            yield f"<line x1='{x0:.1f}' y1='{y0:.1f}' x2='{x1:.1f}' y2='{y1:.1f}' {paint}/>"
    for note in figure.layout.annotations:
        log = first.x.kind == "log" and (note.xref or "x") == "x"
        x = _where(first.x, note.xref, 10**note.x if log else note.x, room, True)
        y = _where(first.y, note.yref, note.y, room, False)
        if x is None or y is None:
            continue
        anchor = {"left": "start", "right": "end"}.get(note.xanchor or "", "middle")
        drop = {"top": 13, "middle": 4}.get(note.yanchor or "", -5)
        size = note.font.size or 12
        style = f"font-size='{min(size, 13)}' text-anchor='{anchor}' fill='{TEXT}'"
        yield f"<text x='{x:.1f}' y='{y + drop:.1f}' {style}>{words(note.text)}</text>"


def _where(along: Axis, ref: str | None, value: object, room: _Room, is_x: bool) -> float | None:
    """Pixel of a place named on an axis, on its whole length ("domain") or on the figure ("paper")."""
    if ref == "paper" and value is not None:
        start, end = (room.left, room.right) if is_x else (room.bottom, room.top)
        return start + float(value) * (end - start)
    if ref is not None and ref.endswith("domain") and value is not None:
        low, high = (min, max) if is_x else (max, min)
        start, end = low(along.start, along.end), high(along.start, along.end)
        return start + float(value) * (end - start)
    return along.at(value)
