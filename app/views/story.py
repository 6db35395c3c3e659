"""Story: a committed set told step by step, to be presented, changed, and taken along as one file."""

from collections.abc import Mapping
from html import escape
from urllib.parse import urlencode

import streamlit as st

from app import state
from app.components import story as story_component
from app.deciding.lab import Lab
from app.services import ledger, scoring
from app.services.loading import Loaded
from app.stories.deck import deck_html
from app.stories.extra_steps import link_step, made_steps, own_steps
from app.stories.plan import Step
from app.stories.shift_steps import ShiftStory
from app.stories.told import Told, committed
from app.widgets import export, provenance, shift_export, shift_pickers, story_editor
from app.widgets.rule_picker import rule_from_state

TITLE = "Story"
ICON = ":material/slideshow:"
KEY = "story_deck"


def render(loaded: Loaded) -> None:
    """The deck, and below it what changes and exports it."""
    found = {str(t.chosen.id): t for t in committed(loaded)}
    if not found:
        st.info(
            "A story is made from a committed set: its log, its latents and its one test score. "
            "No set of this SAE and task is committed yet; commit one in the SHIFT lab."
        )
        if "shift_lab" in (pages := st.session_state.get("pages", {})):
            st.page_link(pages["shift_lab"], label="Open the SHIFT lab", icon=":material/tune:")
        return
    chosen = state.one_of("story", list(found), next(reversed(found)))
    if not state.presenting() and len(found) > 1:
        st.session_state["w_story"] = chosen
        st.selectbox("Story of", list(found), format_func=lambda k: found[k].label, key="w_story", on_change=_choose)
    _told(loaded, found[chosen])


def _choose() -> None:
    state.put(story=st.session_state["w_story"], step="")


@st.fragment
def _told(loaded: Loaded, told: Told) -> None:
    """Stepping runs this function alone."""
    if st.session_state.pop("story_left", False):
        _leave()
    story = _story(loaded, told)
    plan = story_editor.plan(told.chosen)
    with st.spinner("Making the story"):
        steps = plan.applied(_made(story, told), own_steps(plan, story))
    at = min(max(state.number("step", 1) - 1, 0), max(len(steps) - 1, 0))
    out = "Leave (Esc)" if state.presenting() else "To the lab"
    story_component.show(deck_html(steps, out=out), at, _moved, KEY)
    if state.presenting():
        return
    name = export.file_name("story", loaded.task_set.texts.name, told.direction.pair, told.chosen.name, told.chosen.who)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.download_button(
            "Deck (HTML)",
            lambda: story_component.as_file(deck_html(steps, out="All steps"), escape(told.label)),
            f"{name}.html",
            "text/html",
            on_click="ignore",
            key="w_story_deck",
            icon=":material/download:",
            help="One file that opens offline: arrow keys, swipe, Home; N shows the notes.",
        )
        provenance.how(
            "Arrow keys and Space move, Home goes to the start, N shows the notes. Present fills the screen."
        )
    story_editor.editor(told.chosen, plan, steps, at)


def _story(loaded: Loaded, told: Told) -> ShiftStory:
    part, rank, n = scoring.live_part(loaded), shift_pickers.rank(), shift_pickers.n(loaded)
    choice, ablation = str(told.chosen.id), shift_pickers.ablation()
    lab = Lab(loaded, told.direction, part, state.who(), choice, rank, ablation, n, rule_from_state())
    return ShiftStory(lab, told.commit, tuple(ledger.store().history(told.chosen.id)))


def _made(story: ShiftStory, told: Told) -> list[Step]:
    """Kept while nothing they are made of changes: neither a step forward nor another sentence makes them again."""
    link, command, lab = _link(told), _command(story), story.lab
    key = (lab.loaded.config, told.commit.id, len(story.log), link, command, lab.rank, lab.ablation, lab.n, lab.rule)
    kept = st.session_state.get("story_made")
    if kept is None or kept[0] != key:
        kept = st.session_state["story_made"] = (key, made_steps(story, link_step(story, link, command)))
    return kept[1]


def _link(told: Told) -> str:
    """The lab with this set, whatever its reader's own settings are."""
    base = (st.context.url or "").partition("?")[0].rstrip("/").removesuffix("/story")
    exact = {"pair": told.direction.pair, "target": told.direction.task.target.column, "shift_set": str(told.chosen.id)}
    own = {k: state.get(k) for k in ("model", "sae", "task", "protocol", "seed") if state.get(k) != state.DEFAULTS[k]}
    return f"{base}/shift?{urlencode(own | exact)}" if base else ""


def _command(story: ShiftStory) -> str:
    """What gives the committed score; a set that has changed since has its command in the lab no more."""
    if story.lab.ablated() != story.commit.ids:
        return "The set has changed since this commit: commit it again for a command that gives this score."
    return shift_export.command(story.lab)


def _moved() -> None:
    told = (st.session_state.get(KEY) or {}).get("told")
    if not isinstance(told, Mapping):
        return
    if told.get("leave"):
        st.session_state["story_left"] = True
    elif isinstance(told.get("step"), int):
        state.put(step=told["step"] + 1)


def _leave() -> None:
    if state.presenting():
        state.put(present="")
        st.session_state.pop("w_present", None)
        st.rerun()
    st.switch_page(st.session_state["pages"]["shift_lab"])
