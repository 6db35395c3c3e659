"""One evidence card on a page of its own, with arrow keys to the latents before and after it."""

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from app.components import script, styles
from app.payloads.as_json import as_json
from app.payloads.evidence_card import Card

_component = st.components.v2.component(
    "saeeval_latent",
    html="<div class='lab solo'></div>",
    css=styles(".lab", "lab/lab.css", "lab/card.css", "lab/score.css", "lab/sizes.css"),
    js=script("latent/main.js"),
)


@dataclass(frozen=True)
class CardPage:
    """What the page draws."""

    card: Card
    current: int
    previous: int | None
    """Latent before this one in the table; None at its start."""
    next: int | None
    place: str
    decision: str | None
    present: bool
    effects: tuple[tuple[str, float], ...]
    """(probe, effect on it)"""


def show(values: CardPage, on_go: Callable[[], None], key: str = "latent_card") -> None:
    """Draw one card; ``on_go`` finds the latent to move to in ``st.session_state[key].go``."""
    _component(data=as_json(values), key=key, on_go_change=on_go)
