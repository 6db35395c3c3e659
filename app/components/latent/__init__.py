"""One evidence card on a page of its own, with arrow keys to the latents before and after it."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from app.components import source

_component = st.components.v2.component(
    "saeeval_latent",
    html="<div class='lab solo'></div>",
    css=source("lab/lab.css") + "\n.solo svg { max-width:340px; }",
    js=source("common/dom.js", "lab/card.js", "latent/main.js"),
)


def show(values: dict[str, Any], on_go: Callable[[], None], key: str = "latent_card") -> None:
    """Draw one card; ``on_go`` finds the latent to move to in ``st.session_state[key].go``."""
    _component(data=values, key=key, on_go_change=on_go)
