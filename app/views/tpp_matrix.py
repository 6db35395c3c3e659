"""TPP matrix: ablate one class's latents, read every probe; click a cell to see why, toggle a latent and see it move."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import streamlit as st

from app import report_page, state
from app.components import tpp
from app.deciding.class_sets import ATTRIBUTION, ClassSets, class_sets, commit, store_decisions
from app.deciding.desk import MINE
from app.figures.tpp import tpp_by_n, tpp_heatmap, tpp_small_multiples
from app.jobs import live_model
from app.payloads import matrix
from app.services import scoring, trust
from app.services.loading import Loaded
from app.widgets import beside, export, provenance
from app.widgets.rule_picker import rule_from_state, rule_popover
from saeeval_core.errors import DataError, SaeEvalError
from saeeval_core.scores.ablation import ABLATIONS
from saeeval_core.scores.tpp import TppScore
from saeeval_core.scores.tpp_cells import chosen_sets
from saeeval_core.scores.uncertainty import say
from saeeval_core.texts.parts import PART_NAMES

TITLE = "TPP matrix"
ICON = ":material/grid_on:"
MULTIPLES = (1, 2, 3, 5, 10, 20, 50, 100)


def render(loaded: Loaded) -> None:
    """The page."""
    if loaded.task_set.tpp is None:
        st.info(
            f"'{loaded.task_set.texts.name}' has no classes for TPP. Choose another task, or give classes as COLUMN=A,B,C.",
            icon=":material/info:",
        )
        return
    if loaded.protocol.redraw_negatives:
        provenance.how(
            f"Protocol {loaded.protocol.name} draws new negatives for every number (saeeval run does); what is live here scores "
            "all texts, every other class with the same weight."
        )
    _live(loaded)
    if not state.presenting():
        _below(loaded)


@st.fragment
def _live(loaded: Loaded) -> None:
    """Slider, cards, matrix and the chosen cell: the only part that runs again on a move."""
    if error := st.session_state.pop("tpp_error", None):
        st.error(provenance.plain(error), icon=":material/error:")
    if latent := st.session_state.pop("tpp_open", None):
        state.put(latent=latent)
        if "pages" in st.session_state:
            st.switch_page(st.session_state["pages"]["latents"])
    part, n = scoring.live_part(loaded), _n(loaded)
    sets = _chosen(loaded, state.get("set"))
    view = scoring.tpp_view(loaded, part)
    ids = tuple(chosen_sets(view.rankings, n, sets.decisions))
    score = matrix.scored(loaded, part, ids, _ablation())
    sets.note_look(state.who(), ids)
    ask = partial(
        matrix.payload,
        loaded,
        part=part,
        n=n,
        sets=ids,
        decisions=sets.decisions,
        cell=_cell(len(view.board.task.classes)),
        relative=state.get("scale") == "relative",
        ablation=_ablation(),
    )
    values = _read(loaded, ask) if st.session_state.get("tpp_read") else ask()
    tpp.show(
        values
        | {
            "cards": _nothing(sets, part)
            if sets.nothing
            else matrix.score_cards(score, part, _before(loaded, part, score)),
            "setNote": sets.note,
            "ack": st.session_state.get("tpp_ack", {}),
            "heard": st.session_state.get("tpp_heard", {}),
            "present": state.presenting(),
            "readonly": not sets.mine,
        },
        lambda: _moved(loaded),
    )


def _read(loaded: Loaded, ask: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """With the texts of the cell read again by the language model, so that every token is known; without, if it fails."""
    try:
        if live_model.is_ready(loaded):
            return ask(read=True)
        with st.spinner("Loading the language model and reading the texts of this cell"):
            return ask(read=True)
    except SaeEvalError as error:
        st.session_state.pop("tpp_read")
        provenance.problem(error)
        return ask()


def _moved(loaded: Loaded) -> None:
    """Apply what the component sent: latest N, cell and scale, and toggles not stored yet, in their order."""
    did: Mapping[str, Any] | None = st.session_state.get("tpp", {}).get("did")
    if not did:
        return
    client, wishes = str(did["client"]), {k: did[k] for k in ("n", "cell", "scale", "ablation") if k in did}
    state.put(**wishes)
    if did.get("read"):
        st.session_state["tpp_read"] = True
    if "open" in did:
        st.session_state["tpp_open"] = int(did["open"])
    acks = st.session_state.setdefault("tpp_ack", {})
    try:
        for step in did.get("log", ()):
            if step["seq"] > acks.get(client, 0):
                name = state.get("set")
                if name == ATTRIBUTION:  # a change needs a set of one's own to live in
                    name = MINE
                    state.put(set=name)
                sets = _chosen(loaded, name)
                store_decisions(
                    loaded, sets, int(step["row"]), {int(step["latent"]): str(step["decision"])}, state.who()
                )
                acks[client] = step["seq"]
    except SaeEvalError as error:
        st.session_state["tpp_error"] = str(error)
    st.session_state.setdefault("tpp_heard", {})[client] = did["seq"]


def _below(loaded: Loaded) -> None:
    """Sets, all N, the table and downloads: they run with the page, or on their own when opened."""
    tab_sets, tab_n, tab_trust, tab_table = st.tabs(["Sets and commit", "All N", "Trust", "Table and downloads"])
    with tab_sets:
        _sets(loaded)
    with tab_n:
        _all_n(loaded)
    with tab_trust:
        _checks(loaded)
    with tab_table:
        _table(loaded)
    st.caption(
        "How computed: Δᵢⱼ = Aⱼ − Aᵢⱼ, clean minus ablated balanced accuracy of probe j when the top-N latents of class i "
        "are set to their mean over the training texts, or to zero as in the paper, exact from pooled latents. "
        "Score: mean of the diagonal − mean of the rest. "
        "Intervals: 95 %, over resampled texts of the part shown; probes and training texts stay fixed."
    )


@st.fragment
def _sets(loaded: Loaded) -> None:
    who = state.who()
    sets = _chosen(loaded, state.get("set"))
    options = sets.options
    labels = {v: label for v, label in options}
    values = [v for v, _ in options]
    left, right = st.columns(2)
    with left:
        st.selectbox(
            "Set",
            values,
            index=values.index(sets.value),
            format_func=labels.__getitem__,
            key="w_tpp_set",
            on_change=_chosen_set,
            help="A set is what you changed on top of the ranking: latents added beyond N and latents spared within N.",
        )
        if rule_popover(st.container(), "tpp_rule") or st.session_state.pop("tpp_set_chosen", False):
            st.rerun()  # this is a fragment of its own: the matrix above must follow
        new = st.text_input("Save these changes under a new name", key="w_tpp_name", max_chars=60)
        if st.button("Save as", disabled=not new.strip() or sets.empty, key="w_tpp_save"):
            for row, decisions in enumerate(sets.decisions):
                if decisions:
                    store_decisions(loaded, _chosen(loaded, new.strip()), row, decisions, who)
            state.put(set=new.strip())
            st.rerun()
    with right:
        n = _n(loaded)
        st.markdown(
            "**Commit** freezes the latents ablated now, at the slider's N, and computes their test score once."
        )
        if st.button(
            "Commit", type="primary", key="w_tpp_commit", disabled=bool(sets.nothing), help=sets.nothing or None
        ):
            done = commit(loaded, sets, n, who, _ablation())
            st.success(f"Committed. Test score {say(done)}")
        for line in sets.commits():
            st.text(line)
    if not sets.empty:
        made = partial(export.exported, loaded, sets.label, "tpp", sets.task, sets.stored)
        export.set_buttons(made, f"tpp_{loaded.task_set.texts.name}_{sets.label}")
    classes = loaded.task_set.tpp[1] if loaded.task_set.tpp else ()

    def keep(title: str, of: str, decisions: dict[int, str]) -> None:
        if of in classes:
            store_decisions(loaded, _chosen(loaded, title), classes.index(of), decisions, who)

    export.set_import(loaded, "tpp", sets.task, keep, "tpp")


def _chosen_set() -> None:
    state.put(set=st.session_state["w_tpp_set"])
    st.session_state["tpp_set_chosen"] = True


@st.fragment
def _all_n(loaded: Loaded) -> None:
    if not st.toggle("Compute the matrix for every N (top N by attribution)", key="w_tpp_all"):
        st.caption(f"N = {', '.join(map(str, MULTIPLES))}, on one colour scale, and the score against N.")
        return
    scores, part = _scores(loaded), scoring.live_part(loaded)
    classes = scoring.tpp_view(loaded, part).board.task.classes
    how = f"{_ablation()} ablation ({PART_NAMES[part]} texts)"
    matrices = [(n, s.matrix) for n, s in scores]
    small = tpp_small_multiples(classes, matrices, title=f"TPP matrix at every N, {how}", dark=provenance.dark())
    st.plotly_chart(small, key="tpp_multiples", config={"displaylogo": False})
    rows = [(n, s.score, s.intended, s.unintended) for n, s in scores]
    curve = tpp_by_n(rows, marked=_n(loaded), title=f"TPP score against N, {how}")
    st.plotly_chart(curve, key="tpp_by_n", config={"displaylogo": False})
    table = [{"N": n, "score": say(a), "diagonal": say(b), "off-diagonal": say(c)} for n, a, b, c in rows]
    st.dataframe(table, hide_index=True, key="tpp_by_n_table")
    export.figure_buttons(lambda: small, lambda: _numbers(loaded), f"tpp_{loaded.task_set.texts.name}_all_n")


@st.fragment
def _checks(loaded: Loaded) -> None:
    """Controls and refits of the matrix as it is when pressed."""
    n, part, ablation = _n(loaded), scoring.live_part(loaded), _ablation()
    rankings = scoring.tpp_view(loaded, part).rankings

    def ids() -> matrix.Sets:
        found = tuple(chosen_sets(rankings, n, _chosen(loaded, state.get("set")).decisions))
        if not any(found):
            raise DataError("no latent of any class is ablated; choose N or toggle one first")
        return found

    beside.checks(
        "tpp",
        lambda: matrix.scored(loaded, part, ids(), ablation).score,
        lambda: trust.tpp_set_controls(loaded, part, ids(), ablation),
        lambda: trust.tpp_set_refits(loaded, part, ids(), n, ablation),
        n,
        PART_NAMES[part],
    )


@st.fragment
def _table(loaded: Loaded) -> None:
    if not st.toggle("Show the matrix as a table", key="w_tpp_table"):
        st.caption("Every cell with its interval, as a table and as files.")
        return
    n, part = _n(loaded), scoring.live_part(loaded)
    view, classes = scoring.tpp_view(loaded, part), scoring.tpp_view(loaded, part).board.task.classes
    sets = _chosen(loaded, state.get("set"))
    ids = tuple(chosen_sets(view.rankings, n, sets.decisions))
    score = matrix.scored(loaded, part, ids, _ablation())
    rows = [{"ablated": a} | {p: say(score.matrix[i][j]) for j, p in enumerate(classes)} for i, a in enumerate(classes)]
    st.dataframe(rows, hide_index=True, key="tpp_table")
    title = f"TPP matrix, {loaded.task_set.texts.name}, {loaded.latents.sae}, N = {n}, {_ablation()} ablation, {PART_NAMES[part]}"
    export.figure_buttons(
        lambda: tpp_heatmap(classes, score.matrix, title=title, n_ablated=score.n_ablated),
        lambda: _cells(n, classes, score),
        f"tpp_{loaded.task_set.texts.name}_n{n}",
    )
    st.download_button(
        "Report (HTML)",
        lambda: _report(loaded, n, ids, sets),
        f"report_tpp_{loaded.task_set.texts.name}.html",
        "text/html",
        on_click="ignore",
        key="w_tpp_report",
        icon=":material/description:",
        help="Settings, versions, figures, evidence of the latents you decided on, decision log; opens offline.",
    )


def _report(loaded: Loaded, n: int, ids: matrix.Sets, sets: ClassSets) -> str:
    """The page as it is now, as one file."""
    part = scoring.live_part(loaded)
    score, classes = matrix.scored(loaded, part, ids, _ablation()), scoring.tpp_view(loaded, part).board.task.classes
    name = f"{PART_NAMES[part]}, {_ablation()} ablation"
    heat = tpp_heatmap(classes, score.matrix, title=f"TPP matrix, N = {n}, {name}", n_ablated=score.n_ablated)
    rows = [(k, s.score, s.intended, s.unintended) for k, s in _scores(loaded)]
    curve = tpp_by_n(rows, marked=n, title=f"TPP against N, top N by attribution, {name}")
    values = (("TPP score", score.score), ("diagonal", score.intended), ("off the diagonal", score.unintended))
    config = replace(loaded.config, metrics=("tpp",), ns=(max(n, 1),))
    return report_page.view_page(
        loaded,
        [("Matrix", heat, _cells(n, classes, score)), ("Against N", curve, [])],
        title=f"TPP on {loaded.task_set.texts.name}, {loaded.latents.sae}",
        when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        headline=[(f"{k} ({name})", say(e)) for k, e in values],
        sets=sets.stored,
        command=report_page.command_line(config),
    )


def _scores(loaded: Loaded) -> list[tuple[int, TppScore]]:
    part = scoring.live_part(loaded)
    rankings = scoring.tpp_view(loaded, part).rankings
    ns = [n for n in MULTIPLES if n <= loaded.latents.n_latents]
    return [
        (n, matrix.scored(loaded, part, tuple(chosen_sets(rankings, n, [{}] * len(rankings))), _ablation())) for n in ns
    ]


def _numbers(loaded: Loaded) -> list[dict[str, Any]]:
    classes = scoring.tpp_view(loaded, scoring.live_part(loaded)).board.task.classes
    return [row for n, score in _scores(loaded) for row in _cells(n, classes, score)]


def _cells(n: int, classes: tuple[str, ...], score: TppScore) -> list[dict[str, Any]]:
    return [
        {
            "n": n,
            "ablated": a,
            "n_ablated": score.n_ablated[i],
            "probe": p,
            "value": e.value,
            "ci_low": e.ci[0] if e.ci else None,
            "ci_high": e.ci[1] if e.ci else None,
            "reason": e.reason,
        }
        for i, a in enumerate(classes)
        for j, p in enumerate(classes)
        for e in (score.matrix[i][j],)
    ]


def _chosen(loaded: Loaded, name: str) -> ClassSets:
    """The set of that name; a judge's depends on N and the rule of the link."""
    return class_sets(loaded, name, state.who(), _n(loaded), rule_from_state())


def _nothing(sets: ClassSets, part: int) -> list[dict[str, str]]:
    """In place of scores: a judge's set that keeps no latent of any class is a state, not a score of 0."""
    how = "no latent of any class passes the judge's rule, so there is nothing to score"
    return [{"label": f"TPP score ({PART_NAMES[part]})", "value": "n/a", "ci": sets.nothing, "how": how}]


def _ablation() -> str:
    return state.one_of("ablation", ABLATIONS)


def _n(loaded: Loaded) -> int:
    """The step of the slider nearest to what the link says."""
    wanted = state.number("n", 20)
    steps = [k for k in matrix.NS if k <= loaded.latents.n_latents]
    return min(steps, key=lambda k: (abs(k - wanted), k))


def _cell(m: int) -> tuple[int, int] | None:
    i, _, j = state.get("cell").partition(",")
    if i.isdigit() and j.isdigit() and int(i) < m and int(j) < m:
        return int(i), int(j)
    return None


def _before(loaded: Loaded, part: int, score: TppScore) -> TppScore | None:
    """The score shown before this one for the same SAE, texts and part; redrawing the same one keeps it."""
    kept = st.session_state.setdefault("tpp_shown", {})
    key = (loaded.latents.fingerprint, loaded.config.protocol, loaded.config.seed, part, _ablation())
    last, before = kept.get(key, (None, None))
    if last is not score:
        last, before = score, last
        kept.clear()
        kept[key] = (last, before)
    return before
