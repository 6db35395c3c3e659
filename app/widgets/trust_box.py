"""Whether a score can be trusted: its controls, intervals that vary the training texts, and a probe trained anew."""

import html
from collections.abc import Callable, Sequence
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
from saeeval_core.formats import sentences
from saeeval_core.scores.erasure import ERASURE
from saeeval_core.scores.uncertainty import Estimate, difference, difference_words, say

_CSS = (
    "<style>.controls-table {border-collapse: collapse; font-size: 0.83rem; font-variant-numeric: tabular-nums; margin: 0.2rem 0;}"
    ".controls-table th, .controls-table td {text-align: left; padding: 1px 14px 1px 0; font-weight: 400; vertical-align: top;}"
    ".controls-table th {opacity: 0.72;}</style>"
)


@dataclass(frozen=True)
class Headline:
    """A score that controls are compared with, and what it is called."""

    variant: str
    n: int | None
    """None for an area."""
    score: Estimate
    label: str


@dataclass(frozen=True)
class Beside:
    """What one metric's headline scores stand beside."""

    controls: list[Placed]
    in_pairs: frozenset[str]
    """Names of those whose differences from the SAE were taken over the same resamples."""


def button(loaded: Loaded, metric: str) -> None:
    """Scores the controls that take seconds, for all metrics; nothing where they are stored."""
    words = "Random latents, other decoders and bases, LEACE: seconds of work, once."
    if trust.controls_at_hand(loaded) is None and st.button(
        "Compare with controls", key=f"w_controls_{metric}", help=words
    ):
        with st.spinner("Scoring the controls"):
            trust.make_controls(loaded)
        st.rerun()


def beside(loaded: Loaded, metric: str, headlines: Sequence[Headline]) -> Beside:
    """Controls that are stored, E's own once they were scored in the background, and the rivals where they are stored."""
    own = fresh_matrix.own_controls(loaded) if any(h.variant == ERASURE for h in headlines) else None
    more = [r for r in (own, trust.rivals_at_hand(loaded)) if r is not None]
    every = [*(trust.controls_at_hand(loaded) or ()), *(p for r in more for p in r.placed)]
    found = [p for p in every if p.metric == metric]
    samples: dict[str, Places] = {}
    for name, places in (item for r in more for item in r.samples.items()):
        samples[name] = {**samples.get(name, {}), **places}
    return Beside(paired(found, trust.headline_scores(loaded), samples) if samples else found, frozenset(samples))


def every_control(loaded: Loaded, metric: str, headlines: Sequence[Headline]) -> None:
    """All controls of the headline scores of one metric, as a table with warnings; a button for the rivals."""
    rivals_box.rivals(loaded, metric)
    known = beside(loaded, metric, headlines)
    columns, lines, words = [], [], []
    for h in headlines:
        at = {p.control.name: p.control for p in known.controls if (p.variant, p.n) == (h.variant, h.n)}
        columns.append((h.label, at))
        lines += [f"{h.label}: {line}" for line in warnings_of(h.score, list(at.values()))]
        # Rivals that are not scored yet are not listed: the button above offers them.
        compared = [c for name, c in at.items() if name == RANDOM or name in known.in_pairs]
        if known.in_pairs and (said := rival_words(h.score, compared)):
            words.append(f"{h.label}: {said}")
    _warn(lines)
    if words:
        st.caption("Against its controls and other dictionaries, " + ". ".join(map(provenance.plain, words)) + ".")
    if names := list(dict.fromkeys(name for _, at in columns for name in at)):
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
        wants_controls = st.button("Compare with controls", key=f"w_{key}_controls", icon=":material/balance:")
        wants_refits = st.button(
            "Refit on other training texts",
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
        st.text("Above every control, apart from upper bounds, which know the label.")
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
        f"<tr><td>{html.escape(sentences.known_as(name))}<div class='how'>"
        f"{html.escape(next(own[name].about for _, own in columns if name in own))}</div></td>"
        + "".join(f"<td>{html.escape(say(own[name].score)) if name in own else ''}</td>" for _, own in columns)
        + "</tr>"
        for name in names
    )
    st.html(f"{_CSS}<table class='controls-table'><tr><th>control</th>{head}</tr>{body}</table>")
