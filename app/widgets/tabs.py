"""Tabs whose open one is in the URL."""

from collections.abc import Mapping, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import state


def tabs(name: str, labels: Mapping[str, str]) -> Sequence[DeltaGenerator]:
    """One container per label; ``name`` (of state.DEFAULTS) holds the key of the open one."""
    key = f"w_{name}"
    return st.tabs(
        list(labels.values()),
        default=labels[state.one_of(name, list(labels))],
        key=key,
        on_change=_chosen,
        args=(name, key, labels),
    )


def _chosen(name: str, key: str, labels: Mapping[str, str]) -> None:
    state.put(**{name: next((k for k, label in labels.items() if label == st.session_state[key]), "")})
