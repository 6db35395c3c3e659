"""Asking a judge from the page: which endpoint, is it there, tokens and cost first, a budget, progress, what came back."""

import os
from dataclasses import replace

import streamlit as st

from app.jobs import judge as judge_job
from app.services import access, verdicts
from app.services.loading import Loaded
from app.widgets import provenance
from app.widgets.rule_picker import rule_from_state
from saeeval_core.errors import SaeEvalError
from saeeval_core.judging.chat import OFFICIAL
from saeeval_core.judging.claude import ClaudeSettings
from saeeval_core.judging.command import KEY_VARIABLE, JudgeOptions, make_judge
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.scores.uncertainty import say
from saeeval_core.wording import plural

_JUDGES = {
    "local": "LocalJudge (weak, offline, no key)",
    "claude": "Claude (needs an API key)",
    "messages": "Messages: Ollama, llama.cpp, vLLM",
    "chat": "Chat Completions: OpenAI and alike",
}
_QUESTIONS = {"rating": "Rate the concepts", "intruder": "Find the intruder"}
KEY = "w_ask_key"
_EXAMPLE = {"messages": "http://localhost:11434", "chat": OFFICIAL}
_KEY_NAMES = {"claude": ("ANTHROPIC_API_KEY",), "messages": (KEY_VARIABLE,), "chat": (KEY_VARIABLE,)}
_CHOSEN = "ask_chosen"
"""Session value: the options that the panel shows, by which "Ask again" finds the same server."""
_MOST_LINES = 6


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
            question = st.selectbox(
                "Question", list(_QUESTIONS), format_func=_QUESTIONS.__getitem__, key="w_ask_question", width=200
            )
            options = JudgeOptions(judge, latents.replace(" ", ""), question=question)
            options = options if judge == "local" else _server(options)
        if judge != "local":
            options = _limits(options)
        st.session_state[_CHOSEN] = options
        _beside_people(loaded, options)
        with st.container(horizontal=True):
            if judge in _EXAMPLE:
                _start_button("Test", loaded, options, what="test")
            if judge != "local":
                _start_button("Count tokens", loaded, options, what="count")
            _start_button("Ask", loaded, options)
        if judge == "claude":
            st.caption("For large jobs: saeeval judge --judge claude --batch, with a budget in tokens or money.")
        _state(loaded)


def retry_button(loaded: Loaded, failed: Verdict) -> None:
    """Ask the same judge again about one latent it gave no verdict on; a server only while it is the one chosen above."""
    chosen = st.session_state.get(_CHOSEN)
    claude = JudgeOptions("claude", model=failed.model)
    options = next((o for o in (JudgeOptions(), claude, chosen) if o is not None and _rater(o) == failed.rater), None)
    if options is None:
        if failed.rater_kind == "llm":
            st.caption("Choose this server and model above to ask it again.")
        return
    again = replace(options, latents=str(failed.latent), question="rating")
    _start_button("Ask again", loaded, again, key=f"w_again_{failed.latent}_{failed.rater}")


def _server(options: JudgeOptions) -> JudgeOptions:
    """Address, model and key of a judge behind a server; the key stays in the session."""
    judge, url = options.judge, None
    if judge in _EXAMPLE:
        own = access.judge_address()
        url = st.text_input(
            "Address",
            own,
            key=f"w_ask_url_{judge}",
            width=230,
            max_chars=300,
            placeholder=_EXAMPLE[judge],
            disabled=access.judge_address_is_fixed(),
            help="Where the server is. Your questions, with windows of the texts, are sent there.",
        )
        url = url.strip() or (_EXAMPLE[judge] if judge == "messages" else None)
    first, key = (ClaudeSettings.model, "w_ask_model") if judge == "claude" else ("", f"w_ask_model_{judge}")
    model = st.text_input("Model", first, key=key, width=190, max_chars=100)
    if not any(os.environ.get(name) for name in _KEY_NAMES[judge]):
        label = "API key" if judge == "claude" else "API key (if it wants one)"
        st.text_input(
            label, type="password", key=KEY, width=200, help="Used for this session's requests; never stored."
        )
    return replace(options, model=model.strip(), base_url=url)


def _limits(options: JudgeOptions) -> JudgeOptions:
    """Budget and prices."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        budget = st.number_input(
            "Token budget", 1, None, None, 10_000, key="w_ask_budget", width=150, placeholder="no limit"
        )
        price_in, price_out = (
            st.number_input(
                label,
                0.0,
                None,
                None,
                0.1,
                key=f"w_ask_price_{side}",
                width=170,
                placeholder="unknown",
                help="USD per million tokens, for the cost.",
            )
            for label, side in (("Price of input", "in"), ("Price of output", "out"))
        )
    return replace(options, budget_tokens=budget, price_in=price_in, price_out=price_out)


def _rater(options: JudgeOptions) -> str:
    """Under which name the judge's verdicts are stored; "" while it is not described in full."""
    try:
        return make_judge(options).rater
    except SaeEvalError:
        return ""


def _beside_people(loaded: Loaded, options: JudgeOptions) -> None:
    """Where a judge is chosen: how far it agrees with people's own decisions, and with people's and imported ratings."""
    rater = _rater(options)
    found = verdicts.trust_in(loaded, rater, rule_from_state()) if rater else None
    if found is None:
        return
    lines = [
        f"{d.who}'s decisions ({d.about}): kappa {say(d.agreement.kappa_ge1, 2)}, n = {d.agreement.n}"
        + (f", {len(d.not_judged)} not judged" if d.not_judged else "")
        for d in found.decisions
    ]
    lines += [f"ratings of {a.a}: kappa {say(a.kappa_quadratic, 2)} (quadratic), n = {a.n}" for a in found.ratings]
    shown = lines[:_MOST_LINES] + ([f"and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else [])
    with st.container(key="ask_trust", gap=None):
        st.text(f"Before you trust {rater}:")
        for line in shown or ["nobody has decided on or rated a latent that it rated; rate some blind first"]:
            st.text(line)


def _start_button(label: str, loaded: Loaded, options: JudgeOptions, *, what: str = "ask", key: str = "") -> None:
    job = judge_job.job_of(loaded)
    off = access.why_not("asking a judge")
    pressed = st.button(
        label,
        key=key or f"w_ask_{'go' if what == 'ask' else what}",
        disabled=bool(off) or (job is not None and job.active),
        help=provenance.plain(off) or None,
        type="primary" if label == "Ask" else "secondary",
    )
    if pressed:  # a callback would be called with the options of the last drawing, before what was just typed
        asked = replace(options, dry_run=what == "count")
        judge_job.start(loaded, asked, st.session_state.get(KEY) or "", only_test=what == "test")
        st.rerun()  # drawn again with the buttons locked


@st.fragment(run_every=1.0)
def _progress(loaded: Loaded) -> None:
    job = judge_job.job_of(loaded)
    if job is None or not job.active:
        st.rerun(scope="app")
        return
    share = job.done / job.total if job.total else 0.0
    st.progress(
        min(1.0, share),
        f"{job.done} of {plural(job.total, 'verdict')}" if job.total else "reading what is shown to the judge",
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
    elif job.tested is not None:
        st.success(provenance.plain(job.tested.words), icon=":material/check:")
    elif job.result is not None:
        st.caption(provenance.plain(judge_job.summary(job.result)))
