"""The JSON of what results hold many times: estimates, probes, what fresh probes read, paths. ``result_json`` puts them
together."""

from collections.abc import Mapping
from typing import Any

from saeeval_core.evaluation.result import DirectionProbes, Erasure, FreshProbes, LossPath, LossPoint
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
    } | _lost_json(e)


def _lost_json(e: Erasure) -> Json:
    both = {"target_lost": e.target_lost, "spurious_lost": e.spurious_lost}
    return {name: own.to_dict() for name, own in both.items() if own is not None}


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
    both = (estimate_of(row[k]) if k in row else None for k in ("target_lost", "spurious_lost"))
    kept, erased = estimate_of(row.get("recoverability")), estimate_of(row["selective_erasure"])
    size = row.get("edit_size")
    return Erasure(kept, erased, None if size is None else float(size), *both)


def fresh_of(row: Json | None) -> FreshProbes | None:
    """Inverse of ``fresh_json``; None in files of earlier versions."""
    if not row:
        return None
    names = [n for n in FreshProbes.__dataclass_fields__ if n != "reader"]
    return FreshProbes(str(row.get("reader", "")), *(estimate_of(row.get(n)) for n in names))


def parts_json(parts: Mapping[str, Estimate]) -> Json:
    """A number of every part."""
    return {name: e.to_dict() for name, e in parts.items()}


def probes_json(p: DirectionProbes) -> Json:
    """The probes of a direction."""
    return {
        "name": p.name,
        "n_per_quadrant": p.n_per_quadrant,
        "training_texts": p.training_texts,
        "c": dict(p.c),
        "base": parts_json(p.base),
        "oracle": parts_json(p.oracle),
        "attribute": parts_json(p.attribute),
        "reason": dict(p.reason),
    }


def by_part(row: Json | None) -> dict[str, Estimate]:
    """Inverse of ``parts_json``."""
    return {name: estimate_of(row[name]) for name in parts_of(row or {})} if row else {}


def probes_of(row: Json) -> DirectionProbes:
    """Inverse of ``probes_json``."""
    return DirectionProbes(
        row.get("name", ""),
        row.get("n_per_quadrant", 0),
        row.get("training_texts", 0),
        row.get("c") or {},
        by_part(row.get("base")),
        by_part(row.get("oracle")),
        by_part(row.get("attribute")),
        row.get("reason") or {},
    )


def path_json(p: LossPath) -> Json:
    """A dictionary's way through the plane; also the form in which rivals are stored on disk."""
    own = {k: getattr(p, k) for k in ("name", "kind", "pair", "target", "part", "about")}
    return own | {"points": [{k: _plain(v) for k, v in vars(point).items()} for point in p.points]}


def path_of(row: Json) -> LossPath:
    """Inverse of ``path_json``."""
    points = tuple(
        LossPoint(
            q["n"],
            *(estimate_of(q.get(k)) for k in ("score", "target_lost", "spurious_lost", "selective_erasure")),
            q.get("edit_size"),
        )
        for q in row["points"]
    )
    own = {k: str(row.get(k) or "") for k in ("pair", "target", "about")}
    return LossPath(str(row["name"]), str(row["kind"]), points, part=str(row.get("part") or "test"), **own)


def _plain(value: object) -> object:
    return value.to_dict() if isinstance(value, Estimate) else value
