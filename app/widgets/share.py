"""Links that show another person exactly this: with the sets by their numbers, not "mine", which is everybody's own."""

from urllib.parse import urlencode

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import state
from app.services.loading import Loaded
from app.widgets import provenance, story_editor


def popover(box: DeltaGenerator, note: str, loaded: Loaded, title: str, **exact: str) -> None:
    """The link of this view, and a step of the story that shows it.

    ``title``: of that step, if none is typed. ``exact``: values (of state.DEFAULTS) that the link names whatever the
    address bar says.
    """
    with box.popover("Share", icon=":material/link:"):
        st.code(link(**exact), None, wrap_lines=True)
        st.caption(provenance.plain(note))
        story_editor.pin_view(loaded, link(**exact), title)


def link(**exact: str) -> str:
    """The address, with every value that is not as it is by default, and those of ``exact``."""
    here = {name: state.get(name) for name in state.DEFAULTS if state.get(name) != state.DEFAULTS[name]}
    values = {k: v for k, v in (here | exact).items() if k != "present"}
    return f"{st.context.url or ''}?{urlencode(values)}"
