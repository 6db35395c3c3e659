"""What the tabs of Judge show to be read: raters' reasons, and the evidence of one latent."""

from collections.abc import Sequence

import streamlit as st

from app.services.evidence import blind_evidence_of, evidence_of
from app.services.loading import Loaded
from app.widgets import provenance
from app.widgets.ask_judge import retry_button
from app.widgets.token_text import plain_html, tokens_html
from saeeval_core.evidence.evidence import EvidenceContext
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.wording import head, tail

KINDS = {"llm": "LLM", "local": "offline judge (weak)", "human": "person", "imported": "imported"}
SCALE = {0: "0 nothing", 1: "1 distant", 2: "2 a few", 3: "3 about half", 4: "4 most"}
"""The rubric of the judge: how many windows or promoted tokens are about the concept."""
CONTEXTS = 5
"""Contexts shown of each group."""
AROUND = 80
"""Characters of running text shown on each side of a recorded window."""


def reasons(given: Sequence[Verdict], loaded: Loaded | None = None) -> None:
    """What each rater said and why; with ``loaded``, failures can be asked again."""
    for v in given:
        with st.container(border=True):
            head = f"{v.rater} ({KINDS.get(v.rater_kind, v.rater_kind)}{', ' + v.model if v.model else ''})"
            st.text(head if v.ok else f"{head}: no verdict, {v.status}")
            if v.ok:
                st.text(v.explanation or "no explanation")
                st.text(", ".join(f"{c} {r}/4" for c, r in v.ratings.items()) or "no ratings")
                st.html(plain_html(v.reason))
            else:
                _failure(v, loaded)
            if v.prompt:
                with st.expander("What was asked, word for word"):
                    st.html(plain_html(v.prompt))


def _failure(v: Verdict, loaded: Loaded | None) -> None:
    st.caption("This is not counted as a rating. Asking again costs only this latent: what is finished is kept.")
    if loaded is not None:
        retry_button(loaded, v)
    if v.raw:
        with st.expander("What came back"):
            st.html(plain_html(v.raw))


def evidence(loaded: Loaded, latent: int, *, blind: bool) -> None:
    """Promoted tokens and contexts of one latent; ``blind`` leaves out what tells of labels, as for a judge."""
    shown = blind_evidence_of(loaded, latent) if blind else evidence_of(loaded, latent)
    if shown.promoted:
        st.html(plain_html("promotes: " + "   ".join(t.token.strip() for t in shown.promoted)))
    for (source, heading), contexts in shown.groups().items():
        where = "texts of the task" if blind and source == loaded.task_set.texts.name else source
        st.caption(provenance.plain(f"{where}: {heading}"))
        top = max((abs(c.peak) for c in contexts), default=1.0)
        for c in contexts[:CONTEXTS]:
            st.html(context_html(c, top))
    if shown.near_misses:
        st.caption("silent on these, though the latents most like it are active")
        for c in shown.near_misses:
            st.html(context_html(c, 1.0))


def context_html(c: EvidenceContext, top: float) -> str:
    """A window with the running text around it; ``top``: the activation in full colour."""
    before, after = tail(c.before, AROUND), head(c.after, AROUND)
    text, spans, at = before + "".join(c.tokens) + after, [(0, len(before))], len(before)
    for token in c.tokens:
        spans.append((at, at + len(token)))
        at += len(token)
    return tokens_html(text, [*spans, (at, len(text))], [0.0, *c.activations, 0.0], top)
