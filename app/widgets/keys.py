"""Presenting: the way out (Escape or a button), and from view to view (N and P, or buttons)."""

from collections.abc import Mapping

import streamlit as st

from app import state
from app.widgets import provenance

TOLD = ("overview", "shift_lab", "tpp_matrix", "latents", "compare", "judge", "story")
"""Views that a talk goes through, in their order; the others are for work."""
_BY, _NEXT, _BEFORE = "present_by", 1, -1
_keys = st.components.v2.component(
    "saeeval_present_keys",
    html="<i hidden></i>",
    js="""export default function({parentElement, setTriggerValue}) {
      const turns = { n: 1, p: -1 };
      const key = (e) => {
        if (document.querySelector("[role=dialog]") || e.ctrlKey || e.metaKey || e.altKey) return;
        if (e.key === "Escape") setTriggerValue("left", true);
        const typing = e.composedPath()[0].closest?.("input, textarea, select, [contenteditable]");
        const by = typing ? undefined : turns[e.key.toLowerCase()];
        if (by && !e.repeat) setTriggerValue("turned", { by, at: Date.now() });
      };
      // Run again at every redraw: the listener of the run before must go.
      document.removeEventListener("keydown", parentElement.saeevalKey);
      document.addEventListener("keydown", (parentElement.saeevalKey = key));
      return () => document.removeEventListener("keydown", parentElement.saeevalKey);
    }""",
)


def leave_present() -> None:
    """While presenting: Escape brings the controls back, N and P turn to the views beside this one."""
    if state.presenting():
        _keys(key="escape", on_left_change=_left, on_turned_change=_turned, height=1)


def way_out(here: str, titles: Mapping[str, str]) -> None:
    """While presenting: the buttons, on top of the view ``here``; ``titles``: view -> its name."""
    if not state.presenting():
        return
    with st.container(horizontal=True, horizontal_alignment="right", key="present_bar"):
        for by, icon in ((_BEFORE, ":material/chevron_left:"), (_NEXT, ":material/chevron_right:")):
            if (beside := _beside(here, by)) is not None:
                side = "right" if by == _NEXT else "left"
                st.button(
                    provenance.plain(titles[beside]),
                    key=f"w_present_{side}",
                    icon=icon,
                    icon_position=side,
                    on_click=_turn,
                    args=(by,),
                )
        st.button("Leave (Esc)", key="w_leave_present", icon=":material/close:", on_click=_left)
    beside = _beside(here, st.session_state.pop(_BY, 0))
    if beside is not None:
        st.switch_page(st.session_state["pages"][beside])


def _beside(here: str, by: int) -> str | None:
    """The view so many places from this one; None at both ends, and beside a view that is not told."""
    at = TOLD.index(here) + by if by and here in TOLD else -1
    return TOLD[at] if 0 <= at < len(TOLD) else None


def _turned() -> None:
    sent = (st.session_state.get("escape") or {}).get("turned")
    if isinstance(sent, Mapping) and sent.get("by") in (_NEXT, _BEFORE):
        _turn(sent["by"])


def _turn(by: int) -> None:
    st.session_state[_BY] = by


def _left() -> None:
    state.put(present="")
    st.session_state.pop("w_present", None)
