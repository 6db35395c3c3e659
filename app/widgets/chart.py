"""A figure on a page: drawn by plotly, its toolbar out of the way, and taken out as SVG, PNG, page and CSV below it."""

from functools import partial

import plotly.graph_objects as go
import streamlit as st

from app.figures.common import CONFIG
from app.figures.numbers import numbers
from app.widgets import export


def draw(figure: go.Figure, key: str) -> None:
    """The figure alone."""
    st.plotly_chart(figure, key=key, config=CONFIG)


def with_files(figure: go.Figure, key: str, *, part: str = "", caption: str = "", name: str = "") -> None:
    """The figure with its files; ``name``: what tells it from others of its title, such as the file it is about."""
    draw(figure, key)
    titled = export.file_name(key, name, str(figure.layout.title.text or ""))
    export.figure_buttons(lambda: figure, partial(numbers, figure, part), titled, caption)
