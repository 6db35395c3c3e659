"""The smallest set that does it: search, progress, the path that was found, and the set taken over as one's own."""

from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import state
from app.deciding import set_presses
from app.deciding.lab import Lab
from app.jobs import coalition
from app.jobs.coalition import CoalitionJob, Search
from app.services import ledger
from app.services.evidence import tokens_of
from app.services.verdicts import latents_named
from app.widgets import pressing, provenance, shift_sets
from saeeval_core.ledger.store import PressId
from saeeval_core.scores.coalitions import AT_MOST, STRONGEST
from saeeval_core.scores.uncertainty import say
from saeeval_core.wording import plural

_LABELS = {
    coalition.SHIFT: "S, among all latents",
    coalition.ERASURE: f"E (fresh probe), among the {STRONGEST} strongest",
}


def popover(box: DeltaGenerator, lab: Lab) -> None:
    """Searched on the part that is shown; what the set is worth on test, only a commit says."""
    with box.popover("Smallest set", icon=":material/target:"):
        score = st.radio(
            "Set with the highest",
            coalition.SCORES,
            key="w_coalition_score",
            format_func=lambda s: provenance.plain(_LABELS[s]),
        )
        task = lab.direction.task
        search = Search(lab.loaded, lab.direction.pair, task.target.column, lab.part, lab.ablation, score)
        job = coalition.job_of(search)
        if st.button(
            "Find the smallest set that does it",
            key="w_coalition",
            disabled=job is not None and job.active,
            icon=":material/search:",
        ):
            job = coalition.start(search)
        if job is None:
            st.caption(
                f"At most {AT_MOST} latents, one after the other, each the best addition on {provenance.plain(lab.part_name)} texts."
            )
        elif job.active:
            _progress(job)
        else:
            _outcome(lab, job)


@st.fragment(run_every=1.0)
def _progress(job: CoalitionJob) -> None:
    if not job.active:
        st.rerun(scope="app")
        return
    st.progress(min(1.0, job.share), f"{plural(len(job.found.ids), 'latent')} found")
    if st.button("Stop", key="w_coalition_stop", help="What was found stays."):
        job.cancel()


def _outcome(lab: Lab, job: CoalitionJob) -> None:
    if job.error:
        st.error(provenance.plain(job.error), icon=":material/error:")
        return
    found, score = job.found, job.search.score
    st.text(found.words)
    if not found.ids:
        if job.whole is not None and job.whole.reason:
            st.caption(provenance.plain(f"{score} is not defined here: {job.whole.reason}"))
        return
    named = latents_named(lab.loaded)
    what = [named[i][0] if i in named else tokens_of(lab.loaded, i) for i in found.ids]
    st.dataframe(
        [
            {"latent": i, "gain": round(gain, 3), score: round(value, 3), "explanation": text}
            for i, text, gain, value in zip(found.ids, what, found.gains, found.scores, strict=True)
        ],
        hide_index=True,
        width="stretch",
    )
    if job.whole is not None:
        st.caption(
            f"{provenance.plain(score)} of the whole set on {provenance.plain(lab.part_name)}: "
            f"{provenance.plain(say(job.whole))}. The set was chosen on these "
            "texts, so expect less on test; only a commit says."
        )
    pressing.button(
        "Use this set",
        "w_coalition_use",
        "set",
        partial(_use, lab, found.ids, score),
        group=shift_sets.ANSWERS,
        about=(lab.place, found.ids, score),
        help="A new set of yours, named after the search; what you have decided stays as it is.",
    )


def _use(lab: Lab, ids: tuple[int, ...], score: str, press: PressId) -> None:
    made = set_presses.found_by_search(ledger.store(), press, lab.place, ids, f"{score}, {lab.part_name}")
    if made is not None:
        state.put(shift_set=made.id)
