"""Stored results for the Compare view: what sweeps, validations and published files say, read once per change on disk."""

import io
import json
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.services import loss_paths, uploads
from app.services.fresh_reader import answer
from app.services.shared import shared
from saeeval_core.config import assets_dir
from saeeval_core.errors import ArtifactError, ConfigError, DataError
from saeeval_core.evaluation.result import LossPath
from saeeval_core.evaluation.result_json import from_json
from saeeval_core.formats.saebench_files import export_saebench, load_rows, rows_of
from saeeval_core.scores.area import score_in
from saeeval_core.scores.uncertainty import Estimate
from saeeval_core.storage.field_types import require_types
from saeeval_core.storage.json_files import as_artifact, require
from saeeval_core.storage.parse_json import NotJson, parse_json
from saeeval_core.storage.row_json import check_result
from saeeval_core.sweep.columns import ScoreRow

COMMAND = "saeeval sweep --suite FOLDER --task bios --task reviews --json assets/results/sweep.json"
Json = Mapping[str, Any]
_reader = ThreadPoolExecutor(1, thread_name_prefix="stored-results")


@dataclass(frozen=True)
class Stored(ScoreRow):
    """A score and the file it stands in."""

    file: str = ""


@dataclass(frozen=True)
class PairDifference:
    """Two SAEs of a sweep in one setting, on the same texts, probes and resamples."""

    sae_a: str
    sae_b: str
    metric: str
    variant: str
    protocol: str
    task: str
    n: int | None
    difference: Estimate
    """Score of a minus score of b."""
    half_width: float | None
    """Smallest difference the test could have told apart."""
    level: str | None
    """What the interval varies."""
    part: str
    selection: str = ""
    """What chose the latents: of one setting each pair of SAEs is there once."""
    file: str = ""

    @classmethod
    def of_file(cls, row: Json, file: str = "") -> "PairDifference":
        """From a row of a sweep's file of that name. KeyError or ValueError for a row without its SAEs, setting or value."""
        ci = None if row.get("ci_low") is None else (row["ci_low"], row["ci_high"])
        own = cls(
            *(row[k] for k in ("sae_a", "sae_b", "metric", "variant", "protocol", "task", "n")),
            Estimate(row["value"], ci, row.get("reason") or "undefined"),
            row.get("half_width"),
            row.get("level"),
            row.get("part", "test"),
            row.get("selection", ""),
            file,
        )
        return require_types(own)


@dataclass(frozen=True)
class RankAgreement:
    """Spearman correlation of two quantities over the SAEs of one file."""

    x: str
    y: str
    spearman: float | None
    n_saes: int
    file: str


HELD_OUT = "held out"
OTHER_WORLDS = {
    "development": "worlds that choices were made on",
    "seen": "worlds held out for an earlier choice, looked at since",
}
"""Key in the file of ``saeeval validate`` -> what these worlds are."""


@dataclass(frozen=True)
class PlantedPoint:
    """One SAE of one planted world: how true it is, and what a score says of it."""

    world: str
    sae: str
    role: str
    """ "trained", "oracle" for the true dictionary, and others."""
    truth: float
    score: float


@dataclass(frozen=True)
class PlantedScore:
    """How well one metric under one protocol orders SAEs whose true order is known."""

    metric: str
    protocol: str
    worlds: str
    """Group of worlds: "held out", or those that a choice was made on or that were looked at before."""
    headline: str | None
    """The score that was correlated."""
    spearman: Estimate
    n_saes: int | None
    oracle_first: str
    """In how many worlds the true dictionary comes first."""
    oracle_rank: float | None
    """Mean rank of the true dictionary; 1 is best."""
    random_score: float | None
    permuted_score: float | None
    trend_with_training: float | None
    by_world: tuple[tuple[str, float], ...] = ()
    """(world, its own Spearman)."""
    points: tuple[PlantedPoint, ...] = ()
    """What was correlated, and the true dictionaries; where the file has them."""

    @classmethod
    def of_file(cls, metric: str, protocol: str, worlds: str, r: Json, content: Json) -> "PlantedScore":
        """From one entry of the file that ``saeeval validate`` writes; what it lacks is None. ValueError as above."""
        ci = r.get("spearman_ci")
        own = cls(
            metric,
            protocol,
            worlds,
            r.get("headline"),
            Estimate(r.get("spearman"), tuple(ci) if ci else None, "not computed"),
            r.get("n_saes"),
            f"{r.get('oracle_first', '?')} of {r.get('n_worlds', '?')} worlds",
            *(r.get(k) for k in ("oracle_rank", "random_score", "permuted_score", "trend_with_training")),
            tuple((w, v) for w, v in (r.get("spearman_by_world") or {}).items() if v is not None),
            tuple(_points(metric, protocol, r, content)),
        )
        return require_types(own)


def _points(metric: str, protocol: str, r: Json, content: Json) -> Iterator[PlantedPoint]:
    """Trained SAEs and true dictionaries of the worlds of one entry, as its score has them; those without one are left out."""
    for p in content.get("points", ()):
        if p["role"] not in ("trained", "oracle") or p["world"] not in (r.get("spearman_by_world") or {}):
            continue
        try:
            score = score_in(p[metric][protocol], r["variant"], r.get("n"), content["ns"])
        except ConfigError as error:
            raise ValueError(str(error)) from None
        if score is not None and p["truth"] is not None:
            yield PlantedPoint(p["world"], p["sae"], p["role"], p["truth"], score)


@dataclass(frozen=True)
class Planted:
    """One validation on planted truth."""

    scores: tuple[PlantedScore, ...]
    verdict: tuple[str, ...]
    """What follows from it, in sentences; the last one sums up."""

    @classmethod
    def of_file(cls, content: Json) -> "Planted":
        """From the file that ``saeeval validate`` writes."""
        scores = [
            PlantedScore.of_file(metric, protocol, worlds, r, content)
            for metric in ("shift", "tpp")
            for protocol, held_out in (content.get(metric) or {}).items()
            for worlds, headline in ((HELD_OUT, held_out), *((g, held_out.get(g)) for g in OTHER_WORLDS))
            if headline
            for r in (headline, *headline.get("beside", ()))
        ]
        return require_types(cls(tuple(scores), tuple(content.get("verdict", ()))))


@dataclass(frozen=True)
class Results:
    """Everything found, with what could not be read."""

    rows: list[Stored] = field(default_factory=list)
    differences: list[PairDifference] = field(default_factory=list)
    rank_agreement: list[RankAgreement] = field(default_factory=list)
    planted: list[Planted] = field(default_factory=list)
    faults: list[Json] = field(default_factory=list)
    """Rows of ``saeeval faults``: which columns a row has depends on where its setting was tried."""
    paths: dict[str, list[LossPath]] = field(default_factory=dict)
    """File of a run -> the paths of its SAEs and rivals through the plane of what both labels lose."""
    problems: list[str] = field(default_factory=list)
    made_by: dict[str, str] = field(default_factory=dict)
    """File -> the command that made it."""


def stored() -> Results:
    """All JSON files in assets/results."""
    return _read(_files())


def _files() -> tuple[tuple[str, int], ...]:
    """Every file and when it was changed."""
    files = sorted((assets_dir() / "results").glob("*.json"))
    return tuple((str(f), f.stat().st_mtime_ns) for f in files)


def soon() -> Results | None:
    """The same, read by another thread; None until it is done."""
    files = _files()
    return answer("stored results", files, lambda: _read(files), _reader)


@shared(max_entries=2)
def _read(files: tuple[tuple[str, int], ...]) -> Results:
    found = Results()
    for name, _ in files:
        path = Path(name)
        try:
            _add(found, path)
        except ArtifactError as error:
            found.problems.append(str(error))
    return found


def _add(found: Results, path: Path) -> None:
    """Put one file's content where it belongs. ArtifactError for a file of another kind."""
    try:
        content = parse_json(path.read_bytes())
    except (OSError, NotJson) as error:
        raise ArtifactError(f"'{path.name}' is not readable JSON ({error}); make it again") from None
    check_result(path, content)
    kind = content.get("kind") if isinstance(content, Mapping) else None
    if kind == "planted":
        with as_artifact(path):
            found.planted.append(Planted.of_file(content))
    elif kind == "faults":
        with as_artifact(path):
            found.faults.extend(map(_plain_row, content.get("rows", [])))
    else:
        found.rows.extend(_stored(load_rows(path), path.name))
        if paths := loss_paths.paths_of_content(content, f"'{path.name}'"):
            found.paths[path.name] = paths
        if kind == "sweep":
            _add_summary(found, content, path)
    if isinstance(content, Mapping) and content.get("made_by"):
        found.made_by[path.name] = str(content["made_by"])


@shared(max_entries=16)
def uploaded(content: bytes, name: str) -> tuple[list[Stored], dict[str, Json]]:
    """Scores of a JSON file of that name, and the same as SAEBench's files where it is a run of ours.

    Read by another process. DataError for what is not JSON, ArtifactError for a file of another kind.
    """
    rows, files = uploads.sent(content, read_result, name)
    return _stored((ScoreRow(**row) for row in rows), name), files


def read_result(path: str, name: str) -> tuple[list[Json], dict[str, Json]]:
    """As ``uploaded``, in the other process: fields of the rows, and the files."""
    try:
        content = parse_json(Path(path).read_bytes())
    except NotJson as error:
        raise DataError(f"'{name}' is not JSON ({error}); give a result file") from None
    return [vars(row) for row in rows_of(content, name)], saebench_files(content, name)


def saebench_files(content: object, name: str) -> dict[str, Json]:
    """File name -> content in SAEBench's schema, for the JSON of ``saeeval run``; none for other results.

    The files carry the time at which they are made: a run does not store its own. ArtifactError when the run lacks what
    the schema needs.
    """
    if not isinstance(content, Mapping) or "results" not in content:
        return {}
    return export_saebench(from_json(content, f"'{name}'"), when_ms=int(1000 * time.time()))


def zipped(files: Mapping[str, Json]) -> bytes:
    """The files, each as JSON, in one archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, json.dumps(content, indent=1))
    return out.getvalue()


def choices(rows: Iterable[object], column: str) -> list[Any]:
    """Distinct values of one column in order of first appearance."""
    return list(dict.fromkeys(v for r in rows if (v := getattr(r, column)) is not None))


def _stored(rows: Iterable[ScoreRow], file: str) -> list[Stored]:
    return [Stored(**vars(row), file=file) for row in rows]


def _add_summary(found: Results, content: Json, path: Path) -> None:
    with as_artifact(path):
        differences = [PairDifference.of_file(d, path.name) for d in content.get("differences") or []]
        ranks = [
            require_types(RankAgreement(r["x"], r["y"], r["spearman"], r["n_saes"], path.name))
            for r in content.get("rank_agreement") or []
        ]
        found.differences.extend(differences)
        found.rank_agreement.extend(ranks)


def _plain_row(row: Json) -> Json:
    require(all(isinstance(v, str | int | float | None) for v in row.values()), "a row holds lists or objects")
    return row
