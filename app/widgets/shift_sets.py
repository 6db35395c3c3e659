"""Named decision sets of one SHIFT direction: choose, make, duplicate, rename, reset."""

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import state
from app.deciding.desk import shift_place
from app.deciding.lab import Lab
from app.services import ledger
from app.services.loading import Loaded
from app.widgets import provenance
from app.widgets.pressing import guarded
from saeeval_core.evaluation.boards import Direction
from saeeval_core.ledger.places import MINE, find_set, new_set, open_set, own_set, reset


def choice(loaded: Loaded, direction: Direction, who: str) -> str:
    """The set that the link names: "mine", or the number of a set of this direction."""
    return state.one_of("shift_set", list(_labels(loaded, direction, who)))


def picker(box: DeltaGenerator, lab: Lab) -> None:
    """The select box, and the popover with what can be done with sets."""
    labels = _labels(lab.loaded, lab.direction, lab.who)
    options = list(labels)
    # Labels hold the person's name: another name is another widget.
    key = f"w_set_{lab.place.direction}_{len(options)}_{lab.who}"
    box.selectbox(
        "Set",
        options,
        options.index(lab.choice),
        key=key,
        on_change=state.choose,
        args=("shift_set", key),
        format_func=labels.get,
        width=132,
    )
    with box.popover("Sets", icon=":material/edit:"):
        _actions(lab)


def _labels(loaded: Loaded, direction: Direction, who: str) -> dict[str, str]:
    """Value in the link -> label of every set there is; a person's own one first."""
    store, place = ledger.store(), shift_place(loaded, direction)
    mine = find_set(store, place, who)
    others = [s for s in store.list_sets(**place.scope) if mine is None or s.id != mine.id]
    return {MINE: f"mine ({who})"} | {str(s.id): f"{s.name} ({s.who})" for s in others}


def _actions(lab: Lab) -> None:
    name = st.text_input("Name", key="w_set_name", placeholder="name of the set", max_chars=80)
    st.button("New, empty", on_click=_new, args=(lab, name), width="stretch", key="w_new")
    st.button("Duplicate this set", on_click=_duplicate, args=(lab, name), width="stretch", key="w_dup")
    st.button("Rename this set", on_click=_rename, args=(lab, name), width="stretch", key="w_rename", disabled=not name)
    top = f"top {lab.n}"
    st.button(
        f"Reset to the {top} by attribution",
        on_click=_reset,
        args=(lab, lab.top(), f"reset to {top}"),
        width="stretch",
        key="w_top",
    )
    for rival in lab.judged():
        if rival.ids is not None:
            st.button(
                f"Use {provenance.plain(rival.name)}",
                on_click=_reset,
                args=(lab, rival.ids, f"reset to {rival.name}"),
                width="stretch",
                key=f"w_reset_{rival.name}",
            )
    st.caption("A reset is one step of the log: Z takes it back.")


def _new(lab: Lab, name: str) -> None:
    guarded(lambda: state.put(shift_set=new_set(ledger.store(), lab.place, lab.who, name or "new set").id))


def _duplicate(lab: Lab, name: str) -> None:
    def work() -> None:
        source = open_set(ledger.store(), lab.place, lab.who, lab.choice)
        state.put(shift_set=ledger.store().duplicate_set(source.id, name or f"copy of {source.name}", lab.who).id)

    guarded(work)


def _rename(lab: Lab, name: str) -> None:
    def work() -> None:
        found = own_set(ledger.store(), lab.place, lab.who, lab.choice)
        ledger.store().rename_set(found.id, name, lab.who)
        state.put(shift_set=found.id)

    guarded(work)


def _reset(lab: Lab, ids: Sequence[int], reason: str) -> None:
    def work() -> None:
        target = own_set(ledger.store(), lab.place, lab.who, lab.choice)
        reset(ledger.store(), target.id, lab.who, ids, reason)

    guarded(work)
