"""The lab as one browser component: queue, evidence card, score card and keys, drawn from JSON values.

Measured against separate Streamlit elements: one fragment run and one redraw of what changed per press.
"""

from collections.abc import Callable

import streamlit as st

from app.components import script, styles
from app.payloads.as_json import as_json
from app.payloads.shift_lab import LabPayload

_component = st.components.v2.component(
    "saeeval_lab",
    html="<div class='lab' tabindex='-1'></div>",
    css=styles(".lab", "lab/lab.css", "lab/queue.css", "lab/card.css", "lab/score.css", "lab/sizes.css"),
    js=script("lab/main.js"),
)


def show(values: LabPayload, on_did: Callable[[], None], key: str) -> None:
    """Draw the lab; ``on_did`` finds what the browser sent in ``st.session_state[key].did``."""
    _component(data=as_json(values), key=key, on_did_change=on_did)
