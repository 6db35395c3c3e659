"""Changing a story: a step's sentence and place, steps left out, and views pinned as steps of one's own."""

from collections.abc import Callable, Sequence

import streamlit as st

from app import state
from app.services import access, ledger
from app.services.loading import Loaded
from app.stories.extra_steps import Address
from app.stories.plan import Plan, Step
from app.stories.told import committed
from app.widgets import provenance
from saeeval_core.errors import SaeEvalError
from saeeval_core.ledger.decisions import DecisionSet


def plan(chosen: DecisionSet) -> Plan:
    """What this person made of the story of a set; one that nobody changed is as made."""
    kept = ledger.store().story(chosen.id, state.who()) or ledger.store().story(chosen.id, chosen.who)
    try:
        return Plan.of_json(kept) if kept else Plan()
    except SaeEvalError as error:
        provenance.problem(error)
        return Plan()


def editor(chosen: DecisionSet, now: Plan, steps: Sequence[Step], at: int) -> None:
    """Of the step on screen; every change is stored at once, under one's own name."""
    off = access.why_not("deciding")
    with st.expander("Change this story", icon=":material/edit:"):
        if off:
            st.caption(provenance.plain(off))
            return
        if steps:
            _step(chosen, now.started(steps), steps[at], at, len(steps))
        _pin(chosen, now.started(steps))
        if now.slides:
            st.button("As it was made", key="w_story_reset", on_click=_keep, args=(chosen, lambda: Plan()))


def _step(chosen: DecisionSet, own: Plan, step: Step, at: int, count: int) -> None:
    key = f"w_story_said_{step.key}"
    st.text_area(
        provenance.plain(f"What step {at + 1} of {count} says"),
        step.sentence,
        key=key,
        on_change=_keep,
        args=(chosen, lambda: own.said(step.key, str(st.session_state[key]).strip())),
        max_chars=600,
        help="Empty: the sentence made from the numbers.",
    )
    with st.container(horizontal=True):
        for label, by in (("Earlier", -1), ("Later", 1)):
            move = (chosen, lambda by=by: own.moved(step.key, by), at + 1 + by)
            off = not 0 <= at + by < count
            st.button(provenance.plain(label), key=f"w_story_{label}", on_click=_keep, args=move, disabled=off)
        leave_out = (chosen, lambda: own.without(step.key))
        st.button("Leave this step out", key="w_story_out", on_click=_keep, args=leave_out, disabled=count < 2)


def _pin(chosen: DecisionSet, own: Plan) -> None:
    with st.form("w_story_pin", clear_on_submit=True, border=False):
        st.caption("A step of your own: text alone, or any view by its link (Share, or the address bar).")
        st.text_input("Title", key="w_story_title", max_chars=120)
        st.text_input("Sentence", key="w_story_sentence", max_chars=600)
        st.text_input("Link of a view", key="w_story_link", max_chars=2000)
        st.form_submit_button("Add the step", on_click=_add, args=(chosen, own))
    if error := st.session_state.pop("story_problem", None):
        provenance.problem(error)


def pin_view(loaded: Loaded, link: str, title: str) -> None:
    """Make the view on screen a step of the story of the set that was committed last; nothing is read before the press."""
    off = access.why_not("deciding")
    with st.form("w_pin_view", border=False):
        st.text_input("Sentence", key="w_pin_sentence", max_chars=600, placeholder="what this view shows")
        pin = st.form_submit_button("Pin to the story", icon=":material/keep:", disabled=bool(off))
    if not pin or off:
        return
    try:
        found = committed(loaded)
        if not found:
            st.info("A story is made from a committed set; commit one in the SHIFT lab first.")
            return
        told = next((t for t in found if str(t.chosen.id) == state.get("story")), found[-1])
        _keep(
            told.chosen, lambda: plan(told.chosen).pinned(title, str(st.session_state["w_pin_sentence"]).strip(), link)
        )
    except SaeEvalError as error:
        provenance.problem(error)
        return
    st.success(provenance.plain(f"The last step of the story of {told.label}"), icon=":material/check:")


def _add(chosen: DecisionSet, own: Plan) -> None:
    title, sentence, link = (str(st.session_state[f"w_story_{k}"]).strip() for k in ("title", "sentence", "link"))
    try:
        if link:
            Address.of(link)
    except SaeEvalError as error:
        st.session_state["story_problem"] = error
        return
    _keep(chosen, lambda: own.pinned(title or "Pinned", sentence, link), len(own.slides) + 1)


def _keep(chosen: DecisionSet, made: Callable[[], Plan], step: int | None = None) -> None:
    ledger.store().keep_story(chosen.id, state.who(), made().to_json())
    if step is not None:
        state.put(step=step)
