"""Paths through the plane of what target and spurious label lose: of what is loaded, live, and of opened results."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.services import scoring, uploads
from app.services.loading import Loaded
from app.services.shared import shared
from saeeval_core.errors import DataError
from saeeval_core.evaluation.estimate_json import path_json, path_of
from saeeval_core.evaluation.paths import kind_of, path_of_set, paths_of_result, walk
from saeeval_core.evaluation.result import LossPath
from saeeval_core.evaluation.result_json import from_json
from saeeval_core.evaluation.variants import with_grid
from saeeval_core.storage.parse_json import NotJson, parse_json
from saeeval_core.texts.parts import PART_NAMES


def _key(loaded: Loaded, part: int) -> Hashable:
    return replace(loaded.config, saes=()), loaded.residuals.fingerprint, loaded.latents.scored_fingerprint, part


@shared(max_entries=64, key=_key)
def sae_paths(loaded: Loaded, part: int) -> tuple[LossPath, ...]:
    """Of the top N by attribution: the mean over pairs, then every direction. Seconds of work; empty without pairs."""
    directions, latents = scoring.shift_directions(loaded), loaded.latents
    if not directions:
        return ()
    ns = [n for n in with_grid(loaded.config.ns) if n <= latents.n_latents]
    blank = LossPath(latents.sae, kind_of(latents.about or {}))
    return walk(scoring.evaluation(loaded), [latents] * len(directions), ns, blank, part=part).paths


def set_path(loaded: Loaded, pair: str, target: str, part: int, ids: tuple[int, ...], name: str) -> LossPath:
    """One person's set in one direction."""
    score = scoring.set_score(scoring.shift_view(loaded, pair, target, part), ids, "zero")
    erasure = scoring.shift_erasure(loaded, pair, target, part)
    size = scoring.sizes_of_edits(loaded, pair, target, part, ids, [len(ids)])[0]
    blank = LossPath(name, "set", pair=pair, target=target, part=PART_NAMES[part])
    return path_of_set(blank, score, scoring.fresh(erasure, ids), size)


def of_direction(paths: Sequence[LossPath], pair: str, target: str, part: str) -> list[LossPath]:
    """Those of one direction ("" and "": the mean over pairs) on one part."""
    return [p for p in paths if (p.pair, p.target, p.part) == (pair, target, part)]


@shared(max_entries=16)
def uploaded(content: bytes, name: str) -> tuple[LossPath, ...]:
    """All paths of the JSON of a run, read by another process; none for other results. ArtifactError for a damaged run."""
    return tuple(map(path_of, uploads.sent(content, read_paths, name)))


def read_paths(path: str, name: str) -> list[Mapping[str, Any]]:
    """As ``uploaded``, in the other process, as JSON."""
    try:
        content = parse_json(Path(path).read_bytes())
    except NotJson as error:
        raise DataError(f"'{name}' is not JSON ({error}); give a result file") from None
    return [path_json(p) for p in paths_of_content(content, f"'{name}'")]


def paths_of_content(content: object, source: str) -> list[LossPath]:
    """All paths of a run's JSON, of its SAEs and rivals; none for the JSON of anything else."""
    if not isinstance(content, Mapping) or not isinstance(content.get("results"), list):
        return []
    result = from_json(content, source)
    return [*(p for sae in result.saes for p in paths_of_result(sae)), *result.rivals]
