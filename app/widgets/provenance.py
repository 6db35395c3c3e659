"""Small parts every view uses: the error box, how a number was computed, where things come from, and the page's look."""

import html
import re
import string
from collections.abc import Sequence

import numpy as np
import streamlit as st
from PIL import Image

from app import state, theme
from saeeval_core.errors import SaeEvalError
from saeeval_core.ledger import places
from saeeval_core.scores.uncertainty import Estimate, value_and_interval

_MADE_OF_TEXT = re.compile(r"(?<=:)(?=//|streamlit:)|(?<=www)(?=\.)|(?<=@)|(?<=[-<>~])(?=[-=>])|(?<=<)(?=-)", re.I)
"""Where Streamlit makes links, arrows, dashes and its logo of text that is escaped: an invisible joiner parts it."""
_OPTION = re.compile(r"(?<![\w`-])(--[a-z][a-z-]*)(?![\w`-])")
"""Options of the command line are shown as code, where nothing is made of them, so that they can be copied."""
PAGE_CSS = """<style>
[data-testid=stMainBlockContainer] {padding-top: 3.6rem; padding-bottom: 2rem;
  padding-left: 1.6rem; padding-right: 1.6rem; max-width: 1900px;}
[data-testid=stSidebarUserContent] {padding-top: 0.4rem;}
[data-testid=stSidebar] [data-testid=stVerticalBlock] {gap: 0.55rem;}
.how {font-size: 0.83rem; opacity: 0.72;}
.big {font-size: 1.9rem; font-weight: 650; font-variant-numeric: tabular-nums; line-height: 1.15;}
.ci {opacity: 0.72; font-variant-numeric: tabular-nums;}
.verbatim {white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; max-height: 9em; overflow: auto;}
.id {font-family: monospace; font-size: 0.8rem; overflow-wrap: anywhere;}
[data-testid=stCaptionContainer] {color: inherit !important; opacity: 0.75;}
[data-testid=stPlotlyChart] :is(:is([class*=tick], .annotation-text-g) text, text[class*=title]) {fill: currentColor !important;}
[data-testid=stCode] .token {color: inherit !important;}
@media print {
  [data-testid=stSidebar], [data-testid=stHeader] {display: none !important;}
  svg, .pic, [data-testid=stPlotlyChart] {break-inside: avoid;}
}
@media (max-width: 1250px) {  /* so that fewer views hide behind "more" */
  [data-testid=stTopNav] {gap: 2px !important;}
  [data-testid=stTopNavLink] {padding: 2px 4px !important;}
  [data-testid=stTopNavLink] > span:has([data-testid=stIconMaterial]) {display: none;}
}
@media (max-width: 640px) {
  [data-testid=stMainBlockContainer] {padding-left: 0.6rem; padding-right: 0.6rem;}
  .modebar {display: none !important;}
}
</style>"""
PRESENT_CSS = """<style>
[data-testid=stSidebar], [data-testid=stSidebarCollapsedControl], [data-testid=stExpandSidebarButton] {display: none;}
html {font-size: 20px !important;}
[data-testid=stHeader] {background: transparent;}
@media (max-width: 640px) {html {font-size: 17px !important;}}
.st-key-present_bar button {white-space: nowrap;}
:is([data-testid=stSelectbox], [data-testid=stMultiSelect], [data-testid=stNumberInput], [data-testid=stTextInput],
  [data-testid=stTextArea], [data-testid=stFileUploader], [data-testid=stDownloadButton], [data-testid=stSlider],
  [data-testid=stCheckbox], [data-testid=stButtonGroup], [class*=st-key-w_png_], [class*=st-key-w_file_]) {display: none;}
</style>"""


def look() -> None:
    """What all views share: the page's style, and the colours of theme.py for what is drawn as HTML."""
    st.html(PAGE_CSS)
    primary = f"[data-testid=stBaseButton-primary]:enabled {{color: {theme.NEAR_BLACK};}}" if dark() else ""
    st.html(f"<style>:root {{{theme.properties(dark=dark())}}} {primary}</style>")
    if state.presenting():
        st.html(PRESENT_CSS)


def favicon() -> Image.Image:
    """A small matrix with a strong diagonal, drawn here: icon names would be fetched from the network."""
    image = np.full((48, 48, 3), theme.rgb(theme.TILE), dtype=np.uint8)
    for k in range(3):
        image[k * 16 + 2 : k * 16 + 14, k * 16 + 2 : k * 16 + 14] = theme.rgb(theme.BLUE)
    return Image.fromarray(image)


def dark() -> bool:
    """Whether the page is dark, for figures whose colours plotly does not adapt by itself."""
    return st.context.theme.type == "dark"


def problem(error: SaeEvalError) -> None:
    """The one box for what a user can fix."""
    st.error(plain(str(error)), icon=":material/error:")


def plain(text: str) -> str:
    """Text as Streamlit's markdown shows it verbatim, in one line: names of files and labels may hold markup.

    For everything that renders markdown: texts, boxes, labels, tooltips, and the options of radio buttons, segments,
    sliders and tabs. Options of select boxes are shown as they are.
    """
    parts = _OPTION.split(" ".join(text.split()))
    return "".join(f"`{part}`" if k % 2 else _escaped(part) for k, part in enumerate(parts))


def _escaped(text: str) -> str:
    apart = _MADE_OF_TEXT.sub("\N{WORD JOINER}", text)
    return "".join(f"\\{c}" if c in string.punctuation else c for c in apart)


def how(text: str) -> None:
    """The line below a number that says how it was computed."""
    st.html(f"<div class='how'>{html.escape(text)}</div>")


def number(label: str, estimate: Estimate, note: str = "") -> None:
    """One headline number with its interval, or why there is none."""
    e = html.escape
    value, interval = _parts(estimate)
    st.html(
        f"<div>{e(label)}</div><div class='big'>{e(value)}</div><div class='ci'>{e(interval)}</div><div class='how'>{e(note)}</div>"
    )


def also(label: str, estimate: Estimate) -> None:
    """A second number beside the headline, in one line."""
    e = html.escape
    value, interval = _parts(estimate)
    st.html(f"<div>{e(label)}: <b>{e(value)}</b> <span class='ci'>{e(interval)}</span></div>")


def _parts(estimate: Estimate) -> tuple[str, str]:
    value, interval = value_and_interval(estimate)
    return value, f"95 % interval {interval}" if estimate.ci else interval


def left_out(beyond: Sequence[int], n_latents: int) -> None:
    """Say that stored decisions name latents that this SAE does not have; nothing where there are none."""
    if line := places.left_out(beyond, n_latents):
        st.warning(f"Stored {plain(line)}.", icon=":material/warning:")
