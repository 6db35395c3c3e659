"""Overview: the latents that carry it, each with one context, its effect, and what a judge says of it."""

import html
from collections.abc import Sequence

import streamlit as st

from app.figures.pictures import framed
from app.payloads.queue import Row, queue_rows
from app.services import scoring
from app.services.evidence import evidence_of
from app.services.loading import Loaded
from app.views.overview.pair import shown_direction
from app.views.overview.words import title
from app.widgets import provenance
from app.widgets.figure_link import linked
from app.widgets.token_text import marked
from saeeval_core.evidence.evidence import EvidenceContext

CARDS = 6
_BEFORE, _AFTER = 8, 8
"""Tokens shown around the strongest one."""


def draw(loaded: Loaded) -> None:
    """Six cards in one row, where the page has room; nothing for a task without a pair."""
    if not scoring.shift_directions(loaded):
        return
    direction = shown_direction(loaded)
    target, spurious = direction.task.target.column, direction.task.spurious.column
    title(f"Latents that carry {spurious}")
    view = scoring.shift_view(loaded, direction.pair, target, scoring.live_part(loaded))
    rows = queue_rows(loaded, view, "attribute", ())[0][:CARDS]
    top = max((abs(r.effect) for r in rows), default=1.0) or 1.0
    with st.container(key="ov_latents"):
        for row in rows:
            values = {"pair": direction.pair, "target": target, "latent": row.latent}
            linked(
                f"latent_{row.latent}",
                _card(loaded, row, top),
                f"Open latent {row.latent} in the lab",
                "shift_lab",
                **values,
            )


def _card(loaded: Loaded, row: Row, top: float) -> str:
    bar = f"<div class='track gain'><i style='width:{100 * abs(row.effect) / top:.0f}%'></i></div>"
    dots = "" if row.spurious is None else "\u25cf" * row.spurious + "\u25cb" * (4 - row.spurious)
    body = (
        f"<div class='row'><b>{row.latent}</b><span class='how'>effect {row.effect:+.2f}</span></div>{bar}"
        f"<div class='clamp two'>{html.escape(row.explanation or 'no explanation yet')}</div>"
        f"<div class='how'>{html.escape(row.ratings or 'not rated')} <span aria-hidden='true'>{dots}</span></div>"
        f"<div class='clamp three'>{_context(_strongest(evidence_of(loaded, row.latent).contexts, loaded.task_set.texts.name))}</div>"
    )
    return framed(f"<div class='latent'>{body}</div>", f"latent {row.latent}", provenance.dark())


def _strongest(contexts: Sequence[EvidenceContext], source: str) -> EvidenceContext | None:
    """The strongest context of the task's own texts, or else of any."""
    own = [c for c in contexts if c.source == source] or list(contexts)
    return max(own, key=lambda c: abs(c.peak), default=None)


def _context(found: EvidenceContext | None) -> str:
    """Its strongest token with a few around it."""
    if found is None:
        return "<span class='how'>no context recorded</span>"
    at = max(range(len(found.activations)), key=lambda i: abs(found.activations[i]))
    a, b = whole_words(found, at)
    cut = bool(a or found.before), bool(b < len(found.tokens) or found.after)
    return marked(found.tokens[a:b], found.activations[a:b], abs(found.peak), cut=cut)


def whole_words(found: EvidenceContext, at: int) -> tuple[int, int]:
    """First and last token, that one left out, shown around token ``at``: each begins a word, where words have spaces."""
    after = (*found.tokens, found.after or " ")  # where the text ends, a word ends
    starts = [k for k, token in enumerate(after) if token[:1].isspace() or (k == 0 and not found.before)]
    a, b = max(0, at - _BEFORE), min(len(found.tokens), at + _AFTER + 1)
    return next((k for k in starts if a <= k <= at), a), next((k for k in reversed(starts) if at < k <= b), b)
