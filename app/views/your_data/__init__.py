"""Your data: from a file to a kept task that everybody on this server can open, and its run."""

import streamlit as st

from app import state
from app.jobs import recording as recording_job
from app.services.loading import Loaded
from app.views.your_data import kept, new_task
from app.widgets import provenance, run_box
from saeeval_core.errors import SaeEvalError

TITLE = "Your data"
ICON = ":material/upload_file:"
NEEDS_RECORDING = False
"""Drawn whether or not the chosen texts have been read."""


def render() -> None:
    """The chosen task's run, the tasks that are kept, and the form for a new one."""
    st.header("Your data")
    _chosen()
    kept.section()
    new_task.section()


def _chosen() -> None:
    """Where the task of the link stands: to be run, running, or ready for the lab."""
    try:
        config = state.config()
        job = recording_job.job_of(config)
        if state.get("task").startswith("own:") or (job is not None and job.active):
            with st.container(border=True):
                run_box.draw(config, _ready)
    except SaeEvalError as error:
        provenance.problem(error)


def _ready(loaded: Loaded) -> None:
    st.subheader("Ready")
    st.write(f"{provenance.plain(loaded.task_set.texts.shown)} has been read with this model and SAE.")
    pages = st.session_state.get("pages", {})
    views = {"shift_lab": "Open the SHIFT lab"} if loaded.task_set.pairs else {}
    views |= {"tpp_matrix": "Open the TPP matrix"} if loaded.task_set.tpp else {}
    for view in [v for v in views if v in pages]:
        st.page_link(pages[view], label=views[view], icon=":material/arrow_forward:")
