"""The TPP matrix for every N, as a table, as files and as a report."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import streamlit as st

from app import report_page, state
from app.deciding.tpp_page import TppPage
from app.figures.tpp import tpp_by_n, tpp_heatmap, tpp_small_multiples
from app.services.loading import Loaded
from app.widgets import export, provenance, tpp_sets
from saeeval_core.config import DEFAULT_NS
from saeeval_core.evaluation.erased import NOT_MEASURED
from saeeval_core.formats.set_selection import PREFIX
from saeeval_core.scores.tpp import TppScore
from saeeval_core.scores.uncertainty import say

Rows = list[Mapping[str, object]]
OLD, FRESH = "old", "fresh"
"""Of which probes a matrix is."""


@st.fragment
def every_n(loaded: Loaded) -> None:
    """Small matrices of the top N for every N, and the score against N."""
    if not st.toggle("Compute the matrix for every N (top N by attribution)", key="w_tpp_all"):
        st.caption(f"N = {', '.join(map(str, DEFAULT_NS))}, on one colour scale, and the score against N.")
        return
    page = tpp_sets.page(loaded)
    scores, how = _scores(page), f"{page.ablation} ablation ({page.part_name} texts)"
    matrices = [(n, s.matrix) for n, s in scores]
    title = f"TPP matrix at every N, {how}"
    small = tpp_small_multiples(page.classes, matrices, title=title, dark=provenance.dark())
    st.plotly_chart(small, key="tpp_multiples", config={"displaylogo": False})
    rows = [(n, s.score, s.intended, s.unintended) for n, s in scores]
    curve = tpp_by_n(rows, marked=page.n, title=f"TPP score against N, {how}")
    st.plotly_chart(curve, key="tpp_by_n", config={"displaylogo": False})
    table = [{"N": n, "score": say(a), "diagonal": say(b), "off-diagonal": say(c)} for n, a, b, c in rows]
    st.dataframe(table, hide_index=True, key="tpp_by_n_table")
    export.figure_buttons(lambda: small, lambda: _numbers(page), f"tpp_{loaded.task_set.texts.name}_all_n")


@st.fragment
def table(loaded: Loaded) -> None:
    """Every cell with its interval; downloads of the figure, the numbers and the report."""
    if not st.toggle("Show the matrix as a table", key="w_tpp_table"):
        st.caption("Every cell with its interval, as a table and as files.")
        return
    page, name = tpp_sets.page(loaded), loaded.task_set.texts.name
    classes, (score, probes) = page.classes, _shown(page)
    rows = [{"ablated": a} | {p: say(score.matrix[i][j]) for j, p in enumerate(classes)} for i, a in enumerate(classes)]
    st.dataframe(rows, hide_index=True, key="tpp_table")
    how = f"N = {page.n}, {f'{page.ablation} ablation' if probes == OLD else 'fresh probes'}, {page.part_name}"
    title = f"TPP matrix, {name}, {loaded.latents.sae}, {how}"
    export.figure_buttons(
        lambda: tpp_heatmap(classes, score.matrix, title=title, n_ablated=score.n_ablated, relative=probes == FRESH),
        lambda: _cells(page.n, classes, score, probes),
        f"tpp_{name}_n{page.n}{'' if probes == OLD else '_fresh'}",
    )
    st.download_button(
        "Report (HTML)",
        lambda: report(page),
        f"report_tpp_{name}.html",
        "text/html",
        on_click="ignore",
        key="w_tpp_report",
        icon=":material/description:",
        help="Settings, versions, figures, evidence of the latents you decided on, decision log; opens offline.",
    )
    st.caption("The command that gives this matrix anywhere, with the set's JSON (Sets and commit) beside it:")
    st.code(_command(page), "bash", wrap_lines=True)


def _shown(page: TppPage) -> tuple[TppScore, str]:
    """The matrix that the page's toggle shows, and of which probes it is."""
    fresh = page.fresh_score if state.get("fresh") == "1" else None
    return (page.score, OLD) if fresh is None else (fresh, FRESH)


def _command(page: TppPage) -> str:
    """What gives the matrix on screen, from the set's file; before the first decision, of the ranking."""
    selection = f"{PREFIX}{tpp_sets.file_name(page)}.json" if page.sets.stored else "attribution"
    config = replace(page.loaded.config, metrics=("tpp",), ns=(max(page.n, 1),), selection=selection)
    return f"{report_page.command_line(config)} --no-controls --json result.json"


def report(page: TppPage) -> str:
    """The page as it is now, as one file."""
    loaded, score, fresh, classes, n = page.loaded, page.score, page.fresh_score, page.classes, page.n
    name = f"{page.part_name}, {page.ablation} ablation"
    heat = tpp_heatmap(classes, score.matrix, title=f"TPP matrix, N = {n}, {name}", n_ablated=score.n_ablated)
    rows = [(k, s.score, s.intended, s.unintended) for k, s in _scores(page)]
    curve = tpp_by_n(rows, marked=n, title=f"TPP against N, top N by attribution, {name}")
    values = (("TPP score", score.score), ("diagonal", score.intended), ("off the diagonal", score.unintended))
    drawn = [("Matrix", heat, _cells(n, classes, score, OLD))]
    if fresh is not None:
        title = f"Matrix of fresh probes, N = {n}, {page.part_name}"
        anew = tpp_heatmap(classes, fresh.matrix, title=title, n_ablated=fresh.n_ablated, relative=True)
        drawn.append(("Matrix of fresh probes", anew, _cells(n, classes, fresh, FRESH)))
    return report_page.view_page(
        loaded,
        [*drawn, ("Against N", curve, [])],
        title=f"TPP on {loaded.task_set.texts.shown}, {loaded.latents.sae}",
        when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        headline=[
            *((f"{k} ({name})", say(e)) for k, e in values),
            (f"TPP of fresh probes ({page.part_name})", NOT_MEASURED if fresh is None else say(fresh.score)),
            *(("committed", line) for line in page.sets.commits()),
        ],
        sets=page.sets.stored,
        command=_command(page),
        part=page.part_name,
    )


def _scores(page: TppPage) -> list[tuple[int, TppScore]]:
    return [(n, page.ranked(n)) for n in DEFAULT_NS if n <= page.loaded.latents.n_latents]


def _numbers(page: TppPage) -> Rows:
    return [row for n, score in _scores(page) for row in _cells(n, page.classes, score, OLD)]


def _cells(n: int, classes: tuple[str, ...], score: TppScore, probes: str) -> Rows:
    return [
        {
            "n": n,
            "ablated": a,
            "n_ablated": score.n_ablated[i],
            "probe": p,
            "probes": probes,
            "value": e.value,
            "ci_low": e.ci[0] if e.ci else None,
            "ci_high": e.ci[1] if e.ci else None,
            "reason": e.reason,
        }
        for i, a in enumerate(classes)
        for j, p in enumerate(classes)
        for e in (score.matrix[i][j],)
    ]
