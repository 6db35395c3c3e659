"""The session's end of the press protocol: its log, what a browser sent, and the one box for what was refused."""

from collections.abc import Callable

import streamlit as st

from app.deciding.presses import Done, Press, PressLog, apply, read_presses
from app.services import ledger
from app.widgets import provenance
from saeeval_core.errors import SaeEvalError

_LOG, _PROBLEM = "press_log", "press_problem"


def press_log() -> PressLog:
    """What this session has been at and has carried out, whatever view is open."""
    return st.session_state.setdefault(_LOG, PressLog())


def receive(sent: object) -> list[Done]:
    """Carry out what a component sent, before anything is drawn; the next ``show_problem`` says what was refused."""
    found: list[Done] = []
    guarded(lambda: found.extend(apply(ledger.store(), press_log(), read_presses(sent))))
    return found


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
