"""Overview: what is loaded, what came out of it, what the two scores mean, what the data are, how to load your own."""

import html
from collections.abc import Callable
from itertools import product

import numpy as np
import streamlit as st

from app import state
from app.services import fresh_matrix, ledger, scoring
from app.services.loading import Loaded
from app.widgets import provenance, trust_box
from app.widgets.token_text import plain_html
from saeeval_core.config import ERASURE_N, HEADLINE_N
from saeeval_core.errors import SaeEvalError
from saeeval_core.evaluation.erased import NOT_MEASURED
from saeeval_core.evaluation.result import Erasure
from saeeval_core.scores.area import RECOMMENDED, TOP_N
from saeeval_core.scores.erasure import ERASURE
from saeeval_core.scores.uncertainty import Estimate
from saeeval_core.texts.labelled import class_sizes
from saeeval_core.texts.parts import PART_NAMES, TEST
from saeeval_core.versions import versions

TITLE = "Overview"
ICON = ":material/home:"
AREA = "Mean height of the curve of scores over ln N, N = 1 to 20, latents set to their training mean."
CHOSEN = "The recommended score, by its agreement with the truth of planted worlds (Compare, \u201cCan it be trusted?\u201d)."
EXAMPLES = 3


def render(loaded: Loaded) -> None:
    """Headline first; everything below it explains it."""
    st.header("Which latents carry a concept, and what else do they carry?")
    _loaded(loaded)
    _headline(loaded)
    left, right = st.columns(2, gap="large")
    with left:
        _shift_words()
    with right:
        _tpp_words()
    st.subheader("Data")
    _data(loaded)
    st.subheader("Load your own")
    st.write(
        "An SAE or language model of your own: type its folder, registry entry or Hub id in the sidebar. Texts of your own: "
        "a file with one text per row and columns with labels becomes a task that is kept under a name."
    )
    _go("your_data", "Open Your data")
    with st.expander("Where everything comes from"):
        _provenance(loaded)


def _loaded(loaded: Loaded) -> None:
    texts, unsupervised = loaded.task_set.texts, loaded.latents.unsupervised
    e, about = html.escape, loaded.latents.about or {}
    l0, explained = unsupervised.get("l0"), unsupervised.get("explained_variance")
    facts = [
        ("language model", loaded.config.model, loaded.residuals.note),
        (
            "SAE",
            loaded.latents.sae,
            f"{about.get('architecture', '')}, {loaded.latents.n_latents:,} latents".strip(", "),
        ),
        ("probe hook", loaded.residuals.key.hook, _reads(loaded)),
        ("L0 / explained variance", f"{_or_na(l0, '.1f')} / {_or_na(explained, '.3f')}", "on the task's texts"),
        ("texts", f"{texts.shown}: {len(texts.texts):,}", "composed texts" if texts.composed else texts.source),
    ]
    cells = "".join(
        f"<div><div class='how'>{e(label)}</div><div style='font-weight:600;overflow-wrap:anywhere'>{e(value)}</div>"
        f"<div class='how'>{e(note)}</div></div>"
        for label, value, note in facts
    )
    st.html(
        f"<div style='display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:14px'>{cells}</div>"
    )
    for note in loaded.latents.notes:
        st.warning(provenance.plain(f"About this SAE: {note}"), icon=":material/warning:")


def _reads(loaded: Loaded) -> str:
    """Where the SAE reads and writes, if it is not where it is probed."""
    latents = loaded.latents
    return f"reads {latents.hook}, writes {(latents.about or {}).get('writes', latents.hook)}" if latents.probed else ""


def _headline(loaded: Loaded) -> None:
    left, right = st.columns(2, gap="large", border=True)
    with left:
        _guarded(lambda: _shift_headline(loaded))
    with right:
        _guarded(lambda: _tpp_headline(loaded))


def _guarded(draw: Callable[[], None]) -> None:
    """One metric that cannot be scored does not take the page with it."""
    try:
        draw()
    except SaeEvalError as error:
        provenance.problem(error)


def _shift_headline(loaded: Loaded) -> None:
    found = scoring.shift_variants(loaded, TEST)
    if found is None:
        st.write("This task defines no SHIFT pair.")
        return
    over, at_n = found.headlines(HEADLINE_N)
    area, paper = over.score, at_n.score
    read = st.container()
    provenance.also("S_SHIFT, small-N area, mean ablation, test", area)
    provenance.how(f"{AREA} {scoring.averaged(over)}")
    provenance.also(f"The paper's S_SHIFT, top {HEADLINE_N} by attribution, zero ablation", paper)
    provenance.how("1: as good as a probe trained without the spurious cue; 0: no gain; below 0: harm.")
    _controls(loaded, "shift", area, paper, ERASURE_N)
    with read:  # after the buttons: it may run the page again, which would lose their press
        _guarded(lambda: _shift_erased(loaded))
    _go("shift_lab", "Open the SHIFT lab")


def _tpp_headline(loaded: Loaded) -> None:
    if loaded.task_set.tpp is not None and not scoring.evaluation(loaded).tpp_is_live:
        st.write(
            f"Protocol {provenance.plain(loaded.protocol.name)} draws new negatives for every TPP number: saeeval run scores it."
        )
        _go("tpp_matrix", "Open the TPP matrix")
        return
    found = scoring.tpp_variants_of(loaded, TEST)
    if found is None or loaded.task_set.tpp is None:
        st.write("This task defines no TPP classes.")
        return
    area, paper = (score.score for score in found.headlines(HEADLINE_N))
    column, classes = loaded.task_set.tpp
    provenance.number("TPP, small-N area, mean ablation, test", area, f"{len(classes)} classes of {column}")
    provenance.how(f"{AREA} {CHOSEN}")
    provenance.also(f"The paper's TPP, top {HEADLINE_N} per class, zero ablation", paper)
    provenance.how("Accuracy points lost by the class whose latents are ablated, minus those lost by the others.")
    read = st.container()
    _controls(loaded, "tpp", area, paper, HEADLINE_N)
    with read:  # after the buttons: it may run the page again, which would lose their press
        _guarded(lambda: _tpp_erased(loaded))
    _go("tpp_matrix", "Open the TPP matrix")


def _controls(loaded: Loaded, metric: str, area: Estimate, paper: Estimate, n: int) -> None:
    """Of the headline scores, of E (at ``n``) too once it is known."""
    scores = [
        trust_box.Headline(RECOMMENDED, None, "area", area),
        trust_box.Headline(TOP_N, HEADLINE_N, f"top {HEADLINE_N}, zero", paper),
    ]
    found = fresh_matrix.still_overall(loaded, metric, n)
    if found is not None and found.erasure is not None:
        scores.insert(0, trust_box.Headline(ERASURE, n, f"E, N = {n}", found.erasure.selective_erasure))
    trust_box.headline(loaded, metric, scores)


def _shift_erased(loaded: Loaded) -> None:
    name = f"Selective erasure E, fresh probes, top {ERASURE_N}, test"
    found = _erased(loaded, "shift", ERASURE_N)
    if found is None:
        return
    provenance.number(name, found.selective_erasure, "")
    provenance.how(
        "Probes fitted after the ablation: what they lost of the spurious label minus what they lost of the target, as shares. "
        + CHOSEN
    )
    provenance.also("Still readable, R of the spurious label", found.recoverability)
    provenance.how("1: all of it can still be read; 0: nothing.")


def _tpp_erased(loaded: Loaded) -> None:
    found = _erased(loaded, "tpp", HEADLINE_N)
    if found is None:
        return
    provenance.also(f"TPP of fresh probes, top {HEADLINE_N}", found.selective_erasure)
    provenance.also("Still readable, R of the class whose latents are ablated", found.recoverability)
    provenance.how("Probes fitted after the ablation: share of accuracy above chance lost, own class minus the others.")


def _erased(loaded: Loaded, metric: str, n: int) -> Erasure | None:
    """What fresh probes still read of the top n; it takes seconds, so the page says that they read and goes on."""
    found = fresh_matrix.still_overall(loaded, metric, n)
    if found is None:
        _reading(loaded, metric, n)
        return None
    if found.erasure is None:
        provenance.how(f"Fresh probes: {found.problem or NOT_MEASURED}")
    elif fresh_matrix.own_controls(loaded) is None:
        _scoring(loaded)
    return found.erasure


@st.fragment(run_every=0.7)
def _reading(loaded: Loaded, metric: str, n: int) -> None:
    if fresh_matrix.still_overall(loaded, metric, n) is not None:
        st.rerun(scope="app")
    provenance.how("Fresh probes are being read.")


@st.fragment(run_every=0.7)
def _scoring(loaded: Loaded) -> None:
    if fresh_matrix.own_controls(loaded) is not None:
        st.rerun(scope="app")
    provenance.how("Controls of E are being scored.")


def _go(view: str, label: str) -> None:
    pages = st.session_state.get("pages", {})
    if view in pages and not state.presenting():
        st.page_link(pages[view], label=label, icon=":material/arrow_forward:")


def _shift_words() -> None:
    st.subheader("SHIFT")
    st.write(
        "A probe is trained on texts where the label it should learn always agrees with a spurious cue, so it learns the cue. "
        "A person or a judge reads the latents that move it and ablates those that speak of the cue. "
        "The score says how much of the way to a probe trained on balanced texts this brings the same probe, without retraining."
    )
    st.latex(r"S_\mathrm{SHIFT}=\frac{A_\mathrm{ablated}-A_\mathrm{base}}{A_\mathrm{oracle}-A_\mathrm{base}}")
    provenance.how(
        "A: accuracy on the target label, every quadrant (target x spurious) counting a quarter. Not clipped; undefined without a gap."
    )


def _tpp_words() -> None:
    st.subheader("TPP")
    st.write(
        "One probe is trained per class, and for each class the latents that argue most for it are found. "
        "Ablating one class's latents should cost that class's probe its accuracy and leave every other probe alone. "
        "The matrix of losses is the result; the score is its diagonal minus everything else."
    )
    st.latex(r"S_\mathrm{TPP}=\frac1m\sum_i\Delta_{ii}-\frac1{m(m-1)}\sum_{i\neq j}\Delta_{ij}")
    provenance.how(
        "Δ_ij = A_j − A_ij; A_j: balanced accuracy of probe j; A_ij: the same after ablating the latents of class i."
    )


def _data(loaded: Loaded) -> None:
    texts = loaded.task_set.texts
    if loaded.task_set.small:
        st.info(provenance.plain(loaded.task_set.small))
    for k, (target, spurious) in enumerate(loaded.task_set.pairs):
        with st.expander(f"SHIFT pair {provenance.plain(f'{target} x {spurious}')}", expanded=k == 0):
            t, a = texts.columns[target.column], texts.columns[spurious.column]
            for value, other in product((target.positive, target.negative), (spurious.positive, spurious.negative)):
                rows = np.flatnonzero((t == value) & (a == other))
                st.markdown(f"**{provenance.plain(f'{value}, {other}')}** · {len(rows):,} texts")
                if len(rows):
                    st.html(plain_html(texts.texts[rows[0]][:600]))
    if loaded.task_set.tpp is not None:
        column, classes = loaded.task_set.tpp
        sizes = class_sizes(texts, column)
        with st.expander(f"TPP classes: {provenance.plain(column)}", expanded=not loaded.task_set.pairs):
            st.dataframe([{"class": c, "texts": sizes.get(c, 0)} for c in classes], hide_index=True, width="content")
            for c in classes[:EXAMPLES]:
                row = next(i for i, v in enumerate(texts.columns[column]) if v == c)
                st.html(f"<b>{html.escape(c)}</b>" + plain_html(texts.texts[row][:400]))
    if texts.dropped:
        provenance.how("Left out while loading: " + ", ".join(f"{n} {why}" for why, n in texts.dropped.items()))


def _provenance(loaded: Loaded) -> None:
    parts = ", ".join(PART_NAMES[p] for p in scoring.parts(loaded))
    rows = {
        "texts": f"{loaded.task_set.texts.source}; fingerprint {loaded.task_set.texts.fingerprint}",
        "residual recording": loaded.residuals.fingerprint,
        "latent recording": loaded.latents.fingerprint,
        "SAE fingerprint": loaded.latents.sae_fingerprint,
        "SAE settings": ", ".join(
            f"{k} {v}" for k, v in (loaded.latents.about or {}).items() if not isinstance(v, dict)
        ),
        "protocol": f"{loaded.protocol.name}, seed {loaded.config.seed}, {loaded.config.resamples} resamples, scored parts: {parts}",
        "versions": ", ".join(f"{k} {v}" for k, v in versions(loaded.residuals.kernel).items()),
        "decisions": str(ledger.store().path),
    }
    body = "".join(
        f"<tr><td style='padding-right:14px'>{html.escape(k)}</td><td class='id'>{html.escape(v)}</td></tr>"
        for k, v in rows.items()
    )
    st.html(f"<table>{body}</table>")


def _or_na(value: float | None, spec: str) -> str:
    return "n/a" if value is None else format(value, spec)
