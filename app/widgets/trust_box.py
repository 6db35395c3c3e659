"""Whether a score can be trusted: its controls, intervals that vary the training texts, and a probe trained anew."""

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from app.services import fresh_matrix, trust
from app.services.loading import Loaded
from app.widgets import provenance, rivals_box
from saeeval_core.controls.about import RANDOM
from saeeval_core.controls.controls import rival_words, warnings_of
from saeeval_core.controls.refits import REFITS, RefitScore
from saeeval_core.controls.rival_results import Places, paired
from saeeval_core.errors import SaeEvalError
from saeeval_core.evaluation.result import Control, Placed
from saeeval_core.scores.erasure import ERASURE
from saeeval_core.scores.uncertainty import Estimate, difference, difference_words, say

_CSS = (
    "<style>.controls-table {border-collapse: collapse; font-size: 0.83rem; font-variant-numeric: tabular-nums; margin: 0.2rem 0;}"
    ".controls-table th, .controls-table td {text-align: left; padding: 1px 14px 1px 0; font-weight: 400; vertical-align: top;}"
    ".controls-table th {opacity: 0.72;}</style>"
)


@dataclass(frozen=True)
class Headline:
    """A headline score and where its controls stand."""

    variant: str
    n: int | None
    """None for an area."""
    label: str
    score: Estimate


def headline(loaded: Loaded, metric: str, scores: Sequence[Headline]) -> None:
    """Controls of the headline scores of one metric; a button for those that take seconds.

    E has its own in any case, once they were scored in the background.
    """
    e = [s for s in scores if s.variant == ERASURE]
    own = fresh_matrix.own_controls(loaded) if e else None
    every = _controls(loaded, metric)
    if every is None:
        if own is not None:
            _compared(loaded, e, [p for p in own.placed if p.metric == metric], own.samples)
        return
    rivals = rivals_box.rivals(loaded, metric)
    beside = [r for r in (own, rivals) if r is not None]
    found = [p for p in (*every, *(p for r in beside for p in r.placed)) if p.metric == metric]
    samples: dict[str, Places] = {}
    for name, places in (item for r in beside for item in r.samples.items()):
        samples[name] = {**samples.get(name, {}), **places}
    _compared(loaded, scores if own is not None else [s for s in scores if s not in e], found, samples)


def _controls(loaded: Loaded, metric: str) -> list[Placed] | None:
    """Stored controls; None, with the button drawn, before they were made."""
    every = trust.controls_at_hand(loaded)
    words = "Random latents, other decoders and bases, LEACE: seconds of work, once."
    if every is None and st.button("Score the controls", key=f"w_controls_{metric}", help=words):
        with st.spinner("Scoring the controls"):
            return trust.make_controls(loaded)
    return every


def _compared(
    loaded: Loaded, scores: Sequence[Headline], found: Sequence[Placed], samples: Mapping[str, Places]
) -> None:
    """Sentences and the table of one metric's controls; in pairs where there are resamples."""
    if samples:
        found = paired(found, trust.headline_scores(loaded), samples)
    columns, lines, words = [], [], []
    for s in scores:
        at = {p.control.name: p.control for p in found if (p.variant, p.n) == (s.variant, s.n)}
        columns.append((s.label, at))
        lines += [f"{s.label}: {line}" for line in warnings_of(s.score, list(at.values()))]
        # Rivals that are not scored yet are not listed: the button above offers them.
        if samples and (said := rival_words(s.score, [c for name, c in at.items() if name in (RANDOM, *samples)])):
            words.append(f"{s.label}: {said}")
    _warn(lines)
    if words:
        st.caption("Against its controls and other dictionaries, " + ". ".join(map(provenance.plain, words)) + ".")
    if names := list(dict.fromkeys(p.control.name for p in found)):
        _table(names, columns)


@dataclass(frozen=True)
class Retraining:
    """A score that trains its probe anew."""

    score: Callable[[], Estimate]
    why_not: str
    """Why there is none here; "" when there is."""


def checks(
    key: str,
    score: Callable[[], Estimate],
    controls: Callable[[], Sequence[Control]],
    refits: Callable[[], Sequence[RefitScore]],
    n: int,
    part: str,
    retraining: Retraining | None = None,
) -> None:
    """Buttons for the set on the page; each answers below when pressed."""
    with st.container(horizontal=True):
        wants_controls = st.button("Score its controls", key=f"w_{key}_controls", icon=":material/balance:")
        wants_refits = st.button(
            "Vary the training texts",
            key=f"w_{key}_refits",
            icon=":material/replay:",
            help=f"Fits the probes again on {REFITS} resamples of their training texts: a wider, more honest interval.",
        )
        wants_retraining = retraining is not None and st.button(
            "Retrain on ablated texts",
            key=f"w_{key}_retrain",
            icon=":material/model_training:",
            disabled=bool(retraining.why_not),
            help=provenance.plain(retraining.why_not)
            or "Trains a new probe on texts from which this set is removed, and scores that.",
        )
    try:
        if wants_controls:
            with st.spinner("Scoring the controls"):
                _show_controls(score(), controls())
        elif wants_refits:
            with st.spinner("Refitting the probes"):
                _show_refits(refits(), n, f"train and {part} texts")
        elif wants_retraining:
            with st.spinner("Training a new probe"):
                _show_retraining(score(), retraining.score(), part)
        else:
            st.caption("Seconds of work each. Every other interval on this page varies the scored texts only.")
    except SaeEvalError as error:
        provenance.problem(error)


def _show_retraining(score: Estimate, retrained: Estimate, part: str) -> None:
    st.text(f"This set: {say(score)}\nRetrained: {say(retrained)}")
    st.caption(
        "Retrained: S of a new probe with C_b's regularisation, trained on C_b's texts after zero ablation of this set and "
        f"scored on {part} texts ablated in the same way; 95 % interval over resampled {part} texts, training texts fixed."
    )


def _show_controls(score: Estimate, found: Sequence[Control]) -> None:
    st.text(f"This set: {say(score)}")
    lines = warnings_of(score, found)
    _warn(lines)
    if words := rival_words(score, found):
        st.caption(f"Against other dictionaries, {provenance.plain(words)}.")
    if not lines and score.value is not None:
        st.text("Above every control (references left aside).")
    _table([c.name for c in found], [("score", {c.name: c for c in found})])


def _show_refits(found: Sequence[RefitScore], n: int, level: str) -> None:
    mine, top = found
    st.text(f"This set: {say(mine.score)}\nTop {n} by attribution: {say(top.score)}")
    st.text(f"This set minus top {n}: {difference_words(difference(mine, top), level)}")
    left_out = max(mine.undefined_share, top.undefined_share)
    st.caption(
        f"95 % intervals over {level}: {REFITS} refits with C as chosen; the ranking is taken anew in each."
        + (f" S is undefined in {left_out:.0%} of them." if left_out else "")
    )


def _warn(lines: Sequence[str]) -> None:
    if lines:
        st.warning("  \n".join(map(provenance.plain, lines)), icon=":material/balance:")


def _table(names: Sequence[str], columns: Sequence[tuple[str, dict[str, Control]]]) -> None:
    head = "".join(f"<th>{html.escape(label)}</th>" for label, _ in columns)
    body = "".join(
        f'<tr><td title="{html.escape(next(own[name].about for _, own in columns if name in own))}">{html.escape(name)}</td>'
        + "".join(f"<td>{html.escape(say(own[name].score)) if name in own else ''}</td>" for _, own in columns)
        + "</tr>"
        for name in names
    )
    st.html(f"{_CSS}<table class='controls-table'><tr><th>control</th>{head}</tr>{body}</table>")
