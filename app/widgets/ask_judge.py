"""Asking a judge from the page: which latents, count first, a token budget, progress, what came back."""

import os
from dataclasses import replace

import streamlit as st

from app.jobs import judge as judge_job
from app.services import access
from app.services.loading import Loaded
from app.widgets import provenance
from saeeval_core.judging.claude import ClaudeSettings
from saeeval_core.judging.command import JudgeOptions
from saeeval_core.ledger.verdicts import Verdict

_JUDGES = {"local": "LocalJudge (weak, offline, no key)", "claude": "Claude (needs an API key)"}
KEY = "w_ask_key"


def ask_panel(loaded: Loaded) -> None:
    """Choices and buttons; below, the run that is going or what came of the last one."""
    with st.expander("Ask a judge", expanded=judge_job.job_of(loaded) is not None):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            judge = st.selectbox("Judge", list(_JUDGES), format_func=_JUDGES.__getitem__, key="w_ask_judge", width=280)
            latents = st.text_input(
                "Latents",
                "top20",
                key="w_ask_latents",
                width=180,
                max_chars=400,
                help="top20: the 20 strongest of every ranking of this task. Or ids: 17, 33.",
            )
            model, budget = _claude() if judge == "claude" else ("", None)
        options = JudgeOptions(judge, latents.replace(" ", ""), model.strip(), budget_tokens=budget)
        with st.container(horizontal=True):
            if judge == "claude":
                _start_button("Count tokens", loaded, options, count=True)
            _start_button("Ask", loaded, options)
        if judge == "claude":
            st.caption("For large jobs: saeeval judge --judge claude --batch, with a budget in tokens or money.")
        _state(loaded)


def retry_button(loaded: Loaded, failed: Verdict) -> None:
    """Ask the same judge again about one latent it gave no verdict on."""
    judge = {"llm": "claude", "local": "local"}.get(failed.rater_kind)
    if judge is None:
        return
    options = JudgeOptions(judge, str(failed.latent), failed.model if judge == "claude" else "")
    _start_button("Ask again", loaded, options, key=f"w_again_{failed.latent}_{failed.rater}")


def _claude() -> tuple[str, int | None]:
    """(model, budget in tokens); the key stays in the session."""
    model = st.text_input("Model", ClaudeSettings.model, key="w_ask_model", width=190, max_chars=100)
    budget = st.number_input(
        "Token budget", 1, None, None, 10_000, key="w_ask_budget", width=150, placeholder="no limit"
    )
    if not os.environ.get("ANTHROPIC_API_KEY"):
        help_ = "Used for this session's requests; never stored."
        st.text_input("API key", type="password", key=KEY, width=200, help=help_)
    return model, budget


def _start_button(label: str, loaded: Loaded, options: JudgeOptions, *, count: bool = False, key: str = "") -> None:
    job = judge_job.job_of(loaded)
    off = access.why_not("asking a judge")
    pressed = st.button(
        label,
        key=key or f"w_ask_{'count' if count else 'go'}",
        disabled=bool(off) or (job is not None and job.active),
        help=provenance.plain(off) or None,
        type="primary" if label == "Ask" else "secondary",
    )
    if pressed:  # a callback would be called with the options of the last drawing, before what was just typed
        judge_job.start(loaded, replace(options, dry_run=count), st.session_state.get(KEY) or "")
        st.rerun()  # drawn again with the buttons locked


@st.fragment(run_every=1.0)
def _progress(loaded: Loaded) -> None:
    job = judge_job.job_of(loaded)
    if job is None or not job.active:
        st.rerun(scope="app")
        return
    share = job.done / job.total if job.total else 0.0
    st.progress(
        min(1.0, share), f"{job.done} of {job.total} verdicts" if job.total else "reading what is shown to the judge"
    )
    if st.button("Cancel", key="w_ask_cancel", help="What arrived is kept."):
        job.cancel()


def _state(loaded: Loaded) -> None:
    job = judge_job.job_of(loaded)
    if job is None:
        return
    if job.active:
        _progress(loaded)
    elif job.error:
        st.error(provenance.plain(job.error), icon=":material/error:")
    elif job.result is not None:
        st.caption(provenance.plain(judge_job.summary(job.result)))
