"""Named TPP sets: choose, save under a new name, commit, take out and in."""

from functools import partial

import streamlit as st

from app import state
from app.deciding.class_sets import ClassSets, class_sets, store_decisions
from app.deciding.tpp_page import TppPage
from app.payloads.matrix import nearest_step
from app.services import ledger, scoring
from app.services.loading import Loaded
from app.widgets import export, pressing, provenance
from app.widgets.rule_picker import rule_from_state, rule_popover
from saeeval_core.errors import SaeEvalError
from saeeval_core.scores.ablation import ABLATIONS
from saeeval_core.scores.uncertainty import say


def page(loaded: Loaded) -> TppPage:
    """The page as the link has it."""
    n, ablation = nearest_step(loaded, state.number("n", 20)), state.one_of("ablation", ABLATIONS)
    sets = _named(loaded, state.get("tpp_set"), n)
    return TppPage(loaded, scoring.live_part(loaded), state.who(), sets, n, ablation)


@st.fragment
def panel(loaded: Loaded) -> None:
    """Everything that is done with sets."""
    shown = page(loaded)
    width, stored = loaded.latents.n_latents, shown.sets.stored
    provenance.left_out([i for _, s in stored for i in ledger.store().beyond(s.id, width)], width)
    left, right = st.columns(2)
    with left:
        _choose(shown)
    with right:
        _commit(shown)
    sets, name = shown.sets, loaded.task_set.texts.name
    if not sets.empty:
        made = partial(export.exported, loaded, sets.label, "tpp", sets.task, sets.stored)
        export.set_buttons(made, f"tpp_{name}_{sets.label}")

    def keep(title: str, of: str, decisions: dict[int, str]) -> None:
        if of in sets.classes:
            store_decisions(loaded, _named(loaded, title, shown.n), sets.classes.index(of), decisions, shown.who)

    export.set_import(loaded, "tpp", sets.task, keep, "tpp")


def _choose(shown: TppPage) -> None:
    sets, labels = shown.sets, dict(shown.sets.options)
    st.selectbox(
        "Set",
        list(labels),
        index=list(labels).index(sets.value),
        format_func=labels.__getitem__,
        key="w_tpp_set",
        on_change=_chosen,
        help="A set is what you changed on top of the ranking: latents added beyond N and latents spared within N.",
    )
    if rule_popover(st.container(), "tpp_rule") or st.session_state.pop("tpp_set_chosen", False):
        st.rerun()  # this is a fragment of its own: the matrix above must follow
    new = st.text_input("Save these changes under a new name", key="w_tpp_name", max_chars=60).strip()
    if st.button("Save as", disabled=not new or sets.empty, key="w_tpp_save"):
        try:
            for row, decisions in enumerate(sets.decisions):
                if decisions:
                    store_decisions(shown.loaded, _named(shown.loaded, new, shown.n), row, decisions, shown.who)
        except SaeEvalError as error:
            provenance.problem(error)
            return
        state.put(tpp_set=new)
        st.rerun()


def _commit(shown: TppPage) -> None:
    nothing = shown.sets.nothing
    st.markdown("**Commit** freezes the latents ablated now, at the slider's N, and computes their test score once.")
    if st.button(
        "Commit", type="primary", key="w_tpp_commit", disabled=bool(nothing), help=provenance.plain(nothing) or None
    ):
        log = pressing.press_log()
        made = log.sit(shown.desk, shown.loaded, shown.ablation, shown.n)
        try:
            (done,) = pressing.press(log.own(made, "commit"))
            st.success(f"Committed. Test score {say(done.committed.score)}")
        except SaeEvalError as error:
            provenance.problem(error)
    for line in page(shown.loaded).sets.commits():
        st.text(line)


def _chosen() -> None:
    state.put(tpp_set=st.session_state["w_tpp_set"])
    st.session_state["tpp_set_chosen"] = True


def _named(loaded: Loaded, name: str, n: int) -> ClassSets:
    """The set of that name; a judge's depends on N and the rule of the link."""
    return class_sets(loaded, name, state.who(), n, rule_from_state())
