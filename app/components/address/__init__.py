"""The browser's history: one entry per view, whatever its address comes to say while it is looked at."""

import streamlit as st

from app.components import script

_component = st.components.v2.component("saeeval_address", html="<i hidden></i>", js=script("address/main.js"))


def one_entry_per_view() -> None:
    """Back leads to the view before, with one press; call it before a view writes its values into the address."""
    _component(key="address", height=1)
