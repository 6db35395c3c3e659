"""Compare, first tab: scores of many SAEs against what they cost, one metric and setting at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import streamlit as st

from app import results, state
from app.figures.sweep import sweep_scatter
from app.results import Stored
from app.views.compare.upload import upload_box
from app.views.compare.words import AXES, METRICS, named, narrowed, not_measured, one_file
from app.widgets import chart, export, provenance
from saeeval_core.config import HEADLINE_N
from saeeval_core.evaluation.erased import NOT_MEASURED
from saeeval_core.formats.sentences import known_as
from saeeval_core.scores.area import AREA, MEAN, TOP_N
from saeeval_core.scores.uncertainty import LEVEL, say
from saeeval_core.wording import plural

LOGGED = ("l0", "training_tokens", "n_latents")
PAPER = {"shift": "S_SHIFT, zero ablation (paper)", "tpp": "S_TPP, zero ablation (paper)"}
EQUATION = r"$\text{area} = \frac{1}{\ln 20}\int_{N=1}^{20} S(N)\, d\ln N$"
_SETTING = {
    "metric": "Metric",
    "task": "Task",
    "protocol": "Protocol",
    "selection": "Selection",
    "variant": "Variant",
    "scope": "Scope",
    "n": "N",
}


@st.fragment
def draw(rows: Sequence[Stored], made_by: Mapping[str, str]) -> None:
    """Pickers, scatter and table; ``made_by``: file -> the command that made it."""
    if not state.presenting():
        upload_box()
    usable = [r for r in rows if r.status == "ok" and r.part == "test"]
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
    _scatter(chosen, x)
    _numbers(chosen, x, usable)
    _failed(rows)
    if made_by:
        with st.expander("How these results were made"):
            for name, command in made_by.items():
                st.caption(f"{provenance.plain(name)} was made by:")
                st.code(command, language="bash")


def _choose(rows: Sequence[Stored]) -> list[Stored]:
    """Narrow down to one file (another one may be about other texts), then to one setting."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        rows = one_file(rows, "cmp", [(r.file, r.sae) for r in rows if r.role == "sae"])
        return narrowed(rows, _SETTING, "cmp")


def _checkpoints(rows: list[Stored], x: str) -> list[Stored]:
    """Only fully trained SAEs, unless the plot is about training or the reader wants all."""
    steps = [r.training_tokens for r in rows if r.training_tokens is not None and r.role == "sae"]
    if x == "training_tokens" or len(set(steps)) < 2:
        return rows
    wanted = st.segmented_control(
        "Checkpoints", ["fully trained", "all"], default="fully trained", key="w_cmp_checkpoints"
    )
    last: dict[str | None, int] = {}
    for r in rows:
        last[r.architecture] = max(last.get(r.architecture, 0), r.training_tokens or 0)
    if wanted == "all":
        return rows
    return [r for r in rows if r.training_tokens is None or r.training_tokens == last[r.architecture]]


def _scatter(rows: list[Stored], x: str) -> None:
    shown = [r for r in rows if r.role != "control" and r.value is not None and getattr(r, x) is not None]
    if not shown:
        missing = sum(r.value is not None and r.role != "control" for r in rows)
        st.info(
            f"None of these scores can be drawn against {AXES[x]}: {missing} have no such value. Choose another axis."
        )
        return
    first = shown[0]
    n = "" if first.n is None else f", N = {first.n}"
    figure = sweep_scatter(
        one_line_per_control(rows),
        x=x,
        x_title=AXES[x],
        y_title=METRICS[first.metric],
        title=f"{METRICS[first.metric]} on {first.task}, {named(first.variant)}{n}, test texts",
        log_x=x in LOGGED,
    )
    chart.draw(figure, "cmp_scatter")
    st.caption(
        f"Bars: 95 % interval over {LEVEL}; published SAEBench files carry none. Dotted lines: controls, the mean over SAEs "
        "where each has its own."
    )
    _how(first.variant)
    export.figure_buttons(
        lambda: figure,
        lambda: [asdict(r) for r in rows],
        export.file_name("compare", first.file, str(figure.layout.title.text)),
    )


def one_line_per_control(rows: Sequence[Stored]) -> list[Stored]:
    """Controls of many SAEs become one row each: their mean."""
    kept: list[Stored] = []
    groups: dict[str, list[Stored]] = {}
    for r in rows:
        if r.role != "control":
            kept.append(r)
        elif r.value is not None:
            groups.setdefault(r.control or r.sae, []).append(r)
    for name, own in groups.items():
        values = [r.value for r in own if r.value is not None]
        label = f"{known_as(name)}, mean of {len(own)}" if len(own) > 1 else known_as(name)
        kept.append(replace(own[0], control=label, value=sum(values) / len(values)))
    return kept


def _how(variant: str) -> None:
    """How the shown variant is computed, in a sentence and at most one equation."""
    if MEAN in variant:
        st.caption(
            "Mean ablation: an ablated latent is set to its mean over the probe's training texts instead of 0, so that ablating "
            "does not also move the probe's threshold."
        )
    if AREA in variant:
        st.caption(
            f"{EQUATION}, S(N) being the score with the N strongest latents ablated: few latents that do the work count."
        )


def _numbers(rows: Sequence[Stored], x: str, usable: Sequence[Stored]) -> None:
    """The scores as a table, the paper's beside them where another variant is shown."""
    paper = {_place(r): r.value for r in usable if (r.variant, r.n) == (TOP_N, HEADLINE_N)}
    read = _read(rows, usable)
    at = next((f", N = {r.n}" for r in read.values()), "")
    beside = f"{PAPER.get(rows[0].metric, 'paper')}, N = {HEADLINE_N}" if rows else ""
    table = [
        {
            "SAE": r.sae,
            "role": r.role,
            "architecture": r.architecture,
            "precision": None if r.dtype in ("", "float32") else r.dtype,
            AXES[x]: getattr(r, x),
            "score": r.value,
            "low": r.ci_low,
            "high": r.ci_high,
            "n/a because": r.reason,
            "latents ablated": r.n_ablated,
            "selection": r.selection,
            "judge": r.judge,
            "file": r.file,
            beside: None if (r.variant, r.n) == (TOP_N, HEADLINE_N) else paper.get(_place(r)),
            **_erased(read.get(_place(r)), at),
        }
        for r in rows
    ]
    kept = [k for k in table[0] if any(row[k] is not None for row in table)] if table else []
    st.dataframe([{k: row[k] for k in kept} for row in table], hide_index=True, key="cmp_table")
    not_measured(bool(read))


def _read(rows: Sequence[Stored], usable: Sequence[Stored]) -> dict[tuple[str, ...], Stored]:
    """Place -> the row with what fresh probes read: at the N that is shown, else at the headline's, else at what there is."""
    shown = rows[0].n if rows else None
    order = sorted(
        (r for r in usable if r.erasure is not None), key=lambda r: ((r.n == shown) << 1) + (r.n == HEADLINE_N)
    )
    found = {_place(r): r for r in order}
    return {place: found[place] for place in map(_place, rows) if place in found}


def _erased(r: Stored | None, at: str) -> dict[str, str]:
    """What fresh probes read of the same SAE; ``at``: at which N, in words."""
    found = r and r.erasure
    kept, erased = (found.recoverability, found.selective_erasure) if found else (None, None)
    columns = {f"still readable (R){at}": kept, f"selective erasure (E){at}": erased}
    return {name: NOT_MEASURED if e is None else say(e, 2) for name, e in columns.items()}


def _place(r: Stored) -> tuple[str, ...]:
    """What a row shares with the paper's score of the same SAE."""
    return (r.sae, r.metric, r.task, r.protocol, r.selection, r.scope, r.file)


def _failed(rows: Sequence[Stored]) -> None:
    failed = [r for r in rows if r.status == "failed"]
    if failed:
        st.markdown(f"**{plural(len(failed), 'SAE')} could not be scored**")
        table = [{"SAE": r.sae, "why": r.error} | ({"node": r.node} if r.node else {}) for r in failed]
        st.dataframe(table, hide_index=True, key="cmp_failed")
