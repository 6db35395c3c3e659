"""Results as tables for the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from saeeval_core.config import erasure_n, get_protocol, headline_n
from saeeval_core.controls.attach import rival_lines
from saeeval_core.evaluation.equal_edit import equal_edit_lines
from saeeval_core.evaluation.result import Erasure, Placed, RefitResult, RunResult, SaeResult, ShiftResult, TppResult
from saeeval_core.formats.sentences import known_as
from saeeval_core.scores.area import RECOMMENDED, TOP_N
from saeeval_core.scores.erasure import ERASURE
from saeeval_core.scores.uncertainty import LEVEL_WITH_TRAINING, Estimate, difference_words
from saeeval_core.texts.parts import PART_NAMES, scored_parts
from saeeval_core.wording import plural

_GONE = (
    "R: share of the spurious label that a fresh probe still reads. E: share lost of it minus share lost of the target."
)
_GONE_TPP = (
    "R: share of the own class that a fresh probe still reads. E: own class minus other classes, of fresh probes."
)
_WIDTH = 9
"""Characters of a class's name in the matrix; a longer one is cut and marked."""


def print_run(console: Console, result: RunResult) -> None:
    """The tables of ``saeeval run``, readable at 100 columns."""
    task, config = result.task, result.config
    console.print(
        f"\n[bold]{escape(task.title or task.name)}[/] ({'composed, ' if task.composed else ''}{plural(task.texts, 'text')}) on "
        f"{escape(result.model.name)} {result.model.hook}, protocol {config.protocol}, seed {config.seed}"
    )
    for line in (*task.notes, *(f"{n:,} not used: {reason}" for reason, n in task.dropped.items())):
        console.print(f"  {line}", style="dim", markup=False, highlight=False)
    if task.small:
        console.print(task.small, style="yellow", markup=False)
    parts = [PART_NAMES[p] for p in scored_parts(get_protocol(config.protocol))]
    for sae in result.saes:
        u = sae.unsupervised
        ev = "n/a" if u["explained_variance"] is None else f"{u['explained_variance']:.3f}"
        console.print(
            f"\n[bold]{escape(sae.sae)}[/]  L0 {u['l0']:.1f}, explained variance {ev}, dead here {u['dead']:.1%}"
        )
        if sae.about.get("writes"):
            line = f"  reads {sae.about.get('hook')}, writes {sae.about['writes']}, probed at {result.model.hook}"
            console.print(line, markup=False, highlight=False)
        for note in sae.notes:
            console.print(f"  {note}", style="yellow", markup=False, highlight=False)
        if sae.shift is not None:
            _print_shift(console, sae.shift, parts)
        if sae.tpp is not None:
            _print_tpp(console, sae.tpp, parts)
        if sae.controls:
            _print_controls(console, sae)
        for line in equal_edit_lines(sae, result.rivals):
            console.print(f"  {line}", style="dim", markup=False, highlight=False)
    for d in result.refit_differences or ():
        words = difference_words(d.score, LEVEL_WITH_TRAINING)
        console.print(f"  {d.metric.upper()} area, {d.a} minus {d.b}: {words}", markup=False, highlight=False)
    for name, deleted in result.deleted_words.items():
        line = f"  deleted for {name}: {', '.join(deleted.words)}"
        console.print(line, style="dim", markup=False, highlight=False)
    console.print(
        f"\nIntervals: 95 %, {config.resamples} resamples of {task.interval_level}. "
        f"Selection: {result.saes[0].selection}. n/a: undefined, with the reason beside it.",
        style="dim",
        markup=False,
    )


def print_faults(console: Console, result: dict[str, Any]) -> None:
    """The table of ``saeeval faults``: one line per setting and metric, of the SAEs (controls stay in the JSON)."""
    rows = [r for r in result["rows"] if r.get("role") != "control"]
    shown = {
        "sae": "SAE",
        "where": "worlds",
        "score": "score",
        "sd_texts_fixed": "sd, texts fixed",
        "sd_texts_redrawn": "sd, redrawn",
        "spearman": "Spearman",
        "oracle_rank": "oracle rank",
        "random_score": "random",
    }
    shown = {k: title for k, title in shown.items() if any(r.get(k) is not None for r in rows)}
    if len({r.get("sae") for r in rows}) == 1:
        shown.pop("sae", None)
    table = Table("setting", "metric", *shown.values(), box=None, header_style="bold")
    for r in rows:
        cells = [r.get(k) for k in shown]
        table.add_row(
            r["setting"], r["metric"], *("n/a" if v is None else v if isinstance(v, str) else _short(v) for v in cells)
        )
    console.print(table)


def _print_shift(console: Console, shift: ShiftResult, parts: list[str]) -> None:
    ns, one = _shown(list(shift.aggregate)), erasure_n(list(shift.aggregate))
    gone = bool(shift.erasure)
    ns = sorted({one, ns[-1]}) if gone else ns  # the direction's name needs the room
    table = Table(
        title="SHIFT score S (test), by number of ablated latents", title_justify="left", box=None, header_style="bold"
    )
    table.add_column("direction", overflow="fold")
    for column in ("base", "oracle", *(f"N={n}" for n in ns), *((f"R N={one}", f"E N={one}") if gone else ())):
        table.add_column(column, no_wrap=True)
    reasons = []
    for d in shift.directions:
        name = f"{d.target_values} not {d.spurious_values}"
        cells = [_interval(a.parts["test"].score) for a in d.by_n if a.n in ns]
        base, oracle = d.probes.base["test"], d.probes.oracle["test"]
        cells += [c for a in d.by_n if a.n == one and gone for c in _erased(a.parts["test"].erasure)]
        table.add_row(escape(name), _short(float(base.value or 0)), _short(float(oracle.value or 0)), *cells)
        if reason := d.probes.reason["test"]:
            reasons.append(f"{name}: n/a, {reason}")
    for part in reversed(parts):
        cells = [_interval(shift.aggregate[n][part].score) for n in ns]
        cells += _erased(shift.erasure[one].get(part)) if gone else ()
        table.add_row(f"[bold]mean over pairs ({part})[/]", "", "", *cells)
    console.print(table)
    for line in reasons:
        console.print(f"  {line}", style="dim", markup=False)
    if gone:
        console.print(f"  {_GONE}", style="dim", highlight=False)
    _print_area(console, shift.definition, {part: m.score for part, m in shift.area.items()}, parts)
    _print_refits(console, shift.refits)
    last = next(iter(shift.aggregate.values()))["test"]
    console.print(
        f"  {plural(last.pairs or 0, 'pair')}; {plural(last.directions_left_out or 0, 'undefined direction')} left out",
        style="dim",
    )


def _print_tpp(console: Console, tpp: TppResult, parts: list[str]) -> None:
    table = Table(title="TPP (balanced accuracy lost)", title_justify="left", box=None, header_style="bold")
    gone = any(a.parts["test"].erasure for a in tpp.by_n)
    for column in ("N", *(f"score ({p})" for p in parts), "own class (test)", "other classes (test)"):
        table.add_column(column)
    for column in ("R", "E") if gone else ():
        table.add_column(column, no_wrap=True)
    for a in tpp.by_n:
        test = a.parts["test"]
        scores = (_interval(a.parts[p].score) for p in parts)
        erased = _erased(test.erasure) if test.erasure else ()
        table.add_row(str(a.n), *scores, _interval(test.intended), _interval(test.unintended), *erased)
    console.print(table)
    for reason in {s.reason: None for a in tpp.by_n if (s := a.parts["test"].score).value is None}:
        console.print(f"  score n/a: {reason}", style="dim", markup=False)
    if gone:
        console.print(f"  {_GONE_TPP}", style="dim", highlight=False)
    if tpp.area:
        _print_area(console, tpp.definition, tpp.area, parts)
    _print_refits(console, tpp.refits)
    middle = tpp.by_n[min(len(tpp.by_n) - 1, 4)]
    names = [escape(c if len(c) <= _WIDTH else f"{c[: _WIDTH - 1]}…") for c in tpp.classes]
    title = f"TPP matrix, N={middle.n}, test: ablated class (row) x probe (column)"
    matrix = Table(title=title, title_justify="left", box=None, header_style="bold")
    for name in ("", *names):
        matrix.add_column(name, justify="right" if name else "left")
    for name, row in zip(names, middle.parts["test"].matrix, strict=True):
        matrix.add_row(name, *("n/a" if e.value is None else f"{e.value:+.3f}" for e in row))
    console.print(matrix)
    columns = zip(tpp.classes, zip(*middle.parts["test"].matrix, strict=True), strict=True)
    for name, reason in {(c, e.reason): None for c, column in columns for e in column if e.value is None}:
        console.print(f"  {name}: n/a, {reason}", style="dim", markup=False)


def _print_area(console: Console, definition: str, area: Mapping[str, Estimate], parts: list[str]) -> None:
    figures = ", ".join(f"{p} {_interval(area[p])}" for p in reversed(parts))
    console.print(f"  {definition}: [bold]{figures}[/]", highlight=False)


def _print_refits(console: Console, found: RefitResult | None) -> None:
    """The test scores with intervals that also vary the training texts."""
    if found is None:
        return
    cells = [f"N={n} {_interval(found.by_n[n])}" for n in _shown(list(found.by_n))]
    left_out = f" ({found.undefined_share:.0%} of them undefined)" if found.undefined_share else ""
    console.print(
        f"  intervals over {found.level}, {found.refits} refits{left_out}: area {_interval(found.area)}; {', '.join(cells)}",
        markup=False,
        highlight=False,
    )


def _print_controls(console: Console, sae: SaeResult) -> None:
    """Per metric one line per control, in the headline variants; then what the scores beat, and the warnings."""
    for metric in dict.fromkeys(p.metric for p in sae.controls):
        own = [p for p in sae.controls if p.metric == metric]
        n = headline_n([p.n for p in own if p.n is not None])
        columns = [*_erasure_places(own), (RECOMMENDED, None), (TOP_N, n)]
        title = f"Controls of {metric.upper()} (test; of the top N by attribution; random latents: range of draws)"
        table = Table(title=title, title_justify="left", box=None, header_style="bold")
        table.add_column("control")
        for v, k in columns:
            table.add_column(f"{_SHORT.get(v, '')}{'' if k is None else f'N={k}'}", no_wrap=True)
        by_place = {(p.variant, p.n, p.control.name): p.control for p in own}
        for name in dict.fromkeys(p.control.name for p in own):
            cells = [by_place.get((*place, name)) for place in columns]
            table.add_row(known_as(name), *("" if c is None else _interval(c.score) for c in cells))
        console.print(table)
    for line in rival_lines(sae):
        console.print(f"  {line}", style="dim", markup=False, highlight=False)
    for line in sae.warnings or ():
        console.print(f"  {line}", style="yellow", markup=False, highlight=False)


_SHORT = {RECOMMENDED: "area", ERASURE: "E "}


def _erasure_places(placed: Sequence[Placed]) -> list[tuple[str, int | None]]:
    return list(dict.fromkeys((p.variant, p.n) for p in placed if p.variant == ERASURE))


def _shown(ns: list[int]) -> list[int]:
    """At most five columns fit into 100 characters: those of the paper's usual N."""
    usual = [n for n in ns if n in (2, 5, 10, 20)]
    return usual if len(usual) >= 3 else ns[:4]


def _erased(e: Erasure | None) -> tuple[str, str]:
    """R, and E with its interval."""
    if e is None:
        return "", ""
    return _interval(replace(e.recoverability, ci=None)), _interval(e.selective_erasure)


def _interval(e: Estimate) -> str:
    """Such as ".23 [.20,.26]"; "n/a" without the reason, which is printed elsewhere."""
    if e.value is None:
        return "n/a"
    return _short(e.value) if e.ci is None else f"{_short(e.value)} [{_short(e.ci[0])},{_short(e.ci[1])}]"


def _short(value: float) -> str:
    """Two decimals without the leading zero: .23, -.04, 1.10."""
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
