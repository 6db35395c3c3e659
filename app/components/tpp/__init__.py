"""The TPP page's live part: slider, cards, matrix and what lies behind the chosen cell."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from app.components import source

_component = st.components.v2.component(
    "saeeval_tpp",
    html="<div class='tpp'></div>",
    css=source("tpp/tpp.css"),
    js=source("common/dom.js", "tpp/matrix.js", "tpp/detail.js", "tpp/main.js"),
)


def show(values: dict[str, Any], on_move: Callable[[], None], key: str = "tpp") -> None:
    """Draw; ``on_move`` finds what the person did in ``st.session_state[key].did``."""
    _component(data=values, key=key, on_did_change=on_move)
