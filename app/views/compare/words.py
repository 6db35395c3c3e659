"""What the tabs of Compare share: names of metrics and variants, and pickers that start at the headline setting."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import streamlit as st

from app.results import choices
from saeeval_core.config import HEADLINE_N
from saeeval_core.scores.area import AREA, MEAN, RECOMMENDED, TOP_N
from saeeval_core.scores.erasure import ERASURE

METRICS = {"shift": "SHIFT score", "tpp": "TPP score"}
VARIANTS = {
    ERASURE: "selective erasure E, fresh probes (recommended)",
    RECOMMENDED: "mean ablation, area over N = 1 to 20",
    TOP_N: "zero ablation, top N (paper)",
    AREA: "zero ablation, area over N = 1 to 20",
    MEAN: "mean ablation, top N",
}
CONFIG = {"displaylogo": False}
"""Of every plotly figure here."""
Row = TypeVar("Row")


def named(value: object) -> str:
    """A metric or variant in words; anything else as it is."""
    return METRICS.get(str(value)) or VARIANTS.get(str(value)) or str(value)


def narrowed(rows: Sequence[Row], columns: Mapping[str, str], key: str) -> list[Row]:
    """Draw one picker per column (name -> label) that has several values; the rows that agree with all of them.

    A picker of the variant starts at SHIFT's recommended score, or else at the area; of N at 10.
    """
    kept = list(rows)
    for column, label in columns.items():
        values = choices(kept, column)
        if len(values) < 2:
            continue
        wanted = {"variant": (ERASURE, RECOMMENDED), "n": (HEADLINE_N,)}.get(column, ())
        start = next((values.index(w) for w in wanted if w in values), 0)
        wide = 300 if (key, column) == ("cmp", "variant") else 190
        value = st.selectbox(label, values, start, key=f"w_{key}_{column}", width=wide, format_func=named)
        kept = [r for r in kept if getattr(r, column) == value]
    return kept
