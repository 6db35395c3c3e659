"""Compare, second tab: paired differences of two SAEs, and whether the test can tell them apart."""

from collections.abc import Sequence

import streamlit as st

from app.figures.compared import differences
from app.results import PairDifference
from app.views.compare.words import CONFIG, narrowed
from app.widgets import export
from saeeval_core.scores.uncertainty import say, separable

SHOWN = 60
"""Most pairs drawn; the table holds all."""
_SETTING = {"metric": "Metric", "task": "Task", "protocol": "Protocol", "variant": "Variant", "n": "N"}


@st.fragment
def draw(found: Sequence[PairDifference]) -> None:
    """Pickers, figure and table of one setting."""
    st.markdown(
        "Two SAEs on the same texts, probes and resamples. An interval that covers 0 means: **not separable** by this test. "
        "Half its width is the smallest difference this test could have told apart."
    )
    rows = [r for r in found if r.part == "test"]
    if not rows:
        st.info("No paired differences are stored; a sweep of at least two SAEs makes them.")
        return
    with st.container(horizontal=True):
        rows = narrowed(rows, _SETTING, "dif")
    pairs = [(f"{r.sae_a} − {r.sae_b}", r.difference) for r in rows]
    told = sum(separable(e) for _, e in pairs)
    st.markdown(f"{told} of {len(pairs)} pairs are separable.")
    figure = differences(pairs[:SHOWN], title="Paired differences, test texts")
    st.plotly_chart(figure, key="cmp_differences", config=CONFIG)
    table = [
        {
            "pair": name,
            "difference": say(e),
            "separable": "yes" if separable(e) else "not separable",
            "smallest reliable difference": r.half_width,
            "level": r.level,
        }
        for (name, e), r in zip(pairs, rows, strict=True)
    ]
    st.dataframe(table, hide_index=True, key="cmp_differences_table")
    export.figure_buttons(lambda: figure, lambda: table, "differences")
