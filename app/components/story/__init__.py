"""A story: a deck of steps on a page, and the same deck as one file that opens offline."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from app import theme
from app.components import script
from app.figures import pictures

SHEET = theme.css(".story") + pictures.SHEET + (Path(__file__).parent / "story.css").read_text(encoding="utf-8")
_component = st.components.v2.component(
    "saeeval_story", html="<div class='story'></div>", css=SHEET, js=script("story/main.js")
)
_DARK = f"@media screen and (prefers-color-scheme:dark){{.story{{{theme.properties(dark=True)}}}}}"
_PAGE = """
html{color-scheme:light dark;background:Canvas;color:CanvasText;font-family:system-ui,sans-serif}
body{margin:0;padding:1.2rem 1.6rem}
.story{color-scheme:inherit;min-height:calc(100vh - 2.4rem)}
.story.whole .step[hidden],.story.whole .frame[hidden]{display:block!important}
@media print{html{color-scheme:light}.bar{display:none!important}.step[hidden],.frame[hidden]:last-child{display:block!important}
.step{break-after:page}.frame:not(:last-child){display:none}.notes{display:block!important}}
"""


def show(deck: str, step: int, on_told: Callable[[], None], key: str) -> None:
    """Draw the deck (HTML, everything in it escaped), at first at ``step`` from 0.

    ``on_told`` finds {"step": k} or {"leave": True} in ``st.session_state[key].told``.
    """
    _component(data={"html": deck, "step": step}, key=key, on_told_change=on_told)


def as_file(deck: str, title: str) -> str:
    """The deck as one HTML page, light or dark as its reader's, that fetches nothing. ``title``: escaped."""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{title}</title><style>{SHEET}{_DARK}{_PAGE}</style></head><body><div class='story'>{deck}</div>"
        f"<script type='module'>{script('story/offline.js')}</script></body></html>"
    )
