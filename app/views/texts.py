"""My texts: up to ten of one's own, what a probe says of each before and after ablation, and which latents did it."""

from textwrap import shorten

import streamlit as st

from app import state
from app.figures.typed import before_after, waterfall
from app.jobs import live_model
from app.services import access, verdicts
from app.services.evidence import tokens_of
from app.services.loading import Loaded
from app.widgets import bulk, chart, live_steps, one_card, provenance, shift_pickers
from app.widgets.token_text import tokens_html
from app.widgets.typed_probes import TypedProbe, typed_probes
from saeeval_core.errors import SaeEvalError
from saeeval_core.evaluation.boards import Direction
from saeeval_core.evidence.live_text import TextReading
from saeeval_core.wording import plural

TITLE = "My texts"
ICON = ":material/edit_note:"
MOST_TEXTS = 10
SHOWN = 26
"""Letters of a text or an explanation beside a bar: on a phone the bars need the rest."""
STEPS = 12
"""Latents that have a step of their own in the waterfall."""
LISTED = 40
"""Latents listed by what they add to the logit."""
_READ = "readings"


def render(loaded: Loaded) -> None:
    """The box for the texts and, once they are read, what was found in them."""
    _draw(loaded, shift_pickers.linked(loaded))


@st.fragment
def _draw(loaded: Loaded, direction: Direction | None) -> None:
    if not state.presenting():
        _box(loaded)
    kept, readings = st.session_state.get(_READ, ("", []))
    if not readings or kept != loaded.latents.scored_fingerprint:
        return
    probes = typed_probes(loaded, direction)
    if not probes:
        st.info("These texts define neither a SHIFT pair nor classes, so there is no probe to ask.")
        return
    _show(loaded, direction, readings, probes)


def _box(loaded: Loaded) -> None:
    written = st.text_area(
        "Texts",
        key="w_own_text",
        height=150,
        max_chars=40_000,
        placeholder=f"Up to {MOST_TEXTS} texts, an empty line between two; the first 127 tokens of each are read.",
    )
    if not live_model.is_ready(loaded):
        st.caption(
            f"The first text loads {provenance.plain(loaded.config.model)} and the SAE into memory, which takes a while."
        )
    off = access.why_not("reading texts")
    # Without a text it is not locked: text and click may come together.
    if st.button("Read", type="primary", key="w_own_read", disabled=bool(off), help=provenance.plain(off) or None):
        texts = split_texts(written)
        if not texts:
            st.info("Type a text first.")
        elif len(texts) > MOST_TEXTS:
            st.warning(f"There are {plural(len(texts), 'text')}; at most {MOST_TEXTS} are read at once. Take some out.")
        else:
            _read(loaded, texts)


def split_texts(written: str) -> list[str]:
    """Texts that are set apart by lines without a letter on them."""
    found, lines = [], []
    for line in [*written.replace("\0", "").splitlines(), ""]:
        if line.strip():
            lines.append(line)
        elif lines:
            found.append("\n".join(lines))
            lines = []
    return found


def _read(loaded: Loaded, texts: list[str]) -> None:
    """Into the session, with the recording they belong to: another SAE's latents are other latents."""
    try:
        live_steps.get_ready(loaded)
        with st.spinner(f"Reading {plural(len(texts), 'text')} with the model and the SAE"):
            found = [live_model.read(loaded, text) for text in texts]
        st.session_state[_READ] = (loaded.latents.scored_fingerprint, found)
    except SaeEvalError as error:
        st.session_state.pop(_READ, None)
        provenance.problem(error)


def _show(
    loaded: Loaded, direction: Direction | None, readings: list[TextReading], probes: dict[str, TypedProbe]
) -> None:
    names = {k: f"{k + 1}: {' '.join(r.text.split())[:60]}" for k, r in enumerate(readings)}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        probe = probes[st.selectbox("Probe", list(probes), key="w_typed_probe", width=340)]
        chosen = st.selectbox("Text", list(names), format_func=names.get, key="w_typed_text", width=420)
    chosen = chosen if chosen in names else 0
    found = [probe.verdict(r) for r in readings]
    if any(r.truncated for r in readings):
        st.warning("A text is longer than 127 tokens; the rest of it was not read.")
    left, right = st.columns(2)
    labels = [f"{k + 1}: {shorten(r.text, SHOWN, placeholder='…')}" for k, r in enumerate(readings)]
    figure = before_after(labels, [v.before for v in found], [v.after for v in found], title=probe.name)
    with left:
        chart.with_files(figure, "typed_bars", caption=probe.what)
    changed = sum(v.changed for v in found)
    sides = f"Above 0 the probe says {probe.positive}, below {probe.negative}."
    told = f"{sides} {changed} of {plural(len(found), 'text')} change prediction. {probe.what}"
    left.caption(provenance.plain(told))
    reading = readings[chosen]
    steps = _steps(loaded, reading, probe)
    figure = waterfall(found[chosen].before, steps, title="From the logit before to the one after")
    with right:
        chart.with_files(figure, "typed_waterfall", caption=probe.what, name=names[chosen])
    right.caption("Each bar is what ablating that latent does to this text's logit. One text, so no interval.")
    _latents(loaded, direction, reading, probe)


def _steps(loaded: Loaded, reading: TextReading, probe: TypedProbe) -> list[tuple[str, float]]:
    """(latent and explanation, what ablating it takes from the logit), the smaller ones together."""
    moved = probe.by_contribution(reading, probe.ids)
    steps = [(f"{i} {shorten(_what(loaded, i), SHOWN, placeholder='…')}", v) for i, v in moved[:STEPS]]
    if rest := moved[STEPS:]:
        steps.append((plural(len(rest), "other"), sum(v for _, v in rest)))
    return steps


def _latents(loaded: Loaded, direction: Direction | None, reading: TextReading, probe: TypedProbe) -> None:
    """What every active latent adds to the logit; the chosen one is shown, and can be decided on."""
    active = probe.by_contribution(reading, list(dict.fromkeys([*probe.ids, *reading.active(probe.candidates)])))
    rows = [
        {"latent": i, "ablated": i in probe.ids, "takes from the logit": v, "explanation": _what(loaded, i)}
        for i, v in active[:LISTED]
    ]
    left, right = st.columns([0.46, 0.54])
    with left:
        st.caption("Latents by what ablating them takes from this text's logit. Select one to read it and to decide.")
        event = st.dataframe(
            rows,
            hide_index=True,
            on_select="rerun",
            selection_mode="single-row",
            column_config={"takes from the logit": st.column_config.NumberColumn(format="%.3f")},
            key=f"w_typed_rows_{probe.place}_{len(rows)}",
        )
    picked = [r for r in event["selection"]["rows"] if r < len(rows)]
    if not picked:
        return
    latent = int(rows[picked[0]]["latent"])
    with left:
        values = reading.activations[:, latent].tolist()
        st.html(tokens_html(reading.text, reading.spans, values))
        st.caption("Where it is active in the text. A decision puts it into the queue of the lab.")
        bulk.bar(loaded, direction, probe.place, [latent], f"latent {latent}")
    with right:
        one_card.draw(loaded, latent, "typed_card")


def _what(loaded: Loaded, latent: int) -> str:
    return verdicts.latents_named(loaded).get(latent, ("", ""))[0] or tokens_of(loaded, latent)
