"""The courier: nothing to see, on every page, outside all fragments. It brings presses that no view could deliver."""

from collections.abc import Mapping, Sequence

import streamlit as st

from app import theme
from app.components import script

_component = st.components.v2.component("saeeval_courier", html="<i hidden></i>", js=script("courier/main.js"))


def show(ack: Mapping[str, int], refused: Sequence[tuple[str, int, str]]) -> object:
    """Draw it; what it brings, None when it brings nothing. ``ack`` and ``refused``: as in ``PressLog``."""
    return _component(
        data={"ack": dict(ack), "refused": [list(r) for r in refused], "colours": theme.css("#saeeval-presses")},
        key="courier",
        height=1,
        on_did_change=lambda: None,
    ).did
