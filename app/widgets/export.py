"""Taking things out: figures as HTML and CSV, decision sets as JSON and CSV (and back in), a whole report."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from app.figures.common import to_html
from app.services import ledger, uploads
from app.services.loading import Loaded
from app.widgets import provenance
from saeeval_core.errors import ArtifactError, SaeEvalError
from saeeval_core.formats.decision_sets import ExportedDecision, ExportedSet, set_to_csv, set_to_json
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.storage.row_csv import csv_text

Rows = Sequence[Mapping[str, Any]]


def figure_buttons(figure: Callable[[], go.Figure], rows: Callable[[], Rows], name: str) -> None:
    """Download a figure as an interactive page that opens offline, and its numbers as CSV; made only when pressed."""
    with st.container(horizontal=True):
        st.download_button(
            "Figure (HTML)",
            lambda: to_html(figure()),
            f"{name}.html",
            "text/html",
            on_click="ignore",
            key=f"w_html_{name}",
            icon=":material/download:",
        )
        st.download_button(
            "Numbers (CSV)",
            lambda: csv_text(rows()),
            f"{name}.csv",
            "text/csv",
            on_click="ignore",
            key=f"w_csv_{name}",
            icon=":material/table_view:",
        )


def exported(
    loaded: Loaded, name: str, metric: str, task: str, parts: Sequence[tuple[str, DecisionSet]]
) -> ExportedSet:
    """One set (SHIFT) or one per class (TPP: ``parts`` names each) with who decided what, when and why."""
    decisions = []
    for of, stored in parts:
        now = ledger.store().decisions(stored.id)
        last = {d.latent: d for d in ledger.store().history(stored.id)}
        decisions += [
            ExportedDecision(k, d, of, last[k].who, "human", str(last[k].at), last[k].reason)
            for k, d in sorted(now.items())
        ]
    prints = loaded.latents.sae_fingerprint, loaded.residuals.fingerprint
    return ExportedSet(name, metric, task, loaded.latents.sae, *prints, tuple(decisions))


def set_buttons(made: Callable[[], ExportedSet], name: str) -> None:
    """Download a decision set as JSON or CSV."""
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
    with st.container(horizontal=True):
        st.download_button(
            "Set (JSON)",
            lambda: set_to_json(made()),
            f"{safe}.json",
            "application/json",
            on_click="ignore",
            key=f"w_set_json_{safe}",
            icon=":material/download:",
        )
        st.download_button(
            "Set (CSV)",
            lambda: set_to_csv(made()),
            f"{safe}.csv",
            "text/csv",
            on_click="ignore",
            key=f"w_set_csv_{safe}",
            icon=":material/table_view:",
        )


def set_import(
    loaded: Loaded, metric: str, task: str, keep: Callable[[str, str, dict[int, str]], None], key: str
) -> None:
    """Upload a set; ``keep(name, of, decisions)`` stores each part. Says what was checked, refuses another SAE's set."""
    label = "Import a decision set (JSON or CSV)"
    file = st.file_uploader(label, type=["json", "csv"], key=f"w_import_{key}", max_upload_size=5)
    if file is None or not st.button("Import it", key=f"w_import_go_{key}"):
        return
    try:
        found, warnings = read_set(loaded, metric, task, file.getvalue())
    except SaeEvalError as error:
        provenance.problem(error)
        return
    by_part: dict[str, dict[int, str]] = {}
    for d in found.decisions:
        by_part.setdefault(d.of, {})[d.latent] = d.decision
    name = f"{found.name or 'imported'} (imported)"
    for of, decisions in by_part.items():
        keep(name, of, decisions)
    for warning in warnings:
        st.warning(provenance.plain(warning))
    st.success(f"{len(found.decisions)} decisions imported as '{provenance.plain(name)}'.")


def read_set(loaded: Loaded, metric: str, task: str, blob: bytes) -> tuple[ExportedSet, list[str]]:
    """The set in an uploaded file, checked against what is loaded; ArtifactError in one line."""
    prints = loaded.latents.sae_fingerprint, loaded.residuals.fingerprint
    found, warnings = uploads.read_set(blob, loaded.latents.n_latents, prints)
    if found.metric != metric:
        raise ArtifactError(
            f"the set is for {found.metric.upper()}, this view is for {metric.upper()}; use the other view"
        )
    if found.task != task:
        warnings.append(f"the set was made for '{found.task}', this is '{task}'")
    return found, warnings
