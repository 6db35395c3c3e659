"""A figure that is a link: the whole of it is one button, which opens a view at what the figure shows."""

import streamlit as st

from app import state
from app.widgets import provenance


def linked(key: str, markup: str, label: str, view: str, **values: object) -> None:
    """Draw ``markup``; a press anywhere on it opens ``view`` (a module of ``app.views``) with these values of its link.

    ``label`` is what the button says to those who cannot see it. Where no view can be opened the figure stands alone.
    """
    with st.container(key=f"fig_{key}"):
        st.html(markup)
        pages = st.session_state.get("pages", {})
        if view in pages and st.button(provenance.plain(label), key=f"w_go_{key}", type="tertiary"):
            state.put(**values)
            st.switch_page(pages[view])
