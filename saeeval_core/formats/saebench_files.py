"""Our results in SAEBench's JSON schema, with the TPP matrix it drops, and published SAEBench files read back.

SAEBench writes one file per SAE and metric ("scr" or "tpp"); its metric names fix the numbers of ablated latents it can
hold. Everything else of ours (other N, intervals, matrix, reasons) travels in ``eval_result_unstructured``.
"""

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saeeval_core.errors import ArtifactError
from saeeval_core.scores.area import RECOMMENDED
from saeeval_core.sweep.columns import BLANK

SAEBENCH_NS = (2, 5, 10, 20, 50, 100, 500)
"""Numbers of ablated latents SAEBench has fields for."""
_SCR_KEY = re.compile(r"^scr_(dir1|metric|dir2)_threshold_(\d+)$")
_TPP_KEY = re.compile(r"^tpp_threshold_(\d+)_(total_metric|intended_diff_only|unintended_diff_only)$")


def export_saebench(result: Mapping[str, Any], *, when_ms: int) -> dict[str, dict[str, Any]]:
    """File name -> content, for the JSON of ``saeeval run``; ``when_ms``: time of the run in epoch milliseconds.

    The headline follows SAEBench: per pair the direction whose biased probe starts lower, then the mean over pairs.
    """
    files = {}
    for row in result["results"]:
        stem = re.sub(r"[^\w.-]+", "_", str(row["sae"]))
        if "shift" in row:
            files[f"{stem}_scr_eval_results.json"] = _file(result, row, "scr", *_scr(result, row["shift"]), when_ms)
        if "tpp" in row:
            files[f"{stem}_tpp_eval_results.json"] = _file(result, row, "tpp", *_tpp(result, row["tpp"]), when_ms)
    return files


def load_rows(path: Path) -> list[dict[str, Any]]:
    """Rows (keys of BLANK) of one JSON file: ``saeeval sweep`` or ``saeeval run``, or SAEBench's "scr" and "tpp" files.

    ArtifactError for a file that is none of them.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArtifactError(
            f"'{path.name}' is not readable JSON ({type(error).__name__}); give a result file"
        ) from None
    return rows_of(content, path.name)


def rows_of(content: Any, source: str) -> list[dict[str, Any]]:
    """As ``load_rows`` for parsed JSON; ``source`` names it in messages."""
    try:
        if isinstance(content, Mapping) and "eval_result_metrics" in content:
            return _published(content, source)
        if isinstance(content, Mapping) and isinstance(content.get("results"), list):
            return [cell for row in content["results"] for cell in _own(content, row)]
        if isinstance(content, Mapping) and content.get("kind") == "sweep":
            shared = dict(BLANK) | dict(content.get("shared") or {})
            return [shared | dict(row) for row in content["rows"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(
            f"'{source}' looks like a result file but lacks what is needed ({type(error).__name__}: {error}); make it again"
        ) from None
    raise ArtifactError(
        f"'{source}' is no result of saeeval ('results' or 'rows') nor of SAEBench ('eval_result_metrics'); choose another"
    )


def _file(
    result: Mapping[str, Any],
    row: Mapping[str, Any],
    kind: str,
    metrics: dict[str, float | None],
    details: list[dict[str, Any]],
    extra: dict[str, Any],
    when_ms: int,
) -> dict[str, Any]:
    config, about = result["config"], row.get("about") or {}
    settings = {
        "random_seed": config["seed"],
        "dataset_names": [result["task"]["name"]],
        "perform_scr": kind == "scr",
        "context_length": 128,
        "model_name": result["model"]["name"],
        "llm_dtype": result["model"]["dtype"],
        "n_values": list(config["ns"]),
    }
    identity = json.dumps([config, row["sae"], kind], sort_keys=True)
    ours = {
        "protocol": config["protocol"],
        "selection": row.get("selection"),
        "task": result["task"],
        "unsupervised": row.get("unsupervised"),
        "versions": result["versions"],
    }
    return {
        "eval_type_id": kind,
        "eval_config": settings,
        "eval_id": str(uuid.uuid5(uuid.NAMESPACE_URL, identity)),
        "datetime_epoch_millis": when_ms,
        "eval_result_metrics": {f"{kind}_metrics": metrics},
        "eval_result_details": details,
        # Not run by SAEBench: the field says who did.
        "sae_bench_commit_hash": f"saeeval {result['versions'].get('saeeval', '')}",
        "sae_lens_id": row["sae"],
        "sae_lens_release_id": None,
        "sae_lens_version": result["versions"].get("sae-lens"),
        "sae_cfg_dict": {
            "architecture": about.get("architecture"),
            "d_in": about.get("d_in"),
            "d_sae": about.get("n_latents"),
            "hook_name": about.get("hook"),
        },
        "eval_result_unstructured": extra | {"saeeval": ours | extra.get("saeeval", {})},
    }


def _scr(result: Mapping[str, Any], shift: Mapping[str, Any]) -> tuple[dict, list, dict]:
    """(metrics, details per pair, unstructured). dir1 is the pair's own direction, as "profession" in SAEBench."""
    by_pair: dict[str, list[Mapping[str, Any]]] = {}
    for direction in shift["directions"]:
        by_pair.setdefault(direction["pair"], []).append(direction)
    details = []
    for pair, directions in by_pair.items():
        values: dict[str, float | None] = {}
        lower = min(range(len(directions)), key=lambda i: directions[i]["base"]["test"]["value"])
        for i, direction in enumerate(directions[:2]):
            for cell in direction["by_n"]:
                values[f"scr_dir{i + 1}_threshold_{cell['n']}"] = cell["test"]["score"]
                if i == lower:
                    values[f"scr_metric_threshold_{cell['n']}"] = cell["test"]["score"]
        name = re.sub(r"\W+", "_", pair).strip("_")
        details.append({"dataset_name": f"{result['task']['name']}_scr_{name}_results"} | _known(values))
    keys = dict.fromkeys(k for d in details for k in d if k != "dataset_name")
    metrics = {k: _mean([d.get(k) for d in details]) for k in keys}
    return metrics, details, {"saeeval": {"shift": shift}}


def _tpp(result: Mapping[str, Any], tpp: Mapping[str, Any]) -> tuple[dict, list, dict]:
    """(metrics, details, unstructured): SAEBench's per-class numbers and our whole matrix."""
    name = f"{result['task']['name']}_tpp_results"
    values: dict[str, float | None] = {}
    per_class: dict[str, dict[str, float | None]] = {c: {} for c in tpp["classes"]}
    for cell in tpp["by_n"]:
        n, test = cell["n"], cell["test"]
        values |= _tpp_values(n, test["score"], test["intended"]["value"], test["unintended"]["value"])
        for i, label in enumerate(tpp["classes"]):
            own = test["matrix"][i][i]
            others = _mean([test["matrix"][i][j] for j in range(len(tpp["classes"])) if j != i])
            total = None if own is None or others is None else own - others
            per_class[label] |= _tpp_values(n, total, own, others)
    details = [{"dataset_name": name} | _known(values)]
    return _known(values), details, {name: per_class, "saeeval": {"tpp": tpp}}


def _tpp_values(
    n: int, total: float | None, intended: float | None, unintended: float | None
) -> dict[str, float | None]:
    return {
        f"tpp_threshold_{n}_total_metric": total,
        f"tpp_threshold_{n}_intended_diff_only": intended,
        f"tpp_threshold_{n}_unintended_diff_only": unintended,
    }


def _known(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Only the fields SAEBench's schema has."""
    return {k: v for k, v in values.items() if int(re.search(r"threshold_(\d+)", k)[1]) in SAEBENCH_NS}  # type: ignore[index]


def _mean(values: Sequence[float | None]) -> float | None:
    kept = [v for v in values if v is not None]
    return sum(kept) / len(kept) if kept else None


def _published(content: Mapping[str, Any], source: str) -> list[dict[str, Any]]:
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
    common = dict(BLANK) | {
        "sae": sae or source,
        "role": "imported",
        "architecture": str(cfg.get("architecture") or "unknown"),
        "n_latents": cfg.get("d_sae"),
        "l0": measured.get("l0"),
        "explained_variance": measured.get("explained_variance"),
        "training_tokens": cfg.get("training_tokens"),
        "model": str(config.get("model_name") or ""),
        "hook": str(cfg.get("hook_name") or ""),
        "task": ", ".join(config.get("dataset_names") or []) or "unknown",
        "metric": "shift" if kind == "scr" else "tpp",
        "protocol": ours.get("protocol") or "saebench",
        "selection": ours.get("selection") or "attribution",
        "level": "",
        "seed": config.get("random_seed"),
    }
    rows = []
    for key, value in content["eval_result_metrics"][f"{kind}_metrics"].items():
        match = _SCR_KEY.match(key) if kind == "scr" else _TPP_KEY.match(key)
        if match is None:
            continue
        n, which = (match[2], match[1]) if kind == "scr" else (match[1], match[2])
        if which in ("metric", "total_metric"):
            number = None if value is None else float(value)
            rows.append(
                common | {"n": int(n), "value": number, "reason": None if value is not None else "not in this file"}
            )
    return rows


def _own(content: Mapping[str, Any], row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All aggregate test scores of one row of ``saeeval run``; a failed SAE is one row with its message."""
    config, about, measured = content.get("config") or {}, row.get("about") or {}, row.get("unsupervised") or {}
    task = content.get("task") or {}
    common = (
        dict(BLANK)
        | {
            "sae": str(row["sae"]),
            "architecture": str(about.get("architecture") or "unknown"),
            "n_latents": about.get("n_latents"),
            "model": str((content.get("model") or {}).get("name", "")),
            "hook": str(about.get("hook") or ""),
            "task": str(task.get("name", "")),
            "composed": bool(task.get("composed")),
            "small": bool(task.get("small")),
            "protocol": str(config.get("protocol", "robust")),
            "selection": str(row.get("selection") or "attribution"),
            "seed": config.get("seed"),
            "training_tokens": about.get("training_tokens"),
            "training_seed": about.get("training_seed"),
        }
        | {k: measured.get(k) for k in ("l0", "explained_variance", "dead", "loss_recovered")}
    )
    if row.get("error"):
        return [common | {"status": "failed", "error": str(row["error"])}]
    rows = []
    for metric, cells in (
        ("shift", (row.get("shift") or {}).get("aggregate")),
        ("tpp", (row.get("tpp") or {}).get("by_n")),
    ):
        for cell in cells or ():
            value = cell["test"]
            low, high = value.get("ci") or (None, None)
            rows.append(
                common
                | {
                    "metric": metric,
                    "n": int(cell["n"]),
                    "value": value["score"],
                    "ci_low": low,
                    "ci_high": high,
                    "reason": value.get("reason"),
                    "pairs": value.get("pairs"),
                    "left_out": value.get("directions_left_out"),
                }
            )
        area = ((row.get(metric) or {}).get("small_n_area") or {}).get("test")
        if area:
            low, high = area.get("ci") or (None, None)
            rows.append(
                common
                | {
                    "metric": metric,
                    "variant": RECOMMENDED,
                    "value": area["score"],
                    "ci_low": low,
                    "ci_high": high,
                    "reason": area.get("reason"),
                    "pairs": area.get("pairs"),
                }
            )
    return rows
