"""Deciding on many latents at once: the rows of a table, in one SHIFT direction's set or in one TPP class's."""

from collections.abc import Mapping, Sequence

import streamlit as st

from app import state
from app.deciding.class_sets import ATTRIBUTION
from app.deciding.desk import shift_desk, shift_place
from app.services import ledger
from app.services.loading import Loaded
from app.widgets import pressing, provenance, shift_pickers, shift_sets, tpp_sets
from saeeval_core.errors import SaeEvalError
from saeeval_core.evaluation.boards import Direction
from saeeval_core.ledger.places import MINE, find_set
from saeeval_core.scores.ablation import ABLATIONS

MOST = 500
"""Most latents decided on at once; more is a slip rather than a wish."""
TPP = "tpp:"
"""Start of the value that stands for one class's set; "shift" stands for the direction's."""
SHIFT = "shift"
_REASON = "bulk, Latents table"
_BUTTONS = {"ablate": "Ablate", "keep": "Keep", "unsure": "Unsure", "none": "Clear"}
_SAYS = {"ablate": "set to ablate", "keep": "set to keep", "unsure": "set to unsure", "none": "cleared"}


def places(loaded: Loaded, direction: Direction | None) -> dict[str, str]:
    """Value -> label of every set that decisions can go to."""
    found = {} if direction is None else {SHIFT: f"SHIFT {direction.pair}, {direction.task.direction}"}
    classes = loaded.task_set.tpp[1] if loaded.task_set.tpp is not None else ()
    return found | {f"{TPP}{c}": f"TPP latents of {c}" for c in classes}


def decided(loaded: Loaded, direction: Direction | None, place: str) -> Mapping[int, str]:
    """latent -> decision in the chosen set of that place."""
    if place.startswith(TPP):
        sets = tpp_sets.page(loaded).sets
        return sets.decisions[sets.classes.index(place.removeprefix(TPP))]
    if direction is None:
        return {}
    who = state.who()
    stored = find_set(ledger.store(), shift_place(loaded, direction), who, shift_sets.choice(loaded, direction, who))
    return ledger.store().decisions(stored.id, loaded.latents.n_latents) if stored is not None else {}


def bar(loaded: Loaded, direction: Direction | None, place: str, latents: Sequence[int], what: str) -> None:
    """Buttons that decide on all of ``latents`` (``what`` names them), and undo as one step."""
    many = len(latents) > MOST
    args = (loaded, direction, place)
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.caption(provenance.plain(what))
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
        st.error(provenance.plain(error), icon=":material/error:")
    elif said := st.session_state.pop("bulk_said", None):
        st.caption(provenance.plain(said))


def _decide(loaded: Loaded, direction: Direction | None, place: str, latents: list[int], decision: str) -> None:
    if _press(loaded, direction, place, "decide", latents, decision) is not None:
        st.session_state["bulk_said"] = f"{len(latents)} latents {_SAYS[decision]}: {places(loaded, direction)[place]}."


def _undo(loaded: Loaded, direction: Direction | None, place: str) -> None:
    undone = _press(loaded, direction, place, "undo")
    if undone is not None:
        st.session_state["bulk_said"] = f"{undone} decisions taken back." if undone else "Nothing to take back."


def _press(
    loaded: Loaded, direction: Direction | None, place: str, kind: str, latents: Sequence[int] = (), decision: str = ""
) -> int | None:
    """Press at the chosen set of that place; how many decisions changed, None when it was refused."""
    log, page = pressing.press_log(), tpp_sets.page(loaded) if place.startswith(TPP) else None
    if page is None and direction is None:
        return None
    who = state.who()
    desk = page.desk if page else shift_desk(loaded, direction, who, shift_sets.choice(loaded, direction, who))
    made = log.sit(desk, loaded, state.one_of("ablation", ABLATIONS), page.n if page else shift_pickers.n(loaded))
    of = place.removeprefix(TPP) if page else ""
    try:
        done = pressing.press(log.own(made, kind, of=of, latents=latents, decision=decision, reason=_REASON))
    except SaeEvalError as error:
        st.session_state["bulk_error"] = str(error)
        return None
    if kind == "decide" and desk.choice == ATTRIBUTION:
        state.put(tpp_set=MINE)  # a change needs a set of one's own to live in
    return sum(len(d.changed) for d in done)
