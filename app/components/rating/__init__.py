"""Rating one latent by keys: 0 to 4 on the focused concept, all zero, skip, save. Nothing is rated until a person says so."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import streamlit as st

from app.components import script, styles
from app.payloads.as_json import as_json

_component = st.components.v2.component(
    "saeeval_rating",
    html="<div class='rating'></div>",
    css=styles(".rating", "rating/rating.css"),
    js=script("rating/main.js"),
)


@dataclass(frozen=True)
class RatingForm:
    """What is to be rated."""

    latent: int
    concepts: tuple[tuple[str, str], ...]
    """(name, gloss or "")"""
    scale: tuple[str, ...]
    """Words for 0 to 4."""
    ack: Mapping[str, int]
    """Page -> number of its last rating that was answered."""
    locked: str
    """Why nothing can be saved; "" when it can."""


def show(form: RatingForm, on_did: Callable[[], None], key: str) -> None:
    """Draw the form; ``on_did`` finds what was saved or skipped in ``st.session_state[key].did``."""
    _component(data=as_json(form), key=key, on_did_change=on_did)
