"""Compare: is the concept gone? SAEs beside their rivals in the plane of what target and spurious label lose."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import streamlit as st

from app.services import loading, loss_paths, scoring
from app.services.loading import Loaded
from app.views.compare.upload import own_paths
from app.widgets import loss_plane_box, provenance, rivals_box
from app.widgets.loss_plane_box import NOT_MEASURED
from saeeval_core.evaluation.result import LossPath
from saeeval_core.saes.registry import list_bundled
from saeeval_core.texts.parts import TEST

MOST = 6
"""SAEs in one picture."""
MEAN = "mean over pairs"


def draw(loaded: Loaded, stored: Mapping[str, Sequence[LossPath]]) -> None:
    """Pickers and pictures, on test; ``stored``: result -> its paths, beside those that were opened here."""
    results = {**stored, **own_paths()}
    here = f"the loaded texts ({loaded.task_set.texts.shown})"
    source = here
    if results:
        source = st.selectbox("From", [here, *results], key="w_gone_source")
    paths = _live(loaded) if source == here else list(results[source])
    if not paths:
        if source == here and not scoring.shift_directions(loaded):
            st.info("The loaded texts define no SHIFT pair, so there is no spurious label to lose.")
        return
    if not any(p.kind in ("rival", "bound") for p in paths):
        st.caption(NOT_MEASURED)
    places = list(dict.fromkeys((p.pair, p.target) for p in paths))
    pair, target = st.selectbox("Direction", places, key="w_gone_direction", format_func=_place)
    own = loss_paths.of_direction(paths, pair, target, "test")
    saes = [p.name for p in own if p.kind == "sae"]
    if len(saes) > MOST:
        kept = st.multiselect("SAEs", saes, saes[:MOST], max_selections=MOST, key="w_gone_saes")
        own = [p for p in own if p.kind != "sae" or p.name in kept]
    loss_plane_box.pictures(own, "gone", f"{_place((pair, target))}, test texts")


def _place(place: tuple[str, str]) -> str:
    pair, target = place
    return f"{pair}, target {target}" if pair else MEAN


def _live(loaded: Loaded) -> list[LossPath]:
    """Of the SAEs that a person picks among those recorded on these texts, and of the rivals where they are scored."""
    if not scoring.shift_directions(loaded):
        return []
    own = loaded.config.saes[0]
    names = list(dict.fromkeys([own, *(i.id for i in list_bundled())]))
    picked = st.multiselect("SAEs recorded on these texts", names, [own], max_selections=MOST, key="w_gone_live")
    paths: list[LossPath] = []
    for name in picked:
        other = loading.load(replace(loaded.config, saes=(name,)))
        if other is None or other.residuals.fingerprint != loaded.residuals.fingerprint:
            st.caption(f"{provenance.plain(name)}: not recorded on these texts at this hook.")
            continue
        with st.spinner(f"Reading with fresh probes: {provenance.plain(name)}"):
            paths += loss_paths.sae_paths(other, TEST)
    rivals = rivals_box.rivals(loaded, "gone")
    return paths + ([] if rivals is None else [p for p in rivals.paths if p.part == "test"])
