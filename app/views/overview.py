"""Overview: what is loaded, what came out of it, what the two scores mean."""

import streamlit as st

from app import services
from app.services import Loaded

TITLE = "Overview"
ICON = ":material/home:"


def render(loaded: Loaded) -> None:
    """Headline."""
    st.title("SAE eval")
    st.write(services.live_part(loaded))
