"""Our results in SAEBench's JSON schema; and result files, SAEBench's published ones included, read as rows.

SAEBench writes one file per SAE and metric ("scr" or "tpp"); its metric names fix the numbers of ablated latents that a
file can hold. Everything else of ours (other N, intervals, TPP matrix, reasons) is stored in
``eval_result_unstructured``.
"""

import json
import math
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from saeeval_core.errors import ArtifactError
from saeeval_core.evaluation.result import Erasure, PairMean, RunResult, SaeResult, ShiftResult, TppResult
from saeeval_core.evaluation.result_json import from_json, shift_json, tpp_json
from saeeval_core.scores.area import RECOMMENDED
from saeeval_core.scores.uncertainty import mean_known
from saeeval_core.storage.artifacts import check_unchanged
from saeeval_core.storage.field_types import require_types
from saeeval_core.storage.parse_json import NotJson, parse_json
from saeeval_core.sweep.columns import ScoreRow, cells, erasure_cells

SAEBENCH_NS = (2, 5, 10, 20, 50, 100, 500)
"""Numbers of ablated latents SAEBench has fields for."""
_SCR_KEY = re.compile(r"^scr_(dir1|metric|dir2)_threshold_(\d+)$")
_TPP_KEY = re.compile(r"^tpp_threshold_(\d+)_(total_metric|intended_diff_only|unintended_diff_only)$")

Json = dict[str, Any]
Numbers = dict[str, float | None]


def export_saebench(result: RunResult, *, when_ms: int) -> dict[str, Json]:
    """File name -> content of a run's result; ``when_ms``: time of the run in epoch milliseconds.

    The headline follows SAEBench: per pair the direction whose biased probe starts lower, then the mean over pairs.
    ArtifactError for a result of an earlier version that lacks what the schema needs.
    """
    try:
        return {name: content for sae in result.saes for name, content in _files(result, sae, when_ms)}
    except KeyError as missing:
        raise ArtifactError(f"the result has no {missing}, which SAEBench's schema needs; run it again") from None


def _files(result: RunResult, sae: SaeResult, when_ms: int) -> Iterator[tuple[str, Json]]:
    stem = re.sub(r"[^\w.-]+", "_", sae.sae)
    if sae.shift is not None:
        yield f"{stem}_scr_eval_results.json", _file(result, sae, _scr(result, sae.shift), when_ms)
    if sae.tpp is not None:
        yield f"{stem}_tpp_eval_results.json", _file(result, sae, _tpp(result, sae.tpp), when_ms)


def load_rows(path: Path) -> list[ScoreRow]:
    """Rows of one JSON file: ``saeeval sweep`` or ``saeeval run``, or SAEBench's "scr" and "tpp" files.

    ArtifactError for a file that is none of them.
    """
    try:
        content = parse_json(path.read_bytes())
    except (OSError, NotJson) as error:
        raise ArtifactError(f"'{path.name}' is not readable JSON ({error}); give a result file") from None
    return rows_of(content, path.name)


def rows_of(content: object, source: str) -> list[ScoreRow]:
    """As ``load_rows`` for parsed JSON; ``source`` names it in messages."""
    check_unchanged(f"'{source}'", content)
    try:
        if isinstance(content, Mapping) and isinstance(content.get("results"), list):
            return list(run_rows(from_json(content, f"'{source}'")))
        if isinstance(content, Mapping) and "eval_result_metrics" in content:
            return _published(content, source)
        if isinstance(content, Mapping) and content.get("kind") == "sweep":
            shared = dict(content.get("shared") or {})
            return [ScoreRow.of_file(shared | dict(row)) for row in content["rows"]]
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ArtifactError(
            f"'{source}' looks like a result file but lacks what is needed ({type(error).__name__}: {error}); "
            "make it again"
        ) from None
    raise ArtifactError(
        f"'{source}' is no result of saeeval ('results' or 'rows') nor of SAEBench ('eval_result_metrics'); "
        "choose another"
    )


def run_rows(result: RunResult) -> Iterator[ScoreRow]:
    """All aggregate test scores of a run; a failed SAE is one row with its message."""
    for sae in result.saes:
        blank = _blank(result, sae)
        if sae.error:
            yield replace(blank, status="failed", error=sae.error)
            continue
        if sae.shift is not None:
            yield from _shift_rows(replace(blank, metric="shift"), sae.shift)
        if sae.tpp is not None:
            yield from _tpp_rows(replace(blank, metric="tpp"), sae.tpp)


def _shift_rows(blank: ScoreRow, shift: ShiftResult) -> Iterator[ScoreRow]:
    def row(mean: PairMean, **place: object) -> ScoreRow:
        return replace(blank, pairs=mean.pairs, left_out=mean.directions_left_out, **place, **cells(mean.score))

    for n, parts in shift.aggregate.items():
        yield row(parts["test"], n=n, **_erased(shift.erasure.get(n, {}).get("test")))
    if "test" in shift.area:
        yield row(shift.area["test"], variant=RECOMMENDED)


def _tpp_rows(blank: ScoreRow, tpp: TppResult) -> Iterator[ScoreRow]:
    for at in tpp.by_n:
        test = at.parts["test"]
        yield replace(blank, n=at.n, **cells(test.score), **_erased(test.erasure))
    if "test" in tpp.area:
        yield replace(blank, variant=RECOMMENDED, **cells(tpp.area["test"]))


def _erased(found: Erasure | None) -> dict[str, Any]:
    return {} if found is None else erasure_cells(found)


def _blank(result: RunResult, sae: SaeResult) -> ScoreRow:
    about = {k: v for k, v in sae.about.items() if k in ("n_latents", "training_tokens", "training_seed")}
    figures = {k: sae.unsupervised.get(k) for k in ("l0", "explained_variance", "dead", "loss_recovered")}
    return ScoreRow.of_file(
        about | figures,
        sae=sae.sae,
        architecture=str(sae.about.get("architecture") or "unknown"),
        model=result.model.name,
        dtype=result.model.dtype,
        kernel=result.versions.get("kernel", ""),
        hook=str(sae.about.get("hook") or ""),
        task=result.task.name,
        composed=result.task.composed,
        small=result.small,
        protocol=result.config.protocol,
        selection=sae.selection or "attribution",
        seed=result.config.seed,
    )


@dataclass(frozen=True)
class _Body:
    """The content of one of SAEBench's files."""

    kind: str
    """ "scr" or "tpp"."""
    metrics: Numbers
    details: list[Json]
    ours: Json
    """The same scores in our JSON."""
    extra: Json = field(default_factory=dict)


def _file(result: RunResult, sae: SaeResult, body: _Body, when_ms: int) -> Json:
    config, about = json.loads(result.config.to_json()), sae.about
    settings = {
        "random_seed": result.config.seed,
        "dataset_names": [result.task.name],
        "perform_scr": body.kind == "scr",
        "context_length": 128,
        "model_name": result.model.name,
        "llm_dtype": result.model.dtype,
        "n_values": list(result.config.ns),
    }
    identity = json.dumps([config, sae.sae, body.kind], sort_keys=True)
    ours = {
        "protocol": result.config.protocol,
        "selection": sae.selection,
        "task": asdict(result.task),
        "unsupervised": dict(sae.unsupervised),
        "versions": dict(result.versions),
    }
    return {
        "eval_type_id": body.kind,
        "eval_config": settings,
        "eval_id": str(uuid.uuid5(uuid.NAMESPACE_URL, identity)),
        "datetime_epoch_millis": when_ms,
        "eval_result_metrics": {f"{body.kind}_metrics": body.metrics},
        "eval_result_details": body.details,
        # Not run by SAEBench: the field says who did.
        "sae_bench_commit_hash": f"saeeval {result.versions.get('saeeval', '')}",
        "sae_lens_id": sae.sae,
        "sae_lens_release_id": None,
        "sae_lens_version": result.versions.get("sae-lens"),
        "sae_cfg_dict": {
            "architecture": about.get("architecture"),
            "d_in": about.get("d_in"),
            "d_sae": about.get("n_latents"),
            "hook_name": about.get("hook"),
        },
        "eval_result_unstructured": body.extra | {"saeeval": ours | body.ours},
    }


def _scr(result: RunResult, shift: ShiftResult) -> _Body:
    """SCR of one SAE; dir1 is the pair's own direction, as "profession" in SAEBench."""
    details: list[Json] = []
    for pair in dict.fromkeys(d.pair for d in shift.directions):
        own = [d for d in shift.directions if d.pair == pair]
        lower = min(range(len(own)), key=lambda i: float(own[i].probes.base["test"].value or 0))
        values: Numbers = {}
        for i, direction in enumerate(own[:2]):
            for a in direction.by_n:
                score = a.parts["test"].score.value
                values[f"scr_dir{i + 1}_threshold_{a.n}"] = score
                if i == lower:
                    values[f"scr_metric_threshold_{a.n}"] = score
        name = re.sub(r"\W+", "_", pair).strip("_")
        details.append({"dataset_name": f"{result.task.name}_scr_{name}_results"} | _known(values))
    keys = dict.fromkeys(k for d in details for k in d if k != "dataset_name")
    metrics = {k: mean_known([d.get(k) for d in details]) for k in keys}
    return _Body("scr", metrics, details, {"shift": shift_json(shift)})


def _tpp(result: RunResult, tpp: TppResult) -> _Body:
    """SAEBench's per-class numbers and our whole matrix."""
    name = f"{result.task.name}_tpp_results"
    values: Numbers = {}
    per_class: dict[str, Numbers] = {c: {} for c in tpp.classes}
    for a in tpp.by_n:
        test = a.parts["test"]
        values |= _tpp_values(a.n, test.score.value, test.intended.value, test.unintended.value)
        for i, label in enumerate(tpp.classes):
            own = test.matrix[i][i].value
            others = mean_known([e.value for j, e in enumerate(test.matrix[i]) if j != i])
            total = None if own is None or others is None else own - others
            per_class[label] |= _tpp_values(a.n, total, own, others)
    details: list[Json] = [{"dataset_name": name} | _known(values)]
    return _Body("tpp", _known(values), details, {"tpp": tpp_json(tpp)}, {name: per_class})


def _tpp_values(n: int, total: float | None, intended: float | None, unintended: float | None) -> Numbers:
    return {
        f"tpp_threshold_{n}_total_metric": total,
        f"tpp_threshold_{n}_intended_diff_only": intended,
        f"tpp_threshold_{n}_unintended_diff_only": unintended,
    }


def _known(values: Numbers) -> Numbers:
    """Only the fields SAEBench's schema has."""
    return {k: v for k, v in values.items() if int(re.search(r"threshold_(\d+)", k)[1]) in SAEBENCH_NS}  # type: ignore[index]


def _published(content: Mapping[str, Any], source: str) -> list[ScoreRow]:
    """The averaged metrics of one SAEBench file; no intervals are published."""
    kind = content["eval_type_id"]
    if kind not in ("scr", "tpp"):
        raise ArtifactError(
            f"'{source}' is SAEBench's '{kind}' evaluation; only 'scr' and 'tpp' hold scores to compare"
        )
    cfg, config = content.get("sae_cfg_dict") or {}, content.get("eval_config") or {}
    ours = (content.get("eval_result_unstructured") or {}).get("saeeval", {})
    measured = ours.get("unsupervised") or {}
    sae = "/".join(str(part) for part in (content.get("sae_lens_release_id"), content.get("sae_lens_id")) if part)
    common = ScoreRow(
        sae=sae or source,
        role="imported",
        architecture=str(cfg.get("architecture") or "unknown"),
        n_latents=cfg.get("d_sae"),
        l0=measured.get("l0"),
        explained_variance=measured.get("explained_variance"),
        training_tokens=cfg.get("training_tokens"),
        model=str(config.get("model_name") or ""),
        dtype=str(config.get("llm_dtype") or ""),
        hook=str(cfg.get("hook_name") or ""),
        task=", ".join(config.get("dataset_names") or []) or "unknown",
        metric="shift" if kind == "scr" else "tpp",
        protocol=ours.get("protocol") or "saebench",
        selection=ours.get("selection") or "attribution",
        level="",
        seed=config.get("random_seed"),
    )
    rows = []
    for key, value in content["eval_result_metrics"][f"{kind}_metrics"].items():
        match = _SCR_KEY.match(key) if kind == "scr" else _TPP_KEY.match(key)
        if match is None:
            continue
        n, which = (match[2], match[1]) if kind == "scr" else (match[1], match[2])
        if which in ("metric", "total_metric"):
            known = isinstance(value, float | int) and math.isfinite(value)
            reason = None if known else "not in this file" if value is None else "no number in this file"
            rows.append(require_types(replace(common, n=int(n), value=value if known else None, reason=reason)))
    return rows
