"""Who is deciding: the name, asked once per browser; the guest that a browser is until then; what a guest leaves."""

import re
import sys
from dataclasses import replace
from urllib.parse import quote, unquote

import streamlit as st

from app import state
from app.components import who as who_component
from app.services import access, ledger
from app.widgets import pressing
from saeeval_core.errors import SaeEvalError
from saeeval_core.ledger.store import PressId
from saeeval_core.wording import plural

COOKIE, GUEST_COOKIE = "saeeval_who", "saeeval_guest"
LABEL = "Your name (stored with each decision)"
"""Of the field; the script of the browser finds it by this."""
_ID = re.compile(r"[0-9a-f]{10}")


def draw() -> None:
    """The field for the name, and the offer to take over what was decided before there was one; or the account."""
    if access.rules().accounts:
        st.text_input(LABEL, st.session_state.get("who", ""), key="w_account", disabled=True)
        st.button("Log out", on_click=st.logout, key="w_logout")
        return
    if "who" not in st.session_state:
        st.session_state["who"] = unquote(_cookie(COOKIE))[:60].strip()
        if _ID.fullmatch(known := _cookie(GUEST_COOKIE)):
            st.session_state["guest"] = f"{state.GUEST}{known}"
    st.text_input(
        LABEL,
        st.session_state["who"],
        key="w_who",
        on_change=_chosen,
        placeholder="your name",
        max_chars=60,
        help="Stored with every decision, and owner of your sets: others can read and duplicate them, not change them. "
        "Asked once per browser; without a name you are a guest of this browser.",
    )
    if st.session_state.pop("who_refused", False):
        st.error("This is the name of a guest; give another one.")
    _offer()
    pressing.answers("take_over")


def remember() -> None:
    """Write the name and the guest's id into the browser; of somebody with an account, nothing."""
    if access.rules().accounts:
        return
    name, cleared = (quote(st.session_state.get(k, ""), safe="") for k in ("who", "who_cleared"))
    guest = state.guest().removeprefix(state.GUEST)
    who_component.show(name, guest, forget="" if name else cleared, on_guest=_other_guest)


def _chosen() -> None:
    name = st.session_state["w_who"].strip()
    if name.startswith(state.GUEST) and _ID.fullmatch(name.removeprefix(state.GUEST)):
        st.session_state["who_refused"] = True
        return
    st.session_state["who_cleared"] = st.session_state["who"]  # said at every drawing until there is another name
    st.session_state["who"] = name


def _other_guest() -> None:
    """Two tabs of a new browser started at once: the id of the one that wrote its cookie first counts.

    What was decided here under the other id passes to it, and so does what is on its way.
    """
    known, was = (st.session_state.get(who_component.KEY) or {}).get("guest"), state.guest()
    if not isinstance(known, str) or not _ID.fullmatch(known) or was == f"{state.GUEST}{known}":
        return
    st.session_state["guest"] = now = f"{state.GUEST}{known}"
    log = pressing.press_log()
    log.desks = {name: replace(d, who=now) if d.who == was else d for name, d in log.desks.items()}
    try:
        ledger.store().take_over(was, now)
    except SaeEvalError:
        return  # the view says what is wrong with the store


def _offer() -> None:
    """Only to whoever has given a name in the browser in which the guest decided."""
    was, name = state.guest(), st.session_state["who"]
    if not name or st.session_state.get("who_left") == was:
        return
    try:
        store = ledger.store()
        n = sum(len(store.decisions(s.id, sys.maxsize)) for s in store.list_sets() if s.who == was)
    except SaeEvalError:
        return  # the view says what is wrong with the store
    if not n:
        return
    st.caption(f"{plural(n, 'decision')} made in this browser before a name was given.")
    with st.container(horizontal=True, gap="xsmall"):
        pressing.button("Take over", "w_take_over", "take over", _take_over, group="take_over", about=(was, name))
        pressing.button("Leave", "w_leave_guest", "leave", _leave, group="take_over", about=(was, name))


def _take_over(press: PressId) -> str:
    store = ledger.store()
    with store.once(press) as fresh:
        taken = store.take_over(state.guest(), press.who) if fresh else []
    return f"Yours now: {plural(len(taken), 'set')}." if taken else ""


def _leave(_: PressId) -> None:
    st.session_state["who_left"] = state.guest()


def _cookie(name: str) -> str:
    found = st.context.cookies.get(name, "")
    return found if isinstance(found, str) else ""
