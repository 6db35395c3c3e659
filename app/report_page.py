"""Reports: the figures of a result and the evidence behind decisions, as one page that opens offline."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from app.figures.common import fragment
from app.figures.shift import score_curve
from app.figures.tpp import tpp_by_n, tpp_heatmap
from app.services import ledger, verdicts
from app.services.evidence import evidence_of
from app.services.loading import Loaded
from saeeval_core.config import RunConfig
from saeeval_core.errors import ArtifactError
from saeeval_core.evaluation.prepare import versions
from saeeval_core.formats.report import ReportFigure, ReportLatent, report_html
from saeeval_core.ledger.store import DecisionSet, Verdict
from saeeval_core.scores.area import RECOMMENDED
from saeeval_core.scores.uncertainty import LEVEL, Estimate, say

CONTEXTS = 5
"""Contexts shown per decided latent."""


def result_page(result: Mapping[str, Any], *, when: str, n: int = 20) -> str:
    """Report of the JSON of ``saeeval run``: per SAE the TPP matrix at ``n`` and the scores against N, test texts.

    ArtifactError for the JSON of anything else.
    """
    if missing := [k for k in ("config", "task", "results", "versions") if k not in result]:
        raise ArtifactError(f"the file has no '{missing[0]}'; give the JSON that saeeval run --json wrote")
    drawn: list[ReportFigure] = []
    headline: list[tuple[str, str]] = []
    for row in result["results"]:
        if row.get("error"):
            headline.append((str(row["sae"]), f"failed: {row['error']}"))
            continue
        if "tpp" in row:
            _tpp_figures(row, n, drawn, headline)
        if "shift" in row:
            _shift_figures(row, n, drawn, headline)
        _beside(row, n, drawn, headline)
    name = result["task"]["name"] + (" (composed texts)" if result["task"].get("composed") else "")
    title = f"SHIFT and TPP on {name}"
    command = command_line(RunConfig.from_json(json.dumps(result["config"])))
    return report_html(result, drawn, title=title, command=command, when=when, headline=headline)


def view_page(
    loaded: Loaded,
    drawn: Sequence[tuple[str, go.Figure, Sequence[Mapping[str, Any]]]],
    *,
    title: str,
    when: str,
    headline: Sequence[tuple[str, str]],
    sets: Sequence[tuple[str, DecisionSet]],
    command: str,
) -> str:
    """Report of what a view shows: ``drawn`` (title, figure, rows), the decisions in ``sets`` (class or "", set)."""
    parts = [
        ReportFigure(name, fragment(figure, library=k == 0), f"95 % intervals over {LEVEL}", rows)
        for k, (name, figure, rows) in enumerate(drawn)
    ]
    decided = [
        evidence(loaded, latent, decision, of)
        for of, stored in sets
        for latent, decision in sorted(ledger.store().decisions(stored.id).items())
    ]
    log = [
        {"when": d.at, "who": d.who, "class": of, "latent": d.latent, "old": d.old, "new": d.new, "reason": d.reason}
        for of, stored in sets
        for d in ledger.store().history(stored.id)
    ]
    return report_html(
        settings(loaded), parts, title=title, command=command, when=when, headline=headline, latents=decided, log=log
    )


def evidence(loaded: Loaded, latent: int, decision: str, of: str = "") -> ReportLatent:
    """Contexts, tokens and verdicts of one decided latent."""
    found = evidence_of(loaded, latent)
    contexts = [
        (
            f"{c.source}{', ' + c.cell if c.cell else ''}",
            [(c.before[-60:], 0.0), *zip(c.tokens, c.activations, strict=True)],
        )
        for c in found.contexts[:CONTEXTS]
    ]
    said = {f"{v.rater} ({v.rater_kind})": _said(v) for v in verdicts.current(loaded) if v.latent == latent}
    return ReportLatent(
        latent,
        decision,
        of,
        verdicts.latents_named(loaded).get(latent, ("", ""))[0],
        [t.token for t in found.promoted],
        [t.token for t in found.suppressed],
        contexts,
        {"density": found.density} | said,
    )


def settings(loaded: Loaded) -> dict[str, Any]:
    """Config, model, task and versions as ``saeeval run`` writes them."""
    texts, residuals, latents = loaded.task_set.texts, loaded.residuals, loaded.latents
    return {
        "config": json.loads(loaded.config.to_json()),
        "model": {
            "name": loaded.config.model,
            "hook": residuals.key.hook,
            "note": residuals.note,
            "sae": latents.sae,
            "sae_fingerprint": latents.sae_fingerprint,
            "recording": latents.fingerprint,
            **latents.unsupervised,
        },
        "task": {
            "name": texts.name,
            "source": texts.source,
            "composed": texts.composed,
            "texts": len(texts.texts),
            "fingerprint": texts.fingerprint,
            "small": loaded.task_set.small,
        },
        "versions": versions(),
    }


def command_line(config: RunConfig) -> str:
    """The ``saeeval run`` line of these settings, defaults left out."""
    plain = RunConfig()
    parts = ["saeeval run"]
    for option, name in (
        ("--model", "model"),
        ("--task", "task"),
        ("--texts", "texts"),
        ("--text-column", "text_column"),
        ("--target", "target"),
        ("--spurious", "spurious"),
        ("--classes", "classes"),
        ("--group-column", "group_column"),
        ("--protocol", "protocol"),
        ("--select", "selection"),
        ("--seed", "seed"),
    ):
        value = getattr(config, name)
        if value and value != getattr(plain, name):
            parts.append(f"{option} {shlex.quote(str(value))}")
    if config.saes != plain.saes:
        parts += [f"--sae {shlex.quote(s)}" for s in config.saes]
    for option, name in (("--metrics", "metrics"), ("--n", "ns")):
        if getattr(config, name) != getattr(plain, name):
            parts.append(f"{option} {','.join(map(str, getattr(config, name)))}")
    return " ".join(parts)


def _said(v: Verdict) -> str:
    return ", ".join(f"{c} {r}/4" for c, r in v.ratings.items() if r) or "all 0" if v.ok else f"no verdict: {v.status}"


def _tpp_figures(row: Mapping[str, Any], n: int, drawn: list[ReportFigure], headline: list[tuple[str, str]]) -> None:
    tpp, sae = row["tpp"], str(row["sae"])
    cell = min(tpp["by_n"], key=lambda c: abs(c["n"] - n))
    test, classes = cell["test"], tpp["classes"]
    ranges = test.get("matrix_ci") or [[None] * len(classes)] * len(classes)
    matrix = [
        [_estimate(v, ci, "probe not better than chance") for v, ci in zip(*pair, strict=True)]
        for pair in zip(test["matrix"], ranges, strict=True)
    ]
    headline.append((f"TPP, {sae}, N = {cell['n']}", say(_estimate(test["score"], test["ci"], test["reason"]))))
    heat = tpp_heatmap(classes, matrix, title=f"TPP matrix, {sae}, N = {cell['n']}", n_ablated=cell["n_ablated"])
    rows = [{"ablated": a} | {p: say(matrix[i][j]) for j, p in enumerate(classes)} for i, a in enumerate(classes)]
    _draw(drawn, f"TPP matrix: {sae}", heat, rows)
    points = [
        (
            c["n"],
            *(
                _estimate(*c["test"][k].values())
                if k != "score"
                else _estimate(c["test"]["score"], c["test"]["ci"], None)
                for k in ("score", "intended", "unintended")
            ),
        )
        for c in tpp["by_n"]
    ]
    curve = tpp_by_n(points, marked=cell["n"], title=f"TPP against N, {sae}")
    _draw(drawn, f"TPP against N: {sae}", curve, [{"N": p[0], "score": say(p[1])} for p in points])


def _shift_figures(row: Mapping[str, Any], n: int, drawn: list[ReportFigure], headline: list[tuple[str, str]]) -> None:
    sae = str(row["sae"])
    curves: dict[str, list[tuple[int, Estimate]]] = {}
    for d in row["shift"]["directions"]:
        points = [(c["n"], _estimate(c["test"]["score"], c["test"]["ci"], c["test"]["reason"])) for c in d["by_n"]]
        curves[f"{d['pair']}, target {d['target']}"] = points
    for a in row["shift"]["aggregate"]:
        if a["n"] == n:
            t = a["test"]
            headline.append(
                (f"SHIFT, {sae}, N = {n}, mean over pairs", say(_estimate(t["score"], t["ci"], t["reason"])))
            )
    defined = {k: p for k, p in curves.items() if any(e.value is not None for _, e in p)}
    rows = [{"direction": k, "N": m, "score": say(e)} for k, p in curves.items() for m, e in p]
    chart = score_curve(defined, title=f"SHIFT against N, {sae}", y="S (1 = as good as the oracle)")
    _draw(drawn, f"SHIFT against N: {sae}", chart, rows)


def _beside(row: Mapping[str, Any], n: int, drawn: list[ReportFigure], headline: list[tuple[str, str]]) -> None:
    """The recommended areas, what they and the paper's scores do not beat, and every control at N and of the areas."""
    sae = str(row["sae"])
    for metric in ("shift", "tpp"):
        area = ((row.get(metric) or {}).get("small_n_area") or {}).get("test")
        if area:
            value = say(_estimate(area["score"], area["ci"], area["reason"]))
            headline.append((f"{metric.upper()}, {sae}, {RECOMMENDED}", value))
    headline += [(f"{sae}, not above a control", str(line)) for line in row.get("warnings", ())]
    rows = [
        {
            "score": f"{c['metric'].upper()}, {c['variant'] if c['n'] is None else f'N = {n}, zero ablation'}",
            "control": c["name"],
            "value": say(_estimate(c["value"], c["ci"], c["reason"])),
            "how it is made": c["about"],
        }
        for c in row.get("controls", ())
        if (c["variant"], c["n"]) in ((RECOMMENDED, None), ("top-N", n))
    ]
    if rows:
        drawn.append(ReportFigure(f"Controls: {sae}", "", "test texts; random latents: range of the draws", rows))


def _draw(drawn: list[ReportFigure], title: str, figure: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    html = fragment(figure, library=not drawn)
    drawn.append(ReportFigure(title, html, f"test texts; 95 % intervals over {LEVEL}", rows))


def _estimate(value: float | None, ci: Sequence[float] | None, reason: str | None) -> Estimate:
    return Estimate(value, (ci[0], ci[1]) if ci else None, None if value is not None else reason or "undefined")
