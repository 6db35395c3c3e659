"""The side of a worker in a Ray cluster: an actor that performs units, and the files that units take and give."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from saeeval_core.config import cache_dir
from saeeval_core.errors import SaeEvalError, one_line
from saeeval_core.models.identity import model_stamp
from saeeval_core.storage.artifacts import write_atomic
from saeeval_core.storage.notices import notices
from saeeval_core.sweep.config import SweepConfig
from saeeval_core.sweep.plan import MergeUnit, RecordUnit, ScoreUnit, SweepUnit
from saeeval_core.sweep.worker import Worker
from saeeval_core.texts.plain import of_plain
from saeeval_core.texts.tasks import TaskSet
from saeeval_core.versions import versions

_FIRST_WAIT, _LONGEST_WAIT = 20.0, 3600.0
"""Seconds to wait for what the driver has."""
_KINDS = {kind.__name__: kind for kind in (RecordUnit, MergeUnit, ScoreUnit)}


class Slot:
    """An actor: one worker with its own process."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        """``told``: settings, and the shared folder or "", as the driver gives them."""
        if told["cache"]:
            os.environ["SAEEVAL_CACHE"] = told["cache"]
        if Path(told["folder"]).is_dir():
            os.chdir(told["folder"])  # models and SAEs may be named from there
        self._shared = bool(told["cache"])
        self._sets: dict[str, TaskSet] = {}
        self._config = SweepConfig.from_json(told["config"])
        self._worker = Worker(self._config, self._sets.__getitem__, shipped=told["shipped"])

    def hello(self) -> str:
        """What must be as it is where the driver runs, as JSON."""
        there = not self._shared or (cache_dir() / TOKEN).exists()
        return json.dumps(
            {"versions": versions(), "stamp": model_stamp(self._config.model), "shared": there, "process": os.getpid()}
        )

    def perform(self, kind: str, unit: str, texts: list[Any], files: Mapping[str, Any]) -> tuple[str, dict[str, bytes]]:
        """Do a unit: its ``Done`` as JSON, and the files that it made where no folder is shared.

        ``texts``, ``files``: references to the texts of its task and to what it needs.
        """
        import torch

        torch.set_num_threads(self._config.threads)
        own = unit_of(kind, json.loads(unit))
        missing = [name for name in files if not (cache_dir() / name).exists()]
        write_files(dict(zip(missing, _fetched([files[n] for n in missing]), strict=True)))
        if own.task not in self._sets:
            self._sets.clear()
            self._sets[own.task] = of_plain(json.loads(*_fetched(texts[:1])))
        before = len(notices())
        try:
            with threadpool_limits(self._config.threads):
                done = self._worker.perform(own)
        except (SaeEvalError, OSError) as error:
            return json.dumps({"error": one_line(str(error))}), {}
        absent = [name for name in done.stored if not (cache_dir() / name).exists()]
        if absent:
            why = "; ".join(notices()[before:]) or f"{absent[0]} could not be stored"
            return json.dumps({"error": why}), {}
        given = {"failed": done.failed, "rows": done.rows, "stored": list(done.stored), "process": os.getpid()}
        return json.dumps(given), {} if self._shared else read_files(done.stored)


TOKEN = "shared-by-a-sweep"
"""File in the shared folder by which a worker knows that it is the driver's."""


def _fetched(refs: list[Any]) -> list[Any]:
    """What the driver stores under these references.

    A node that missed where an object is waits for it without end, and asks anew only when the wait is given up (seen
    with ray 2.60): so each wait ends, the next one three times as late.
    """
    import ray

    wait = _FIRST_WAIT
    while True:
        try:
            found: list[Any] = ray.get(refs, timeout=wait)
            return found
        except ray.exceptions.GetTimeoutError:
            if wait > _LONGEST_WAIT:
                raise
            wait *= 3


def unit_of(kind: str, values: Mapping[str, Any]) -> SweepUnit:
    """Inverse of a unit's ``asdict`` after JSON."""
    made = {k: _tuple(v) for k, v in values.items()}
    return _KINDS[kind](**made)


def inputs_of(unit: SweepUnit) -> list[str]:
    """Files below the cache folder that a unit reads."""
    names = unit.shards if isinstance(unit, MergeUnit) else unit.recording if isinstance(unit, ScoreUnit) else ()
    return [f"{name}{suffix}" for name in names for suffix in (".safetensors", ".json")]


def read_files(names: Iterable[str]) -> dict[str, bytes]:
    """The content of those files below the cache folder that are there; shipped ones lie elsewhere, on every node."""
    return {name: path.read_bytes() for name in names if (path := cache_dir() / name).exists()}


def write_files(files: Mapping[str, bytes]) -> None:
    """Inverse of ``read_files``; sidecars last, so that nothing half-written is found. OSError where there is no room."""
    for name in sorted(files, key=lambda n: n.endswith(".json")):
        path = cache_dir() / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, files[name])


def refusal(told: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Why a worker cannot be used beside the driver; "" where it can."""
    ours = told["versions"]
    other = [f"{n} {theirs['versions'].get(n)}, here {v}" for n, v in ours.items() if theirs["versions"].get(n) != v]
    if other:
        return f"it has {'; '.join(other)}: install the same there"
    if theirs["stamp"] != told["stamp"]:
        return f"its files of the model are others ({theirs['stamp']}, here {told['stamp']}): copy the same there"
    if not theirs["shared"]:
        return f"it does not see {told['cache']}: name a folder that every node shares with --shared"
    return ""


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value
