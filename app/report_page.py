"""Reports: the figures of a result and the evidence for decided latents, as one page that opens offline."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import plotly.graph_objects as go

from app.figures.loss_plane import CURVES, loss_curves, loss_plane, loss_rows, plane_words
from app.figures.shift import score_curve
from app.figures.svg import to_svg
from app.figures.tpp import tpp_by_n, tpp_heatmap
from app.services import ledger, verdicts
from app.services.evidence import evidence_of
from app.services.loading import Loaded
from saeeval_core.config import RunConfig
from saeeval_core.controls.attach import rival_lines
from saeeval_core.evaluation.equal_edit import LETTERS, equal_edit_lines
from saeeval_core.evaluation.paths import path_of_result
from saeeval_core.evaluation.result import Control, Erasure, Placed, RunResult, SaeResult, ShiftResult, TppResult
from saeeval_core.formats import sentences
from saeeval_core.formats.report import ReportFigure, ReportLatent, Told, report_html
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.recordings.known_saes import neuronpedia_page
from saeeval_core.scores.area import RECOMMENDED, TOP_N
from saeeval_core.scores.erasure import ERASURE
from saeeval_core.scores.uncertainty import LEVEL, say
from saeeval_core.versions import versions
from saeeval_core.wording import head, short_time, tail

EDIT = "edit size: share of whitened variance that ablation removes; compared in words only where both curves reach"
CONTEXTS = 5
"""Contexts shown per decided latent."""
AROUND = 60
"""Characters of running text shown on each side of a context."""


def result_page(result: RunResult, *, when: str, n: int = 20) -> str:
    """Report of a run on test texts: per SAE the TPP matrix at ``n``, the scores against N, and the controls."""
    drawn: list[ReportFigure] = []
    headline: list[tuple[str, str]] = []
    for sae in result.saes:
        if sae.error:
            headline.append((sae.sae, f"failed: {sae.error}"))
            continue
        if sae.tpp is not None:
            _tpp_figures(sae, sae.tpp, n, drawn, headline)
        if sae.shift is not None:
            _shift_figures(sae, sae.shift, n, drawn, headline)
        _controls(sae, n, drawn, headline)
    _gone(result, drawn)
    name = result.task.name + (" (composed texts)" if result.task.composed else "")
    about: dict[str, Mapping[str, object]] = {
        "model": asdict(result.model),
        "task": asdict(result.task),
        "config": json.loads(result.config.to_json()),
        "versions": result.versions,
    }
    title, command = f"SHIFT and TPP on {name}", command_line(result.config)
    told = Told([line for sae in result.saes for line in _sentences(sae, n)])
    return report_html(about, drawn, title=title, command=command, when=when, headline=headline, told=told)


def _sentences(sae: SaeResult, n: int) -> list[str]:
    """What a run found of one SAE, in words: top ``n`` by attribution, zero ablation, test texts."""
    said = [f"{sae.sae}, test texts:"]
    if sae.shift is not None and n in sae.shift.aggregate:
        score = sae.shift.aggregate[n]["test"].score
        said += [sentences.gap_closed(f"the {n} latents with the largest effect", score)]
        if (gone := sae.shift.erasure.get(n, {}).get("test")) is not None:
            said.append(sentences.erased(gone))
        said.append(sentences.beside(score, _placed(sae, "shift", n)))
    if sae.tpp is not None and (at := next((a for a in sae.tpp.by_n if a.n == n), None)) is not None:
        test = at.parts["test"]
        said += [sentences.classes_apart(test.score, test.intended, test.unintended)]
        said.append(sentences.beside(test.score, _placed(sae, "tpp", n)))
    return [line for line in said if line] if len(said) > 1 else []


def _placed(sae: SaeResult, metric: str, n: int) -> list[Control]:
    return [p.control for p in sae.controls if (p.metric, p.variant, p.n) == (metric, TOP_N, n)]


def view_page(
    loaded: Loaded,
    drawn: Sequence[tuple[str, go.Figure, Sequence[Mapping[str, Any]]]],
    *,
    title: str,
    when: str,
    headline: Sequence[tuple[str, str]],
    sets: Sequence[tuple[str, DecisionSet, np.ndarray]],
    command: str,
    part: str,
    told: Told,
) -> str:
    """Report of a view: its figures ``drawn`` (title, figure, rows), and the decisions of ``sets``.

    ``sets``: (class, set, float[latents]: what each latent carries of the probe's logit difference). ``part``: the
    texts scored, "dev" or "test".
    """
    how = f"95 % intervals over {part} texts"
    parts = [ReportFigure(name, to_svg(figure), how, rows) for name, figure, rows in drawn]
    decided = [
        evidence(loaded, latent, decision, of, float(effects[latent]))
        for of, stored, effects in sets
        for latent, decision in sorted(ledger.store().decisions(stored.id, loaded.latents.n_latents).items())
    ]
    log = [
        {"when": short_time(d.at), "who": d.who, "class": of, "latent": d.latent}
        | {"old": d.old, "new": d.new, "reason": d.reason}
        for of, stored, _ in sets
        for d in ledger.store().history(stored.id)
    ]
    about = settings(loaded)
    return report_html(
        about, parts, title=title, command=command, when=when, headline=headline, latents=decided, log=log, told=told
    )


def evidence(loaded: Loaded, latent: int, decision: str, of: str = "", effect: float = 0.0) -> ReportLatent:
    """Contexts, tokens and verdicts of one decided latent, with what it carries of the probe's logit difference."""
    found = evidence_of(loaded, latent)
    contexts = [
        (
            f"{c.source}{', ' + c.cell if c.cell else ''}",
            [(tail(c.before, AROUND), 0.0), *zip(c.tokens, c.activations, strict=True), (head(c.after, AROUND), 0.0)],
        )
        for c in found.contexts[:CONTEXTS]
    ]
    said = {
        f"{v.rater} \u00b7 {verdicts.GIVEN_BY[v.rater_kind]}": _said(v)
        for v in verdicts.current(loaded)
        if v.latent == latent
    }
    return ReportLatent(
        latent,
        decision,
        of,
        verdicts.latents_named(loaded).get(latent, ("", ""))[0],
        [t.token for t in found.promoted],
        [t.token for t in found.suppressed],
        contexts,
        {"carries": f"{effect:+.3f} of the probe's logit difference", "density": found.density} | said,
        effect,
        neuronpedia_page(loaded.latents.sae, latent),
    )


def settings(loaded: Loaded) -> dict[str, Mapping[str, object]]:
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
        "versions": versions(residuals.kernel),
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
        ("--encoding", "encoding"),
        ("--delimiter", "delimiter"),
        ("--protocol", "protocol"),
        ("--select", "selection"),
        ("--seed", "seed"),
        ("--probe-hook", "probe_hook"),
        ("--dtype", "dtype"),
        ("--kernel", "kernel"),
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


def _tpp_figures(
    sae: SaeResult, tpp: TppResult, n: int, drawn: list[ReportFigure], headline: list[tuple[str, str]]
) -> None:
    at = min(tpp.by_n, key=lambda a: abs(a.n - n))
    test, classes = at.parts["test"], tpp.classes
    headline.append((f"TPP, {sae.sae}, N = {at.n}", say(test.score)))
    read = {a.n: a.parts["test"].erasure for a in tpp.by_n}
    headline += [c for k, e in read.items() for c in _erasure_cards(f"TPP, {sae.sae}, N = {k}", e)]
    heat = tpp_heatmap(classes, test.matrix, title=f"TPP matrix, {sae.sae}, N = {at.n}", n_ablated=at.n_ablated)
    rows = [{"ablated": a} | {p: say(test.matrix[i][j]) for j, p in enumerate(classes)} for i, a in enumerate(classes)]
    _draw(drawn, f"TPP matrix: {sae.sae}", heat, rows)
    cells = [(a.n, a.parts["test"]) for a in tpp.by_n]
    points = [(k, c.score, c.intended, c.unintended) for k, c in cells]
    curve = tpp_by_n(points, marked=at.n, title=f"TPP against N, {sae.sae}")
    _draw(
        drawn,
        f"TPP against N: {sae.sae}",
        curve,
        [{"N": k, "score": say(c.score)} | _erased(read[k]) for k, c in cells],
    )


def _shift_figures(
    sae: SaeResult, shift: ShiftResult, n: int, drawn: list[ReportFigure], headline: list[tuple[str, str]]
) -> None:
    curves = {f"{d.pair}, target {d.target}": [(a.n, a.parts["test"].score) for a in d.by_n] for d in shift.directions}
    if n in shift.aggregate:
        headline.append((f"SHIFT, {sae.sae}, N = {n}, mean over pairs", say(shift.aggregate[n]["test"].score)))
        mean = shift.erasure.get(n, {}).get("test")
        headline += _erasure_cards(f"SHIFT, {sae.sae}, N = {n}, mean over pairs", mean)
    defined = {k: p for k, p in curves.items() if any(e.value is not None for _, e in p)}
    read = {f"{d.pair}, target {d.target}": {a.n: a.parts["test"].erasure for a in d.by_n} for d in shift.directions}
    rows = [{"direction": k, "N": m, "score": say(e)} | _erased(read[k][m]) for k, p in curves.items() for m, e in p]
    chart = score_curve(defined, title=f"SHIFT against N, {sae.sae}", y="S (1 = as good as the oracle)")
    _draw(drawn, f"SHIFT against N: {sae.sae}", chart, rows)


def _gone(result: RunResult, drawn: list[ReportFigure]) -> None:
    """The plane of what both labels lose, the curves against edit size, and the comparison at equal edit in words."""
    own = [p for sae in result.saes if (p := path_of_result(sae)) is not None]
    paths = [*own, *(p for p in result.rivals if not p.pair)]
    if not own:
        return
    rivals = "" if result.rivals else " Rivals not measured: run with --rivals."
    plane = loss_plane(paths, title="Target and spurious label lost, mean over pairs")
    how = f"test texts; {plane_words(paths)}{rivals}"
    drawn.append(ReportFigure("What both labels lose", to_svg(plane), how, loss_rows(paths)))
    for of in LETTERS:
        curve = loss_curves(paths, of=of, against="edit_size", title=f"{CURVES[of]} against edit size, mean over pairs")
        lines = [{"at equal edit": line} for sae in result.saes for line in equal_edit_lines(sae, result.rivals, [of])]
        title = f"{LETTERS[of]} against edit size"
        drawn.append(ReportFigure(title, to_svg(curve), f"test texts; {EDIT}", lines))


def _erasure_cards(what: str, e: Erasure | None) -> list[tuple[str, str]]:
    """R and E in the headline; nothing for results of earlier versions."""
    if e is None:
        return []
    return [
        (f"Still readable (R), {what}", say(e.recoverability)),
        (f"Selective erasure (E), {what}", say(e.selective_erasure)),
    ]


def _erased(e: Erasure | None) -> dict[str, str]:
    """R, E and edit size in a row of a table."""
    if e is None:
        return {}
    size = {} if e.edit_size is None else {"edit size": f"{e.edit_size:.3f}"}
    return {"still readable (R)": say(e.recoverability), "selective erasure (E)": say(e.selective_erasure)} | size


def _controls(sae: SaeResult, n: int, drawn: list[ReportFigure], headline: list[tuple[str, str]]) -> None:
    """The recommended areas, the warnings, and every control at ``n`` and of the areas."""
    areas = {
        "shift": sae.shift.area["test"].score if sae.shift and sae.shift.area else None,
        "tpp": sae.tpp.area.get("test") if sae.tpp else None,
    }
    headline += [
        (f"{metric.upper()}, {sae.sae}, {RECOMMENDED}", say(area)) for metric, area in areas.items() if area is not None
    ]
    headline += [(f"{sae.sae}, note", line) for line in sae.notes]
    headline += [(f"{sae.sae}, not above a control", line) for line in sae.warnings or ()]
    if sae.controls:
        headline += [(f"{sae.sae}, against other dictionaries", line) for line in rival_lines(sae)]
    rows = [
        {
            "score": f"{p.metric.upper()}, {_place(p)}",
            "control": p.control.name,
            "value": say(p.control.score),
            "how it is made": p.control.about,
        }
        for p in sae.controls
        if (p.variant, p.n) in ((RECOMMENDED, None), (TOP_N, n)) or p.variant == ERASURE
    ]
    if rows:
        drawn.append(ReportFigure(f"Controls: {sae.sae}", "", "test texts; random latents: range of the draws", rows))


def _place(p: Placed) -> str:
    if p.variant == TOP_N:
        return f"N = {p.n}, zero ablation"
    return p.variant if p.n is None else f"{p.variant}, N = {p.n}"


def _draw(drawn: list[ReportFigure], title: str, figure: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    drawn.append(ReportFigure(title, to_svg(figure), f"test texts; 95 % intervals over {LEVEL}", rows))
