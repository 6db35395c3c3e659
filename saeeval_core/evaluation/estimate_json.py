"""The JSON of what results hold many times: estimates, and what fresh probes read. ``result_json`` puts them together."""

from collections.abc import Mapping
from typing import Any

from saeeval_core.evaluation.result import Erasure, FreshProbes
from saeeval_core.scores.uncertainty import Estimate, undefined

Json = dict[str, Any]
_NOT_THERE = "not in this file"


def estimate_of(row: Json | None, value: str = "value", ci: str = "ci") -> Estimate:
    """An estimate from the keys ``value``, ``ci`` and "reason"; a missing number is undefined with that reason."""
    if not row or row.get(value) is None:
        return undefined((row or {}).get("reason") or _NOT_THERE)
    return Estimate.of_dict({"value": row[value], "ci": row.get(ci), "reason": row.get("reason")})


def spelled(score: Estimate) -> Json:
    """An estimate whose value is called "score"."""
    return {"score": score.value, "ci": ci_json(score), "reason": score.reason}


def ci_json(score: Estimate) -> list[float] | None:
    """Its interval."""
    return list(score.ci) if score.ci else None


def parts_of(row: Json) -> list[str]:
    """The parts that a row has values of."""
    return [name for name in ("dev", "test") if isinstance(row.get(name), Mapping)]


def erasure_json(e: Erasure | None) -> Json:
    """The three keys of an erasure; none where there is none."""
    if e is None:
        return {}
    return {
        "recoverability": e.recoverability.to_dict(),
        "selective_erasure": e.selective_erasure.to_dict(),
        "edit_size": e.edit_size,
    }


def fresh_json(f: FreshProbes) -> Json:
    """The accuracies behind an erasure."""
    return {name: e.to_dict() if isinstance(e, Estimate) else e for name, e in vars(f).items()}


def erasures_of(row: Json) -> dict[str, Erasure]:
    """Part -> erasure of a row; empty in files of earlier versions."""
    return {name: e for name in parts_of(row) if (e := erasure_of(row[name])) is not None}


def erasure_of(row: Json) -> Erasure | None:
    """Inverse of ``erasure_json``."""
    if "selective_erasure" not in row:
        return None
    return Erasure(estimate_of(row.get("recoverability")), estimate_of(row["selective_erasure"]), row.get("edit_size"))


def fresh_of(row: Json | None) -> FreshProbes | None:
    """Inverse of ``fresh_json``; None in files of earlier versions."""
    if not row:
        return None
    names = [n for n in FreshProbes.__dataclass_fields__ if n != "reader"]
    return FreshProbes(str(row.get("reader", "")), *(estimate_of(row.get(n)) for n in names))
