"""Overview: what fresh probes read of a headline, worked out beside the page."""

import streamlit as st

from app.services import fresh_matrix
from app.services.loading import Loaded
from app.widgets import provenance
from saeeval_core.evaluation.erased import NOT_MEASURED
from saeeval_core.evaluation.result import Erasure


def still_read(loaded: Loaded, metric: str, n: int) -> Erasure | None:
    """What fresh probes still read of the top n; it takes seconds, so the page says that they read and goes on."""
    found = fresh_matrix.still_overall(loaded, metric, n)
    if found is None:
        _reading(loaded, metric, n)
        return None
    if found.erasure is None:
        provenance.how(f"Fresh probes: {found.problem or NOT_MEASURED}")
    elif fresh_matrix.own_controls(loaded) is None:
        _scoring(loaded)
    return found.erasure


@st.fragment(run_every=0.7)
def _reading(loaded: Loaded, metric: str, n: int) -> None:
    if fresh_matrix.still_overall(loaded, metric, n) is not None:
        st.rerun(scope="app")
    provenance.how("Fresh probes are being read.")


@st.fragment(run_every=0.7)
def _scoring(loaded: Loaded) -> None:
    if fresh_matrix.own_controls(loaded) is not None:
        st.rerun(scope="app")
    provenance.how("Controls of E are being scored.")
