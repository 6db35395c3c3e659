"""Judge, first tab: every rater's verdicts side by side, with reasons and evidence of the latent that is chosen."""

from collections.abc import Sequence

import streamlit as st

from app import state
from app.services import intruders, verdicts
from app.services.loading import Loaded
from app.views.judge.reading import KINDS, reasons
from app.widgets import export, one_card
from saeeval_core.judging.intruder import Finder
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.wording import plural

COMMAND = "saeeval judge --judge local --latents top50"


@st.fragment
def draw(loaded: Loaded) -> None:
    """Raters, the table of latents, and below it the chosen one."""
    every = verdicts.current(loaded)
    if not every:
        st.info(
            "No verdict on this SAE's latents for these texts yet. Ask a judge above, or let the offline judge rate the top 50:"
        )
        st.code(COMMAND, language="bash")
        return
    st.dataframe(_raters(every), hide_index=True, key="judge_raters")
    latent = _chosen(loaded, every)
    own = [v for v in every if v.latent == latent]
    if own:
        with st.expander(
            f"What {plural(len(own), 'rater')} said, with reasons", expanded=len(own) == 1 or not own[0].ok
        ):
            reasons(own, loaded)
        one_card.draw(loaded, latent, "judge_card_verdicts")
    st.download_button(
        "Verdicts (CSV)",
        lambda: export.csv_text([_flat(v) for v in every]),
        "verdicts.csv",
        "text/csv",
        on_click="ignore",
        key="w_judge_csv",
        icon=":material/table_view:",
    )


def _raters(every: Sequence[Verdict]) -> list[dict[str, str | int]]:
    kinds = {v.rater: v.rater_kind for v in every}
    return [
        {
            "rater": name,
            "kind": KINDS.get(kind, kind),
            "latents judged": sum(v.ok for v in every if v.rater == name),
            "no verdict": sum(not v.ok for v in every if v.rater == name),
        }
        for name, kind in kinds.items()
    ]


def _chosen(loaded: Loaded, every: Sequence[Verdict]) -> int:
    """Draw the table; the latent of the selected row, else the link's, else -1."""
    rows = side_by_side(every, intruders.found(loaded, verdicts.newest(loaded)))
    st.caption(
        f"{plural(len(rows), 'latent')} with a verdict. Select one to read the reasons."
        " A failed judgement is no verdict and no 0; why is in the reasons."
    )
    event = st.dataframe(
        rows, hide_index=True, on_select="rerun", selection_mode="single-row", key="w_judge_rows", height=420
    )
    picked = event["selection"]["rows"]
    latent = int(rows[picked[0]]["latent"]) if picked and picked[0] < len(rows) else state.number("latent", -1)
    if picked and state.number("latent", -1) != latent:
        state.put(latent=latent)
    return latent


def side_by_side(every: Sequence[Verdict], found: Sequence[Finder] = ()) -> list[dict[str, str | int]]:
    """One row per latent: its explanation, what each rater said, and how often each found the intruder, as "3/4"."""
    finds = {f"intruder: {f.rater} ({KINDS.get(f.rater_kind, f.rater_kind)})": f.by_latent() for f in found}
    raters = list(dict.fromkeys(v.rater for v in every))
    by_latent: dict[int, dict[str, Verdict]] = {}
    for v in every:
        by_latent.setdefault(v.latent, {})[v.rater] = v
    rows = []
    for latent, own in sorted(by_latent.items()):
        what = next((v.explanation for v in verdicts.by_standing(own.values()) if v.ok and v.explanation), "")
        right = {name: "/".join(map(str, by[latent])) if latent in by else "" for name, by in finds.items()}
        rows.append({"latent": latent, "explanation": what} | {r: _words(own.get(r)) for r in raters} | right)
    return rows


def _words(v: Verdict | None) -> str:
    """Non-zero ratings in words; "" when the rater has not been asked."""
    if v is None:
        return ""
    if not v.ok:
        return f"no verdict: {v.status}"
    if not v.ratings:
        return "explanation only"
    return ", ".join(f"{c} {r}" for c, r in v.ratings.items() if r) or "all 0"


def _flat(v: Verdict) -> dict[str, str | int]:
    """A verdict as one row of a CSV."""
    return {
        "latent": v.latent,
        "rater": v.rater,
        "kind": v.rater_kind,
        "model": v.model,
        "status": v.status,
        "at": v.at,
        "explanation": v.explanation,
        "reason": v.reason,
        **{f"rating: {c}": r for c, r in v.ratings.items()},
    }
