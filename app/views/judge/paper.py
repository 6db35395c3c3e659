"""Judge, last tab: the ratings of the paper's authors, of a second person and of their judge, from their label file."""

import streamlit as st

from app.services import access, uploads
from app.views.judge.agreement import draw as draw_agreement
from app.widgets import provenance
from saeeval_core.errors import SaeEvalError


@st.fragment
def draw() -> None:
    """The box for the file and, once it is there, how far its raters agree."""
    st.markdown(
        "The paper's authors rated 53 latents for eight concepts, a second person ten of them, and Claude 3.5 Sonnet all but one. "
        "Load their label file to see how far people and models agreed there."
    )
    off = bool(access.why_not("sending files"))
    file = st.file_uploader("paper_labels.json", type="json", key="w_paper", max_upload_size=20, disabled=off)
    if file is None:
        return
    try:
        cells = uploads.ratings_of(file.getvalue())
    except SaeEvalError as error:
        provenance.problem(error)
        return
    draw_agreement(cells, "paper")
