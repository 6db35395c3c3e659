"""Overview: pictures first. Every figure leads to its view; the sentence above it is written from its numbers."""

import streamlit as st

from app import theme
from app.figures import pictures
from app.services.loading import Loaded
from app.views.overview import classes, explained, latents, others, pair, progress
from app.views.overview.words import guarded

TITLE = "Overview"
ICON = ":material/home:"
_CSS = (
    """<style>
.st-key-ov {gap: 0.6rem;}
.st-key-ov [data-testid=stVerticalBlock] {gap: 0.35rem;}
.st-key-ov .head {font-weight: 650; font-size: 1rem;}
.st-key-ov .headline {display: flex; gap: 12px; align-items: center; line-height: 1.25; font-size: 0.9rem;}
.st-key-ov .beside {display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: center;}
.st-key-ov .beside > :last-child {flex: 1 1 230px;}
.st-key-ov [data-testid=stHtml] {line-height: 1.3;}
.st-key-ov .facts {display: flex; flex-wrap: wrap; gap: 2px 10px; font-size: 0.85rem; align-items: baseline;}
.st-key-ov .facts b {overflow-wrap: anywhere;}
.st-key-ov .said {font-size: 0.92rem; line-height: 1.35;}
.st-key-ov_latents {display: grid !important; grid-template-columns: repeat(auto-fill, minmax(158px, 1fr)); gap: 8px !important;}
.st-key-ov_latents > * {width: auto !important; min-width: 0;}
[class*=st-key-fig_] {position: relative;}
[class*=st-key-fig_] [class*=st-key-w_go_] {position: absolute; inset: 0; width: 100% !important; z-index: 2;}
[class*=st-key-w_go_] * {height: 100%; width: 100%;}
[class*=st-key-w_go_] button {background: none; border: none; color: transparent !important; font-size: 0; cursor: pointer; min-height: 0;}
[class*=st-key-w_go_] button:is(:hover, :focus-visible) {outline: 2px solid """
    + theme.BLUE
    + """; outline-offset: 3px;}
</style>"""
)


def render(loaded: Loaded) -> None:
    """What is loaded in a line, both scores, the latents behind them, one's own progress, other SAEs; then how."""
    st.html(pictures.CSS + _CSS)
    with st.container(key="ov"):
        explained.facts(loaded)
        left, right = st.columns(2, gap="small", border=True)
        with left:
            guarded(lambda: pair.draw(loaded))
        with right:
            guarded(lambda: classes.draw(loaded))
        guarded(lambda: latents.draw(loaded))
        left, right = st.columns(2, gap="small", border=True)
        with left:
            guarded(lambda: progress.draw(loaded))
        with right:
            guarded(lambda: others.draw(loaded))
    explained.draw(loaded)
