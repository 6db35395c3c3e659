"""Judge, fifth tab: find the window that is not of the latent, one key each; and how often who finds it."""

import time

import streamlit as st

from app import state
from app.services import intruders, verdicts
from app.services.loading import Loaded
from app.views.judge.reading import KINDS, context_html
from app.widgets import pressing, provenance
from saeeval_core.evidence.intruder import CHANCE, Trial
from saeeval_core.ledger.store import PressId
from saeeval_core.scores.uncertainty import say

_SHOWN, _LAST = "intruder_shown", "intruder_last"


@st.fragment
def draw(loaded: Loaded) -> None:
    """The next trial of who is deciding, blind; below it every rater's figure, people's and models' apart."""
    if state.is_guest():
        st.info("Give your name in the sidebar first: answers are kept under it.", icon=":material/person:")
    else:
        _next(loaded, state.who())
    _figures(loaded)


def _next(loaded: Loaded, who: str) -> None:
    trial, done = intruders.next_trial(loaded, who), intruders.answered(loaded, who)
    st.caption(provenance.plain(f"{done} answered. {st.session_state.get(_LAST, '')}"))
    pressing.answers("intruder")
    if trial is None:
        st.success("You have answered every trial.")
        return
    st.markdown(
        "**Which window is the intruder?** In four of them the same latent is active at the marked tokens; in one it is "
        "silent, and a similar one is. What stands after a mark plays no part. Keys 1 to 5; five seconds are enough."
    )
    since = _shown_since(trial)
    for place, window in enumerate(trial.windows):
        row, text = st.columns([0.08, 0.92], vertical_alignment="center")
        with row:
            _choice(loaded, trial, place, who, since)
        with text:
            st.html(context_html(window, 1.0))


def _choice(loaded: Loaded, trial: Trial, place: int, who: str, since: float) -> None:
    def take(press: PressId) -> None:
        intruders.answer(loaded, trial, place, who, time.monotonic() - since, press)
        right = "right" if place == trial.intruder else f"it was window {trial.intruder + 1}"
        st.session_state[_LAST] = f"Latent {trial.latent}: {right}."

    pressing.button(
        f"{place + 1}",
        f"w_intruder_{place}",
        "intruder",
        take,
        group="intruder",
        about=(trial.hash, who),
        shortcut=f"{place + 1}",
        help=f"Window {place + 1} is the intruder",
    )


def _shown_since(trial: Trial) -> float:
    """When this trial was first drawn, by the server's clock."""
    at = st.session_state.get(_SHOWN)
    if at is None or at[0] != trial.hash:
        at = st.session_state[_SHOWN] = trial.hash, time.monotonic()
    return at[1]


def _figures(loaded: Loaded) -> None:
    found = intruders.found(loaded, verdicts.newest(loaded))
    if not found:
        return
    rows = [
        {
            "rater": f.rater,
            "kind": KINDS.get(f.rater_kind, f.rater_kind),
            "finds the intruder": say(f.accuracy(), 2),
            "trials": f.trials,
            "latents": len(f.by_latent()),
            "no answer": f.failed,
        }
        for f in found
    ]
    st.dataframe(rows, hide_index=True, key="intruder_raters")
    provenance.how(
        f"Share of trials answered rightly, guessing gives {CHANCE:.1f}; 95 % intervals resample latents. Per latent it "
        "stands beside the ratings under Verdicts."
    )
    pairs = intruders.pairs(loaded, verdicts.newest(loaded))
    if pairs:
        table = [{"A": a, "B": b, "trials of both": n, "same window": say(same, 2)} for a, b, n, same in pairs]
        st.dataframe(table, hide_index=True, key="intruder_pairs")
