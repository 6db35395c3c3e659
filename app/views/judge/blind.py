"""Judge, fourth tab: rate candidates oneself with no verdict, class, effect or rank in sight until the rating is saved."""

import streamlit as st

from app import state
from app.services import verdicts
from app.services.loading import Loaded
from app.views.judge.reading import SCALE, evidence, reasons
from app.widgets import pressing, provenance
from saeeval_core.judging.verdict import Concept, task_concepts
from saeeval_core.ledger.store import PressId


@st.fragment
def draw(loaded: Loaded) -> None:
    """The next candidate in a random order of one's own, and what the others said of the one before."""
    who = state.who()
    if state.is_guest():
        st.info("Give your name in the sidebar first: ratings are kept under it.", icon=":material/person:")
        return
    done = {v.latent for v in verdicts.current(loaded) if v.rater == who and v.ok}
    queue = [i for i in verdicts.blind_queue(loaded, who) if i not in done]
    st.progress(len(done) / max(1, len(done) + len(queue)), f"{len(done)} rated, {len(queue)} to go")
    just = st.session_state.get("blind_last")
    if just is not None:
        with st.expander(f"Latent {just}, rated: what the others said"):
            reasons([v for v in verdicts.current(loaded) if v.latent == just])
    if not queue:
        st.success("You have rated every candidate.")
        return
    latent = queue[0]
    st.markdown("**What is this latent about?** Its label, rank and all verdicts are hidden until you save.")
    left, right = st.columns([0.58, 0.42])
    with left:
        evidence(loaded, latent, blind=True)
    with right:
        pressing.answers("blind")
        _form(loaded, latent, who)


def _form(loaded: Loaded, latent: int, who: str) -> None:
    with st.form(f"blind_{latent}", border=True):
        explanation = st.text_input("One sentence", max_chars=300, key=f"w_blind_what_{latent}")
        ratings = {c.name: _rating(c, latent) for c in task_concepts(loaded.task_set)}
        reason = st.text_input("Why (optional)", max_chars=500, key=f"w_blind_why_{latent}")

        def save(press: PressId) -> None:
            verdicts.rate(loaded, latent, who, ratings, explanation, reason, press)
            st.session_state["blind_last"] = latent

        pressing.button(
            "Save and next",
            f"w_blind_save_{latent}",
            "rate",
            save,
            group="blind",
            about=(loaded.latents.fingerprint, latent, who),
            draw=st.form_submit_button,
            type="primary",
        )


def _rating(concept: Concept, latent: int) -> int:
    label = concept.name + (f" ({concept.gloss})" if concept.gloss else "")
    given = st.select_slider(
        provenance.plain(label), list(SCALE), 0, format_func=SCALE.__getitem__, key=f"w_blind_{latent}_{concept.name}"
    )
    return int(given or 0)
