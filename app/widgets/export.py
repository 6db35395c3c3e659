"""Taking things out: figures as SVG, PNG, HTML and CSV, decision sets as JSON and CSV (and back in), a whole report."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from app.components import picture
from app.deciding import set_presses
from app.figures.common import to_html
from app.figures.svg import to_svg
from app.figures.svg_marks import LIGHT
from app.services import access, ledger, uploads
from app.services.loading import Loaded
from app.widgets import pressing, provenance
from saeeval_core.errors import ArtifactError, DataError
from saeeval_core.formats.decision_sets import ExportedDecision, ExportedSet, LoggedDecision, set_to_csv, set_to_json
from saeeval_core.ledger.decisions import RESET, Decision, DecisionSet
from saeeval_core.ledger.places import Place
from saeeval_core.ledger.store import PressId
from saeeval_core.scores.uncertainty import Estimate
from saeeval_core.storage.row_csv import csv_text
from saeeval_core.wording import plural

Rows = Sequence[Mapping[str, Any]]


@st.fragment
def figure_buttons(figure: Callable[[], go.Figure], rows: Callable[[], Rows], name: str, caption: str = "") -> None:
    """Download a figure as SVG, as PNG of twice its size and as a page, and its numbers as CSV; made when pressed.

    ``name``: of the files, so it says everything that tells this figure from others (``file_name``). ``caption``: the
    settings, below the picture.
    """
    with st.container(horizontal=True):
        _pictures(lambda: to_svg(figure(), look=LIGHT, caption=caption), name)
        _file("Figure (HTML)", lambda: to_html(figure()), f"{name}.html", "text/html")
        _file("Numbers (CSV)", lambda: csv_text(rows()), f"{name}_numbers.csv", "text/csv")


@st.fragment
def picture_buttons(svg: Callable[[], str], rows: Callable[[], Rows], name: str) -> None:
    """The same of a picture that is no plotly figure: SVG, PNG and CSV."""
    with st.container(horizontal=True):
        _pictures(svg, name)
        _file("Numbers (CSV)", lambda: csv_text(rows()), f"{name}_numbers.csv", "text/csv")


def _pictures(svg: Callable[[], str], name: str) -> None:
    _file("SVG", svg, f"{name}.svg", "image/svg+xml")
    if st.button("PNG", key=f"w_png_{name}", icon=":material/image:", help="Twice the size, with its caption."):
        picture.download(svg(), f"{name}.png")


def _file(label: str, made: Callable[[], str], name: str, kind: str) -> None:
    st.download_button(label, made, name, kind, on_click="ignore", key=f"w_file_{name}", icon=":material/download:")


def exported(
    loaded: Loaded, name: str, metric: str, task: str, parts: Sequence[tuple[str, DecisionSet]]
) -> ExportedSet:
    """One set (SHIFT) or one per class (TPP: ``parts`` names each) with who decided what, when and why."""
    decisions, log, width = [], [], loaded.latents.n_latents
    for of, stored in parts:
        now = ledger.store().decisions(stored.id, width)
        history = [d for d in ledger.store().history(stored.id) if d.latent < width]
        log += [LoggedDecision(d.latent, d.new, of, d.old, d.who, d.at, d.reason, d.id, d.undoes) for d in history]
        last = {d.latent: d for d in history}
        decisions += [
            ExportedDecision(k, d, of, last[k].who, _kind(last[k]), str(last[k].at), last[k].reason)
            for k, d in sorted(now.items())
        ]
    prints = loaded.latents.sae_fingerprint, loaded.residuals.fingerprint
    own = [s for _, s in parts]
    looks = [None if s.looks_before is None else ledger.store().dev_looks(s.id) for s in own]
    known = None if None in looks else max(looks, default=0)
    owner = own[0].who if own else ""
    return ExportedSet(name, metric, task, loaded.latents.sae, *prints, tuple(decisions), owner, known, tuple(log))


def _kind(d: Decision) -> str:
    """A decision that came from a file is nobody's of here; one of a search, a ranking or a judge is nobody's at all."""
    kinds = {
        set_presses.IMPORTED: "imported",
        set_presses.SEARCHED: "search",
        set_presses.RESET_TO_TOP: "ranking",
        RESET: "judge",
    }
    return next((kind for start, kind in kinds.items() if d.reason.startswith(start)), "human")


def columns(name: str, e: Estimate) -> dict[str, object]:
    """A number and the ends of its interval, and why there is none; of "value": value, low, high, reason."""
    low, high = e.ci or (None, None)
    more = "" if name == "value" else f"{name}_"
    return {name: e.value, f"{more}low": low, f"{more}high": high, f"{more}reason": e.reason}


def file_name(*parts: str) -> str:
    """Of a download: the parts in plain letters, digits and hyphens, joined by underscores."""
    plain = ("".join(c if c.isascii() and (c.isalnum() or c == "-") else "-" for c in p.strip()) for p in parts)
    return "_".join(p.strip("-") for p in plain if p.strip("-"))


def set_buttons(made: Callable[[], ExportedSet], safe: str, why_not: str = "") -> None:
    """Download a decision set as JSON or CSV, named ``safe``; locked with the reason when there is none."""
    with st.container(horizontal=True):
        st.download_button(
            "Set (JSON)",
            lambda: set_to_json(made()),
            f"{safe}.json",
            "application/json",
            on_click="ignore",
            key=f"w_set_json_{safe}",
            disabled=bool(why_not),
            help=provenance.plain(why_not) or None,
            icon=":material/download:",
        )
        st.download_button(
            "Set (CSV)",
            lambda: set_to_csv(made()),
            f"{safe}.csv",
            "text/csv",
            on_click="ignore",
            key=f"w_set_csv_{safe}",
            disabled=bool(why_not),
            help=provenance.plain(why_not) or None,
            icon=":material/table_view:",
        )


def set_import(loaded: Loaded, task: str, places: Sequence[Place], show: Callable[[DecisionSet], None]) -> None:
    """Upload a set for these places: SHIFT's one, or one per class. Refuses another SAE's set; ``show`` opens it.

    Says how many decisions were stored, and how many were not and why.
    """
    metric = places[0].metric
    key, label = f"w_import_{metric}", "Import a decision set (JSON or CSV)"
    off = bool(access.why_not("sending files"))
    file = st.file_uploader(label, type=["json", "csv"], key=key, max_upload_size=5, disabled=off)

    def work(press: PressId) -> str:
        if file is None:
            raise DataError("choose a file first: a set exported by this tool")
        found, warnings = read_set(loaded, metric, task, file.getvalue())
        made = set_presses.import_set(ledger.store(), press, places, found)
        if made is None:
            return ""
        show(made.first)
        looks = "unknown" if found.dev_looks is None else f"{found.dev_looks}, as the file says"
        log = f"{plural(made.steps, 'step')}, as the file says" if made.steps else "unknown"
        lines = [f"{plural(made.stored, 'decision')} imported as '{made.first.name}'", *made.notes, *warnings]
        return "; ".join([*lines, f"their log before the export: {log}", f"dev looks before it: {looks}"]) + "."

    pressing.button("Import it", f"{key}_go", "import", work)
    pressing.answers(f"{key}_go")


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
