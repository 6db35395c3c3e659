"""What happens before the first text is read: the model unpacked and loaded, then the SAE, each with its time so far."""

import streamlit as st

from app.jobs import live_model
from app.services.loading import Loaded
from app.widgets import provenance


def get_ready(loaded: Loaded) -> None:
    """Model and SAE into memory, which is at once where they are. SaeEvalError as ``live_model.read``."""
    for what, work in live_model.steps(loaded):
        with st.spinner(provenance.plain(what), show_time=True):
            work()
