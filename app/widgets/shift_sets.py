"""Named decision sets of one SHIFT direction: choose, make, duplicate, rename, reset."""

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import state
from app.deciding import set_presses
from app.deciding.desk import shift_place
from app.deciding.lab import Lab
from app.services import ledger
from app.services.loading import Loaded
from app.widgets import pressing, provenance
from app.widgets.share import popover as share_popover
from saeeval_core.evaluation.boards import Direction
from saeeval_core.ledger.decisions import RESET, DecisionSet
from saeeval_core.ledger.places import MINE, find_set
from saeeval_core.ledger.store import PressId

ANSWERS = "shift_sets"
"""Group of the answers to presses on sets."""


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
        width=170,
    )
    with box.popover("Sets", icon=":material/edit:"):
        _actions(lab)


def share(box: DeltaGenerator, lab: Lab) -> None:
    """The link of this set in this direction."""
    chosen = lab.chosen()
    where = {"pair": lab.direction.pair, "target": lab.direction.task.target.column}
    if chosen is None:
        note = "Nothing is decided yet: the link opens this direction, where everybody sees their own set."
    else:
        where |= {"shift_set": str(chosen.id)}
        note = f"Opens set '{chosen.name}' of {chosen.who}; others can read and duplicate it."
    title = f"{lab.direction.pair}: {lab.direction.task.direction}"
    share_popover(box, note, lab.loaded, title, **where)


def _labels(loaded: Loaded, direction: Direction, who: str) -> dict[str, str]:
    """Value in the link -> label of every set there is; a person's own one first, by its number if a link says so."""
    store, place = ledger.store(), shift_place(loaded, direction)
    mine = find_set(store, place, who)
    others = [s for s in store.list_sets(**place.scope) if mine is None or s.id != mine.id]
    own = str(mine.id) if mine is not None and state.get("shift_set") == str(mine.id) else MINE
    yours = "you" if state.is_guest() else who
    return {own: f"{MINE} ({yours})"} | {str(s.id): f"{s.name} ({s.who})" for s in others}


def banner(lab: Lab) -> None:
    """Over somebody else's set: whose it is, and how to get a copy that can be changed."""
    chosen = lab.chosen()
    if chosen is None or chosen.who == lab.who:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.info(provenance.plain(f"Set '{chosen.name}' belongs to {chosen.who}: you can read it, not change it."))
        args = lab.place, lab.choice, ""
        _button(
            "Duplicate to edit",
            "w_dup_theirs",
            lambda press: _open(set_presses.duplicate(ledger.store(), press, *args, lab.width)),
            about=chosen.id,
            width="content",
        )


def _actions(lab: Lab) -> None:
    name = st.text_input("Name", key="w_set_name", placeholder="name of the set", max_chars=set_presses.LONGEST_NAME)
    args = lab.place, lab.choice
    _button("New, empty", "w_new", lambda press: _open(set_presses.new(ledger.store(), press, lab.place, name)))
    _button(
        "Duplicate this set",
        "w_dup",
        lambda press: _open(set_presses.duplicate(ledger.store(), press, *args, name, lab.width)),
    )
    _button("Rename this set", "w_rename", lambda press: _open(set_presses.rename(ledger.store(), press, *args, name)))
    resets = [(f"Reset to the top {lab.n} by attribution", "w_top", f"top {lab.n}", lab.top())]
    resets += [(f"Use {r.name}", f"w_reset_{r.name}", r.whole_name, r.ids) for r in lab.judged() if r.ids is not None]
    for label, key, what, ids in resets:
        about = label, what, lab.place, lab.choice, ids
        _button(label, key, partial(_reset, lab, ids, f"{RESET}{what}"), about=about, help=what)
    st.caption("A reset is one step of the log: Z takes it back.")


def _button(
    label: str, key: str, work: Callable[[PressId], None], about: object = None, width: str = "stretch", help: str = ""
) -> None:
    pressing.button(label, key, "set", work, group=ANSWERS, about=about, help=help or None, width=width)


def _open(made: DecisionSet | None) -> None:
    """Show the set that a press made or changed; None: it was done before."""
    if made is not None:
        state.put(shift_set=made.id)


def _reset(lab: Lab, ids: Sequence[int], reason: str, press: PressId) -> None:
    set_presses.reset_to(ledger.store(), press, lab.place, lab.choice, ids, reason, lab.width)
