"""Running an SAE that has no recording yet: the button, one place for its progress, and Cancel."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import streamlit as st

from app import state
from app.jobs import recording as recording_job
from app.services import access, loading, picked
from app.services.loading import Loaded
from app.widgets import provenance
from saeeval_core.config import RunConfig
from saeeval_core.errors import SaeEvalError
from saeeval_core.recordings import plan
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.wording import plural


def draw(config: RunConfig, ready: Callable[[Loaded], None]) -> None:
    """``ready`` with the recordings; in their place, while this SAE has not been run on these texts, the run.

    SaeEvalError for a model, SAE or texts that are none.
    """
    loaded = loading.load(config)
    if loaded is not None:
        ready(loaded)
        return
    picked.check_model(config.model)
    picked.sae_facts(config.saes[0])
    st.subheader("Not run yet")
    texts = loading.texts_of(replace(config, saes=())).texts
    st.write(f"There is no recording of {provenance.plain(config.saes[0])} on {provenance.plain(texts.shown)}.")
    st.write("One pass of the language model over the texts makes it; every score afterwards is instant.")
    job = recording_job.job_of(config)
    if job is not None and job.active:
        _progress(config)
        return
    if job is not None and job.status == "cancelled":
        st.info(provenance.plain(job.error), icon=":material/pause_circle:")
    elif job is not None and job.error:
        st.error(provenance.plain(job.error), icon=":material/error:")
    if _foretold(config, texts):
        _run(config, "w_run_main", "content")


def _foretold(config: RunConfig, texts: LabelledTexts) -> bool:
    """Tokens, time and memory, before anything is loaded; False, with the reason, where it cannot be done here."""
    with st.spinner("Measuring how fast this machine is"):
        found = _plan(config, texts)
    pace = (
        "at the pace of the last pass here"
        if found.measured
        else "the products alone, with this machine as busy as now"
    )
    seconds = "time not known" if found.seconds is None else f"about {duration(found.seconds)} ({pace})"
    memory = "" if found.peak_bytes is None else f", at most {found.peak_bytes / 1e9:.1f} GB of memory"
    weights = "" if found.model_bytes is None else f" ({found.model_bytes / 1e9:.1f} GB the model's weights)"
    disk = "" if found.stored_bytes is None else f", at most {found.stored_bytes / 1e6:,.0f} MB kept"
    provenance.how(
        f"{found.texts:,} texts, at least {found.tokens:,} tokens: {seconds}, and loading the model{memory}{weights}{disk}."
    )
    if found.not_kept:
        st.warning(provenance.plain(found.not_kept), icon=":material/hard_drive:")
    if found.refused:
        st.error(provenance.plain(found.refused), icon=":material/memory:")
    return not found.refused


def _plan(config: RunConfig, texts: LabelledTexts) -> plan.Plan:
    """The plan of this page, kept while it shows the same: it is drawn anew with every press."""
    key = (config.to_json(), texts.fingerprint)
    if st.session_state.get("plan_of") != key:
        st.session_state["plan"] = plan.plan(config, texts.texts, [picked.sae_facts(config.saes[0])])
        st.session_state["plan_of"] = key
    found: plan.Plan = st.session_state["plan"]
    return found


def _run(config: RunConfig, key: str, width: Literal["content", "stretch"]) -> None:
    off = access.why_not("running")
    if st.button(
        "Run",
        type="primary",
        icon=":material/play_arrow:",
        key=key,
        width=width,
        disabled=bool(off),
        help=provenance.plain(off) or None,
    ):
        recording_job.start(config)
        st.rerun()


def button() -> None:
    """Run from the sidebar where the page has nothing to show yet; also says what others run."""
    try:
        config = state.config()
        if loading.load(config) is None:
            picked.check_model(config.model)
            picked.sae_facts(config.saes[0])
            _button(config)
    except SaeEvalError:
        return  # the page says what is wrong


def _button(config: RunConfig) -> None:
    job = recording_job.job_of(config)
    running = job is not None and job.active
    if running:
        st.caption("Running; the page shows how far it is.")
    else:
        _run(config, "w_run", "stretch")
    others = [j for j in recording_job.active_jobs() if j is not job]
    if others:
        st.caption(f"{plural(len(others), 'other run')} going on")


@st.fragment(run_every=0.7)
def _progress(config: RunConfig) -> None:
    """How far the run of these settings is, time left and Cancel; the page goes on when it is done."""
    job = recording_job.job_of(config)
    if job is None or not job.active:
        st.rerun(scope="app")
        return
    share = job.done / job.total if job.total else 0.0
    left = "" if job.eta is None else f", {duration(job.eta)} left"
    told = f"{job.step}: {job.done:,} of {job.total:,} tokens{left}" if job.total else job.step
    told = f"Cancelling, after this step: {told}" if job.cancelling else told
    st.progress(min(1.0, share), text=provenance.plain(told))
    st.button(
        "Cancel",
        key="w_cancel",
        disabled=job.cancelling,
        on_click=job.cancel,
        help="What is done is kept; Run goes on from there.",
    )


def duration(seconds: float) -> str:
    """Such as "40 s" or "3 min"."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
