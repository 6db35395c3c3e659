"""Judge, second tab: how far two raters agree, over all concepts and by concept, and all raters together."""

from collections.abc import Mapping
from functools import partial

import streamlit as st

from app.figures.compared import confusion_matrix
from app.figures.numbers import numbers
from app.widgets import chart, export, provenance
from saeeval_core.judging import agreement as agree
from saeeval_core.scores.uncertainty import Estimate, say
from saeeval_core.wording import plural

STATISTICS = {
    "exact": "same rating",
    "within_1": "within 1",
    "kappa_5": "kappa, five levels",
    "kappa_quadratic": "kappa, quadratic weights",
    "kappa_ge1": "kappa, related (≥ 1)",
    "kappa_ge2": "kappa, related (≥ 2)",
}


@st.fragment
def draw(cells: Mapping[str, agree.Cells], key: str) -> None:
    """``cells``: ratings by rater; ``key`` tells the widgets of two such boxes on one page apart."""
    raters = list(cells)
    if len(raters) < 2:
        st.info(
            f"Agreement needs two raters on the same latents; there is {provenance.plain(raters[0] if raters else 'none')}. "
            "Rate some blind, run another judge, or import ratings."
        )
        return
    a, b, zero = _pickers(raters, key)
    if zero:
        cells = agree.with_missing_as_zero(cells, [b])
        st.warning(f"Missing ratings of {provenance.plain(b)} are read as 0 (never do this for a result of your own).")
    pair = agree.agreement(a, b, cells[a], cells[b])
    if not pair.n:
        st.info("These two have no latent in common.")
        return
    st.markdown(f"**n = {pair.n}** ratings on {plural(pair.items, 'latent')}; 95 % intervals resample latents.")
    by_concept = agree.by_concept(a, b, cells[a], cells[b])
    rows = [_row("all", pair)] + [_row(c, x) for c, x in by_concept.items()]
    st.dataframe(rows, hide_index=True, key=f"agree_table_{key}")
    for line in _why_not({"all": pair} | by_concept):
        st.caption(provenance.plain(line))
    counts, title = pair.confusion.tolist(), "Ratings of both, how often"
    drawn = partial(confusion_matrix, range(agree.LEVELS), counts, rows=a, columns=b, title=title)
    left, right = st.columns([0.55, 0.45])
    with left:
        chart.draw(drawn(dark=provenance.dark()), f"agree_confusion_{key}")
    with right:
        _together(cells, key)
    export.figure_buttons(drawn, lambda: numbers(drawn()), export.file_name("agreement", key, a, b))


def _pickers(raters: list[str], key: str) -> tuple[str, str, bool]:
    """(rater A, rater B, whether missing ratings of B are read as 0)."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        a = st.selectbox("Rater A", raters, 0, key=f"w_agree_a_{key}", width=260)
        b = st.selectbox("Rater B", [r for r in raters if r != a], key=f"w_agree_b_{key}", width=260)
        zero = st.toggle(
            "missing ratings of B as 0", key=f"w_agree_zero_{key}", help="Only to compare with older figures."
        )
    return a, b, zero


def _together(cells: Mapping[str, agree.Cells], key: str) -> None:
    st.markdown("**All raters: Krippendorff's alpha**")
    for metric in ("ordinal", "interval"):
        st.text(f"{metric}: {say(agree.krippendorff(cells, metric=metric))}")
    st.caption("Most ratings are 0, so chance agreement is high: read kappa and alpha, not the share of equal ratings.")
    table = [{"A": p.a, "B": p.b, "n": p.n, "kappa ≥ 1": _cell(p.kappa_ge1)} for p in agree.agreements(cells)]
    st.dataframe(table, hide_index=True, key=f"agree_pairs_{key}")


def _row(name: str, p: agree.Agreement) -> dict[str, str | int]:
    return {"concept": name, "n": p.n} | {label: _cell(getattr(p, s)) for s, label in STATISTICS.items()}


def _cell(e: Estimate) -> str:
    """Reasons stand below the table: no column is as wide as they are."""
    return "n/a" if e.value is None else say(e, 2)


def _why_not(found: Mapping[str, agree.Agreement]) -> list[str]:
    """One line per reason for which a figure is n/a, with the concepts and the figures that it is of."""
    where: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for concept, p in found.items():
        for s, label in STATISTICS.items():
            if reason := getattr(p, s).reason:
                concepts, labels = where.setdefault(reason, ({}, {}))
                concepts[concept], labels[label] = None, None
    return [f"n/a, {reason}: {', '.join(c)} ({', '.join(labels)})." for reason, (c, labels) in where.items()]
