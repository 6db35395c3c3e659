"""The judge's rule: what makes ratings a yes or no. Chosen by whoever looks, said in words, carried by the link."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import state
from app.widgets import provenance
from saeeval_core.scores.selections import PAPERS_RULE, Rule

_ORDERS = {"top-then-filter": "top N, then filter (the paper)", "filter-then-top": "filter, then the first N"}
_THRESHOLDS = {1: "1 or more (the paper)", 2: "2 or more"}


def rule_from_state() -> Rule:
    """The rule of the link; what a link does not say, or says wrongly, is the default."""
    threshold = state.number("judge_threshold", Rule().threshold)
    return Rule(threshold, state.get("judge_zero") == "1", state.get("judge_order"))


def rule_popover(box: DeltaGenerator, key: str = "rule") -> bool:
    """Draw the picker into ``box``; True in the run right after a change (inside a fragment: run the page again)."""
    rule = rule_from_state()
    shown = {f"w_{key}_threshold": rule.threshold, f"w_{key}_zero": rule.zero_non_maximum, f"w_{key}_order": rule.order}
    # What the link says decides; widgets only show it, so that "the paper's rule" and a copied link move them too.
    st.session_state.update(shown)
    with box.popover("How the judge's set is formed", icon=":material/rule:"):
        _parts(key)
        st.caption(provenance.plain(rule.words))
        st.button(
            "The paper's rule",
            key=f"w_{key}_paper",
            disabled=rule == PAPERS_RULE,
            on_click=_put,
            args=(PAPERS_RULE,),
            width="stretch",
            help="Rated 1 or more after lower ratings are set to 0, top N first.",
        )
    return bool(st.session_state.pop("rule_changed", False))


def _parts(key: str) -> None:
    st.radio(
        "Related means a rating of",
        list(_THRESHOLDS),
        format_func=_THRESHOLDS.__getitem__,
        key=f"w_{key}_threshold",
        on_change=_chosen,
        args=(key,),
        horizontal=True,
        help="In the rubric 1 says: related only distantly, no example is directly about the concept.",
    )
    st.toggle(
        "Lower ratings count as 0 (the paper)",
        key=f"w_{key}_zero",
        on_change=_chosen,
        args=(key,),
        help="Before that, every rating of a latent that is not its highest is set to 0; ties are kept.",
    )
    st.radio(
        "Order", list(_ORDERS), format_func=_ORDERS.__getitem__, key=f"w_{key}_order", on_change=_chosen, args=(key,)
    )


def _chosen(key: str) -> None:
    threshold, zero, order = (st.session_state.get(f"w_{key}_{part}") for part in ("threshold", "zero", "order"))
    if threshold is not None and zero is not None and order is not None:  # else a message that nobody's page sent
        _put(Rule(threshold, zero, order))


def _put(rule: Rule) -> None:
    state.put(judge_threshold=rule.threshold, judge_zero="1" if rule.zero_non_maximum else "", judge_order=rule.order)
    st.session_state["rule_changed"] = True
