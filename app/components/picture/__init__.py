"""Nothing to see: it makes a PNG of a figure in the browser and downloads it."""

import uuid

import streamlit as st

from app.components import script

_component = st.components.v2.component("saeeval_picture", html="<i hidden></i>", js=script("picture/main.js"))


def download(svg: str, name: str) -> None:
    """Download this ``<svg>`` as a PNG of twice its size called ``name``; call it in the run of the press alone."""
    _component(data={"svg": svg, "name": name, "token": uuid.uuid4().hex}, key=f"picture_{name}", height=1)
