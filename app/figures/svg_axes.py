"""Axes of a figure drawn as SVG: from values to pixels, and where ticks stand."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import unescape

import plotly.graph_objects as go

CATEGORY, LINEAR, LOG = "category", "linear", "log"
_ROOM = 0.05
"""Share of the range left free at both ends."""


@dataclass(frozen=True)
class Axis:
    """One axis between two pixels."""

    kind: str
    """CATEGORY, LINEAR or LOG."""
    low: float
    """Value at ``start``: a power of ten on a LOG axis, a place in ``names`` on a CATEGORY axis."""
    high: float
    start: float
    end: float
    names: tuple[str, ...] = ()
    """Of a CATEGORY axis."""
    ticks: tuple[tuple[float, str], ...] = ()
    """(value as ``low``, what is written there)"""

    def at(self, value: object) -> float | None:
        """Pixel of a value as the traces name it; None for one that this axis cannot show."""
        if self.kind == CATEGORY:
            return self.pixel(self.names.index(str(value))) if str(value) in self.names else None
        if not isinstance(value, int | float) or not math.isfinite(value):
            return None
        if self.kind == LOG:
            return self.pixel(math.log10(value)) if value > 0 else None
        return self.pixel(float(value))

    def pixel(self, place: float) -> float:
        """Pixel of a place between ``low`` and ``high``."""
        width = (self.high - self.low) or 1.0
        return self.start + (place - self.low) / width * (self.end - self.start)


def axis(setting: go.layout.XAxis, values: Sequence[object], start: float, end: float) -> Axis:
    """The axis that plotly would draw for these settings and values, between two pixels."""
    if setting.type == CATEGORY or (setting.type is None and any(isinstance(v, str) for v in values)):
        return _of_names(setting, values, start, end)
    if setting.autorange == "reversed":
        start, end = end, start
    numbers = [float(v) for v in values if isinstance(v, int | float) and math.isfinite(v)]
    if setting.type == LOG:
        return _of_powers(setting, [v for v in numbers if v > 0], start, end)
    low, high = setting.range or _roomy(numbers)
    ticks = [(float(v), _number(v)) for v in setting.tickvals] if setting.tickvals is not None else _even(low, high)
    return Axis(LINEAR, low, high, start, end, ticks=tuple(t for t in ticks if low <= t[0] <= high))


def _of_names(setting: go.layout.XAxis, values: Iterable[object], start: float, end: float) -> Axis:
    given = [str(v) for v in setting.categoryarray] if setting.categoryarray is not None else []
    names = tuple(dict.fromkeys([*given, *(str(v) for v in values if v is not None)]))
    if setting.autorange == "reversed":
        start, end = end, start
    ticks = tuple((float(k), unescape(name)) for k, name in enumerate(names))
    return Axis(CATEGORY, -0.5, len(names) - 0.5, start, end, names, ticks)


def _of_powers(setting: go.layout.XAxis, numbers: Sequence[float], start: float, end: float) -> Axis:
    low, high = setting.range or _roomy([math.log10(v) for v in numbers])
    if setting.tickvals is not None:
        wanted = [float(v) for v in setting.tickvals if v > 0]
    else:
        firsts = (1,) if high - low > 3 else (1, 2, 5)
        powers = range(math.floor(low), math.ceil(high) + 1)
        wanted = [first * 10.0**power for power in powers for first in firsts]
    ticks = ((math.log10(v), _number(v)) for v in wanted)
    return Axis(LOG, low, high, start, end, ticks=tuple(t for t in ticks if low <= t[0] <= high))


def _roomy(numbers: Sequence[float]) -> tuple[float, float]:
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
    room = _ROOM * (high - low) or 0.5
    return low - room, high + room


def _even(low: float, high: float) -> list[tuple[float, str]]:
    """Four to nine round values from ``low`` to ``high``."""
    raw = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= raw)
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(k * step, f"{k * step + 0.0:.{places}f}".replace("-", "−")) for k in range(first, last + 1)]


def _number(value: float) -> str:
    return f"{value:,.6g}".replace("-", "−")
