"""Compare SAEs: stored sweeps with intervals, published files beside ours, and two choices on one recording, paired."""

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import streamlit as st

from app import figures, results, services, state
from app.deciding.class_sets import class_sets
from app.deciding.desk import find_set, shift_place
from app.results import Results, Row, choices
from app.services import Loaded
from app.widgets import export
from app.widgets.tabs import tabs
from saeeval_core.config import HEADLINE_N
from saeeval_core.errors import SaeEvalError
from saeeval_core.formats.saebench_files import rows_of
from saeeval_core.saes.registry import list_bundled
from saeeval_core.scores.area import AREA, MEAN, RECOMMENDED
from saeeval_core.scores.tpp_cells import chosen_sets, difference, row_difference
from saeeval_core.scores.uncertainty import LEVEL, Estimate, say, separable
from saeeval_core.texts.tasks import DEV

TITLE = "Compare SAEs"
ICON = ":material/compare_arrows:"
AXES = {
    "l0": "L0 (latents active per token)",
    "training_tokens": "training tokens",
    "explained_variance": "explained variance",
    "loss_recovered": "loss recovered",
    "dead": "share of dead latents",
    "n_latents": "width (latents)",
}
LOGGED = ("l0", "training_tokens", "n_latents")
METRICS = {"shift": "SHIFT score", "tpp": "TPP score"}
VARIANTS = {
    RECOMMENDED: "mean ablation, area over N = 1 to 20 (recommended)",
    "top-N": "zero ablation, top N (paper)",
    AREA: "zero ablation, area over N = 1 to 20",
    MEAN: "mean ablation, top N",
}
PAPER = {"shift": "S_SHIFT, zero ablation (paper)", "tpp": "S_TPP, zero ablation (paper)"}
EQUATION = r"$\text{area} = \frac{1}{\ln 20}\int_{N=1}^{20} S(N)\, d\ln N$"
CONFIG = {"displaylogo": False}
TABS = {
    "sweep": "Sweep",
    "differences": "Differences",
    "ranks": "Ranks",
    "trust": "Can it be trusted?",
    "paired": "Two choices, paired",
}


def render(loaded: Loaded) -> None:
    """Stored results first, then two choices on what is loaded."""
    found = results.stored()
    for problem in found.problems:
        st.warning(problem)
    rows = [*found.rows, *st.session_state.get("compare_own", [])]
    shown = tabs("compare_tab", TABS)
    with shown[0]:
        _sweep(rows, found)
    with shown[1]:
        _differences(found)
    with shown[2]:
        _ranks(found)
    with shown[3]:
        _trust(found)
    with shown[4]:
        _paired(loaded)


@st.fragment
def _sweep(rows: list[Row], found: Results) -> None:
    if not state.presenting():
        _upload()
    usable = [r for r in rows if r["status"] == "ok" and r["part"] == "test"]
    if not usable:
        st.info(
            "No sweep has been stored yet. This command makes one (many SAEs, one pass of the language model per hook):"
        )
        st.code(results.COMMAND, language="bash")
        _failed(rows)
        return
    chosen = _choose(usable)
    x = st.selectbox("Against", list(AXES), format_func=AXES.__getitem__, key="w_cmp_x", width=280)
    chosen = _checkpoints(chosen, x)
    shown = [r for r in chosen if r["role"] != "control" and r["value"] is not None and r.get(x) is not None]
    if not shown:
        missing = sum(r["value"] is not None and r["role"] != "control" for r in chosen)
        st.info(
            f"None of these scores can be drawn against {AXES[x]}: {missing} have no such value. Choose another axis."
        )
    else:
        first = shown[0]
        n = "" if first["n"] is None else f", N = {first['n']}"
        title = f"{METRICS[first['metric']]} on {first['task']}, {first['variant']}{n}, test texts"
        figure = figures.sweep_scatter(
            _one_line_per_control(chosen),
            x=x,
            x_title=AXES[x],
            y_title=METRICS[first["metric"]],
            title=title,
            log_x=x in LOGGED,
        )
        st.plotly_chart(figure, key="cmp_scatter", config=CONFIG)
        st.caption(
            f"Bars: 95 % interval over {LEVEL}; published SAEBench files carry none. Dotted lines: controls, the mean over SAEs "
            "where each has its own."
        )
        _how(first)
        export.figure_buttons(lambda: figure, lambda: chosen, "compare")
    _numbers(chosen, x, usable)
    _failed(rows)
    for name, command in found.made_by.items():
        st.caption(f"{name} was made by:")
        st.code(command, language="bash")


def _choose(rows: list[Row]) -> list[Row]:
    """Narrow down to one file (another one may be about other texts), metric, task, protocol, selection, variant and N."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for key, label in (
            ("file", "Result"),
            ("metric", "Metric"),
            ("task", "Task"),
            ("protocol", "Protocol"),
            ("selection", "Selection"),
            ("variant", "Variant"),
            ("scope", "Scope"),
            ("n", "N"),
        ):
            values = choices(rows, key) if key != "file" else _largest_first(rows)
            if len(values) > 1:
                value = st.selectbox(
                    label,
                    values,
                    _start(key, values),
                    key=f"w_cmp_{key}",
                    width=300 if key == "variant" else 190,
                    format_func=_say,
                )
                rows = [r for r in rows if (r.get(key) or "" if key == "file" else r[key]) == value]
    return rows


def _largest_first(rows: list[Row]) -> list[str]:
    """Files by falling number of SAEs in them."""
    saes = Counter(
        file for file, _, role in {(r.get("file") or "", r["sae"], r["role"]) for r in rows} if role == "sae"
    )
    return [file for file, _ in saes.most_common()]


def _start(key: str, values: list[Any]) -> int:
    """Where a picker stands at first: the recommended variant, N = 10."""
    wanted = {"variant": RECOMMENDED, "n": HEADLINE_N}.get(key)
    return values.index(wanted) if wanted in values else 0


def _say(value: Any) -> str:
    return METRICS.get(value) or VARIANTS.get(value) or str(value)


def _checkpoints(rows: list[Row], x: str) -> list[Row]:
    """Only fully trained SAEs, unless the plot is about training or the reader wants all."""
    steps = [r["training_tokens"] for r in rows if r["training_tokens"] is not None and r["role"] == "sae"]
    if x == "training_tokens" or len(set(steps)) < 2:
        return rows
    wanted = st.segmented_control(
        "Checkpoints", ["fully trained", "all"], default="fully trained", key="w_cmp_checkpoints"
    )
    last: dict[Any, int] = {}
    for r in rows:
        last[r["architecture"]] = max(last.get(r["architecture"], 0), r["training_tokens"] or 0)
    if wanted == "all":
        return rows
    return [r for r in rows if r["training_tokens"] is None or r["training_tokens"] == last[r["architecture"]]]


def _one_line_per_control(rows: list[Row]) -> list[Row]:
    """Controls of many SAEs become one row each: their mean."""
    kept, groups = [], {}
    for r in rows:
        if r["role"] != "control":
            kept.append(r)
        elif r["value"] is not None:
            groups.setdefault(r["control"] or r["sae"], []).append(r)
    for name, own in groups.items():
        of = f"{name}, mean of {len(own)}" if len(own) > 1 else name
        kept.append(own[0] | {"control": of, "value": sum(r["value"] for r in own) / len(own)})
    return kept


def _how(row: Row) -> None:
    """How the shown variant is computed, in a sentence and at most one equation."""
    if MEAN in row["variant"]:
        st.caption(
            "Mean ablation: an ablated latent is set to its mean over the probe's training texts instead of 0, so that ablating "
            "does not also move the probe's threshold."
        )
    if AREA in row["variant"]:
        st.caption(
            f"{EQUATION}, S(N) being the score with the N strongest latents ablated: few latents that do the work count."
        )


def _numbers(rows: list[Row], x: str, usable: list[Row]) -> None:
    place = ("sae", "metric", "task", "protocol", "selection", "scope", "file")
    paper = {
        tuple(r.get(k) for k in place): r["value"] for r in usable if (r["variant"], r["n"]) == ("top-N", HEADLINE_N)
    }
    beside = f"{PAPER.get(rows[0]['metric'], 'paper')}, N = {HEADLINE_N}" if rows else ""
    table = [
        {
            "SAE": r["sae"],
            "role": r["role"],
            "architecture": r["architecture"],
            AXES[x]: r.get(x),
            "score": r["value"],
            "low": r["ci_low"],
            "high": r["ci_high"],
            "n/a because": r["reason"],
            "latents ablated": r["n_ablated"],
            "selection": r["selection"],
            "judge": r["judge"],
            "file": r.get("file"),
            beside: paper.get(tuple(r.get(k) for k in place))
            if (r["variant"], r["n"]) != ("top-N", HEADLINE_N)
            else None,
        }
        for r in rows
    ]
    kept = [k for k in table[0] if any(row[k] is not None for row in table)] if table else []
    st.dataframe([{k: row[k] for k in kept} for row in table], hide_index=True, key="cmp_table")


def _failed(rows: list[Row]) -> None:
    failed = [r for r in rows if r["status"] == "failed"]
    if failed:
        st.markdown(f"**{len(failed)} SAE(s) could not be scored**")
        st.dataframe([{"SAE": r["sae"], "why": r["error"]} for r in failed], hide_index=True, key="cmp_failed")


def _upload() -> None:
    with st.expander("Load another result: a sweep or run of ours, or a published SAEBench file"):
        files = st.file_uploader(
            "JSON files", type="json", accept_multiple_files=True, key="w_cmp_files", max_upload_size=20
        )
        own = []
        for file in files or ():
            try:
                content = json.loads(file.getvalue().decode("utf-8"))
                own += [row | {"file": file.name} for row in rows_of(content, file.name)]
            except (UnicodeDecodeError, json.JSONDecodeError):
                st.error(f"'{file.name}' is not JSON; give a result file", icon=":material/error:")
            except SaeEvalError as error:
                st.error(str(error), icon=":material/error:")
        if own != st.session_state.get("compare_own", []):
            st.session_state["compare_own"] = own
            st.rerun()


@st.fragment
def _differences(found: Results) -> None:
    st.markdown(
        "Two SAEs on the same texts, probes and resamples. An interval that covers 0 means: **not separable** by this test. "
        "Half its width is the smallest difference this test could have told apart."
    )
    rows = [r for r in found.differences if r.get("part", "test") == "test"]
    if not rows:
        st.info("No paired differences are stored; a sweep of at least two SAEs makes them.")
        return
    with st.container(horizontal=True):
        for key, label in (
            ("metric", "Metric"),
            ("task", "Task"),
            ("protocol", "Protocol"),
            ("variant", "Variant"),
            ("n", "N"),
        ):
            values = choices(rows, key)
            if len(values) > 1:
                value = st.selectbox(
                    label, values, _start(key, values), key=f"w_dif_{key}", width=190, format_func=_say
                )
                rows = [r for r in rows if r[key] == value]
    pairs = [(f"{r['sae_a']} − {r['sae_b']}", _estimate(r)) for r in rows]
    told = sum(separable(e) for _, e in pairs)
    st.markdown(f"{told} of {len(pairs)} pairs are separable.")
    figure = figures.differences(pairs[:60], title="Paired differences, test texts")
    st.plotly_chart(figure, key="cmp_differences", config=CONFIG)
    table = [
        {
            "pair": name,
            "difference": say(e),
            "separable": "yes" if separable(e) else "not separable",
            "smallest reliable difference": r.get("half_width"),
            "level": r.get("level"),
        }
        for (name, e), r in zip(pairs, rows, strict=True)
    ]
    st.dataframe(table, hide_index=True, key="cmp_differences_table")
    export.figure_buttons(lambda: figure, lambda: table, "differences")


@st.fragment
def _ranks(found: Results) -> None:
    if not found.rank_agreement:
        st.info("No rank agreement is stored; a sweep of at least three SAEs makes it.")
        return
    rows, files = found.rank_agreement, list(dict.fromkeys(r["file"] for r in found.rank_agreement))
    if len(files) > 1:
        most = max(files, key=lambda f: max(r["n_saes"] for r in rows if r["file"] == f))
        chosen = st.selectbox("Result", files, files.index(most), key="w_cmp_ranks_file", width=300)
        rows = [r for r in rows if r["file"] == chosen]
    names = list(dict.fromkeys(v for r in rows for v in (r["x"], r["y"])))
    known = {(r["x"], r["y"]): r["spearman"] for r in rows}
    values = [[1.0 if a == b else known.get((a, b), known.get((b, a))) for b in names] for a in names]
    ns = sorted({r["n_saes"] for r in rows})
    figure = figures.rank_agreement(
        names, values, title="Do the metrics rank SAEs alike? Spearman over SAEs", dark=_dark()
    )
    st.plotly_chart(figure, key="cmp_ranks", config=CONFIG)
    st.caption(f"Over {', '.join(map(str, ns))} SAEs; few SAEs make wide uncertainty, so read signs, not digits.")
    st.dataframe(rows, hide_index=True, key="cmp_ranks_table")
    export.figure_buttons(lambda: figure, lambda: rows, "rank_agreement")


@st.fragment
def _trust(found: Results) -> None:
    if not found.planted and not found.faults:
        st.info("No validation on planted truth is stored. This command makes it:")
        st.code("saeeval validate --json assets/results/planted.json", language="bash")
        return
    for k, content in enumerate(found.planted):
        st.markdown(
            "**Planted truth**: worlds in which the concepts are known latents, so the right order of SAEs is known. "
            "Spearman: score against true quality over trained SAEs. Oracle rank 1 is best; random and permuted should be 0. "
            "Figures are of worlds that no choice was made on."
        )
        table = []
        for metric in ("shift", "tpp"):
            for protocol, r in (content.get(metric) or {}).items():
                ci = r.get("spearman_ci")
                table.append(
                    {
                        "metric": METRICS[metric],
                        "protocol": protocol,
                        "headline": r.get("headline"),
                        "Spearman": say(Estimate(r.get("spearman"), tuple(ci) if ci else None, "not computed"), 2),
                        "SAEs": r.get("n_saes"),
                        "oracle first": f"{r.get('oracle_first', '?')} of {r.get('n_worlds', '?')} worlds",
                        "oracle rank": r.get("oracle_rank"),
                        "random": r.get("random_score"),
                        "permuted": r.get("permuted_score"),
                        "trend with training": r.get("trend_with_training"),
                    }
                )
        st.dataframe(table, hide_index=True, key=f"cmp_planted_{k}")
        for line in content.get("verdict", [])[-1:]:
            st.caption(line)
    if found.faults:
        _faults(found.faults)


def _faults(rows: list[Row]) -> None:
    """One setting switched at a time: on texts the score and its controls, on planted worlds the agreement with truth."""
    st.markdown("**Why old settings fail**: one setting switched at a time.")
    with st.container(horizontal=True):
        for key, label in (("where", "On"), ("metric", "Metric")):
            values = list(dict.fromkeys(r[key] for r in rows if key in r))
            if len(values) > 1:
                value = st.selectbox(label, values, key=f"w_faults_{key}", width=230, format_func=_say)
                rows = [r for r in rows if r.get(key) == value]
    columns = {
        "spearman": "Spearman with truth",
        "oracle_rank": "oracle rank",
        "random_score": "random decoder",
        "permuted_score": "permuted decoder",
        "sd_texts_fixed": "sd over seeds, texts fixed",
        "sd_texts_redrawn": "sd over seeds, texts redrawn",
    }
    table: dict[str, dict[str, Any]] = {}
    for r in rows:
        line = table.setdefault(r["setting"], {"setting": r["setting"]})
        if r.get("score") is not None:
            line[r["sae"]] = r["score"]
        line |= {title: r[key] for key, title in columns.items() if r.get(key) is not None}
    st.dataframe(list(table.values()), hide_index=True, key="cmp_faults")


@st.fragment
def _paired(loaded: Loaded) -> None:
    """Two choices (SAE, N, set) on one recording, scored on the same resampled texts."""
    metrics = [m for m, there in (("tpp", loaded.task_set.tpp), ("shift", loaded.task_set.pairs)) if there]
    if not metrics:
        st.info("The loaded texts define neither TPP classes nor SHIFT pairs.")
        return
    metric = st.segmented_control(
        "Metric", metrics, default=metrics[0], format_func=METRICS.__getitem__, key="w_two_metric"
    )
    metric = metric or metrics[0]
    left, right = st.columns(2)
    a, b = _choice(loaded, left, "A"), _choice(loaded, right, "B")
    if a is None or b is None:
        return
    part = services.live_part(loaded)
    if metric == "tpp":
        scores = [_tpp(*choice, part) for choice in (a, b)]
        gap, pair = difference(*scores), [s.score for s in scores]
    else:
        pair, gap = _shift(a, b, loaded, part)
    names = [_name(loaded, a), _name(loaded, b)]
    words = "n/a" if gap.value is None else "separable" if separable(gap) else "**not separable**"
    where = "dev" if part == DEV else "test"
    st.markdown(f"A − B: {say(gap)} ({words}; {where} texts, paired over the same resamples)")
    if gap.ci is not None:
        st.caption(f"Smallest difference this test could tell apart: about {(gap.ci[1] - gap.ci[0]) / 2:.3f}.")
    rows = [(f"A: {names[0]}", pair[0], gap), (f"B: {names[1]}", pair[1], None)]
    figure = figures.set_comparison(rows, title=f"{METRICS[metric]}, {where} texts", x=METRICS[metric])
    st.plotly_chart(figure, key="two_figure", config=CONFIG)
    if metric == "tpp":
        classes = loaded.task_set.tpp[1] if loaded.task_set.tpp else ()
        cells = [[Estimate(v, None, "undefined in A or B") for v in row] for row in row_difference(*scores)]
        st.plotly_chart(
            figures.tpp_heatmap(classes, cells, title="Matrix of A minus matrix of B", dark=_dark()),
            key="two_matrix",
            config=CONFIG,
        )


def _choice(loaded: Loaded, column: Any, side: str) -> tuple[Loaded, int, str] | None:
    """(what is loaded with that SAE, N, set) or None when the SAE has no recording on these texts."""
    with column:
        saes = list(dict.fromkeys([loaded.config.saes[0], *(i.id for i in list_bundled())]))
        sae = st.selectbox(f"SAE {side}", saes, min(1, len(saes) - 1) if side == "B" else 0, key=f"w_two_sae_{side}")
        n = int(st.number_input(f"N {side}", 1, 500, 20, key=f"w_two_n_{side}"))
        kinds = {"attribution": "top N by attribution", "mine": "with my changes"}
        chosen = st.selectbox(f"Set {side}", list(kinds), format_func=kinds.__getitem__, key=f"w_two_set_{side}")
        other = services.load(replace(loaded.config, saes=(sae,)))
        if other is None:
            st.info(f"{sae} has not been recorded on these texts. Pick it in the sidebar and press Run.")
            return None
        if other.residuals.fingerprint != loaded.residuals.fingerprint:
            st.info(f"{sae} reads another hook, so it is not on the same recording and cannot be paired.")
            return None
        return other, n, chosen


def _name(loaded: Loaded, choice: tuple[Loaded, int, str]) -> str:
    other, n, chosen = choice
    name = other.config.saes[0] if other is not loaded else "this SAE"
    return f"{name}, N = {n}" + (", my changes" if chosen == "mine" else "")


def _tpp(loaded: Loaded, n: int, chosen: str, part: int) -> Any:
    sets = class_sets(loaded, chosen, state.who())
    ids = tuple(chosen_sets(services.tpp_view(loaded, part).rankings, n, sets.decisions))
    return services.tpp_scored(loaded, part, ids, state.one_of("ablation", services.ABLATIONS))


def _shift(
    a: tuple[Loaded, int, str], b: tuple[Loaded, int, str], loaded: Loaded, part: int
) -> tuple[list[Estimate], Estimate]:
    every = services.shift_directions(loaded)
    pair = state.get("pair") if state.get("pair") in {d.pair for d in every} else every[0].pair
    direction = services.default_direction(loaded, pair)
    st.caption(f"{pair}, {direction.task.direction}")
    scores, board = [], None
    for other, n, chosen in (a, b):
        view = services.shift_view(other, pair, direction.task.target.column, part)
        ids = tuple(int(i) for i in view.attribute_ranking[:n])
        if chosen == "mine":
            stored = find_set(services.store(), shift_place(other, direction), state.who())
            ids = tuple(services.store().ablated(stored.id)) if stored else ()
        scores.append(services.set_score(view, ids, "zero"))
        board = view.board
    assert board is not None
    return [s.score for s in scores], board.difference(*scores)


def _estimate(r: Row) -> Estimate:
    ci = (r["ci_low"], r["ci_high"]) if r.get("ci_low") is not None else None
    return Estimate(r["value"], ci, r.get("reason") or "undefined")


def _dark() -> bool:
    return st.context.theme.type == "dark"
