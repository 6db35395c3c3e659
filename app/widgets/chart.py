"""A figure on a page: drawn by plotly, its toolbar out of the way, and taken out as SVG, PNG, page and CSV below it."""

from collections.abc import Callable
from functools import partial

import plotly.graph_objects as go
import streamlit as st

from app.figures.common import CONFIG
from app.figures.numbers import numbers
from app.widgets import export, provenance


def draw(figure: go.Figure, key: str) -> None:
    """The figure alone."""
    st.plotly_chart(figure, key=key, config=CONFIG)


def themed(drawn: Callable[..., go.Figure], key: str, *, part: str = "", caption: str = "", name: str = "") -> None:
    """A figure whose colours follow the page, ``drawn(dark=...)``: its files are on white paper, so in the light ones."""
    draw(drawn(dark=provenance.dark()), key)
    _files(partial(drawn, dark=False), key, part, caption, name)


def with_files(figure: go.Figure, key: str, *, part: str = "", caption: str = "", name: str = "") -> None:
    """The figure with its files; ``name``: what tells it from others of its title, such as the file it is about."""
    draw(figure, key)
    _files(lambda: figure, key, part, caption, name)


def _files(made: Callable[[], go.Figure], key: str, part: str, caption: str, name: str) -> None:
    titled = export.file_name(key, name, str(made().layout.title.text or ""))
    export.figure_buttons(made, lambda: numbers(made(), part), titled, caption)
