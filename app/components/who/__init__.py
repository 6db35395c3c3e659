"""Who is deciding, in the browser: cookies with the name and the guest's id; Enter leaves the field of the name."""

from collections.abc import Callable

import streamlit as st

from app.components import script

KEY = "who_is_deciding"
_component = st.components.v2.component("saeeval_who", html="<i hidden></i>", js=script("who/main.js"))


def show(who: str, guest: str, *, forget: str, on_guest: Callable[[], None]) -> None:
    """Keep both, and no longer the name ``forget``; names are quoted for a cookie.

    ``on_guest``: the browser has another id, in session_state[KEY].guest.
    """
    _component(data={"who": who, "guest": guest, "forget": forget}, key=KEY, height=1, on_guest_change=on_guest)
