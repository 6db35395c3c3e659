"""Deciding on many latents at once: the rows of a table, in one SHIFT direction's set or in one TPP class's."""

from collections.abc import Sequence

import streamlit as st

from app import state
from app.deciding import desk as decisions
from app.deciding.class_sets import ATTRIBUTION, class_sets, store_decisions
from app.services import ledger
from app.services.loading import Loaded
from app.widgets.rule_picker import rule_from_state
from saeeval_core.errors import SaeEvalError
from saeeval_core.evaluation.boards import Direction

MOST = 500
"""Most latents decided on at once; more is a slip rather than a wish."""
TPP = "tpp:"
"""Start of the value that stands for one class's set; "shift" stands for the direction's."""
SHIFT = "shift"
_BUTTONS = {"ablate": "Ablate", "keep": "Keep", "unsure": "Unsure", "none": "Clear"}
_SAYS = {"ablate": "set to ablate", "keep": "set to keep", "unsure": "set to unsure", "none": "cleared"}


def places(loaded: Loaded, direction: Direction | None) -> dict[str, str]:
    """Value -> label of every set that decisions can go to."""
    found = {} if direction is None else {SHIFT: f"SHIFT {direction.pair}, {direction.task.direction}"}
    classes = loaded.task_set.tpp[1] if loaded.task_set.tpp is not None else ()
    return found | {f"{TPP}{c}": f"TPP latents of {c}" for c in classes}


def decided(loaded: Loaded, direction: Direction | None, place: str) -> dict[int, str]:
    """latent -> decision in the chosen set of that place."""
    if place.startswith(TPP):
        sets = class_sets(loaded, state.get("set"), state.who(), state.number("n", 20), rule_from_state())
        return sets.decisions[sets.classes.index(place.removeprefix(TPP))]
    if direction is None:
        return {}
    stored = decisions.find_set(ledger.store(), decisions.shift_place(loaded, direction), state.who(), _name())
    return ledger.store().decisions(stored.id) if stored is not None else {}


def bar(loaded: Loaded, direction: Direction | None, place: str, latents: Sequence[int], what: str) -> None:
    """Buttons that decide on all of ``latents`` (``what`` names them), and undo as one step."""
    many = len(latents) > MOST
    args = (loaded, direction, place)
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.caption(what)
        for decision, label in _BUTTONS.items():
            st.button(
                label,
                key=f"w_bulk_{decision}",
                disabled=many or not latents,
                on_click=_decide,
                args=(*args, list(latents), decision),
                help=f"Narrow the table to at most {MOST} latents, or select rows." if many else None,
            )
        st.button(
            "Undo",
            key="w_bulk_undo",
            icon=":material/undo:",
            on_click=_undo,
            args=args,
            help="Takes back your last step in this set.",
        )
    if error := st.session_state.pop("bulk_error", None):
        st.error(error, icon=":material/error:")
    elif said := st.session_state.pop("bulk_said", None):
        st.caption(said)


def _name() -> str:
    """The SHIFT set the link names; what only TPP knows (a judge's set, attribution, another's) stands for one's own."""
    value = state.get("set")
    return decisions.MINE if value == ATTRIBUTION or ":" in value or "@" in value else value


def _decide(loaded: Loaded, direction: Direction | None, place: str, latents: list[int], decision: str) -> None:
    who, wanted, store = state.who(), dict.fromkeys(latents, decision), ledger.store()
    try:
        if place.startswith(TPP):
            sets = class_sets(loaded, state.get("set"), who)
            store_decisions(loaded, sets, sets.classes.index(place.removeprefix(TPP)), wanted, who)
        elif direction is not None:
            target = decisions.open_set(store, decisions.shift_place(loaded, direction), who, _name())
            store.decide(target.id, who, wanted, "bulk, Latents table")
        st.session_state["bulk_said"] = f"{len(latents)} latents {_SAYS[decision]}: {places(loaded, direction)[place]}."
    except SaeEvalError as error:
        st.session_state["bulk_error"] = str(error)


def _undo(loaded: Loaded, direction: Direction | None, place: str) -> None:
    who, store = state.who(), ledger.store()
    try:
        if place.startswith(TPP):
            stored = class_sets(loaded, state.get("set"), who).by_class.get(place.removeprefix(TPP))
        else:
            at = decisions.shift_place(loaded, direction) if direction is not None else None
            stored = decisions.find_set(store, at, who, _name()) if at is not None else None
        undone = store.undo(stored.id, who) if stored is not None else []
        st.session_state["bulk_said"] = f"{len(undone)} decisions taken back." if undone else "Nothing to take back."
    except SaeEvalError as error:
        st.session_state["bulk_error"] = str(error)
