"""The session's end of the press protocol: its log, what a browser sent, buttons that the server draws, and the boxes
for what was refused.
"""

import time
import uuid
from collections.abc import Callable

import streamlit as st

from app import state
from app.components import courier
from app.deciding.desk import Desk
from app.deciding.presses import REMEMBERED, Done, Made, Press, PressLog, carry_out, carry_out_one, read_presses
from app.deciding.reopened import desk_of
from app.services import access, ledger, loading
from app.widgets import provenance
from app.widgets.rule_picker import rule_from_state
from saeeval_core.errors import DataError, SaeEvalError
from saeeval_core.ledger.store import PressId

_LATE_S = 120.0
"""A press that is noted for longer was made on a page that was left before it was done: nobody waits for it."""
_LOG, _PROBLEMS = "press_log", "press_problems"


def press_log() -> PressLog:
    """What this session has been at and has carried out, whatever view is open."""
    return st.session_state.setdefault(_LOG, PressLog())


def receive(sent: object) -> list[Done]:
    """Carry out what a component sent, before anything is drawn; ``show_problem`` says at each desk what was refused."""
    log, problems = press_log(), _problems()
    try:
        done, refused = carry_out(ledger.store(), log, read_presses(sent), find=_desk)
    except SaeEvalError as error:
        problems[log.at] = error, False
        return []
    for d in done:
        problems.pop(d.desk.name, None)
    problems.update({r.desk or log.at: (r.why, False) for r in reversed(refused)})
    while len(problems) > REMEMBERED:
        problems.pop(next(iter(problems)))
    return done


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
    """The desk that a press names: its model, SAE and texts are opened, whatever this page has open."""
    where = {name: value for name in ("model", "sae", "task") if (value := getattr(made, name))}
    loaded = loading.load(state.config(**where))
    if loaded is None:
        raise DataError(f"'{made.sae}' has no recording of '{made.task}' any more; run it, then decide again")
    return desk_of(loaded, made, state.who(), rule_from_state())


def press(made: Press) -> Done:
    """Carry out the press on a button that the server draws. SaeEvalError when it is refused."""
    return carry_out_one(ledger.store(), press_log(), made)


def button(
    label: str,
    key: str,
    kind: str,
    work: Callable[[PressId], str | None],
    *,
    group: str = "",
    about: object = None,
    draw: Callable[..., object] = st.button,
    help: str | None = None,
    **look: object,
) -> None:
    """A button that the server draws. Its press does ``work`` once, and the page is drawn again.

    A callback would get what was there at the last drawing. So the press is only noted there, and done where the button
    is drawn again: by then all that was typed and chosen before it is known, and a run that is broken off in between
    loses nothing. ``work`` gets the number of the press, to be stored with its effect, and may return a line to show;
    ``answers`` of the same ``group`` (default: the key) shows that or why it was refused. ``about``: what the button
    said that it is about; where that is no longer so, nothing is done.
    """
    slot, off = f"pressed_{key}", access.why_not("deciding")
    if off:
        look["disabled"], help = True, off
    shown, hint = provenance.plain(label), provenance.plain(help) if help else None
    draw(shown, key=key, on_click=_note, args=(slot, uuid.uuid4().hex, about), help=hint, **look)
    if slot not in st.session_state:
        return
    number, at, before = st.session_state[slot]
    if time.monotonic() - at > _LATE_S:
        del st.session_state[slot]
        return
    try:
        if before != about:
            raise DataError(f"what '{label}' is about changed before it was pressed; look again and press once more")
        access.demand("deciding")
        answer = (True, work(PressId(number, 1, state.who(), kind)) or "")
    except SaeEvalError as error:
        answer = (False, str(error))
    st.session_state[f"answer_{group or key}"] = answer
    del st.session_state[slot]
    st.rerun()


def _note(slot: str, number: str, about: object) -> None:
    st.session_state[slot] = number, time.monotonic(), about


def answers(group: str) -> None:
    """What came of the last press on a button of this group, once."""
    done, line = st.session_state.pop(f"answer_{group}", (True, ""))
    if line:
        (st.success if done else st.error)(provenance.plain(line))


def show_problem(desk: str) -> None:
    """The box for what was refused at this desk, until something succeeds there or it was read and another is opened."""
    problems = _problems()
    for other in [d for d, (_, shown) in problems.items() if shown and d != desk]:
        del problems[other]
    if desk in problems:
        problems[desk] = problems[desk][0], True
        provenance.problem(problems[desk][0])


def _problems() -> dict[str, tuple[SaeEvalError, bool]]:
    """Name of a desk -> what was refused there last, and whether that was shown."""
    return st.session_state.setdefault(_PROBLEMS, {})
