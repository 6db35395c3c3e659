"""What stands inside a figure drawn as SVG: lines, dots with intervals, bands, bars and coloured cells."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape, unescape

import plotly.graph_objects as go

from app.figures.svg_axes import Axis
from app.theme import BLACK, LINES, MIDDLE, PALETTE, PAPER, diverging, rgb

TEXT = "currentColor"
_DASHES = {"dash": "7 5", "dot": "2 4", "dashdot": "8 4 2 4", "longdash": "12 5", "longdashdot": "12 5 2 5"}
_TAGS = re.compile(r"<extra>.*?</extra>|<(?!br\s*/?>)[^>]*>")
_RGBA = re.compile(r"rgba?\((\d+), ?(\d+), ?(\d+)(?:, ?([\d.]+))?\)")
_TURN = {"square": 0.785, "diamond": 0.0, "triangle-up": -1.5708}
"""Symbol -> angle of its first corner."""
_CORNERS = {"square": 4, "diamond": 4, "triangle-up": 3, "hexagon": 6}
_STARS = {"star": 5, "hexagram": 6}


@dataclass(frozen=True)
class Look:
    """The page that a figure is drawn for: light, dark, or both (the page's own colour scheme decides)."""

    light: bool
    dark: bool

    def ink(self, light: str, dark: str) -> str:
        """A CSS colour on this page."""
        if self.light and self.dark:
            return light if light == dark else f"light-dark({light},{dark})"
        return dark if self.dark else light

    def bright(self, drawn: str) -> str:
        """Lines and dots as they are seen on this page."""
        for shade in LINES:
            drawn = drawn.replace(shade.light, self.ink(shade.light, shade.dark))
        return drawn


BOTH, LIGHT, DARK = Look(True, True), Look(True, False), Look(False, True)


def words(text: object) -> str:
    """Text of a figure, made for plotly's small HTML, as SVG shows it."""
    return escape(unescape(str(text)), quote=False)


def colour_of(trace: go.Scatter, place: int) -> str:
    """Its line's or its markers' colour."""
    return str(trace.line.color or trace.marker.color or PALETTE[place % len(PALETTE)])


def scatter(trace: go.Scatter, x: Axis, y: Axis, place: int) -> str:
    """Band, line, intervals, dots and words of one trace; values that the axes cannot show are left out."""
    xs, ys = listed(trace.x), listed(trace.y)
    at = [(x.at(a), y.at(b)) for a, b in zip(xs, ys, strict=True)]
    points = [(k, a, b) for k, (a, b) in enumerate(at) if a is not None and b is not None]
    colour, mode = colour_of(trace, place), trace.mode or "lines+markers"
    drawn = []
    if trace.fill == "toself" and points:
        corners = " ".join(f"{a:.1f},{b:.1f}" for _, a, b in points)
        drawn.append(f"<polygon points='{corners}' style='fill:{trace.fillcolor};stroke:none'/>")
    drawn += _intervals(trace, x, y, colour)
    if "lines" in mode and len(points) > 1:
        path = " ".join(f"{a:.1f},{b:.1f}" for _, a, b in points)
        drawn.append(f"<polyline points='{path}' fill='none' {stroke(trace.line, colour, 2)}/>")
    if "markers" in mode:
        drawn += [_dot(trace, k, a, b, colour) for k, a, b in points]
    if "text" in mode:
        drawn += [_beside(trace, k, a, b) for k, a, b in points if _at(trace.text, k)]
    return "".join(drawn)


def bar(trace: go.Bar, x: Axis, y: Axis, place: int, offset: tuple[float, float]) -> str:
    """Lying bars from 0 or their base, with intervals; ``offset``: (first, last) share of a category's height that they take."""
    colour, drawn = trace.marker.color or PALETTE[place % len(PALETTE)], []
    height = abs(y.pixel(1) - y.pixel(0))
    for k, (value, name) in enumerate(zip(listed(trace.x), listed(trace.y), strict=True)):
        base = float(_at(trace.base, k) or 0.0)
        middle, end, zero = y.at(name), x.at(base + value), x.at(base)
        if middle is None or end is None or zero is None:
            continue
        top, tall = middle + (offset[0] - 0.5) * height, (offset[1] - offset[0]) * height
        left, wide = min(zero, end), abs(end - zero)
        drawn.append(
            f"<rect x='{left:.1f}' y='{top:.1f}' width='{wide:.1f}' height='{tall:.1f}' style='fill:{_at(colour, k)}'>"
            f"<title>{hover(trace, k)}</title></rect>"
        )
        low, high = interval_ends(trace.error_x, k, value)
        if low is not None:
            at = f"y1='{top + tall / 2:.1f}' y2='{top + tall / 2:.1f}'"
            drawn.append(f"<line x1='{x.at(low):.1f}' x2='{x.at(high):.1f}' {at} stroke='{TEXT}' stroke-width='1.5'/>")
    return "".join(drawn)


def heatmap(trace: go.Heatmap, x: Axis, y: Axis, look: Look) -> str:
    """One coloured cell per value, with its number in a readable colour; undefined ones are hatched."""
    wide, tall = abs(x.pixel(1) - x.pixel(0)) - 2, abs(y.pixel(1) - y.pixel(0)) - 2
    texts, drawn = _cell_texts(trace), []
    for i, name in enumerate(listed(trace.y)):
        for j, column in enumerate(listed(trace.x)):
            middle_x, middle_y, value = x.at(column), y.at(name), trace.z[i][j]
            if middle_x is None or middle_y is None:
                continue
            light, dark = (_cell(trace, value, dark) for dark in (False, True))
            title = hover(trace, (i, j))
            drawn.append(
                f"<rect x='{middle_x - wide / 2:.1f}' y='{middle_y - tall / 2:.1f}' width='{wide:.1f}' "
                f"height='{tall:.1f}' style='fill:{look.ink(_hex(light), _hex(dark))}'><title>{title}</title></rect>"
            )
            if texts:
                ink = look.ink(_readable(light), _readable(dark))
                size = min(13, tall * 0.5, wide / (0.62 * max(len(str(texts[i][j])), 1)))
                drawn.append(
                    f"<text x='{middle_x:.1f}' y='{middle_y + size * 0.35:.1f}' text-anchor='middle' pointer-events='none' "
                    f"font-size='{size:.1f}' style='fill:{ink}'>{words(texts[i][j])}</text>"
                )
    return "".join(drawn)


def ramp(trace: go.Heatmap, look: Look, place: tuple[float, float, float, float]) -> str:
    """The colour scale of a heatmap in (left, top, width, height), its ends and middle named beside it."""
    left, top, width, height = place
    low, high = float(trace.zmin), float(trace.zmax)
    steps = 40
    drawn = []
    for k in range(steps):
        value = high - (k + 0.5) / steps * (high - low)
        light, dark = (_cell(trace, value, d) for d in (False, True))
        drawn.append(
            f"<rect x='{left:.1f}' y='{top + k * height / steps:.1f}' width='{width:.1f}' "
            f"height='{height / steps + 0.5:.1f}' style='fill:{look.ink(_hex(light), _hex(dark))}'/>"
        )
    for value, at in ((high, top + 9), ((low + high) / 2, top + height / 2 + 4), (low, top + height)):
        said = f"{value:+.2f}".replace("-", "−") if value else "0"
        drawn.append(f"<text x='{left + width + 5:.1f}' y='{at:.1f}' font-size='11' fill='{TEXT}'>{said}</text>")
    return "".join(drawn)


def stroke(line: go.scatter.Line, colour: str, width: float) -> str:
    """Attributes of a line."""
    dash = _DASHES.get(line.dash or "", "")
    dashed = f" stroke-dasharray='{dash}'" if dash else ""
    return f"style='stroke:{line.color or colour}' stroke-width='{line.width or width}'{dashed}"


def symbol(name: str, x: float, y: float, size: float, colour: str, title: str = "") -> str:
    """One marker."""
    base, is_open = name.removesuffix("-open"), name.endswith("-open")
    thin = base in ("cross", "x")
    fill = "none" if is_open else colour
    paint = f"style='fill:{fill};stroke:{colour}' stroke-width='{1.6 if is_open or thin else 0}'"
    inner = f"<title>{title}</title>" if title else ""
    r = size / 2
    if base in _CORNERS or base in _STARS:
        corners = " ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in _corners(base, r))
        return f"<polygon points='{corners}' {paint}>{inner}</polygon>"
    if thin:
        d = r * 0.75 if base == "x" else r
        ways = ((d, d), (d, -d)) if base == "x" else ((d, 0.0), (0.0, d))
        path = "".join(f"M{x - a:.1f} {y - b:.1f}L{x + a:.1f} {y + b:.1f}" for a, b in ways)
        return f"<path d='{path}' style='fill:none;stroke:{colour}' stroke-width='2.4'>{inner}</path>"
    return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{r:.1f}' {paint}>{inner}</circle>"


def hover(trace: go.Scatter | go.Heatmap | go.Bar, place: int | tuple[int, int]) -> str:
    """What plotly would say over a value, as plain lines."""
    if isinstance(place, tuple):
        own = trace.hovertext[place[0]][place[1]] if trace.hovertext is not None else trace.z[place[0]][place[1]]
        template = str(own)
    else:
        template = trace.hovertemplate or ""
        for of, values in (("x", trace.x), ("y", trace.y)):
            template = template.replace(f"%{{{of}}}", str(_at(values, place)))
        own = _at(trace.customdata, place)
        for k, value in enumerate(own if own is not None else ()):
            template = template.replace(f"%{{customdata[{k}]}}", str(value))
    return words(re.sub(r"<br\s*/?>", "\n", _TAGS.sub("", template)))


def _corners(base: str, r: float) -> Iterator[tuple[float, float]]:
    if base in _STARS:
        n = 2 * _STARS[base]
        for k in range(n):
            size, turn = r if k % 2 == 0 else r * 0.5, -math.pi / 2 + k * 2 * math.pi / n
            yield size * math.cos(turn), size * math.sin(turn)
        return
    n = _CORNERS[base]
    for k in range(n):
        turn = _TURN.get(base, 0.0) + k * 2 * math.pi / n
        yield r * 1.1 * math.cos(turn), r * 1.1 * math.sin(turn)


def _dot(trace: go.Scatter, k: int, x: float, y: float, colour: str) -> str:
    size = _at(trace.marker.size, k, 6)
    if not size or trace.marker.opacity == 0:
        return ""
    own = str(_at(trace.marker.color, k, colour) or colour)
    return symbol(str(_at(trace.marker.symbol, k, "circle")), x, y, float(size), own, hover(trace, k))


def _beside(trace: go.Scatter, k: int, x: float, y: float) -> str:
    above = "top" in str(trace.textposition or "")
    dx, dy, anchor = (0, -7, "middle") if above else (6, 4, "start")
    return f"<text x='{x + dx:.1f}' y='{y + dy:.1f}' font-size='11' text-anchor='{anchor}' fill='{TEXT}'>{words(trace.text[k])}</text>"


def _intervals(trace: go.Scatter, x: Axis, y: Axis, colour: str) -> Iterator[str]:
    for bars, along, is_x in ((trace.error_x, x, True), (trace.error_y, y, False)):
        if bars.array is None:
            continue
        paint = f"style='stroke:{bars.color or colour}' stroke-width='{bars.thickness or 2}'"
        for k, (a, b) in enumerate(zip(listed(trace.x), listed(trace.y), strict=True)):
            low, high = interval_ends(bars, k, a if is_x else b)
            other = y.at(b) if is_x else x.at(a)
            if low is None or other is None:
                continue
            ends = along.at(low), along.at(high)
            if None in ends:
                continue
            p, q = ("x", "y") if is_x else ("y", "x")
            yield f"<line {p}1='{ends[0]:.1f}' {p}2='{ends[1]:.1f}' {q}1='{other:.1f}' {q}2='{other:.1f}' {paint}/>"


def interval_ends(bars: go.scatter.ErrorX, k: int, value: object) -> tuple[float | None, float | None]:
    """The interval around a value, from plotly's lengths of its two halves; None where there is none."""
    if bars.array is None or not isinstance(value, int | float):
        return None, None
    more, less = float(_at(bars.array, k, 0.0)), float(_at(bars.arrayminus, k, 0.0))
    return (None, None) if more == less == 0 else (value - less, value + more)


def _cell_texts(trace: go.Heatmap) -> Sequence[Sequence[object]] | None:
    if not trace.texttemplate:
        return None
    return trace.z if "%{z}" in trace.texttemplate else trace.text


def _cell(trace: go.Heatmap, value: object, dark: bool) -> tuple[int, int, int]:
    """Colour of a value on a page, undefined ones in the page's middle grey."""
    page = rgb(MIDDLE.dark if dark else MIDDLE.light)
    if not isinstance(value, int | float) or not math.isfinite(value):
        return _mixed(page, (128, 128, 128), 0.18)
    stops = [(float(at), str(colour)) for at, colour in trace.colorscale]
    if [c for _, c in stops] in ([c for _, c in diverging(False)], [c for _, c in diverging(True)]):
        stops = diverging(dark)
    low, high = _limits(trace)
    share = min(max((value - low) / ((high - low) or 1.0), 0.0), 1.0)
    after = next(k for k, (at, _) in enumerate(stops) if at >= share - 1e-9)
    before = max(after - 1, 0)
    width = stops[after][0] - stops[before][0]
    part = (share - stops[before][0]) / width if width else 0.0
    return _mixed(_on(stops[before][1], page), _on(stops[after][1], page), part)


def _limits(trace: go.Heatmap) -> tuple[float, float]:
    if trace.zmin is not None and trace.zmax is not None:
        return float(trace.zmin), float(trace.zmax)
    known = [float(v) for row in trace.z for v in row if v is not None]
    return (min(known), max(known)) if known else (0.0, 1.0)


def _on(colour: str, page: tuple[int, int, int]) -> tuple[int, int, int]:
    """A colour, perhaps see-through, on a page."""
    found = _RGBA.fullmatch(colour)
    if not found:
        return rgb(colour)
    own = (int(found[1]), int(found[2]), int(found[3]))
    return _mixed(page, own, float(found[4] or 1))


def _mixed(a: tuple[int, int, int], b: tuple[int, int, int], part: float) -> tuple[int, int, int]:
    r, g, c = (round(p + (q - p) * part) for p, q in zip(a, b, strict=True))
    return r, g, c


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _readable(colour: tuple[int, int, int]) -> str:
    """Black or white, whichever stands out more from this colour (WCAG's relative luminance)."""
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour))
    return BLACK if 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 else PAPER.light


def listed(values: object) -> list[object]:
    """As plain Python values: plotly may keep arrays of numpy or pandas."""
    if values is None:
        return []
    return [v.item() if hasattr(v, "item") else v for v in values]


def _at(values: object, k: int, default: object = None) -> object:
    """The k-th value of a list, or the one value that stands for all."""
    if values is None:
        return default
    return values if isinstance(values, str | int | float) else values[k]
