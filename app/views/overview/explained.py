"""Overview: below the pictures, how every number is computed, what the data are, and how to load your own."""

import html
from itertools import product

import numpy as np
import streamlit as st

from app import state
from app.services import fresh_matrix, ledger, scoring
from app.services.loading import Loaded
from app.views.overview.read import still_read
from app.views.overview.words import guarded
from app.widgets import provenance, trust_box
from app.widgets.token_text import plain_html
from saeeval_core.config import ERASURE_N, HEADLINE_N
from saeeval_core.evaluation.result import Erasure
from saeeval_core.scores.area import RECOMMENDED, TOP_N
from saeeval_core.scores.erasure import ERASURE
from saeeval_core.scores.uncertainty import Estimate
from saeeval_core.texts.labelled import class_sizes
from saeeval_core.texts.parts import PART_NAMES, TEST
from saeeval_core.versions import versions
from saeeval_core.wording import plural

AREA = "Average score for N = 1 to 20 (log scale), latents set to their training mean."
CHOSEN = "The recommended score, by its agreement with the truth of planted worlds (Compare, \u201cCan it be trusted?\u201d)."
_ERASURE = "Probes fitted after the ablation: what they lost of the spurious label minus what they lost of the target, as shares."
TERMS = (
    ("Quadrant", "one of the four groups of texts that the two labels make; every quadrant counts a quarter."),
    (
        "Gap",
        "how much accuracy a probe trained on balanced texts has over the biased probe: the room there is to close.",
    ),
    (
        "Leakage",
        "how well the biased probe still tells the spurious label, as distance from chance: 0 is none, .5 is all.",
    ),
    (
        "Dev and test",
        "choices are made on dev texts; Commit scores a set once on test texts, so that no choice was made on them.",
    ),
    (
        "Looks",
        "how many different dev scores of a set were seen before it was committed: the more, the luckier dev may be.",
    ),
    (
        "LEACE",
        "removes all that a linear probe can read of the label and knows the label: an upper bound, not a rival.",
    ),
    (
        "Axis with controls",
        "grey: the SAE is above it; brown: not separable; red: it is above the SAE; square: it knows the label.",
    ),
    ("Random latents", "as many other latents of the same strength: what ablating anything would give."),
    ("n/a in one direction", "the probe already follows that label, so there is no gap to close."),
)
"""Word -> what it means."""
EXAMPLES = 3


def draw(loaded: Loaded) -> None:
    """Below the pictures: every number with its definition, the data, one's own, and where everything comes from."""
    with st.expander("How is this computed? Every number, its definition and its controls"):
        left, right = st.columns(2, gap="large")
        with left:
            guarded(lambda: _shift(loaded))
        with right:
            guarded(lambda: _tpp(loaded))
        _terms()
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


def facts(loaded: Loaded) -> None:
    """What is loaded, in a line: model, SAE, texts."""
    texts, unsupervised = loaded.task_set.texts, loaded.latents.unsupervised
    e, about = html.escape, loaded.latents.about or {}
    l0, explained = unsupervised.get("l0"), unsupervised.get("explained_variance")
    kind = f"{about.get('architecture', '')}, {loaded.latents.n_latents:,} latents".strip(", ")
    sae = f"{kind}, L0 {_or_na(l0, '.0f')}, explained variance {_or_na(explained, '.2f')}; probed at {loaded.residuals.key.hook}"
    parts = (
        (loaded.config.model, loaded.residuals.note),
        (loaded.latents.sae, " ".join(filter(None, (sae, _reads(loaded))))),
        (texts.shown, f"{len(texts.texts):,} {'composed texts' if texts.composed else 'texts'}"),
    )
    line = "<span aria-hidden='true'>\u203a</span>".join(
        f"<span><b>{e(name)}</b> <span class='how'>{e(note)}</span></span>" for name, note in parts
    )
    st.html(f"<div class='facts'>{line}</div>")
    for note in loaded.latents.notes:
        st.warning(provenance.plain(f"About this SAE: {note}"), icon=":material/warning:")


def _reads(loaded: Loaded) -> str:
    """Where the SAE reads and writes, if it is not where it is probed."""
    latents = loaded.latents
    return f"reads {latents.hook}, writes {(latents.about or {}).get('writes', latents.hook)}" if latents.probed else ""


def _shift(loaded: Loaded) -> None:
    """SHIFT: what it is, the three numbers, and the table of its controls."""
    _shift_words()
    found = scoring.shift_variants(loaded, TEST)
    if found is None:
        return
    over, at_n = found.headlines(HEADLINE_N)
    read = fresh_matrix.still_overall(loaded, "shift", ERASURE_N)
    if read is not None and read.erasure is not None:
        provenance.also(f"Selective erasure E, fresh probes, top {ERASURE_N}, test", read.erasure.selective_erasure)
        provenance.how(f"{_ERASURE} {CHOSEN}")
        provenance.also("Still readable, R of the spurious label", read.erasure.recoverability)
        provenance.how("1: all of it can still be read; 0: nothing.")
    provenance.also("S_SHIFT, average over N = 1 to 20, mean ablation, test", over.score)
    provenance.how(f"{AREA} {scoring.averaged(over)}")
    provenance.also(f"The paper's S_SHIFT, top {HEADLINE_N} by attribution, zero ablation", at_n.score)
    provenance.how("1: as good as a probe trained without the spurious cue; 0: no gain; below 0: harm.")
    headlines = _headlines(over.score, at_n.score)
    if read is not None and read.erasure is not None:
        headlines.insert(0, _e_headline(ERASURE_N, read.erasure))
    trust_box.every_control(loaded, "shift", headlines)


def _tpp(loaded: Loaded) -> None:
    """The same of TPP."""
    _tpp_words()
    found = scoring.tpp_variants_of(loaded, TEST) if loaded.task_set.tpp is not None else None
    if found is None:
        return
    area, paper = (score.score for score in found.headlines(HEADLINE_N))
    provenance.also("TPP, average over N = 1 to 20, mean ablation, test", area)
    provenance.how(f"{AREA} {CHOSEN}")
    provenance.also(f"The paper's TPP, top {HEADLINE_N} per class, zero ablation", paper)
    provenance.how("Accuracy points lost by the class whose latents are ablated, minus those lost by the others.")
    headlines = _headlines(area, paper)
    if (read := _tpp_erased(loaded)) is not None:
        headlines.insert(0, _e_headline(HEADLINE_N, read))
    trust_box.every_control(loaded, "tpp", headlines)


def _headlines(area: Estimate, paper: Estimate) -> list[trust_box.Headline]:
    return [
        trust_box.Headline(RECOMMENDED, None, area, "average over N"),
        trust_box.Headline(TOP_N, HEADLINE_N, paper, f"top {HEADLINE_N}, zero"),
    ]


def _e_headline(n: int, read: Erasure) -> trust_box.Headline:
    return trust_box.Headline(ERASURE, n, read.selective_erasure, f"E, N = {n}")


def _tpp_erased(loaded: Loaded) -> Erasure | None:
    """The same of fresh probes; None while they read, or where they cannot."""
    found = still_read(loaded, "tpp", HEADLINE_N)
    if found is None:
        return None
    provenance.also(f"TPP of fresh probes, top {HEADLINE_N}", found.selective_erasure)
    provenance.also("Still readable, R of the class whose latents are ablated", found.recoverability)
    provenance.how("Probes fitted after the ablation: share of accuracy above chance lost, own class minus the others.")
    return found


def _terms() -> None:
    """What the words of the pictures mean, one sentence each."""
    st.html(
        "<div class='how'>" + "<br>".join(f"<b>{html.escape(w)}</b>: {html.escape(m)}" for w, m in TERMS) + "</div>"
    )


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
                st.markdown(f"**{provenance.plain(f'{value}, {other}')}** · {plural(len(rows), 'text')}")
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
