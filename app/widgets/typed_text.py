"""A text typed by a person: what every probe says of it before and after ablation, and which candidate latents fire."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from app import state
from app.deciding.desk import shift_place
from app.jobs import live_model
from app.services import access, ledger, scoring, verdicts
from app.services.evidence import tokens_of
from app.services.loading import Loaded
from app.widgets import live_steps, provenance, shift_pickers, shift_sets, tpp_sets
from app.widgets.token_text import tokens_html
from saeeval_core.errors import SaeEvalError
from saeeval_core.evaluation.boards import Direction
from saeeval_core.evidence.live_text import TextReading, TextVerdict, probe_verdict
from saeeval_core.ledger.places import find_set

CANDIDATES = 100
"""Latents of each ranking that are looked for in a typed text."""
LINES = 12
"""Latents whose tokens are shown one by one."""


@dataclass(frozen=True)
class Read:
    """What the probes of one metric say of a text."""

    verdicts: list[TextVerdict]
    candidates: list[int]
    """The first latents of their rankings."""


@st.fragment
def draw(loaded: Loaded, direction: Direction | None) -> None:
    """The box for the text and, once it is read, what was found in it."""
    text = st.text_area(
        "Text",
        key="w_own_text",
        height=110,
        max_chars=4000,
        placeholder="Type or paste a text; the first 127 tokens are read.",
    )
    if not live_model.is_ready(loaded):
        st.caption(
            f"The first text loads {provenance.plain(loaded.config.model)} and the SAE into memory, which takes a while. "
            "Everything else on this page works without them."
        )
    off = access.why_not("reading texts")
    # Without a text it is not locked: text and click may come together.
    if st.button("Read it", type="primary", key="w_own_read", disabled=bool(off), help=provenance.plain(off) or None):
        if text.strip():
            _read(loaded, text.replace("\0", ""))
        else:
            st.info("Type a text first.")
    kept, reading = st.session_state.get("reading", ("", None))
    if reading is not None and kept == loaded.latents.scored_fingerprint:
        _show(loaded, direction, reading)


def _read(loaded: Loaded, text: str) -> None:
    """Into the session, with the recording it belongs to: another SAE's latents are other latents."""
    try:
        live_steps.get_ready(loaded)
        with st.spinner("Reading the text with the model and the SAE"):
            st.session_state["reading"] = (loaded.latents.scored_fingerprint, live_model.read(loaded, text))
    except SaeEvalError as error:
        st.session_state.pop("reading", None)
        provenance.problem(error)


def _show(loaded: Loaded, direction: Direction | None, reading: TextReading) -> None:
    found = [] if direction is None else [_shift(loaded, direction, reading)]
    found += [] if loaded.task_set.tpp is None else [_tpp(loaded, reading)]
    if reading.truncated:
        st.warning("The text is longer than 127 tokens; the rest was not read.")
    rows = [
        {
            "probe": v.probe,
            "before": f"{v.says(v.before)} ({v.before:+.2f})",
            "after ablation": f"{v.says(v.after)} ({v.after:+.2f})",
            "changed": "yes" if v.changed else "no",
        }
        for own in found
        for v in own.verdicts
    ]
    st.dataframe(rows, hide_index=True, key="own_verdicts")
    st.caption(
        "Predicted label and logit, one text, so no interval. After: the latents of the current sets are set to zero."
    )
    _firing(loaded, reading, list(dict.fromkeys(i for own in found for i in own.candidates)))


def _firing(loaded: Loaded, reading: TextReading, candidates: Sequence[int]) -> None:
    """The text once with all candidates that fire, then once for each of the strongest."""
    active = reading.active(candidates)
    if not active:
        st.info("None of the candidate latents fires on this text.", icon=":material/info:")
        return
    top = float(abs(reading.activations[:, active]).max())
    total = abs(reading.activations[:, active]).max(1)
    st.markdown(
        f"**{len(active)} of {len(candidates)} candidate latents fire.** All at once, coloured by the strongest:"
    )
    st.html(tokens_html(reading.text, reading.spans, total.tolist(), top))
    names = verdicts.latents_named(loaded)
    for latent in active[:LINES]:
        what = names.get(latent, ("", ""))[0] or tokens_of(loaded, latent)
        st.text(f"latent {latent}  {what}")
        st.html(tokens_html(reading.text, reading.spans, reading.activations[:, latent].tolist(), top))
    if len(active) > LINES:
        st.caption(f"{len(active) - LINES} weaker ones are not listed.")


def _shift(loaded: Loaded, direction: Direction, reading: TextReading) -> Read:
    """The three probes of a direction, with the person's set ablated, or the top N where there is none yet."""
    task, who = direction.task, state.who()
    view = scoring.shift_view(loaded, direction.pair, task.target.column, scoring.live_part(loaded))
    stored = find_set(ledger.store(), shift_place(loaded, direction), who, shift_sets.choice(loaded, direction, who))
    own = ledger.store().ablated(stored.id, loaded.latents.n_latents) if stored else []
    ids = own or [int(i) for i in view.attribute_ranking[: shift_pickers.n(loaded)]]
    label = f"your {len(ids)} latents" if own else f"top {len(ids)}"
    probes = view.board.probes
    found = [
        probe_verdict(
            reading,
            probe,
            loaded.latents.decoder,
            ids,
            name=f"SHIFT {name} ({label} ablated)",
            positive=c.positive,
            negative=c.negative,
        )
        for name, probe, c in (
            ("C_b, biased", probes.base, task.target),
            ("oracle", probes.oracle, task.target),
            ("attribute", probes.attribute, task.spurious),
        )
    ]
    return Read(found, [int(i) for i in view.attribute_ranking[:CANDIDATES]])


def _tpp(loaded: Loaded, reading: TextReading) -> Read:
    """Every class's probe, with its own latents of the current set ablated."""
    page, found, candidates = tpp_sets.page(loaded), [], []
    board, rankings = page.view.board, page.view.rankings
    for c, probe, ids, ranking in zip(board.task.classes, board.probes, page.ids, rankings, strict=True):
        title = f"TPP {c} ({len(ids)} own latents ablated)"
        found.append(
            probe_verdict(reading, probe, loaded.latents.decoder, ids, name=title, positive=c, negative=f"not {c}")
        )
        candidates += [int(i) for i in ranking[:CANDIDATES]]
    return Read(found, candidates)
