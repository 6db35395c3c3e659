"""The set on screen as a steering hook: made in one step, which may have to load the model, and downloaded in another."""

import streamlit as st

from app.deciding.lab import Lab
from app.jobs import steering
from app.services import access
from app.widgets import provenance
from app.widgets.live_steps import get_ready
from saeeval_core.errors import SaeEvalError

_MADE = "steering_made"


def buttons(lab: Lab, name: str) -> None:
    """``name``: of the file, without its ending. What was made for another set is not offered."""
    off = access.why_not("reading texts")
    if st.button(
        "Make a steering hook",
        key="w_steer",
        disabled=bool(off),
        icon=":material/tune:",
        help=provenance.plain(off)
        or "A Python file for transformers and TransformerLens, with the set's vectors beside it.",
    ):
        _make(lab)
    about, made = st.session_state.get(_MADE, (None, b""))
    if made and about == _about(lab):
        st.download_button(
            "Steering hook (ZIP)",
            made,
            f"steering_{name}.zip",
            "application/zip",
            on_click="ignore",
            key="w_steer_zip",
            icon=":material/download:",
        )


def _about(lab: Lab) -> object:
    return lab.desk.name, lab.ablated(), lab.ablation


def _make(lab: Lab) -> None:
    try:
        ids = lab.ablated_or_raise()
        get_ready(lab.loaded)
        with st.spinner("Checking the hook against the model"):
            made = steering.zipped(lab.loaded, lab.direction, ids, lab.ablation)
        st.session_state[_MADE] = _about(lab), made
    except SaeEvalError as error:
        provenance.problem(error)
