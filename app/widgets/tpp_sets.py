"""Named TPP sets: choose, save under a new name, rename, commit, take out and in."""

import streamlit as st

from app import state
from app.deciding import set_presses
from app.deciding.class_refs import ATTRIBUTION, NUMBERED
from app.deciding.class_sets import ClassSets, class_sets
from app.deciding.desk import tpp_place
from app.deciding.presses import Press
from app.deciding.tpp_page import TppPage
from app.payloads.matrix import nearest_step
from app.services import ledger, scoring
from app.services.loading import Loaded
from app.widgets import export, pressing, provenance, share
from app.widgets.rule_picker import rule_from_state, rule_popover
from saeeval_core.formats.decision_sets import ExportedSet
from saeeval_core.ledger.store import PressId
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
        share_popover(shown)
    with right:
        _commit(shown)
    sets = shown.sets
    why_not = "" if sets.stored else "Nothing is decided in this set yet: there is nothing to take out."
    export.set_buttons(lambda: _exported(loaded), file_name(shown), why_not)
    places = [tpp_place(loaded, c) for c in sets.classes]
    export.set_import(loaded, sets.task, places, lambda made: state.put(tpp_set=f"{NUMBERED}{made.id}"))


def file_name(shown: TppPage) -> str:
    """Of what is taken out of this set."""
    return export.file_name("tpp", shown.loaded.task_set.texts.name, shown.sets.name, shown.sets.who)


def _exported(loaded: Loaded) -> ExportedSet:
    """The set as it is when asked for."""
    sets = page(loaded).sets
    return export.exported(loaded, sets.name, "tpp", sets.task, sets.stored)


def banner(shown: TppPage) -> None:
    """Over somebody else's set: whose it is, and how to get a copy that can be changed."""
    if not shown.sets.mine and shown.sets.stored:
        with st.container(horizontal=True, vertical_alignment="center"):
            line = f"Set '{shown.sets.name}' belongs to {shown.sets.who}: you can read it, not change it."
            st.info(provenance.plain(line))
            pressing.button(
                "Duplicate to edit",
                "w_tpp_dup",
                "duplicate",
                lambda press: _save(press, shown, ""),
                about=shown.sets.value,
            )
        pressing.answers("w_tpp_dup")


def share_popover(shown: TppPage) -> None:
    """The link of this set, at this N."""
    sets = shown.sets
    value = f"{NUMBERED}{min(s.id for _, s in sets.stored)}" if sets.stored else sets.value
    note = "Opens the ranking alone." if value == ATTRIBUTION else f"Opens set '{sets.name}' of {sets.who}."
    if not sets.stored and sets.mine and value != ATTRIBUTION:
        note = "Nothing is decided yet: the link opens this page, where everybody sees their own set."
    title = f"Every class against every probe, N = {shown.n}"
    share.popover(st.container(), note, shown.loaded, title, tpp_set=value, n=str(shown.n))


def _choose(shown: TppPage) -> None:
    sets, labels = shown.sets, dict(shown.sets.options)
    st.session_state["w_tpp_set"] = sets.value  # a set becomes the one on screen without this box, too
    st.selectbox(
        "Set",
        list(labels),
        format_func=labels.__getitem__,
        key="w_tpp_set",
        on_change=_chosen,
        help="A set is what you changed on top of the ranking: latents added beyond N and latents kept within N.",
    )
    if rule_popover(st.container(), "tpp_rule") or st.session_state.pop("tpp_set_chosen", False):
        st.rerun()  # this is a fragment of its own: the matrix above must follow
    name = st.text_input("New name", key="w_tpp_name", max_chars=set_presses.LONGEST_NAME)
    why_not = "" if sets.mine and sets.stored else "Only a set of your own that holds decisions has a name to change."
    with st.container(horizontal=True):
        pressing.button(
            "Save as a new set", "w_tpp_save", "save", lambda press: _save(press, shown, name), group="tpp_set"
        )
        pressing.button(
            "Rename this set",
            "w_tpp_rename",
            "set",
            lambda press: _open(set_presses.rename_classes(ledger.store(), press, shown.loaded, sets, name)),
            group="tpp_set",
            disabled=bool(why_not),
            help=why_not,
        )
    pressing.answers("tpp_set")


def _save(press: PressId, shown: TppPage, name: str) -> None:
    _open(set_presses.save_as(ledger.store(), press, shown.loaded, shown.sets, name))


def _open(value: str | None) -> None:
    """Show the set that a press made or changed; None: it was done before."""
    if value is not None:
        state.put(tpp_set=value)


def _commit(shown: TppPage) -> None:
    sets = shown.sets
    nothing = sets.nothing or (shown.desk.locked if sets.stored else "")
    st.markdown("**Commit** freezes the latents ablated now, at the slider's N, and computes their test score once.")
    pressing.button(
        "Commit",
        "w_tpp_commit",
        "commit",
        lambda press: _committed(press, shown),
        type="primary",
        disabled=bool(nothing),
        help=nothing,
    )
    pressing.answers("w_tpp_commit")
    for line in page(shown.loaded).sets.commits():
        st.text(line)


def _committed(press: PressId, shown: TppPage) -> str:
    made = pressing.press_log().sit(shown.desk, shown.loaded, shown.ablation, shown.n)
    done = pressing.press(Press(press.client, press.seq, made, "commit"))
    return "" if done.committed is None else f"Committed. Test score {say(done.committed.score)}; {done.committed.gone}"


def _chosen() -> None:
    state.put(tpp_set=st.session_state["w_tpp_set"])
    st.session_state["tpp_set_chosen"] = True


def _named(loaded: Loaded, name: str, n: int) -> ClassSets:
    """The set of that name; a judge's depends on N and the rule of the link."""
    return class_sets(loaded, name, state.who(), n, rule_from_state())
