"""Every colour of the dashboard, spelled once: for Streamlit's own theme, plotly's figures and the browser components."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shade:
    """One colour on a light and on a dark page, as CSS writes it."""

    light: str
    dark: str


BLUE, ORANGE, GREY = "#0b6e99", "#c4601d", "#7a7f87"
PALETTE = (BLUE, ORANGE, "#6a51a3", "#2a7f3f", "#b8860b", "#b2437f", "#4a5a6a", "#5ba3c4")
"""Colours of categories: distinguishable with the common colour-vision deficiencies, readable on white and near-black."""
PRIMARY = Shade(BLUE, "#5ec8f2")
"""Streamlit's primaryColor."""
GAIN, LOSS = PRIMARY, Shade(ORANGE, "#ff9d5c")
"""Ends of a diverging scale."""
MIDDLE = Shade("#f7f7f5", "#1b1f26")
"""Middle of a diverging scale: the page itself."""
PAPER, INK = Shade("#ffffff", "#14161a"), Shade("#1b1f26", "#eceff2")
"""Page and text of what leaves the dashboard: figures as files, reports, decks."""
BLACK = "#000000"
"""Text on a bright cell of a matrix."""
HOT = Shade("224,142,0", "168,104,0")
"""Red, green and blue of the marker behind active tokens; its strength is the activation. The page's text is read on it."""
LINES = (PRIMARY, LOSS)
"""Colours of lines and dots that are too dim on a dark page: drawn brighter there."""
TILE = "#ecf0f3"
"""Background of the page's icon."""

_KEEP, _ABLATE = Shade(BLUE, "#6fcdf5"), Shade("#a83a1f", "#ff9b80")
NEAR_BLACK = "#14161a"
"""Text on what is bright on light and on dark pages."""
_PROPERTIES = {
    "ablate": _ABLATE,
    "keep": _KEEP,
    "unsure": Shade("#7a5f00", "#e8c95a"),
    "up": _KEEP,
    "down": Shade("#b2432f", _ABLATE.dark),
    "gain": GAIN,
    "loss": LOSS,
    "hot": HOT,
    "on-strong": Shade("#ffffff", NEAR_BLACK),
    "on-hot": INK,
    "line": Shade("#8b9098", "#8b9098"),
    "quadrant-0": Shade(BLUE, BLUE),
    "quadrant-1": Shade("#79b8d6", "#79b8d6"),
    "quadrant-2": Shade("#f0a860", "#f0a860"),
    "quadrant-3": Shade(ORANGE, ORANGE),
}
"""Custom properties of the components: "keep" is ``var(--keep)`` in their style sheets and drawings."""


def css(*roots: str) -> str:
    """The custom properties for elements that match one of these selectors; dark where they carry data-mode=dark."""
    where = ",".join(roots)
    return f":is({where}) {{{properties()}}}\n:is({where})[data-mode=dark] {{{properties(dark=True)}}}\n"


def properties(*, dark: bool = False) -> str:
    """The custom properties as declarations of one rule."""
    return "".join(f"--{name}:{shade.dark if dark else shade.light};" for name, shade in _PROPERTIES.items())


def diverging(dark: bool = False) -> list[tuple[float, str]]:
    """A plotly colour scale: blue for gains, orange for losses, the page's own colour at 0."""
    gain, middle, loss = (s.dark if dark else s.light for s in (GAIN, MIDDLE, LOSS))
    return [(0, gain), (0.5, middle), (1, loss)]


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of "#rrggbb"."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def faded(colour: str, opacity: float) -> str:
    """ "#rrggbb" as CSS's rgba() with that opacity."""
    return "rgba({},{},{},{})".format(*rgb(colour), opacity)
