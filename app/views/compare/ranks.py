"""Compare, third tab: do the metrics rank SAEs alike?"""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

import streamlit as st

from app.figures.sweep import rank_agreement
from app.results import RankAgreement, choices
from app.views.compare.words import not_measured, quantity
from app.widgets import chart
from saeeval_core.scores.erasure import ERASURE


@st.fragment
def draw(found: Sequence[RankAgreement]) -> None:
    """Rank correlations of every two quantities of one file."""
    if not found:
        st.info("No rank agreement is stored; a sweep of at least three SAEs makes it.")
        return
    rows = _of_one_file(found)
    names = list(dict.fromkeys(v for r in rows for v in (r.x, r.y)))
    known = {(r.x, r.y): r.spearman for r in rows}
    values = [[1.0 if a == b else known.get((a, b), known.get((b, a))) for b in names] for a in names]
    ns = sorted({r.n_saes for r in rows})
    title = "Do the metrics rank SAEs alike? Spearman over SAEs"
    drawn = partial(rank_agreement, [quantity(n) for n in names], values, title=title)
    chart.themed(drawn, "cmp_ranks", part="test", name=rows[0].file)
    st.caption(f"Over {', '.join(map(str, ns))} SAEs; few SAEs make wide uncertainty, so read signs, not digits.")
    not_measured(any(ERASURE in name for name in names))
    table = [asdict(r) | {"x": quantity(r.x), "y": quantity(r.y)} for r in rows]
    st.dataframe(table, hide_index=True, key="cmp_ranks_table")


def _of_one_file(found: Sequence[RankAgreement]) -> Sequence[RankAgreement]:
    """Files are about other SAEs or texts, so one is chosen; first that with most SAEs."""
    files = choices(found, "file")
    if len(files) < 2:
        return found
    most = max(files, key=lambda f: max(r.n_saes for r in found if r.file == f))
    chosen = st.selectbox("Result", files, files.index(most), key="w_cmp_ranks_file", width=300)
    return [r for r in found if r.file == chosen]
