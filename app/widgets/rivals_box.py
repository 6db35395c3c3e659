"""The rivals of a task where they are stored; else the button that scores them in the background, with its progress."""

import streamlit as st

from app.jobs import rivals as rivals_job
from app.services import trust
from app.services.loading import Loaded
from app.widgets import provenance
from saeeval_core.controls.rival_results import Rivals
from saeeval_core.errors import SaeEvalError

MADE = "ICA, bases fitted on general text, difference in means, the probe's own direction: minutes, once."


def rivals(loaded: Loaded, key: str) -> Rivals | None:
    """What is stored; None, with the button or the progress drawn, before that. ``key``: of this place on the page."""
    found = trust.rivals_at_hand(loaded)
    if found is not None:
        return found
    job = rivals_job.job_of(loaded)
    if job is not None and job.active:
        _progress(loaded, key)
        return None
    if job is not None and job.error:
        st.caption(provenance.plain(f"Rivals: {job.error}"))
    if st.button("Score the rivals", key=f"w_rivals_{key}", help=MADE, icon=":material/compare:"):
        try:
            rivals_job.start(loaded)
        except SaeEvalError as error:
            provenance.problem(error)
        else:
            st.rerun()
    return None


@st.fragment(run_every=1.0)
def _progress(loaded: Loaded, key: str) -> None:
    job = rivals_job.job_of(loaded)
    if job is None or not job.active:
        st.rerun(scope="app")
        return
    told = f"Scoring the rivals: {job.done} of about {job.total}" + (f", now {job.now}" if job.now else "")
    told = "Cancelling, after this rival" if job.cancelling else told
    st.progress(min(1.0, job.done / max(job.total, 1)), text=provenance.plain(told))
    st.button("Cancel", key=f"w_rivals_cancel_{key}", disabled=job.cancelling, on_click=job.cancel)
