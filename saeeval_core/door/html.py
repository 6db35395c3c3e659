"""A result as static HTML: no script, nothing loaded from anywhere, every name escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import log

from saeeval_core.config import headline_n
from saeeval_core.evaluation.result import Placed, RunResult, SaeResult, TppResult
from saeeval_core.formats.report import ReportFigure, rows_table
from saeeval_core.scores.area import RECOMMENDED, TOP_N
from saeeval_core.scores.uncertainty import Estimate, say, value_and_interval

_WIDE, _HIGH, _LEFT, _BELOW = 420, 190, 38, 24
"""Of a curve, in pixels, with the room for its axes."""
_OWN, _LESS = "11, 110, 153", "200, 100, 20"
"""Red, green, blue of what is above 0 and of what is below."""
_DASHES = ("5 3", "2 3", "8 3 2 3", "1 4")

Curve = Mapping[int, Estimate]
"""N -> score."""


def result_html(result: RunResult) -> str:
    """A result for a notebook's cell: per dictionary the scores, controls, matrix and curve."""
    task = result.task
    about = (
        f"{task.texts:,} texts of {task.title or task.name} on {result.model.name}, {result.model.hook}, "
        f"protocol {result.config.protocol}"
    )
    level = f"Test texts. Intervals: 95 %, {result.config.resamples:,} resamples of {task.interval_level}."
    notes = [*task.notes, *([task.small] if task.small else [])]
    parts = "".join(map(_sae, result.saes))
    return (
        f"<div style='font:14px/1.45 system-ui,sans-serif;max-width:900px'><p>{escape(about)}</p>{parts}{_lines(notes)}"
        f"<p style='opacity:.7'>{escape(level)}</p></div>"
    )


def figures(sae: SaeResult) -> list[ReportFigure]:
    """The same pictures for a report, with their numbers as tables."""
    found = [_curve_figure(sae)]
    if sae.tpp is not None:
        n = headline_n([a.n for a in sae.tpp.by_n])
        how = "Balanced accuracy lost by each probe (column) when the latents of a class (row) are ablated to zero."
        found.append(ReportFigure(f"TPP matrix, N = {n}, test", _matrix(sae.tpp, n), how))
    if sae.controls:
        how = "What directions that know nothing of the SAE get in the same two scores, on test."
        found.append(ReportFigure("Controls", rows_table(_control_rows(sae)), how))
    return found


def headline(sae: SaeResult) -> list[tuple[str, Estimate]]:
    """(name, score) of the scores that stand first."""
    found: list[tuple[str, Estimate]] = []
    if sae.shift is not None:
        n = headline_n(list(sae.shift.aggregate))
        found += [("SHIFT area", sae.shift.area["test"].score)] if sae.shift.area else []
        found.append((f"SHIFT, N = {n}", sae.shift.aggregate[n]["test"].score))
        if erased := sae.shift.erasure.get(n, {}).get("test"):
            found.append((f"E of fresh probes, N = {n}", erased.selective_erasure))
    if sae.tpp is not None:
        by_n = {a.n: a.parts["test"].score for a in sae.tpp.by_n}
        n = headline_n(list(by_n))
        found += [("TPP area", sae.tpp.area["test"])] if sae.tpp.area else []
        found.append((f"TPP, N = {n}", by_n[n]))
    return found


def _sae(sae: SaeResult) -> str:
    if sae.error:
        return f"<h4>{escape(sae.sae)}</h4>{_lines([sae.error])}"
    cards = "".join(map(_card, headline(sae)))
    pictures = "".join(f"<p><b>{escape(f.title)}</b></p>{f.html}" for f in figures(sae))
    lines = _lines([*sae.notes, *(sae.warnings or ())])
    return (
        f"<h4>{escape(sae.sae)}</h4><div style='display:flex;flex-wrap:wrap;gap:8px'>{cards}</div>{lines}"
        f"<div style='overflow-x:auto'>{pictures}</div>"
    )


def _card(score: tuple[str, Estimate]) -> str:
    value, small = value_and_interval(score[1])
    return (
        f"<div style='border:1px solid #8885;border-radius:6px;padding:4px 10px'><small>{escape(score[0])}</small><br>"
        f"<b>{escape(value)}</b> <small>{escape(small)}</small></div>"
    )


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"<p style='margin:2px 0;opacity:.8'>{escape(line)}</p>" for line in lines)


def _control_rows(sae: SaeResult) -> list[dict[str, str]]:
    """One row per control, one column per headline score."""
    columns = {(p.metric, p.variant, p.n): "" for p in sae.controls if p.variant == RECOMMENDED}
    for metric in dict.fromkeys(p.metric for p in sae.controls):
        ns = [p.n for p in sae.controls if p.metric == metric and p.n is not None]
        columns |= {(metric, TOP_N, headline_n(ns)): ""} if ns else {}
    named = {place: f"{place[0].upper()} {'area' if place[2] is None else f'N = {place[2]}'}" for place in columns}
    rows: dict[str, dict[str, str]] = {}
    for p in sae.controls:
        if (place := (p.metric, p.variant, p.n)) in named:
            rows.setdefault(p.control.name, {"control": p.control.name})[named[place]] = _in_table(p.control.score)
    return [{name: row.get(name, "") for name in ("control", *named.values())} for row in rows.values()]


def _in_table(e: Estimate) -> str:
    """Without the reason, which stands with the score that a control is compared with."""
    return "n/a" if e.value is None else say(e)


def _curve_figure(sae: SaeResult) -> ReportFigure:
    metric, own = _own_curve(sae)
    others = _control_curves(sae.controls, metric)
    title = f"{metric.upper()} by number of ablated latents (zero ablation, test)"
    how = "Band: 95 % interval. Broken lines: controls."
    rows = [
        {"N": n, "score": say(e)} | {name: say(c[n]) for name, c in others.items() if n in c} for n, e in own.items()
    ]
    return ReportFigure(title, _svg([(sae.sae, own), *others.items()]), how, rows)


def _own_curve(sae: SaeResult) -> tuple[str, Curve]:
    if sae.shift is not None:
        return "shift", {n: parts["test"].score for n, parts in sae.shift.aggregate.items()}
    return "tpp", {a.n: a.parts["test"].score for a in sae.tpp.by_n} if sae.tpp else {}


def _control_curves(controls: Sequence[Placed], metric: str) -> dict[str, Curve]:
    found: dict[str, dict[int, Estimate]] = {}
    for p in controls:
        if p.metric == metric and p.variant == TOP_N and p.n is not None:
            found.setdefault(p.control.name, {})[p.n] = p.control.score
    return dict(list(found.items())[: len(_DASHES)])


def _svg(curves: Sequence[tuple[str, Curve]]) -> str:
    """Curves over ln N, the first with its interval as a band; undefined scores are gaps."""
    own = curves[0][1]
    shown = [e for _, c in curves for e in c.values() if e.value is not None]
    if not shown or len(own) < 2:
        return "<p>n/a: no defined score to draw</p>"
    ends = [v for e in own.values() if e.ci for v in e.ci]
    low, high = min(0.0, *(e.value for e in shown), *ends), max(0.0, *(e.value for e in shown), *ends)  # type: ignore[type-var]
    widest = log(max(own) / min(own))

    def at(n: int, value: float) -> str:
        x = _LEFT + (_WIDE - _LEFT - 8) * log(n / min(own)) / widest
        return f"{x:.1f},{8 + (_HIGH - _BELOW - 8) * (high - value) / ((high - low) or 1):.1f}"

    inside = [e for e in own.items() if e[1].ci]
    band = [at(n, e.ci[0]) for n, e in inside if e.ci] + [at(n, e.ci[1]) for n, e in reversed(inside) if e.ci]
    lines = [
        f"<polyline points='{' '.join(at(n, e.value) for n, e in c.items() if e.value is not None and n in own)}' fill='none' "
        + (
            f"stroke='rgb({_OWN})' stroke-width='2'"
            if not i
            else f"stroke='currentColor' stroke-dasharray='{_DASHES[i - 1]}'"
        )
        + f"><title>{escape(name)}</title></polyline>"
        for i, (name, c) in enumerate(curves)
    ]
    ticks = [f"<text x='{at(n, low).split(',')[0]}' y='{_HIGH - 6}' text-anchor='middle'>{n}</text>" for n in own]
    sides = [
        f"<text x='2' y='{float(at(min(own), v).split(',')[1]) + 4:.1f}'>{v:.2f}</text>"
        for v in sorted({low, 0.0, high})
    ]
    zero = f"<polyline points='{at(min(own), 0)} {at(max(own), 0)}' stroke='currentColor' stroke-opacity='.4'/>"
    legend = " &middot; ".join(f"{_KEY[i]} {escape(name)}" for i, (name, _) in enumerate(curves))
    return (
        f"<svg viewBox='0 0 {_WIDE} {_HIGH}' width='{_WIDE}' style='max-width:100%' font-size='11' fill='currentColor' "
        f"role='img'><polygon points='{' '.join(band)}' fill='rgba({_OWN}, .2)'/>{zero}{''.join(lines)}{''.join(ticks)}"
        f"{''.join(sides)}</svg><p><small>{legend}</small></p>"
    )


_KEY = ("&#9473;", "&#9476;", "&#8943;", "&#9480;", "&#8230;")
"""How the legend draws each line."""


def _matrix(tpp: TppResult, n: int) -> str:
    """The matrix at one N: rows are ablated classes, columns probes."""
    cell = next(a for a in tpp.by_n if a.n == n).parts["test"]
    largest = max((abs(e.value) for row in cell.matrix for e in row if e.value is not None), default=0.0) or 1.0
    head = "".join(f"<th>{escape(c)}</th>" for c in tpp.classes)
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>{''.join(_cell(e, largest) for e in row)}</tr>"
        for name, row in zip(tpp.classes, cell.matrix, strict=True)
    )
    return f"<table style='border-collapse:collapse'><tr><th></th>{head}</tr>{rows}</table>"


def _cell(e: Estimate, largest: float) -> str:
    if e.value is None:
        return f"<td title='{escape(e.reason or '', quote=True)}'>n/a</td>"
    shade = f"rgba({_OWN if e.value >= 0 else _LESS}, {abs(e.value) / largest * 0.6:.2f})"
    return (
        f"<td style='background:{shade};padding:2px 8px;text-align:right' title='{escape(say(e), quote=True)}'>"
        f"{e.value:+.3f}</td>"
    )
