"""Stored results for the Compare view: what sweeps, validations and published files say, read once per change on disk."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.services.shared import shared
from saeeval_core.config import assets_dir
from saeeval_core.errors import ArtifactError
from saeeval_core.formats.saebench_files import load_rows

COMMAND = "saeeval sweep --suite FOLDER --task bios --task reviews --json assets/results/sweep.json"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Results:
    """Everything found, with what could not be read."""

    rows: list[Row] = field(default_factory=list)
    """Keys of bench_format.BLANK, and ``file``."""
    differences: list[Row] = field(default_factory=list)
    rank_agreement: list[Row] = field(default_factory=list)
    planted: list[Row] = field(default_factory=list)
    faults: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    made_by: dict[str, str] = field(default_factory=dict)
    """File -> the command that made it."""


def stored() -> Results:
    """All JSON files in assets/results."""
    folder = assets_dir() / "results"
    files = sorted(folder.glob("*.json"))
    return _read(tuple((str(f), f.stat().st_mtime_ns) for f in files))


@shared(max_entries=2)
def _read(files: tuple[tuple[str, int], ...]) -> Results:
    found = Results()
    for name, _ in files:
        path = Path(name)
        try:
            add(found, path)
        except ArtifactError as error:
            found.problems.append(str(error))
    return found


def add(found: Results, path: Path) -> None:
    """Put one file's content where it belongs. ArtifactError for a file of another kind."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        raise ArtifactError(f"'{path.name}' is not readable JSON; make it again") from None
    kind = content.get("kind") if isinstance(content, Mapping) else None
    if kind == "planted":
        found.planted.append(content)
    elif kind == "faults":
        found.faults.extend(content.get("rows", []))
    else:
        found.rows.extend(row | {"file": path.name} for row in load_rows(path))
        if kind == "sweep":
            found.differences.extend(content.get("differences") or [])
            found.rank_agreement.extend(r | {"file": path.name} for r in content.get("rank_agreement") or [])
    if isinstance(content, Mapping) and content.get("made_by"):
        found.made_by[path.name] = str(content["made_by"])


def choices(rows: Sequence[Row], key: str) -> list[Any]:
    """Distinct values of one column in order of first appearance."""
    return list(dict.fromkeys(r[key] for r in rows if r[key] is not None))
