"""Judge & agreement: what every rater said, how far they agree, where they differ, and rating blind oneself."""

import tempfile
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app import figures, services, state
from app.services import Loaded
from app.widgets import export
from app.widgets.ask_judge import ask_panel, retry_button
from app.widgets.tabs import tabs
from app.widgets.token_text import plain_html, tokens_html
from saeeval_core.config import derive_rng
from saeeval_core.errors import SaeEvalError
from saeeval_core.evidence.evidence import EvidenceContext, LatentEvidence, for_judge
from saeeval_core.judging import agreement as agree
from saeeval_core.judging.paper_labels import paper_ratings, read_paper_labels
from saeeval_core.judging.verdict import Concept, task_concepts
from saeeval_core.ledger.store import Verdict
from saeeval_core.scores.uncertainty import say

TITLE = "Judge & agreement"
ICON = ":material/balance:"
COMMAND = "saeeval judge --judge local --latents top50"
ADJUDICATED = "adjudicated"
SCALE = {0: "0 nothing", 1: "1 distant", 2: "2 a few", 3: "3 about half", 4: "4 most"}
"""The rubric of the judge: how many windows or promoted tokens are about the concept."""
QUEUE = 60
STATISTICS = {
    "exact": "same rating",
    "within_1": "within 1",
    "kappa_5": "kappa, five levels",
    "kappa_quadratic": "kappa, quadratic weights",
    "kappa_ge1": "kappa, related (≥ 1)",
    "kappa_ge2": "kappa, related (≥ 2)",
}


TABS = {
    "verdicts": "Verdicts",
    "agreement": "Agreement",
    "conflicts": "Conflicts",
    "blind": "Rate blind",
    "paper": "The paper's labels",
}


def render(loaded: Loaded) -> None:
    """Verdicts, agreement and conflicts of this SAE's raters; rating blind; the paper's own labels."""
    shown = tabs("tab", TABS)
    with shown[0]:
        ask_panel(loaded)
        _verdicts(loaded)
    with shown[1]:
        _agreement(_cells(loaded), "own")
    with shown[2]:
        _conflicts(loaded)
    with shown[3]:
        _blind(loaded)
    with shown[4]:
        _paper()


def _cells(loaded: Loaded) -> dict[str, dict[tuple[int | str, str], int]]:
    return agree.ratings_by_rater(services.verdicts(loaded))


def _empty() -> None:
    st.info(
        "No verdict on this SAE's latents for these texts yet. Ask a judge above, or let the offline judge rate the top 50:"
    )
    st.code(COMMAND, language="bash")


@st.fragment
def _verdicts(loaded: Loaded) -> None:
    every = services.verdicts(loaded)
    if not every:
        _empty()
        return
    kinds = {v.rater: v.rater_kind for v in every}
    st.dataframe(
        [
            {
                "rater": name,
                "kind": _KIND.get(kind, kind),
                "latents judged": sum(v.ok for v in every if v.rater == name),
                "no verdict": sum(not v.ok for v in every if v.rater == name),
            }
            for name, kind in kinds.items()
        ],
        hide_index=True,
        key="judge_raters",
    )
    rows = _side_by_side(every)
    st.caption(
        f"{len(rows)} latents with a verdict. Select one to read the reasons. n/v: no verdict (why is in the reasons)."
    )
    event = st.dataframe(
        rows, hide_index=True, on_select="rerun", selection_mode="single-row", key="w_judge_rows", height=420
    )
    picked = event["selection"]["rows"]
    latent = int(rows[picked[0]]["latent"]) if picked and picked[0] < len(rows) else state.number("latent", -1)
    if picked and state.number("latent", -1) != latent:
        state.put(latent=latent)
    own = [v for v in every if v.latent == latent]
    if own:
        _reasons(own, loaded)
        _evidence(loaded, latent, blind=False)
    st.download_button(
        "Verdicts (CSV)",
        lambda: export.csv_text([_flat(v) for v in every]),
        "verdicts.csv",
        "text/csv",
        on_click="ignore",
        key="w_judge_csv",
        icon=":material/table_view:",
    )


_KIND = {"llm": "LLM", "local": "offline judge (weak)", "human": "person", "imported": "imported"}


def _side_by_side(every: Sequence[Verdict]) -> list[dict[str, Any]]:
    raters = list(dict.fromkeys(v.rater for v in every))
    by_latent: dict[int, dict[str, Verdict]] = {}
    for v in every:
        by_latent.setdefault(v.latent, {})[v.rater] = v
    rows = []
    for latent, own in sorted(by_latent.items()):
        what = next((v.explanation for v in services.by_standing(own.values()) if v.ok and v.explanation), "")
        rows.append({"latent": latent, "explanation": what} | {r: _words(own.get(r)) for r in raters})
    return rows


def _words(v: Verdict | None) -> str:
    """Non-zero ratings in words; "" when the rater has not been asked."""
    if v is None:
        return ""
    if not v.ok:
        return f"n/v: {v.status}"
    if not v.ratings:
        return "explanation only"
    return ", ".join(f"{c} {r}" for c, r in v.ratings.items() if r) or "all 0"


def _reasons(verdicts: Sequence[Verdict], loaded: Loaded | None = None) -> None:
    """What each rater said and why; with ``loaded``, failures can be asked again."""
    for v in verdicts:
        with st.container(border=True):
            head = f"{v.rater} ({_KIND.get(v.rater_kind, v.rater_kind)}{', ' + v.model if v.model else ''})"
            st.text(head if v.ok else f"{head}: no verdict, {v.status}")
            if v.ok:
                st.text(v.explanation or "no explanation")
                st.text(", ".join(f"{c} {r}/4" for c, r in v.ratings.items()) or "no ratings")
                st.html(plain_html(v.reason))
            else:
                st.caption(
                    "This is not counted as a rating. Asking again costs only this latent: what is finished is kept."
                )
                if loaded is not None:
                    retry_button(loaded, v)
                if v.raw:
                    with st.expander("What came back"):
                        st.html(plain_html(v.raw))
            if v.prompt:
                with st.expander("What was asked, word for word"):
                    st.html(plain_html(v.prompt))


def _evidence(loaded: Loaded, latent: int, *, blind: bool) -> None:
    found = services.evidence(loaded, latent)
    shown = for_judge(found) if blind else found
    _tokens("promotes", shown)
    groups: Mapping[Any, Sequence[EvidenceContext]] = shown.groups()
    for (source, heading), contexts in groups.items():
        where = "texts of the task" if blind and source == loaded.task_set.texts.name else source
        st.caption(f"{where}: {heading}".replace("$", "\\$"))
        top = max((abs(c.peak) for c in contexts), default=1.0)
        for c in contexts[:5]:
            st.html(_context(c, top))


def _context(c: EvidenceContext, top: float) -> str:
    before, after = c.before[-80:], c.after[:80]
    text, spans, at = before + "".join(c.tokens) + after, [(0, len(before))], len(before)
    for token in c.tokens:
        spans.append((at, at + len(token)))
        at += len(token)
    return tokens_html(text, [*spans, (at, len(text))], [0.0, *c.activations, 0.0], top)


def _tokens(title: str, e: LatentEvidence) -> None:
    if e.promoted:
        st.html(plain_html(f"{title}: " + "   ".join(t.token.strip() for t in e.promoted)))


@st.fragment
def _agreement(cells: Mapping[str, agree.Cells], key: str) -> None:
    raters = list(cells)
    if len(raters) < 2:
        st.info(
            f"Agreement needs two raters on the same latents; there is {raters[0] if raters else 'none'}. Rate some blind, "
            "run another judge, or import ratings."
        )
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        a = st.selectbox("Rater A", raters, 0, key=f"w_agree_a_{key}", width=260)
        b = st.selectbox("Rater B", [r for r in raters if r != a], key=f"w_agree_b_{key}", width=260)
        zero = st.toggle(
            "missing ratings of B as 0", key=f"w_agree_zero_{key}", help="Only to compare with older figures."
        )
    if zero:
        cells = agree.with_missing_as_zero(cells, [b])
        st.warning(f"Missing ratings of {b} are read as 0 (never do this for a result of your own).")
    pair = agree.agreement(a, b, cells[a], cells[b])
    if not pair.n:
        st.info("These two have no latent in common.")
        return
    st.markdown(f"**n = {pair.n}** ratings on {pair.items} latents; 95 % intervals resample latents.")
    by_concept = agree.by_concept(a, b, cells[a], cells[b])
    rows = [_agreement_row("all", pair)] + [_agreement_row(c, x) for c, x in by_concept.items()]
    st.dataframe(rows, hide_index=True, key=f"agree_table_{key}")
    figure = figures.confusion_matrix(
        range(agree.LEVELS), pair.confusion.tolist(), rows=a, columns=b, title="Ratings of both, how often"
    )
    left, right = st.columns([0.55, 0.45])
    with left:
        st.plotly_chart(figure, key=f"agree_confusion_{key}", config={"displaylogo": False})
    with right:
        st.markdown("**All raters: Krippendorff's alpha**")
        for metric in ("ordinal", "interval"):
            st.text(f"{metric}: {say(agree.krippendorff(cells, metric=metric))}")
        st.caption(
            "Most ratings are 0, so chance agreement is high: read kappa and alpha, not the share of equal ratings."
        )
        table = [{"A": p.a, "B": p.b, "n": p.n, "kappa ≥ 1": say(p.kappa_ge1, 2)} for p in agree.agreements(cells)]
        st.dataframe(table, hide_index=True, key=f"agree_pairs_{key}")
    export.figure_buttons(lambda: figure, lambda: [pair.to_dict()], f"agreement_{key}")


def _agreement_row(name: str, p: agree.Agreement) -> dict[str, Any]:
    return {"concept": name, "n": p.n} | {label: say(getattr(p, s), 2) for s, label in STATISTICS.items()}


@st.fragment
def _conflicts(loaded: Loaded) -> None:
    cells = {r: c for r, c in _cells(loaded).items() if r != ADJUDICATED}
    pairs = [(a, b) for a, b in combinations(cells, 2) if set(cells[a]) & set(cells[b])]
    if not pairs:
        st.info("Conflicts appear when two raters have rated the same latents.")
        return
    pair = st.selectbox("Raters", pairs, format_func=lambda p: f"{p[0]} and {p[1]}", key="w_conflict_pair")
    side = st.segmented_control(
        "Show", ["all", "sides of 1", "sides of 2"], default="sides of 1", key="w_conflict_side"
    )
    threshold = {"sides of 1": 1, "sides of 2": 2}.get(side or "all")
    found = agree.conflicts(cells[pair[0]], cells[pair[1]], threshold=threshold)
    done = _cells(loaded).get(ADJUDICATED, {})
    st.caption(
        f"{len(found)} conflicts, the furthest apart first; {sum((c.item, c.concept) in done for c in found)} settled."
    )
    if not found:
        return
    rows = [
        {
            "latent": c.item,
            "concept": c.concept,
            pair[0]: c.a,
            pair[1]: c.b,
            "settled as": done.get((c.item, c.concept)),
        }
        for c in found
    ]
    event = st.dataframe(
        rows, hide_index=True, on_select="rerun", selection_mode="single-row", key="w_conflicts", height=260
    )
    picked = event["selection"]["rows"]
    c = found[picked[0] if picked and picked[0] < len(found) else 0]
    st.markdown(f"**Latent {c.item}**")
    st.text(f"{c.concept}: {pair[0]} says {c.a}, {pair[1]} says {c.b}")
    own = [v for v in services.verdicts(loaded) if v.latent == c.item and v.rater in pair]
    rating = st.segmented_control(
        "Settle as", list(SCALE), format_func=SCALE.__getitem__, key=f"w_settle_{c.item}_{c.concept}"
    )
    if st.button("Save", disabled=rating is None, key="w_settle_save"):
        kept = {k[1]: r for k, r in done.items() if k[0] == c.item}
        reason = f"settled by {state.who()} between {pair[0]} and {pair[1]}"
        _save(
            loaded,
            int(c.item),
            ADJUDICATED,
            kept | {c.concept: int(rating or 0)},
            own[0].explanation if own else "",
            reason,
        )
        st.rerun()
    _reasons(own)
    _evidence(loaded, int(c.item), blind=False)


@st.fragment
def _blind(loaded: Loaded) -> None:
    """Candidates in a random order of one's own: no verdict, class, effect or rank until the rating is saved."""
    who, concepts = state.who(), task_concepts(loaded.task_set)
    if who == "anonymous":
        st.info("Give your name in the sidebar first: ratings are kept under it.", icon=":material/person:")
        return
    done = {v.latent for v in services.verdicts(loaded) if v.rater == who and v.ok}
    queue = [i for i in _queue(loaded, who) if i not in done]
    st.progress(len(done) / max(1, len(done) + len(queue)), f"{len(done)} rated, {len(queue)} to go")
    just = st.session_state.get("blind_last")
    if just is not None:
        with st.expander(f"Latent {just}, rated: what the others said"):
            _reasons([v for v in services.verdicts(loaded) if v.latent == just])
    if not queue:
        st.success("You have rated every candidate.")
        return
    latent = queue[0]
    st.markdown("**What is this latent about?** Its label, rank and all verdicts are hidden until you save.")
    left, right = st.columns([0.58, 0.42])
    with left:
        _evidence(loaded, latent, blind=True)
    with right, st.form(f"blind_{latent}", border=True):
        explanation = st.text_input("One sentence", max_chars=300, key=f"w_blind_what_{latent}")
        given = {c.name: _rate(c, latent) for c in concepts}
        reason = st.text_input("Why (optional)", max_chars=500, key=f"w_blind_why_{latent}")
        if st.form_submit_button("Save and next", type="primary"):
            _save(loaded, latent, who, {c: int(r or 0) for c, r in given.items()}, explanation, reason)
            st.session_state["blind_last"] = latent
            st.rerun()


def _rate(concept: Concept, latent: int) -> int | None:
    label = concept.name + (f" ({concept.gloss})" if concept.gloss else "")
    return st.select_slider(
        label, list(SCALE), 0, format_func=SCALE.__getitem__, key=f"w_blind_{latent}_{concept.name}"
    )


@services.shared(max_entries=32)
def _queue(loaded: Loaded, who: str) -> list[int]:
    """Top candidates of every ranking, shuffled per person."""
    found: list[int] = []
    for d in services.shift_directions(loaded):
        view = services.shift_view(loaded, d.pair, d.task.target.column, services.live_part(loaded))
        found += [int(i) for i in view.attribute_ranking[: QUEUE // 4]]
    if loaded.task_set.tpp is not None:
        for ranking in services.tpp_view(loaded, services.live_part(loaded)).rankings:
            found += [int(i) for i in ranking[: QUEUE // 6]]
    unique = np.array(list(dict.fromkeys(found)), dtype=int)
    return derive_rng(0, "blind", who).permutation(unique).tolist()


def _save(loaded: Loaded, latent: int, rater: str, ratings: dict[str, int], explanation: str, reason: str) -> None:
    services.store().add_verdicts(
        [
            Verdict(
                latent,
                loaded.latents.sae_fingerprint,
                loaded.latents.sae,
                loaded.task_set.texts.name,
                rater,
                "human",
                ratings,
                explanation,
                reason,
                evidence_hash=services.evidence(loaded, latent).hash,
            )
        ]
    )


@st.fragment
def _paper() -> None:
    st.markdown(
        "The paper's authors rated 53 latents for eight concepts, a second person ten of them, and Claude 3.5 Sonnet all but one. "
        "Load their label file to see how far people and models agreed there."
    )
    file = st.file_uploader("paper_labels.json", type="json", key="w_paper", max_upload_size=20)
    if file is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "paper_labels.json"
        path.write_bytes(file.getvalue())
        try:
            cells = paper_ratings(read_paper_labels(path))
        except SaeEvalError as error:
            st.error(str(error), icon=":material/error:")
            return
    _agreement(cells, "paper")


def _flat(v: Verdict) -> dict[str, Any]:
    return {
        "latent": v.latent,
        "rater": v.rater,
        "kind": v.rater_kind,
        "model": v.model,
        "status": v.status,
        "at": v.at,
        "explanation": v.explanation,
        "reason": v.reason,
        **{f"rating: {c}": r for c, r in v.ratings.items()},
    }
