"""The session's end of the press protocol: its log, what a browser sent, and the one box for what was refused."""

from collections.abc import Callable

import streamlit as st

from app import state
from app.components import courier
from app.deciding.desk import Desk
from app.deciding.presses import Done, Made, Press, PressLog, apply, carry_out, read_presses
from app.deciding.reopened import desk_of
from app.services import ledger, loading
from app.widgets import provenance
from app.widgets.rule_picker import rule_from_state
from saeeval_core.errors import SaeEvalError

_LOG, _PROBLEM = "press_log", "press_problem"


def press_log() -> PressLog:
    """What this session has been at and has carried out, whatever view is open."""
    return st.session_state.setdefault(_LOG, PressLog())


def receive(sent: object) -> list[Done]:
    """Carry out what a component sent, before anything is drawn; the next ``show_problem`` says what was refused."""
    found: list[Done] = []

    def work() -> None:
        done, refused = carry_out(ledger.store(), press_log(), read_presses(sent), find=_desk)
        found.extend(done)
        if refused:
            raise refused

    guarded(work)
    return found


def collect() -> None:
    """Draw the courier, once a run and outside any fragment, and carry out what it brings.

    A press of a fragment's component never reaches a new session (after a restart, say): Streamlit drops the request
    for a fragment that the session has not drawn. The courier asks for a run of the whole page.
    """
    log = press_log()
    answered = dict(log.acks)
    sent = courier.show(log.acks, log.refused)
    if sent is None:
        return
    receive(sent)
    if log.acks != answered:
        st.rerun()  # the answer goes out with the next drawing


def _desk(made: Made) -> Desk | None:
    """The desk that a press names, among those of what this page has open."""
    loaded = loading.load(state.config())
    return None if loaded is None else desk_of(loaded, made, state.who(), rule_from_state())


def press(made: Press) -> list[Done]:
    """Carry out a press on a button that the server draws. SaeEvalError when it is refused."""
    return apply(ledger.store(), press_log(), [made])


def guarded(work: Callable[[], object]) -> None:
    """Run a callback; its SaeEvalError is kept until something succeeds."""
    try:
        work()
        st.session_state.pop(_PROBLEM, None)
    except SaeEvalError as error:
        st.session_state[_PROBLEM] = error


def show_problem() -> None:
    """The box, if there is a problem."""
    if problem := st.session_state.get(_PROBLEM):
        provenance.problem(problem)
