"""Overview: sentences as its cards show them, and what guards them."""

import html
from collections.abc import Callable

import streamlit as st

from app.widgets import provenance
from saeeval_core.errors import SaeEvalError
from saeeval_core.scores.uncertainty import Estimate, value_and_interval


def said(sentence: str) -> None:
    """One sentence of result; nothing for ""."""
    if sentence:
        st.html(f"<div class='said'>{html.escape(sentence)}</div>")


def title(text: str) -> None:
    """The heading of a card."""
    st.html(f"<div class='head' role='heading' aria-level='2'>{html.escape(text)}</div>")


def number(label: str, estimate: Estimate) -> str:
    """A headline number in one row with its name and interval."""
    value, interval = value_and_interval(estimate)
    below = f"95 % interval {interval}" if estimate.ci else interval
    return (
        f"<div class='headline'><span class='big'>{html.escape(value)}</span>"
        f"<span><span>{html.escape(label)}</span><br><span class='how'>{html.escape(below)}</span></span></div>"
    )


def guarded(draw: Callable[[], None]) -> None:
    """One figure that cannot be drawn does not take the page with it."""
    try:
        draw()
    except SaeEvalError as error:
        provenance.problem(error)
