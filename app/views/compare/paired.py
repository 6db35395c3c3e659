"""Compare, last tab: two choices (SAE, N, set) on one recording, scored on the same resampled texts."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import state
from app.deciding.class_sets import class_sets
from app.deciding.desk import shift_place
from app.figures.compared import set_comparison
from app.figures.tpp import tpp_heatmap
from app.services import ledger, loading, paired, scoring
from app.services.loading import Loaded
from app.services.paired import Paired
from app.views.compare.words import METRICS
from app.widgets import chart, provenance
from saeeval_core.evaluation.boards import Direction
from saeeval_core.ledger.places import find_set
from saeeval_core.saes.registry import list_bundled
from saeeval_core.scores.ablation import ABLATIONS
from saeeval_core.scores.tpp_cells import chosen_sets
from saeeval_core.scores.uncertainty import Estimate, minimum_reliable_difference, say, separable
from saeeval_core.texts.parts import PART_NAMES

SETS = {"attribution": "top N by attribution", "mine": "with my changes"}


@dataclass(frozen=True)
class Choice:
    """One side: what is loaded with its SAE, N, and a key of SETS."""

    loaded: Loaded
    n: int
    set: str


@st.fragment
def draw(loaded: Loaded) -> None:
    """Both choices, their difference and, for TPP, the difference of their matrices."""
    metrics = [m for m, there in (("tpp", loaded.task_set.tpp), ("shift", loaded.task_set.pairs)) if there]
    if not metrics:
        st.info("The loaded texts define neither TPP classes nor SHIFT pairs.")
        return
    metric = st.segmented_control(
        "Metric", metrics, default=metrics[0], format_func=METRICS.__getitem__, key="w_two_metric"
    )
    metric = metric or metrics[0]
    left, right = st.columns(2)
    a, b = _choice(loaded, left, "A"), _choice(loaded, right, "B")
    if a is None or b is None:
        return
    ablation = state.one_of("ablation", ABLATIONS)
    found = _tpp(a, b, ablation) if metric == "tpp" else _shift(loaded, a, b, ablation)
    part = scoring.live_part(loaded)
    where = f"{PART_NAMES[part]} texts, {ablation} ablation"
    _difference(found.difference, where)
    rows = [(f"A: {_name(loaded, a)}", found.a, found.difference), (f"B: {_name(loaded, b)}", found.b, None)]
    figure = set_comparison(rows, title=f"{METRICS[metric]}, {where}", x=METRICS[metric])
    names = "; ".join(name for name, _, _ in rows)
    chart.with_files(figure, "two_figure", part=PART_NAMES[part], caption=names, name=loaded.task_set.texts.name)
    if found.cells is not None and loaded.task_set.tpp is not None:
        title = "Matrix of A minus matrix of B"
        drawn = partial(tpp_heatmap, loaded.task_set.tpp[1], found.cells, title=title)
        chart.themed(drawn, "two_matrix", part=PART_NAMES[part], caption=names, name=loaded.task_set.texts.name)


def _choice(loaded: Loaded, column: DeltaGenerator, side: str) -> Choice | None:
    """Draw the pickers of one side; None when its SAE has no recording on these texts."""
    with column:
        saes = list(dict.fromkeys([loaded.config.saes[0], *(i.id for i in list_bundled())]))
        sae = st.selectbox(f"SAE {side}", saes, min(1, len(saes) - 1) if side == "B" else 0, key=f"w_two_sae_{side}")
        n = int(st.number_input(f"N {side}", 1, 500, 20, key=f"w_two_n_{side}"))
        chosen = st.selectbox(f"Set {side}", list(SETS), format_func=SETS.__getitem__, key=f"w_two_set_{side}")
        other = loading.load(replace(loaded.config, saes=(sae,)))
        if other is None:
            st.info(
                f"{provenance.plain(sae)} has not been recorded on these texts. Pick it in the sidebar and press Run."
            )
            return None
        if other.residuals.fingerprint != loaded.residuals.fingerprint:
            st.info(
                f"{provenance.plain(sae)} reads another hook, so it is not on the same recording and cannot be paired."
            )
            return None
        return Choice(other, n, chosen)


def _name(loaded: Loaded, choice: Choice) -> str:
    name = choice.loaded.config.saes[0] if choice.loaded is not loaded else "this SAE"
    return f"{name}, N = {choice.n}" + (", my changes" if choice.set == "mine" else "")


def _difference(gap: Estimate, where: str) -> None:
    words = "n/a" if gap.value is None else "separable" if separable(gap) else "**not separable**"
    st.markdown(f"A − B: {say(gap)} ({words}; {where}, paired over the same resamples)")
    if (smallest := minimum_reliable_difference(gap)) is not None:
        st.caption(f"Smallest difference this test could tell apart: about {smallest:.3f}.")


def _tpp(a: Choice, b: Choice, ablation: str) -> Paired:
    part = scoring.live_part(a.loaded)
    return paired.tpp(*((c.loaded, _class_sets(c, part)) for c in (a, b)), part=part, ablation=ablation)


def _class_sets(choice: Choice, part: int) -> tuple[tuple[int, ...], ...]:
    sets = class_sets(choice.loaded, choice.set, state.who())
    return tuple(chosen_sets(scoring.tpp_view(choice.loaded, part).rankings, choice.n, sets.decisions))


def _shift(loaded: Loaded, a: Choice, b: Choice, ablation: str) -> Paired:
    every = scoring.shift_directions(loaded)
    pair = state.get("pair") if state.get("pair") in {d.pair for d in every} else every[0].pair
    direction = scoring.default_direction(loaded, pair)
    st.caption(provenance.plain(f"{pair}, {direction.task.direction}"))
    target, part = direction.task.target.column, scoring.live_part(loaded)
    views = [scoring.shift_view(c.loaded, pair, target, part) for c in (a, b)]
    return paired.shift(
        *((view, _shift_ids(c, direction, view.attribute_ranking)) for c, view in zip((a, b), views, strict=True)),
        ablation=ablation,
    )


def _shift_ids(choice: Choice, direction: Direction, ranking: np.ndarray) -> tuple[int, ...]:
    if choice.set != "mine":
        return tuple(int(i) for i in ranking[: choice.n])
    store = ledger.store()
    stored = find_set(store, shift_place(choice.loaded, direction), state.who())
    return tuple(store.ablated(stored.id, choice.loaded.latents.n_latents)) if stored else ()
