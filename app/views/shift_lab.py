"""SHIFT lab: decide which latents to ablate and watch the score answer. All live figures are dev; Commit computes test."""

import time
from collections.abc import Mapping
from dataclasses import replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import state
from app.components import lab as lab_component
from app.deciding.lab import Lab
from app.payloads.pairs import pair_table
from app.payloads.shift_lab import Asked, Seen, lab_payload, read_asked
from app.services import ledger, scoring, timings, trust
from app.services.loading import Loaded
from app.widgets import (
    coalition_box,
    holding_box,
    loss_plane_box,
    pressing,
    provenance,
    shift_export,
    shift_pickers,
    shift_sets,
    trust_box,
)
from app.widgets.rule_picker import rule_from_state, rule_popover
from saeeval_core.errors import SaeEvalError
from saeeval_core.evaluation.boards import Direction
from saeeval_core.ledger.places import MINE
from saeeval_core.wording import plural

TITLE = "SHIFT lab"
ICON = ":material/tune:"
KEY = "lab"


def render(loaded: Loaded) -> None:
    """Pair, direction, ranking, ablation and set on top; the lab below runs on its own at every press."""
    directions = scoring.shift_directions(loaded)
    if not directions:
        name = loaded.task_set.texts.shown
        st.info(f"'{provenance.plain(name)}' defines no SHIFT pair; choose another task on the left.")
        return
    box = st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall")
    pair = shift_pickers.pair(box, list(dict.fromkeys(d.pair for d in directions)))
    if pair == shift_pickers.ALL:
        shift_pickers.settings(box, loaded)
        _aggregate([_lab(loaded, d, MINE) for d in directions])
        return
    direction = shift_pickers.direction(box, loaded, [d for d in directions if d.pair == pair])
    shift_pickers.settings(box, loaded)
    lab = _lab(loaded, direction, shift_sets.choice(loaded, direction, state.who()))
    if not state.presenting():
        shift_sets.picker(box, lab)
        rule_popover(box)
        coalition_box.popover(box, lab)
        shift_export.popover(box, lab)
        shift_sets.share(box, lab)
        _trust(box, lab)
        holding_box.popover(box, lab)
    pressing.answers(shift_sets.ANSWERS)
    shift_sets.banner(lab)
    st.session_state["lab_empty"] = lab.chosen() is None
    _about(lab)
    _live(lab)


def _lab(loaded: Loaded, direction: Direction, choice: str) -> Lab:
    part, rank, ablation = scoring.live_part(loaded), shift_pickers.rank(), shift_pickers.ablation()
    n, rule = shift_pickers.n(loaded), rule_from_state()
    return Lab(loaded, direction, part, state.who(), choice, rank, ablation, n, rule)


def _trust(box: DeltaGenerator, lab: Lab) -> None:
    """Controls, refits and retraining of the set as it is when pressed."""
    loaded, view, n, ablation = lab.loaded, lab.view, lab.n, lab.ablation
    why_not = "" if loaded.protocol.name == "robust" else "Retraining uses the robust protocol's probes."
    with box.popover("Checks", icon=":material/balance:"):
        trust_box.checks(
            "shift",
            lambda: scoring.set_score(view, lab.ablated_or_raise(), ablation).score,
            lambda: trust.shift_set_controls(loaded, view, lab.ablated_or_raise(), ablation),
            lambda: trust.shift_set_refits(loaded, view, lab.ablated_or_raise(), n, lab.rank, ablation),
            n,
            lab.part_name,
            trust_box.Retraining(lambda: trust.shift_retrained(loaded, view, lab.ablated_or_raise()), why_not),
        )
        if st.toggle("Beside the rivals: what both labels lose", key="w_lab_plane"):
            target = lab.direction.task.target.column
            loss_plane_box.one_direction(loaded, lab.direction.pair, target, lab.part, lab.ablated())


def _about(lab: Lab) -> None:
    """One line on what is looked at; the n/a direction says why."""
    task_set, reason = lab.loaded.task_set, lab.direction.boards[lab.part].reason
    texts = f"{task_set.texts.shown}{' (composed texts)' if task_set.texts.composed else ''}"
    line = f"{texts}: {lab.direction.pair}, {lab.direction.task.direction}; {lab.loaded.latents.sae}"
    why = shift_pickers.why_direction(lab.loaded, lab.direction)
    provenance.how(". ".join(filter(None, (line, task_set.small, why))))
    chosen = lab.chosen()
    provenance.left_out(ledger.store().beyond(chosen.id, lab.width) if chosen else [], lab.width)
    if reason:
        st.warning(f"S is not defined in this direction: {provenance.plain(reason)}", icon=":material/info:")


@st.fragment
def _live(lab: Lab) -> None:
    """Queue, card and score. A press runs this function alone."""
    pressing.show_problem(lab.desk.name)
    asked = st.session_state.pop("lab_asked", None) or Asked(current=state.number("latent", -1))
    seen = st.session_state.setdefault("lab_seen", Seen())
    lab = replace(lab, alpha=shift_pickers.alpha())
    try:
        values = lab_payload(lab, pressing.press_log(), seen, asked, present=state.presenting())
    except SaeEvalError as error:
        provenance.problem(error)
        return
    lab_component.show(values, _did, KEY)
    if st.session_state.get("lab_empty") and values.decisions:
        st.rerun()  # the first decision: what stands above says so too, and can be taken out and shared
    if began := st.session_state.pop("lab_began", None):
        timings.note_time(time.perf_counter() - began)


def _did() -> None:
    """Presses of the browser: saved before anything is drawn."""
    sent = (st.session_state.get(KEY) or {}).get("did")
    if not isinstance(sent, Mapping):
        return
    st.session_state["lab_began"] = time.perf_counter()
    pressing.receive(sent)
    asked = st.session_state["lab_asked"] = read_asked(sent)
    if asked.current is not None:
        state.put(latent=asked.current)
    if asked.alpha is not None:
        state.put(alpha=asked.alpha)


def _aggregate(labs: list[Lab]) -> None:
    """Mean of the defined directions of each pair, then over pairs."""
    table = pair_table(labs)
    for name, total in table.totals:
        note = f"{plural(total.pairs, 'pair')}, {plural(total.left_out, 'undefined direction')} left out"
        provenance.number(f"S_SHIFT, {name}", total.score, note)
    st.dataframe(table.rows, width="stretch", hide_index=True)
    provenance.how(
        "Mean of the defined directions of each pair, then over pairs; intervals from resampled texts. "
        "Choose one pair to decide."
    )
