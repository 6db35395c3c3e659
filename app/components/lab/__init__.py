"""The lab as one browser component: queue, evidence card, score card and keys, drawn from JSON values.

Measured against separate Streamlit elements: one fragment run and one redraw of what changed per press. Scripts are
constants of ours; data enters the page through ``textContent`` only.
"""

from typing import Any

import streamlit as st

from app.components import source

_SCRIPTS = ("common/dom.js", *(f"lab/{name}.js" for name in ("queue", "card", "score", "keys", "main")))

_component = st.components.v2.component(
    "saeeval_lab", html="<div class='lab' tabindex='-1'></div>", css=source("lab/lab.css"), js=source(*_SCRIPTS)
)


def lab(data: dict[str, Any], *, key: str, on_did_change: Any = None) -> Any:
    """Draw the lab. ``on_did_change`` is called after presses; ``st.session_state[key].did`` is what the browser sent."""
    return _component(data=data, key=key, on_did_change=on_did_change or (lambda: None))
