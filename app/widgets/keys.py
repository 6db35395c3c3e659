"""Escape leaves "Present", and so does a button for those who have no such key."""

import streamlit as st

from app import state

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


def leave_present() -> None:
    """While presenting: Escape brings the controls back."""
    if state.presenting():
        _escape(key="escape", on_left_change=_left, height=1)


def way_out() -> None:
    """While presenting: the button, on top of the view."""
    if state.presenting():
        with st.container(horizontal=True, horizontal_alignment="right"):
            st.button("Leave (Esc)", key="w_leave_present", icon=":material/close:", on_click=_left)


def _left() -> None:
    state.put(present="")
    st.session_state.pop("w_present", None)
