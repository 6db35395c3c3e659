"""Overview: other SAEs on the same texts, as stored results have them, with this one in colour."""

import html
from collections.abc import Sequence

import streamlit as st

from app import results
from app.figures import pictures
from app.figures.names import short_names
from app.figures.pictures import Line
from app.results import Stored
from app.services.loading import Loaded
from app.views.overview.words import said, title
from app.widgets import provenance
from app.widgets.figure_link import linked
from saeeval_core.scores.area import RECOMMENDED

MOST = 6
"""SAEs drawn."""
_SCORES = {"shift": "S_SHIFT", "tpp": "TPP"}


def draw(loaded: Loaded) -> None:
    """The picture once the stored results have been read, which takes seconds: the page does not wait for them."""
    title("Other SAEs on these texts")
    found = results.soon() if st.session_state.get("others_asked") else None
    if found is None:
        _waiting()
        return
    rows = rows_beside(found.rows, loaded)
    if len(rows) < 2:
        said("No other SAE has been scored on these texts with these settings.")
        return
    short = short_names([r.sae for r in rows])
    own = loaded.config.saes[0]
    lines = [Line(short[r.sae], r.estimate, own=r.sae == own) for r in rows]
    note = f"{_SCORES[rows[0].metric]}, average over N = 1 to 20, mean ablation, test; {rows[0].file}"
    picture = f"<div class='how'>{html.escape(note)}</div>{pictures.forest(lines, dark=provenance.dark())}"
    linked("others", picture, "Open Compare", "compare", compare_tab="")


def rows_beside(rows: Sequence[Stored], loaded: Loaded) -> list[Stored]:
    """The recommended scores of one file and metric, best first: those that the SAE on screen is among, if any are.

    At most MOST; the SAE on screen is always one of them.
    """
    fits = [r for r in rows if r.status == "ok" and r.role == "sae" and r.part == "test" and _same_settings(r, loaded)]
    own = loaded.config.saes[0]
    groups: dict[tuple[str, str], list[Stored]] = {}
    for r in fits:
        groups.setdefault((r.file, r.metric), []).append(r)
    with_own = [g for g in groups.values() if any(r.sae == own for r in g)]
    if not with_own:
        return []
    found = min(with_own, key=lambda g: (g[0].metric, -len(g)))
    best = sorted(found, key=lambda r: (r.value is None, -(r.value or 0.0)))
    kept = [r for r in best if r.sae == own] + [r for r in best if r.sae != own][: MOST - 1]
    return [r for r in best if r in kept]


def _same_settings(row: Stored, loaded: Loaded) -> bool:
    here = (loaded.task_set.texts.name, loaded.protocol.name, RECOMMENDED, "attribution", loaded.config.model)
    return (row.task, row.protocol, row.variant, row.selection, row.model) == here and row.scope in (None, "all")


@st.fragment(run_every=1.0)
def _waiting() -> None:
    """Reading starts when this runs a second time: by then the page is on screen."""
    if st.session_state.get("others_asked") and results.soon() is not None:
        st.rerun(scope="app")
    st.session_state["others_asked"] = "others_shown" in st.session_state
    st.session_state["others_shown"] = True
    provenance.how("Stored results are being read.")
