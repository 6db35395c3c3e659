"""What the tabs of Compare share: names of metrics and variants, and pickers that start at the headline setting."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import streamlit as st

from app import state
from app.results import choices
from saeeval_core.config import HEADLINE_N
from saeeval_core.scores.area import AREA, MEAN, RECOMMENDED, TOP_N
from saeeval_core.scores.erasure import ERASURE
from saeeval_core.wording import plural

METRICS = {"shift": "SHIFT score", "tpp": "TPP score"}
VARIANTS = {
    ERASURE: "selective erasure E, fresh probes (recommended)",
    RECOMMENDED: "mean ablation, area over N = 1 to 20",
    TOP_N: "zero ablation, top N (paper)",
    AREA: "zero ablation, area over N = 1 to 20",
    MEAN: "mean ablation, top N",
}
AXES = {
    "l0": "L0 (latents active per token)",
    "training_tokens": "training tokens",
    "explained_variance": "explained variance",
    "loss_recovered": "loss recovered",
    "dead": "share of dead latents",
    "n_latents": "width (latents)",
}
_MEASURED = {AREA: "area, zero ablation", RECOMMENDED: "area, mean ablation", ERASURE: "selective erasure E"}
Row = TypeVar("Row")


WHY_NOT_READ = (
    "Selective erasure (E) and R: not measured. This result holds none, as those of earlier versions and of other tools do, "
    "and they need its SAEs: its command makes them where those are."
)


class HasFile(Protocol):
    """A row of a stored result."""

    @property
    def file(self) -> str: ...


Filed = TypeVar("Filed", bound=HasFile)


def named(value: object) -> str:
    """A metric or variant in words; anything else as it is."""
    return METRICS.get(str(value)) or VARIANTS.get(str(value)) or str(value)


def not_measured(read: bool) -> None:
    """Where E would stand: that this result has none and why; nothing where fresh probes were ``read``."""
    if not read:
        st.caption(WHY_NOT_READ)


def quantity(name: str) -> str:
    """A quantity of a stored rank agreement in words: "bios shift top-10" is "SHIFT on bios, top 10, zero ablation"."""
    task, metric, variant = next((p for m in METRICS if (p := name.partition(f" {m} "))[1]), (name, "", ""))
    if not metric:
        return AXES.get(name, name)
    top = variant.removeprefix("top-")
    said = _MEASURED.get(variant, variant if top == variant else f"top {top}, zero ablation")
    return f"{metric.strip().upper()} on {task}, {said}"


def one_file(rows: Sequence[Filed], key: str, members: Iterable[tuple[str, str]]) -> list[Filed]:
    """Rows of one file, as another one may be about other texts: first of one that has the SAE on the left, else of the
    largest. ``members``: (file, SAE) of all rows. A picker is drawn where there are several.
    """
    saes: dict[str, set[str]] = {}
    for file, sae in members:
        saes.setdefault(file, set()).add(sae)
    own = state.get("sae")
    files = sorted(saes, key=lambda f: (own not in saes[f], -len(saes[f])))
    if len(files) < 2:
        return list(rows)
    labels = {f: f"{f}: {plural(len(saes[f]), 'SAE')}" for f in files}
    file = st.selectbox("Result", files, key=f"w_{key}_file", width=230, format_func=labels.get)
    return [r for r in rows if r.file == file]


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
