"""The filters above the table of latents; every one of them is in the link."""

from collections.abc import Mapping, Sequence

import streamlit as st

from app import state
from app.widgets.latent_table import NONE, STRENGTHS, Filters

_DECISIONS = ("ablate", "keep", "unsure", NONE)
_DENSITIES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""% of tokens; most latents lie below 5."""
_VERDICTS = ("4/4", "3/4", "2/4", "1/4", "0/4", "no verdict", NONE)


def draw(effects: Sequence[str], places: Mapping[str, str]) -> tuple[str, str, Filters]:
    """(probe whose effect is shown, set that the decisions belong to, filters).

    ``effects``: names of probes; ``places``: set -> label. Where one is empty, so is what is chosen of it.
    """
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input(
            "Search",
            state.get("search"),
            key="w_search",
            on_change=state.choose,
            args=("search", "w_search"),
            max_chars=80,
            placeholder="words or id",
            help="Every word must be found: in the explanation, what it was rated for, its tokens, or as the id.",
            width=260,
        )
        probe = _effect(effects) if effects else ""
        place = _place(places) if places else ""
        filters = Filters(
            search=state.get("search"),
            decisions=_several("decision", "Decision", _DECISIONS),
            verdicts=_several("verdict", "Verdict", _VERDICTS),
            density=_density(),
            firing=_firing(),
            strength=state.one_of("strength", STRENGTHS),
        )
    return probe, place, filters


def _effect(names: Sequence[str]) -> str:
    """The probe whose effect is shown; beside it, how strong the effect must be."""
    probe, strength = state.one_of("effect", names), state.one_of("strength", STRENGTHS)
    st.selectbox(
        "Effect on",
        names,
        names.index(probe),
        key="w_effect",
        width=345,
        on_change=state.choose,
        args=("effect", "w_effect"),
    )
    st.selectbox(
        "Effect",
        STRENGTHS,
        STRENGTHS.index(strength),
        key="w_strength",
        width=110,
        format_func=lambda s: s or "any",
        on_change=state.choose,
        args=("strength", "w_strength"),
        help="By the effect on the probe beside, among all latents.",
    )
    return probe


def _place(places: Mapping[str, str]) -> str:
    sets = list(places)
    place = state.one_of("of", sets)
    st.selectbox(
        "Decisions of",
        sets,
        sets.index(place),
        format_func=places.get,
        key="w_of",
        width=345,
        on_change=state.choose,
        args=("of", "w_of"),
        help="Which set the decisions below belong to.",
    )
    return place


def _several(name: str, label: str, options: Sequence[str]) -> list[str]:
    wanted = state.get(name).split(",")
    chosen = [o for o in options if o in wanted]
    return st.multiselect(label, options, chosen, key=f"w_{name}", width=180, on_change=_choose_several, args=(name,))


def _choose_several(name: str) -> None:
    state.put(**{name: ",".join(st.session_state[f"w_{name}"])})


def _density() -> tuple[float, float]:
    """Shares of tokens; the slider shows them in %. What a link says is among its steps."""
    low, high = state.numbers("density") or (0.0, 100.0)
    st.select_slider(
        "Density, % of tokens",
        sorted({*_DENSITIES, low, high}),
        (low, high),
        format_func=lambda d: f"{d:g}",
        key="w_density",
        width=200,
        on_change=_choose_density,
    )
    return low / 100, high / 100


def _choose_density() -> None:
    low, high = st.session_state["w_density"]
    state.put(density="" if (low, high) == (0.0, 100.0) else f"{low:g},{high:g}")


def _firing() -> bool:
    return st.toggle(
        "fires here",
        state.get("silent") != "1",
        key="w_firing",
        on_change=_choose_silent,
        help="Leave out latents that never fire on these texts.",
    )


def _choose_silent() -> None:
    state.put(silent="" if st.session_state["w_firing"] else "1")
