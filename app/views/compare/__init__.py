"""Compare: stored sweeps with intervals, published files beside ours, and two choices on one recording, paired."""

import streamlit as st

from app import results, state
from app.services.loading import Loaded
from app.views.compare import differences, gone, paired, planted, ranks, sweep
from app.views.compare.upload import own_rows
from app.widgets import provenance
from app.widgets.tabs import tabs

TITLE = "Compare"
ICON = ":material/compare_arrows:"
TABS = {
    "sweep": "Sweep",
    "differences": "Differences",
    "ranks": "Ranks",
    "trust": "Can it be trusted?",
    "paired": "Two choices, paired",
    "gone": "Is it gone?",
}


def render(loaded: Loaded) -> None:
    """Stored results first, then two choices on what is loaded."""
    found = results.stored()
    for problem in found.problems:
        st.warning(provenance.plain(problem))
    shown = tabs("compare_tab", TABS)
    with shown[0]:
        sweep.draw([*found.rows, *own_rows()], found.made_by)
    with shown[1]:
        differences.draw(found.differences)
    with shown[2]:
        ranks.draw(found.rank_agreement)
    with shown[3]:
        planted.draw(found)
    with shown[4]:
        paired.draw(loaded)
    with shown[5]:
        if state.get("compare_tab") == "gone":  # seconds of work: only while it is looked at
            gone.draw(loaded, found.paths)
