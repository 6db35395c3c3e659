"""The JSON of a run's result: written by ``to_json``, read by ``from_json``. No other file uses its keys.

Files of earlier versions can be read: what they lack is empty, or undefined with that reason.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from saeeval_core.config import RunConfig
from saeeval_core.errors import ArtifactError, ConfigError
from saeeval_core.evaluation.estimate_json import (
    Json,
    by_part,
    ci_json,
    erasure_json,
    erasure_of,
    erasures_of,
    estimate_of,
    fresh_json,
    fresh_of,
    parts_json,
    parts_of,
    path_json,
    path_of,
    probes_json,
    probes_of,
    spelled,
)
from saeeval_core.evaluation.result import (
    AreaDifference,
    Control,
    DeletedWords,
    DirectionResult,
    ModelAbout,
    PairMean,
    Placed,
    RefitResult,
    RunResult,
    SaeResult,
    ShiftAtN,
    ShiftCell,
    ShiftResult,
    TaskAbout,
    TppAtN,
    TppCell,
    TppProbe,
    TppResult,
    require_shapes,
)
from saeeval_core.scores.uncertainty import Estimate, undefined
from saeeval_core.storage.artifacts import check_unchanged
from saeeval_core.storage.field_types import require_types
from saeeval_core.storage.parse_json import NotJson, parse_json
from saeeval_core.texts.tasks import MIN_CLASSES, MIRRORED


def to_json(result: RunResult) -> Json:
    """Plain JSON values of a result."""
    out: Json = {
        "config": json.loads(result.config.to_json()),
        "model": asdict(result.model),
        "task": asdict(result.task),
        "probes": {"shift": [probes_json(p) for p in result.probes]},
        "results": [_sae_json(s) for s in result.saes],
        "versions": dict(result.versions),
    }
    if result.deleted_words:
        out["probes"]["deleted_words"] = {
            name: {"words": list(d.words), "score": d.score.to_dict()} for name, d in result.deleted_words.items()
        }
    if any(s.controls for s in result.saes):
        out["controls"] = {p.control.name: p.control.about for s in result.saes for p in s.controls}
    if result.rivals:
        out["rivals"] = [path_json(p) for p in result.rivals]
    if result.refit_differences is not None:
        out["refit_differences"] = [
            {"metric": d.metric, "a": d.a, "b": d.b, "variant": d.variant} | d.score.to_dict()
            for d in result.refit_differences
        ]
    return out


def from_json(content: Any, source: str = "the file") -> RunResult:
    """Inverse of ``to_json``; ArtifactError for the JSON of anything else, naming ``source`` and what it lacks."""
    if not isinstance(content, Mapping):
        raise ArtifactError(f"{source} is no result of a run; give the JSON that saeeval run --json wrote")
    check_unchanged(source, content)
    if missing := [k for k in ("config", "task", "results", "versions") if k not in content]:
        raise ArtifactError(f"{source} has no '{missing[0]}'; give the JSON that saeeval run --json wrote")
    try:
        return require_shapes(require_types(_result(content)))
    except (ConfigError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ArtifactError(
            f"{source} looks like a result of a run but cannot be read ({type(error).__name__}: {error}); run it again"
        ) from None


def read_result(path: Path) -> RunResult:
    """The result in a file. ArtifactError when it is not one."""
    try:
        content = parse_json(path.read_bytes())
    except (OSError, NotJson) as error:
        raise ArtifactError(f"'{path}' is not JSON ({error}); give a file of saeeval run --json") from None
    return from_json(content, f"'{path.name}'")


def placed_json(placed: Placed) -> Json:
    """JSON of one control; also the form in which controls are stored on disk."""
    c = placed.control
    own = {"metric": placed.metric, "variant": placed.variant, "n": placed.n, "name": c.name, "about": c.about}
    paired = {} if c.difference is None else {"difference": c.difference.to_dict()}
    return own | c.score.to_dict() | paired


def placed_of(row: Json) -> Placed:
    """Inverse of ``placed_json``."""
    paired = estimate_of(row["difference"]) if "difference" in row else None
    control = Control(row["name"], estimate_of(row), row.get("about", ""), paired)
    return Placed(row["metric"], row["variant"], row["n"], control)


# Writing


def _sae_json(s: SaeResult) -> Json:
    out: Json = {"sae": s.sae, "about": dict(s.about), "selection": s.selection, "unsupervised": dict(s.unsupervised)}
    out |= {"error": s.error} if s.error else {}
    out |= {"notes": list(s.notes)} if s.notes else {}
    if s.shift is not None:
        out["shift"] = shift_json(s.shift)
    if s.tpp is not None:
        out["tpp"] = tpp_json(s.tpp)
    out |= {"warnings": list(s.warnings)} if s.warnings is not None else {}
    if s.controls:
        out["controls"] = [placed_json(p) for p in s.controls]
    return out


def shift_json(s: ShiftResult) -> Json:
    """The part of an SAE's result that is about SHIFT."""
    out: Json = {
        "directions": [_direction_json(d) for d in s.directions],
        "aggregate": [
            {"n": n} | {name: _mean_json(m) | erasure_json(s.erasure.get(n, {}).get(name)) for name, m in parts.items()}
            for n, parts in s.aggregate.items()
        ],
        "small_n_area": {"definition": s.definition} | {name: _mean_json(m) for name, m in s.area.items()},
    }
    return out if s.refits is None else out | {"refits": _refits_json(s.refits)}


def _mean_json(m: PairMean) -> Json:
    return spelled(m.score) | {"pairs": m.pairs, "directions_left_out": m.directions_left_out}


def _direction_json(d: DirectionResult) -> Json:
    return {
        "pair": d.pair,
        "target": d.target,
        "spurious": d.spurious,
        "target_values": d.target_values,
        "spurious_values": d.spurious_values,
        "by_n": [_shift_at_n_json(a) for a in d.by_n],
        "small_n_area": parts_json(d.area),
    } | probes_json(d.probes)


def _shift_at_n_json(a: ShiftAtN) -> Json:
    own = {"n": a.n, "n_ablated": a.n_ablated, "ids": list(a.ids), "state": a.state, "not_judged": a.not_judged}
    return own | {name: _shift_cell_json(c) for name, c in a.parts.items()}


def _shift_cell_json(c: ShiftCell) -> Json:
    out = {
        "accuracy": c.accuracy.value,
        "accuracy_ci": ci_json(c.accuracy),
        **spelled(c.score),
        "worst_group": c.worst_group.value,
        "worst_group_ci": ci_json(c.worst_group),
        "worst_group_name": c.worst_group_name,
        "leakage": c.leakage.value,
        "leakage_ci": ci_json(c.leakage),
        "mean_ablation": c.mean_ablation.to_dict(),
        "auc": c.auc.to_dict(),
    }
    out |= {} if c.saebench_value is None else {"saebench_value": c.saebench_value}
    out |= erasure_json(c.erasure)
    return out if c.fresh is None else out | {"fresh_probes": fresh_json(c.fresh)}


def tpp_json(t: TppResult) -> Json:
    """The part of an SAE's result that is about TPP."""
    out: Json = {
        "classes": list(t.classes),
        "clean": {name: [e.to_dict() for e in clean] for name, clean in t.clean.items()},
        "probes": [asdict(p) for p in t.probes],
        "by_n": [_tpp_at_n_json(a) for a in t.by_n],
    }
    if t.area:
        out["small_n_area"] = {"definition": t.definition} | {name: spelled(e) for name, e in t.area.items()}
    return out if t.refits is None else out | {"refits": _refits_json(t.refits)}


def _tpp_at_n_json(a: TppAtN) -> Json:
    out: Json = {"n": a.n, "n_ablated": list(a.n_ablated)}
    if a.ids is not None:
        out["ids"] = [list(own) for own in a.ids]
    if a.states is not None:
        out["state"] = list(a.states)
    return out | {name: _tpp_cell_json(c) for name, c in a.parts.items()}


def _tpp_cell_json(c: TppCell) -> Json:
    no_interval = all(e.ci is None and e.value is not None for row in c.matrix for e in row)
    out: Json = {
        "matrix": [[e.value for e in row] for row in c.matrix],
        "matrix_ci": None if no_interval else [[ci_json(e) for e in row] for row in c.matrix],
        **spelled(c.score),
        "intended": c.intended.to_dict(),
        "unintended": c.unintended.to_dict(),
    }
    out |= {} if c.mean_ablation is None else {"mean_ablation": _tpp_cell_json(c.mean_ablation)}
    return out if c.fresh is None else out | erasure_json(c.erasure) | {"fresh_probes": _tpp_cell_json(c.fresh)}


def _refits_json(r: RefitResult) -> Json:
    return {
        "level": r.level,
        "refits": r.refits,
        "small_n_area": r.area.to_dict(),
        "by_n": [{"n": n} | e.to_dict() for n, e in r.by_n.items()],
        "undefined_share": r.undefined_share,
    }


# Reading


def _result(content: Json) -> RunResult:
    probes = content.get("probes") or {}
    about = content.get("controls") or {}
    differences = content.get("refit_differences")
    return RunResult(
        RunConfig.from_json(json.dumps(content["config"])),
        ModelAbout(**_known(ModelAbout, content.get("model") or {}, name="")),
        TaskAbout(**_known(TaskAbout, content["task"], name="")),
        tuple(probes_of(p) for p in probes.get("shift", ())),
        tuple(_sae(row, about) for row in content["results"]),
        dict(content["versions"]),
        {
            name: DeletedWords(tuple(d["words"]), estimate_of(d["score"]))
            for name, d in probes.get("deleted_words", {}).items()
        },
        None if differences is None else tuple(map(_difference, differences)),
        tuple(map(path_of, content.get("rivals", ()))),
    )


def _known(kind: type, row: Json, **defaults: Any) -> Json:
    """The keys of a row that are fields of a type; keys that a later version added are ignored."""
    names = kind.__dataclass_fields__
    return defaults | {k: v for k, v in row.items() if k in names}


def _difference(row: Json) -> AreaDifference:
    return AreaDifference(row["metric"], row["a"], row["b"], row.get("variant", ""), estimate_of(row))


def _sae(row: Json, about: Mapping[str, str]) -> SaeResult:
    controls = [{"about": about.get(c["name"], "")} | c for c in row.get("controls", ())]
    return SaeResult(
        str(row["sae"]),
        row.get("about") or {},
        str(row.get("selection") or ""),
        row.get("unsupervised") or {},
        _shift(row["shift"]) if "shift" in row else None,
        _tpp(row["tpp"]) if "tpp" in row else None,
        tuple(placed_of(c) for c in controls),
        tuple(row["warnings"]) if "warnings" in row else None,
        str(row.get("error") or ""),
        tuple(map(str, row.get("notes", ()))),
    )


def _shift(row: Json) -> ShiftResult:
    area = row.get("small_n_area") or {}
    return ShiftResult(
        tuple(_direction(d) for d in row["directions"]),
        {a["n"]: {name: _mean(a[name]) for name in parts_of(a)} for a in row["aggregate"]},
        {name: _mean(area[name]) for name in parts_of(area)},
        area.get("definition", ""),
        _refits(row.get("refits")),
        {a["n"]: found for a in row["aggregate"] if (found := erasures_of(a))},
    )


def _mean(row: Json) -> PairMean:
    return PairMean(estimate_of(row, "score"), row.get("pairs"), row.get("directions_left_out"))


def _direction(row: Json) -> DirectionResult:
    return DirectionResult(
        row["pair"],
        row["target"],
        row["spurious"],
        row.get("target_values", ""),
        row.get("spurious_values", ""),
        tuple(_shift_at_n(a) for a in row["by_n"]),
        by_part(row.get("small_n_area")),
        probes_of(row),
    )


def _shift_at_n(row: Json) -> ShiftAtN:
    ids = tuple(row.get("ids", ()))
    return ShiftAtN(
        row["n"],
        ids,
        row.get("n_ablated", len(ids)),
        row.get("state", ""),
        row.get("not_judged", 0),
        {name: _shift_cell(row[name]) for name in parts_of(row)},
    )


def _shift_cell(row: Json) -> ShiftCell:
    return ShiftCell(
        estimate_of(row, "score"),
        _bare(row, "accuracy"),
        _bare(row, "worst_group"),
        row.get("worst_group_name", ""),
        _bare(row, "leakage"),
        estimate_of(row.get("mean_ablation")),
        estimate_of(row.get("auc")),
        row.get("saebench_value"),
        erasure_of(row),
        fresh_of(row.get("fresh_probes")),
    )


def _bare(row: Json, name: str) -> Estimate:
    """An estimate written as two keys, without a reason: the row's own one is about the score."""
    return estimate_of({"value": row.get(name), "ci": row.get(f"{name}_ci")})


def _tpp(row: Json) -> TppResult:
    area = row.get("small_n_area") or {}
    return TppResult(
        tuple(row["classes"]),
        {name: [estimate_of(e) for e in clean] for name, clean in (row.get("clean") or {}).items()},
        tuple(TppProbe(**_known(TppProbe, p)) for p in row.get("probes", ())),
        tuple(_tpp_at_n(a) for a in row["by_n"]),
        {name: _of_classes(len(row["classes"]), estimate_of(area[name], "score")) for name in parts_of(area)},
        area.get("definition", ""),
        _refits(row.get("refits")),
    )


def _of_classes(n: int, score: Estimate) -> Estimate:
    """A TPP score of so many classes; earlier versions wrote a zero for two of them, which nobody had measured."""
    return score if n >= MIN_CLASSES else undefined(MIRRORED)


def _tpp_at_n(row: Json) -> TppAtN:
    return TppAtN(
        row["n"],
        tuple(row["n_ablated"]),
        {name: _tpp_cell(row[name]) for name in parts_of(row)},
        tuple(tuple(own) for own in row["ids"]) if "ids" in row else None,
        tuple(row["state"]) if "state" in row else None,
    )


def _tpp_cell(row: Json) -> TppCell:
    values: Sequence[Sequence[float | None]] = row["matrix"]
    ranges = row.get("matrix_ci") or [[None] * len(values)] * len(values)
    matrix = [[_matrix_cell(v, ci) for v, ci in zip(*pair, strict=True)] for pair in zip(values, ranges, strict=True)]
    inner, fresh = row.get("mean_ablation"), row.get("fresh_probes")
    return TppCell(
        matrix,
        _of_classes(len(values), estimate_of(row, "score")),
        estimate_of(row.get("intended")),
        estimate_of(row.get("unintended")),
        _tpp_cell(inner) if inner else None,
        _tpp_cell(fresh) if fresh else None,
        erasure_of(row),
    )


def _matrix_cell(value: float | None, ci: Sequence[float] | None) -> Estimate:
    if value is None:
        return undefined("probe not better than chance")
    return Estimate(value, (ci[0], ci[1]) if ci else None)


def _refits(row: Json | None) -> RefitResult | None:
    if not row:
        return None
    by_n = {r["n"]: estimate_of(r) for r in row["by_n"]}
    return RefitResult(row["level"], row["refits"], estimate_of(row["small_n_area"]), by_n, row["undefined_share"])
