"""Small pictures as HTML: the Overview's bars, strip, matrix and forest. They open in a page, a report or a deck alike.

Places are percentages, so that a picture fits any width and its text keeps its size. Colours are custom properties of
``theme``; every label from data is escaped here. Undefined values are left out and said, never drawn as 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from app import theme
from app.figures.common import short
from saeeval_core.formats.sentences import Standing
from saeeval_core.scores.uncertainty import Estimate, say

SHEET = """
.pic {font-size: 0.8rem; line-height: 1.25; font-variant-numeric: tabular-nums;}
.pic p {margin: 0;}
.pic .row {display: flex; justify-content: space-between; gap: 8px;}
.pic .row span:first-child {overflow: hidden; text-overflow: ellipsis; white-space: nowrap;}
.pic .row b {white-space: nowrap;}
.pic .track {position: relative; height: 6px; margin: 1px 0; background: color-mix(in srgb, var(--line) 22%, transparent);}
.pic .track i {position: absolute; left: 0; top: 0; bottom: 0;}
.pic .track u {position: absolute; top: 50%; height: 1px; background: currentColor; opacity: 0.75;}
.pic .before i {background: var(--line);}
.pic .gain i {background: var(--gain);}
.pic .loss i {background: var(--loss);}
.pic .quadrants {display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 4px 22px;}
.pic .axis {position: relative; margin: 0 2px;}
.pic .axis > * {position: absolute;}
.pic .base {left: 0; right: 0; height: 1px; background: var(--line);}
.pic .zero {width: 1px; background: var(--line); opacity: 0.8;}
.pic .span {height: 8px; margin-top: -4px; border-radius: 4px; opacity: 0.45;}
.pic .dot {width: 11px; height: 11px; margin: -5.5px 0 0 -5.5px; border-radius: 50%;}
.pic .stem {width: 1px; background: var(--line); opacity: 0.55;}
.pic .own {background: var(--keep);}
.pic .above {background: var(--line);}
.pic .same {background: var(--unsure);}
.pic .below {background: var(--ablate);}
.pic .bound {background: transparent; border: 2px solid var(--line); transform: rotate(45deg); border-radius: 0;
  width: 8px; height: 8px; margin: -5px 0 0 -5px;}
.pic .tag {white-space: nowrap;}
.pic .tag.same, .pic .tag.below, .pic .tag.above, .pic .tag.bound, .pic .tag.own {background: none; border: 0;
  width: auto; height: auto; margin: 0; transform: none; border-radius: 0;}
.pic .tag.own {color: var(--keep); font-weight: 650;}
.pic .tag.same {color: var(--unsure);}
.pic .tag.below {color: var(--ablate); font-weight: 650;}
.pic .mid {transform: translateX(-50%) !important;}
.pic .right {transform: translateX(-100%) !important;}
.pic .grid {display: grid; gap: 1px; aspect-ratio: 1; width: 132px;}
.pic .grid i {background: color-mix(in srgb, var(--c) var(--share), transparent);
  outline: 1px solid color-mix(in srgb, var(--line) 25%, transparent); outline-offset: -1px;}
.pic .forest {display: grid; grid-template-columns: minmax(60px, auto) 1fr auto; column-gap: 10px; align-items: center;}
.pic .forest .axis {height: 17px;}
.pic .forest .base {top: 8px; opacity: 0.35;}
.pic .forest .zero {top: 0; bottom: 0;}
.pic .forest .span, .pic .forest .dot {top: 8px;}
.pic .forest .me {color: var(--keep); font-weight: 650;}
.pic.pic .latent {font-size: 0.8rem;}
.pic .latent .row {align-items: baseline;}
.pic .clamp {display: -webkit-box; -webkit-box-orient: vertical; overflow: hidden; overflow-wrap: anywhere; margin-top: 2px;}
.pic .two {-webkit-line-clamp: 2; min-height: 2.5em;}
.pic .three {-webkit-line-clamp: 3; min-height: 3.75em;}
.pic .others .span, .pic .others .dot {background: var(--line);}
"""
"""Rules of the pictures, for a sheet that has the colours of ``theme`` already."""
CSS = f"<style>{theme.css('.pic')}{SHEET}</style>"
"""Of a page whose pictures say themselves whether they are dark."""
_LANE, _AXIS = 15, 26
"""Heights in px: of a line of labels, and where the axis of a strip lies."""
_NARROW, _LETTER = 320, 6.4
"""Width in px of the narrowest strip, and of a letter: labels that would touch there go to further lines."""


@dataclass(frozen=True)
class Mark:
    """One control on a strip."""

    name: str
    score: Estimate
    standing: Standing
    """Where the SAE stands beside it."""
    bound: bool = False
    """It knows the label: shown for comparison."""

    @property
    def look(self) -> str:
        """Its class: what the SAE beats is pale, what it does not beat stands out."""
        return "bound" if self.bound else {"above": "above", "below": "below"}.get(self.standing, "same")


@dataclass(frozen=True)
class Bar:
    """Accuracy of one group before and after an ablation."""

    name: str
    before: Estimate
    after: Estimate | None = None
    """None: nothing is ablated yet."""


@dataclass(frozen=True)
class Line:
    """One SAE of a forest."""

    name: str
    score: Estimate
    own: bool = False
    """The one that is looked at."""


def framed(content: str, label: str, dark: bool) -> str:
    """A picture with its name for those who cannot see it."""
    mode = " data-mode='dark'" if dark else ""
    return f"<div class='pic'{mode} role='img' aria-label='{escape(label, quote=True)}'>{content}</div>"


def before_and_after(bars: Sequence[Bar], *, dark: bool = False) -> str:
    """Two bars from 0 to 1 per group: grey before, coloured after; a thin line over a bar is its interval."""
    rows = "".join(
        f"<div><div class='row'><span>{escape(b.name)}</span>{_change(b)}</div>{_track(b.before, 'before')}"
        f"{'' if b.after is None else _track(b.after, _direction(b.before, b.after))}</div>"
        for b in bars
    )
    said = "; ".join(f"{b.name} {' to '.join(_number(e) for e in (b.before, b.after) if e is not None)}" for b in bars)
    return framed(f"<div class='quadrants'>{rows}</div>", f"accuracy before and after: {said}", dark)


def strip(score: Estimate, marks: Sequence[Mark], *, dark: bool = False) -> str:
    """One axis with the SAE and its interval above, its controls and references below. "" where the score is undefined."""
    if score.value is None:
        return ""
    shown = sorted((m for m in marks if m.score.value is not None), key=lambda m: m.score.value or 0.0)
    at = _scale([score], [m.score.value or 0.0 for m in shown])
    lanes = _lanes([(at(m.score.value or 0.0), f"{m.name} {_number(m.score)}") for m in shown])
    tall = _AXIS + 8 + _LANE * (max(lanes, default=-1) + 1)
    x = at(score.value)
    own = (
        f"<span class='tag own {_side(x)}' style='left:{x:.2f}%;top:0'>this SAE {_number(score)}</span>"
        f"{_whisker(score, at, 'own', _AXIS)}"
    )
    body = "".join(_mark(m, at(m.score.value or 0.0), lane) for m, lane in zip(shown, lanes, strict=True))
    zero = f"<i class='zero' style='left:{at(0):.2f}%;top:{_AXIS - 7}px;height:14px'></i>"
    axis = f"<i class='base' style='top:{_AXIS}px'></i>{zero}{body}{own}"
    said = ", ".join([f"this SAE {say(score, 2)}", *(f"{m.name} {_number(m.score)}" for m in shown)])
    return framed(f"<div class='axis' style='height:{tall}px'>{axis}</div>", said, dark)


def matrix(
    classes: Sequence[str], cells: Sequence[Sequence[Estimate]], *, limit: float = 0.0, dark: bool = False
) -> str:
    """A small matrix without numbers; full colour at ``limit``, or at the largest magnitude where that is 0."""
    top = limit or max([0.05, *(abs(e.value) for row in cells for e in row if e.value is not None)])
    squares = "".join(
        f"<i style='--c:var(--{'gain' if (e.value or 0) < 0 else 'loss'});--share:{_of(e, top):.0f}%'"
        f" title='{escape(f'{a} ablated, probe {p}: {say(e)}', quote=True)}'></i>"
        for a, row in zip(classes, cells, strict=True)
        for p, e in zip(classes, row, strict=True)
    )
    label = f"matrix of {len(classes)} ablated classes by {len(classes)} probes"
    columns = f"grid-template-columns:repeat({len(classes)},1fr)"
    return framed(f"<div class='grid' style='{columns}'>{squares}</div>", label, dark)


def forest(lines: Sequence[Line], *, dark: bool = False) -> str:
    """Scores with intervals around 0, the one that is looked at in colour; what is undefined says so."""
    at = _scale([line.score for line in lines], [])
    rows = "".join(
        f"<span class='{'me' if line.own else ''}'>{escape(line.name)}</span>"
        f"<div class='axis {'' if line.own else 'others'}'><i class='base'></i>"
        f"<i class='zero' style='left:{at(0):.2f}%'></i>{_whisker(line.score, at, 'own')}</div>"
        f"<span class='{'me' if line.own else ''}'>{_number(line.score)}</span>"
        for line in lines
    )
    said = ", ".join(f"{line.name} {say(line.score, 2)}" for line in lines)
    return framed(f"<div class='forest'>{rows}</div>", said, dark)


def _mark(mark: Mark, x: float, lane: int) -> str:
    top = _AXIS + 6 + _LANE * lane
    title = f"{mark.name}: {say(mark.score)}"
    return (
        f"<i class='stem' style='left:{x:.2f}%;top:{_AXIS}px;height:{top - _AXIS + 3}px'></i>"
        f"<i class='dot {mark.look}' style='left:{x:.2f}%;top:{_AXIS}px' title='{escape(title, quote=True)}'></i>"
        f"<span class='tag {mark.look} {_side(x)}' style='left:{x:.2f}%;top:{top}px'>"
        f"{escape(mark.name)} {_number(mark.score)}</span>"
    )


def _whisker(e: Estimate, at: "_Scale", look: str, top: int | None = None) -> str:
    """Interval and dot of an estimate; nothing where it is undefined."""
    if e.value is None:
        return ""
    where = "" if top is None else f";top:{top}px"
    dot = f"<i class='dot {look}' style='left:{at(e.value):.2f}%{where}'></i>"
    if e.ci is None:
        return dot
    low, high = at(e.ci[0]), at(e.ci[1])
    return f"<i class='span {look}' style='left:{low:.2f}%;width:{high - low:.2f}%{where}'></i>{dot}"


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float

    def __call__(self, value: float) -> float:
        """The place of a value in percent."""
        return 100 * (value - self.low) / (self.high - self.low)


def _scale(estimates: Sequence[Estimate], values: Sequence[float]) -> _Scale:
    """From what is drawn, with 0 and a little room at both ends."""
    ends = [v for e in estimates for v in (e.value, *(e.ci or ())) if v is not None]
    low, high = min([0.0, *ends, *values]), max([0.05, *ends, *values])
    return _Scale(low - 0.04 * (high - low), high + 0.04 * (high - low))


def _lanes(labels: Sequence[tuple[float, str]]) -> list[int]:
    """The line of each (place in percent, text), by rising place, so that no two labels of a line touch."""
    places = [_place(x, text) for x, text in labels]
    starting = [k for k, (x, _) in enumerate(labels) if _side(x) == ""]
    # From the outside in, so that no label is crossed by the stem of one below it.
    order = [*reversed(starting), *range(len(starting), len(labels))]
    taken: list[list[tuple[float, float]]] = []
    lanes = [0] * len(labels)
    for k in order:
        left, right = places[k]
        free = (i for i, lane in enumerate(taken) if all(right <= a or b <= left for a, b in lane))
        lanes[k] = next(free, len(taken))
        taken[lanes[k] : lanes[k] + 1] = [[*(taken[lanes[k]] if lanes[k] < len(taken) else []), (left, right)]]
    return lanes


def _place(x: float, text: str) -> tuple[float, float]:
    """(left, right) in percent of a label at ``x``."""
    width = 100 * (len(text) + 2) * _LETTER / _NARROW
    left = {"": x, "mid": x - width / 2, "right": x - width}[_side(x)]
    return left, left + width


def _side(x: float) -> str:
    """How a label lies at its place: inside the picture at both ends."""
    return "" if x < 25 else "right" if x > 75 else "mid"


def _change(bar: Bar) -> str:
    """The numbers above the bars; their intervals on hover."""
    known = [e for e in (bar.before, bar.after) if e is not None]
    said, shown = (" \u2192 ".join(map(words, known)) for words in (say, _number))
    return f"<b title='{escape(said, quote=True)}'>{shown}</b>"


def _track(e: Estimate, look: str) -> str:
    """A bar of a value from 0 to 1 with its interval; an empty track where it is undefined."""
    if e.value is None:
        return f"<div class='track {look}'></div>"
    span = ""
    if e.ci is not None:
        low, high = (100 * min(max(end, 0.0), 1.0) for end in e.ci)
        span = f"<u style='left:{low:.1f}%;width:{high - low:.1f}%'></u>"
    return f"<div class='track {look}'><i style='width:{100 * e.value:.1f}%'></i>{span}</div>"


def _direction(before: Estimate, after: Estimate) -> str:
    return "gain" if (after.value or 0.0) >= (before.value or 0.0) else "loss"


def _of(e: Estimate, top: float) -> float:
    return 100 * min(1.0, abs(e.value or 0.0) / top)


def _number(e: Estimate) -> str:
    return short(e.value).lstrip("+")
