"""The TPP matrix for every N, as a table, as files and as a report."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter

import streamlit as st

from app import report_page, state
from app.deciding.tpp_page import TppPage
from app.figures.tpp import tpp_by_n, tpp_heatmap, tpp_small_multiples
from app.services.loading import Loaded
from app.widgets import chart, export, provenance, tpp_sets
from saeeval_core.config import DEFAULT_NS
from saeeval_core.evaluation.erased import NOT_MEASURED
from saeeval_core.formats import sentences
from saeeval_core.formats.decision_sets import set_to_json
from saeeval_core.formats.report import Attachment, Told
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
    small = partial(tpp_small_multiples, page.classes, matrices, title=title)
    chart.draw(small(dark=provenance.dark()), "tpp_multiples")
    rows = [(n, s.score, s.intended, s.unintended) for n, s in scores]
    curve = tpp_by_n(rows, marked=page.n, title=f"TPP score against N, {how}")
    chart.draw(curve, "tpp_by_n")
    table = [{"N": n, "score": say(a), "diagonal": say(b), "off-diagonal": say(c)} for n, a, b, c in rows]
    st.dataframe(table, hide_index=True, key="tpp_by_n_table")
    about = _caption(page)
    export.figure_buttons(small, lambda: _numbers(page), _name(page, "all-n"), about)
    export.figure_buttons(lambda: curve, lambda: _by_n(page), _name(page, "by-n"), about)


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
        lambda: _cells(page, page.n, score, probes),
        _name(page, f"n{page.n}-{probes}-probes"),
        _caption(page),
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
    said = sentences.classes_apart(score.score, score.intended, score.unintended)
    drawn = [("Matrix", heat, _cells(page, n, score, OLD))]
    if fresh is not None:
        title = f"Matrix of fresh probes, N = {n}, {page.part_name}"
        anew = tpp_heatmap(classes, fresh.matrix, title=title, n_ablated=fresh.n_ablated, relative=True)
        drawn.append(("Matrix of fresh probes", anew, _cells(page, n, fresh, FRESH)))
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
        sets=[(c, s, page.view.effects[:, classes.index(c)]) for c, s in page.sets.stored],
        command=_command(page),
        part=page.part_name,
        told=Told([f"On {page.part_name} texts, N = {n}:", said], _files(page)),
    )


def _files(page: TppPage) -> list[Attachment]:
    """The set that the command reads; none before the first decision."""
    if not page.sets.stored:
        return []
    made = export.exported(page.loaded, page.sets.name, "tpp", page.sets.task, page.sets.stored)
    return [Attachment(f"{tpp_sets.file_name(page)}.json", set_to_json(made))]


def _scores(page: TppPage) -> list[tuple[int, TppScore]]:
    return [(n, page.ranked(n)) for n in DEFAULT_NS if n <= page.loaded.latents.n_latents]


def _numbers(page: TppPage) -> Rows:
    return [row for n, score in _scores(page) for row in _cells(page, n, score, OLD)]


def _by_n(page: TppPage) -> Rows:
    values = (("score", attrgetter("score")), ("diagonal", attrgetter("intended")), ("rest", attrgetter("unintended")))
    return [
        {"n": n, "part": page.part_name, "of": name, **export.columns("value", of(score))}
        for n, score in _scores(page)
        for name, of in values
    ]


def _name(page: TppPage, of: str) -> str:
    """Of a file: two figures never share one."""
    return export.file_name(
        "tpp", page.loaded.task_set.texts.name, page.loaded.latents.sae, page.ablation, page.part_name, of
    )


def _caption(page: TppPage) -> str:
    config = page.loaded.config
    return (
        f"{page.loaded.task_set.texts.shown}; {page.loaded.latents.sae}; {page.ablation} ablation; protocol "
        f"{config.protocol}, seed {config.seed}; {page.part_name} texts."
    )


def _cells(page: TppPage, n: int, score: TppScore, probes: str) -> Rows:
    return [
        {
            "n": n,
            "ablated": a,
            "n_ablated": score.n_ablated[i],
            "probe": p,
            "probes": probes,
            "part": page.part_name,
            **export.columns("value", e),
        }
        for i, a in enumerate(page.classes)
        for j, p in enumerate(page.classes)
        for e in (score.matrix[i][j],)
    ]
