"""The TPP page's live part: slider, cards, matrix and what lies behind the chosen cell."""

from collections.abc import Callable

import streamlit as st

from app.components import script, styles
from app.payloads.as_json import as_json
from app.payloads.matrix import Around, Matrix

_component = st.components.v2.component(
    "saeeval_tpp", html="<div class='tpp'></div>", css=styles(".tpp", "tpp/tpp.css"), js=script("tpp/main.js")
)


def show(matrix: Matrix, around: Around, on_did: Callable[[], None], key: str) -> None:
    """Draw; ``on_did`` finds what the person did in ``st.session_state[key].did``."""
    _component(data=as_json(matrix) | as_json(around), key=key, on_did_change=on_did)
