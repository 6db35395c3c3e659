"""What belongs to the browser rather than the page: the cookie with the name asked once, Escape to leave "Present"."""

from urllib.parse import quote, unquote

import streamlit as st

from app import state

COOKIE = "saeeval_who"

_cookie = st.components.v2.component(
    "saeeval_name",
    html="<i hidden></i>",
    js=f"""export default function({{data}}) {{
      const wanted = "{COOKIE}=" + data.who;
      if (data.who && !document.cookie.includes(wanted)) document.cookie = wanted + "; path=/; max-age=31536000; SameSite=Strict";
    }}""",
)


_escape = st.components.v2.component(
    "saeeval_escape",
    html="<i hidden></i>",
    js="""export default function({parentElement, setTriggerValue}) {
      const key = (e) => { if (e.key === "Escape" && !document.querySelector("[role=dialog]")) setTriggerValue("left", true); };
      // Run again at every redraw: the listener of the run before must go.
      document.removeEventListener("keydown", parentElement.saeevalKey);
      document.addEventListener("keydown", (parentElement.saeevalKey = key));
      return () => document.removeEventListener("keydown", parentElement.saeevalKey);
    }""",
)


def known_name() -> str:
    """The name this browser gave before, or ""."""
    found = st.context.cookies.get(COOKIE, "")
    return unquote(found)[:60] if isinstance(found, str) else ""


def remember_name() -> None:
    """Write the name of this session into the browser."""
    if who := st.session_state.get("who"):
        _cookie(data={"who": quote(who)}, key="name_cookie", height=1)


def leave_present() -> None:
    """While presenting: Escape brings the controls back."""
    if state.presenting():
        _escape(key="escape", on_left_change=_left, height=1)


def _left() -> None:
    state.put(present="")
    st.session_state.pop("w_present", None)
