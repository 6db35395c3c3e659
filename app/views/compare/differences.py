"""Compare, second tab: paired differences of two SAEs, and whether the test can tell them apart."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from app import state
from app.figures.compared import difference_map, differences
from app.results import PairDifference
from app.views.compare.words import named, narrowed, not_measured, one_file
from app.widgets import chart, provenance
from saeeval_core.formats import sentences
from saeeval_core.scores.erasure import ERASURE
from saeeval_core.scores.uncertainty import say, separable

SHOWN = 60
"""Most pairs drawn one below the other; the map and the table hold all."""
_SETTING = {
    "metric": "Metric",
    "task": "Task",
    "protocol": "Protocol",
    "selection": "Selection",
    "variant": "Variant",
    "n": "N",
}


@st.fragment
def draw(found: Sequence[PairDifference]) -> None:
    """Pickers, map of all pairs, the same as a list, and table of one file and setting."""
    st.markdown(
        "Two SAEs on the same texts, probes and resamples. An interval that covers 0 means: **not separable** by this test "
        "(\u2248). Half its width is the smallest difference this test could have told apart."
    )
    rows = [r for r in found if r.part == "test"]
    if not rows:
        st.info("No paired differences are stored; a sweep of at least two SAEs makes them.")
        return
    with st.container(horizontal=True):
        rows = one_file(rows, "dif", [(r.file, sae) for r in rows for sae in (r.sae_a, r.sae_b)])
        read = any(r.variant == ERASURE for r in rows)
        rows = narrowed(rows, _SETTING, "dif")
    not_measured(read)
    told = sum(separable(r.difference) for r in rows)
    st.markdown(provenance.plain(sentences.told_apart(told, len(rows))))
    drawn = partial(
        difference_map,
        [(r.sae_a, r.sae_b, r.difference) for r in rows],
        title="Paired differences, test texts: row minus column, best first",
        own=state.get("sae"),
    )
    chart.themed(drawn, "cmp_difference_map", part="test", caption=_about(rows), name=rows[0].file)
    table = [
        {
            "pair": f"{r.sae_a} − {r.sae_b}",
            "difference": say(r.difference),
            "separable": "yes" if separable(r.difference) else "not separable",
            "smallest reliable difference": r.half_width,
            "level": r.level,
        }
        for r in rows
    ]
    with st.expander("Every pair with its interval"):
        _list(rows)
        st.dataframe(table, hide_index=True, key="cmp_differences_table")


def _list(rows: Sequence[PairDifference]) -> None:
    """The largest differences first."""
    pairs = [(f"{r.sae_a} − {r.sae_b}", r.difference) for r in rows]
    pairs.sort(key=lambda p: -abs(p[1].value or 0.0))
    if len(pairs) > SHOWN:
        st.caption(f"The {SHOWN} largest of {len(pairs)} differences; the table has all.")
    figure = differences(pairs[:SHOWN], title="Paired differences, test texts")
    chart.with_files(figure, "cmp_differences", part="test", caption=_about(rows), name=rows[0].file)


def _about(rows: Sequence[PairDifference]) -> str:
    """The setting of the differences, for the caption of a file."""
    return ", ".join([rows[0].file, *(f"{label}: {named(getattr(rows[0], of))}" for of, label in _SETTING.items())])
