"""Compare, fourth tab: do the scores follow the truth where it is known, and what did earlier settings do to them?"""

from collections.abc import Sequence
from dataclasses import asdict

import streamlit as st

from app.figures.compared import forest_with_parts, settings_forest
from app.figures.planted import Dot, WorldPanel, truth_scatter
from app.results import HELD_OUT, OTHER_WORLDS, Json, Planted, PlantedScore, Results
from app.views.compare.words import METRICS, named
from app.widgets import chart, export, provenance
from saeeval_core.scores.uncertainty import say

_AGREES = "Spearman with truth"
_FAULT_COLUMNS = {
    "spearman": _AGREES,
    "oracle_rank": "oracle rank",
    "random_score": "random decoder",
    "permuted_score": "permuted decoder",
    "sd_texts_fixed": "sd over seeds, texts fixed",
    "sd_texts_redrawn": "sd over seeds, texts redrawn",
}

_EMPTY = (
    "No number, or a setting that is not listed: not measured. E on planted worlds is that of the validation above. "
    f"\u201cplanted, seen\u201d: {OTHER_WORLDS['seen']}."
)


@st.fragment
def draw(found: Results) -> None:
    """Validation on planted truth, then one setting switched at a time."""
    if not found.planted and not found.faults:
        st.info("No validation on planted truth is stored. This command makes it:")
        st.code("saeeval validate --json assets/results/planted.json", language="bash")
        return
    for k, content in enumerate(found.planted):
        _planted(content, k)
    if found.faults:
        _faults(found.faults)


def _planted(content: Planted, k: int) -> None:
    st.markdown(
        "**Planted truth**: worlds in which the concepts are known latents, so the right order of SAEs is known. "
        "A score that can be trusted orders SAEs as the truth does: Spearman near 1, in every world. "
        "Held-out worlds: no choice was made on them."
    )
    held_out = [r for r in content.scores if r.worlds == HELD_OUT]
    _agreement(held_out, f"cmp_planted_{k}")
    _scatter(held_out, f"cmp_planted_{k}")
    for line in content.verdict[-1:]:
        st.caption(provenance.plain(line))
    for worlds, words in OTHER_WORLDS.items():
        if own := [r for r in content.scores if r.worlds == worlds]:
            with st.expander(f"The same in {provenance.plain(words)}"):
                _agreement(own, f"cmp_planted_{k}_{worlds}")


def _agreement(scores: Sequence[PlantedScore], key: str) -> None:
    """Dots with intervals, one per score and setting, with each world's own behind it; the numbers folded below."""
    rows = [(f"{METRICS[r.metric]}, {r.protocol}, {r.headline or 'score'}", r.spearman, r.by_world) for r in scores]
    if not rows:
        return
    figure = forest_with_parts(
        rows, title="Does the score order SAEs as the truth does?", x="Spearman with the truth", parts="one world each"
    )
    chart.with_files(figure, f"{key}_figure", name=scores[0].worlds)
    with st.expander(
        "Numbers: where the true SAE ranks (1 is best), and what random and permuted decoders score (0 is right)"
    ):
        _numbers(scores, key)


def _scatter(scores: Sequence[PlantedScore], key: str) -> None:
    """Score against truth for the headline score of every protocol, one small plot per world."""
    first: dict[tuple[str, str], PlantedScore] = {}
    for r in scores:
        if r.points:
            first.setdefault((r.metric, r.protocol), r)
    if not first:
        return
    metrics = list(dict.fromkeys(metric for metric, _ in first))
    wanted = st.segmented_control(
        "Score against truth", metrics, default=metrics[0], format_func=METRICS.__getitem__, key=f"w_{key}_metric"
    )
    own = [r for (metric, _), r in first.items() if metric == (wanted or metrics[0])]
    title = f"{METRICS[own[0].metric]} against truth, held-out worlds; in each row one protocol, in each plot one world"
    figure = truth_scatter([(r.protocol, _panels(r)) for r in own], title=title)
    chart.draw(figure, f"{key}_scatter")
    scored = "; ".join(f"{r.protocol}: {r.headline}" for r in own)
    caption = f"Right: how well an SAE's latents match the true ones; up: {scored}. A score to be trusted climbs to the true dictionary."
    st.caption(provenance.plain(caption))
    rows = [
        {"metric": r.metric, "protocol": r.protocol, "score of": r.headline, **asdict(p)} for r in own for p in r.points
    ]
    name = export.file_name("score_against_truth", key, own[0].metric)
    export.figure_buttons(lambda: figure, lambda: rows, name, caption)


def _panels(r: PlantedScore) -> list[WorldPanel]:
    return [
        WorldPanel(world, rho, [Dot(p.sae, p.role, p.truth, p.score) for p in r.points if p.world == world])
        for world, rho in r.by_world
    ]


def _numbers(scores: Sequence[PlantedScore], key: str) -> None:
    table = [
        {
            "metric": METRICS[r.metric],
            "protocol": r.protocol,
            "score": r.headline,
            "Spearman": say(r.spearman, 2),
            "SAEs": r.n_saes,
            "oracle first": r.oracle_first,
            "oracle rank": r.oracle_rank,
            "random": r.random_score,
            "permuted": r.permuted_score,
            "trend with training": r.trend_with_training,
        }
        for r in scores
    ]
    st.dataframe(table, hide_index=True, key=key)


def _faults(rows: Sequence[Json]) -> None:
    """One setting switched at a time: on texts the score and its controls, on planted worlds the agreement with truth."""
    st.markdown("**Why old settings fail**: one setting switched at a time.")
    with st.container(horizontal=True):
        for key, label in (("where", "Texts or worlds"), ("metric", "Score")):
            values = list(dict.fromkeys(r[key] for r in rows if key in r))
            if len(values) > 1:
                value = st.selectbox(label, values, key=f"w_faults_{key}", width=230, format_func=named)
                rows = [r for r in rows if r.get(key) == value]
    _settings(rows)
    table: dict[str, dict[str, object]] = {}
    for r in rows:
        line = table.setdefault(r["setting"], {"setting": r["setting"]})
        if r.get("score") is not None:
            line[r["sae"]] = r["score"]
        line |= {title: r[key] for key, title in _FAULT_COLUMNS.items() if r.get(key) is not None}
    with st.expander("Numbers"):
        st.dataframe(list(table.values()), hide_index=True, key="cmp_faults")
        st.caption(provenance.plain(_EMPTY))


def _settings(rows: Sequence[Json]) -> None:
    """The score of every SAE and control under each setting or, on planted worlds, the agreement with truth."""
    scored = [(str(r["setting"]), str(r["sae"]), float(r["score"])) for r in rows if r.get("score") is not None]
    agree = [(str(r["setting"]), _AGREES, float(r["spearman"])) for r in rows if r.get("spearman") is not None]
    drawn, x = (agree, _AGREES) if agree else (scored, "score")
    if drawn:
        title = "One setting switched at a time; dashed: the baseline of the first"
        figure = settings_forest(drawn, title=title, x=x, baseline=drawn[0][0])
        chart.with_files(
            figure, "cmp_faults_figure", name=" ".join(str(rows[0].get(k, "")) for k in ("where", "metric"))
        )
