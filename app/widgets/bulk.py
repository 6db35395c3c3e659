"""Deciding on many latents at once: the rows of a table, in one SHIFT direction's set or in one TPP class's."""

from collections.abc import Mapping, Sequence
from functools import partial

import streamlit as st

from app import state
from app.deciding.class_refs import ATTRIBUTION
from app.deciding.desk import shift_desk, shift_place
from app.deciding.presses import Press
from app.services import ledger
from app.services.loading import Loaded
from app.widgets import pressing, provenance, shift_pickers, shift_sets, tpp_sets
from saeeval_core.evaluation.boards import Direction
from saeeval_core.ledger.places import MINE, find_set
from saeeval_core.ledger.store import PressId
from saeeval_core.scores.ablation import ABLATIONS
from saeeval_core.wording import plural

MOST = 500
"""Most latents decided on at once; more is a slip rather than a wish."""
TPP = "tpp:"
"""Start of the value that stands for one class's set; "shift" stands for the direction's."""
SHIFT = "shift"
_ANSWERS = "bulk"
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


def _set_of(loaded: Loaded, direction: Direction | None, place: str) -> str:
    """Name and owner of the set that decisions go to."""
    who = state.who()
    if place.startswith(TPP):
        sets = tpp_sets.page(loaded).sets
        return f"{MINE} ({who})" if sets.value == ATTRIBUTION else f"{sets.name} ({sets.who})"
    if direction is None:
        return ""
    stored = find_set(ledger.store(), shift_place(loaded, direction), who, shift_sets.choice(loaded, direction, who))
    return f"{MINE} ({who})" if stored is None else f"{stored.name} ({stored.who})"


def bar(loaded: Loaded, direction: Direction | None, place: str, latents: Sequence[int], what: str) -> None:
    """Buttons that decide on all of ``latents`` (``what`` names them), and undo as one step."""
    many, rows = len(latents) > MOST, tuple(latents)
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.caption(
            provenance.plain(
                f"{what}, into set {set_name}" if (set_name := _set_of(loaded, direction, place)) else what
            )
        )
        for decision, label in _BUTTONS.items():
            pressing.button(
                label,
                f"w_bulk_{decision}",
                "decide",
                partial(_decide, loaded, direction, place, rows, decision),
                group=_ANSWERS,
                about=(place, rows),
                disabled=many or not latents,
                help=f"Narrow the table to at most {MOST} latents, or select rows." if many else None,
            )
        pressing.button(
            "Undo",
            "w_bulk_undo",
            "undo",
            partial(_undo, loaded, direction, place),
            group=_ANSWERS,
            about=place,
            icon=":material/undo:",
            help="Takes back your last step in this set.",
        )
    pressing.answers(_ANSWERS)


def _decide(
    loaded: Loaded, direction: Direction | None, place: str, latents: Sequence[int], decision: str, press: PressId
) -> str:
    _press(loaded, direction, place, press, latents, decision)
    return f"{plural(len(latents), 'latent')} {_SAYS[decision]}: {places(loaded, direction)[place]}."


def _undo(loaded: Loaded, direction: Direction | None, place: str, press: PressId) -> str:
    undone = _press(loaded, direction, place, press)
    return f"{plural(undone, 'decision')} taken back." if undone else "Nothing to take back."


def _press(
    loaded: Loaded,
    direction: Direction | None,
    place: str,
    press: PressId,
    latents: Sequence[int] = (),
    decision: str = "",
) -> int:
    """Press at the chosen set of that place; how many decisions changed. SaeEvalError when it is refused."""
    log, page = pressing.press_log(), tpp_sets.page(loaded) if place.startswith(TPP) else None
    if page is None and direction is None:
        return 0
    who = state.who()
    desk = page.desk if page else shift_desk(loaded, direction, who, shift_sets.choice(loaded, direction, who))
    made = log.sit(desk, loaded, state.one_of("ablation", ABLATIONS), page.n if page else shift_pickers.n(loaded))
    of = place.removeprefix(TPP) if page else ""
    done = pressing.press(
        Press(press.client, press.seq, made, press.kind, of, tuple(latents), decision, _REASON if latents else "")
    )
    if press.kind == "decide" and desk.choice == ATTRIBUTION:
        state.put(tpp_set=MINE)  # a change needs a set of one's own to live in
    return len(done.changed)
