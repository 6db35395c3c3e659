"""Judge, third tab: where two raters differ, the furthest apart first, and a ruling of one's own on each."""

from itertools import combinations

import streamlit as st

from app import state
from app.services import verdicts
from app.services.loading import Loaded
from app.views.judge.reading import SCALE, reasons
from app.widgets import one_card, pressing, provenance
from saeeval_core.errors import DataError
from saeeval_core.judging import agreement as agree
from saeeval_core.ledger.store import PressId
from saeeval_core.wording import plural

_SIDES = {"all": None, "disagree at related ≥ 1": 1, "disagree at related ≥ 2": 2}


@st.fragment
def draw(loaded: Loaded) -> None:
    """Pickers, the conflicts, and the chosen one with reasons and evidence."""
    every = verdicts.cells(loaded)
    done = every.pop(verdicts.ADJUDICATED, {})
    pairs = [(a, b) for a, b in combinations(every, 2) if set(every[a]) & set(every[b])]
    if not pairs:
        st.info("Conflicts appear when two raters have rated the same latents.")
        return
    pair = st.selectbox("Raters", pairs, format_func=lambda p: f"{p[0]} and {p[1]}", key="w_conflict_pair")
    side = st.segmented_control("Show", list(_SIDES), default="disagree at related ≥ 1", key="w_conflict_side")
    found = agree.conflicts(every[pair[0]], every[pair[1]], threshold=_SIDES[side or "all"])
    settled = sum((c.item, c.concept) in done for c in found)
    st.caption(provenance.plain(f"{plural(len(found), 'conflict')}, the furthest apart first; {settled} settled."))
    if not found:
        return
    c = _chosen(found, pair, done)
    st.markdown(f"**Latent {provenance.plain(str(c.item))}**")
    st.text(f"{c.concept}: {pair[0]} says {c.a}, {pair[1]} says {c.b}")
    rating = st.segmented_control(
        "Settle as", list(SCALE), format_func=SCALE.__getitem__, key=f"w_settle_{c.item}_{c.concept}"
    )

    def settle(press: PressId) -> None:
        if rating is None:
            raise DataError("choose a rating first")
        verdicts.settle(loaded, c, int(rating), state.who(), pair, press)

    about = (loaded.latents.fingerprint, c.item, c.concept, pair)
    pressing.button("Save", "w_settle_save", "settle", settle, about=about)
    pressing.answers("w_settle_save")
    with st.expander("Their reasons"):
        reasons([v for v in verdicts.current(loaded) if v.latent == c.item and v.rater in pair])
    one_card.draw(loaded, int(c.item), "judge_card_conflicts")


def _chosen(found: list[agree.Conflict], pair: tuple[str, str], done: agree.Cells) -> agree.Conflict:
    """Draw the table; the conflict of the selected row, else the first."""
    rows = [
        {
            "latent": c.item,
            "concept": c.concept,
            pair[0]: c.a,
            pair[1]: c.b,
            "settled as": done.get((c.item, c.concept)),
        }
        for c in found
    ]
    event = st.dataframe(
        rows, hide_index=True, on_select="rerun", selection_mode="single-row", key="w_conflicts", height=260
    )
    picked = event["selection"]["rows"]
    return found[picked[0] if picked and picked[0] < len(found) else 0]
