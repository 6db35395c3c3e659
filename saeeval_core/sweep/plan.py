"""The plan of a sweep as data: its units of work, told before anything is loaded.

It follows from the settings and the texts alone, never from what executes it or how many workers there are: the same
settings give the same units, and the same units the same bits on one kind of machine.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from saeeval_core.config import RunConfig, fingerprint
from saeeval_core.errors import SaeEvalError
from saeeval_core.models.identity import model_name
from saeeval_core.recordings.known_saes import known_sae, offered_probes
from saeeval_core.recordings.obtain import is_recorded, recording_key
from saeeval_core.recordings.pace import known_pace, measured_pace
from saeeval_core.recordings.plan import Plan, plan, work_of
from saeeval_core.saes.asked import what_is
from saeeval_core.saes.facts import SaeFacts, facts
from saeeval_core.storage.kept import KeptJson, Shelves
from saeeval_core.sweep.config import SweepConfig
from saeeval_core.texts.tasks import TaskSet

SCORING = KeptJson(Shelves("paces", shipped=False), "scoring", version=1)
"""Mean seconds of a scored unit of the last sweep with the same settings on this machine."""
GPU_THREADS = 4
"""Threads of a unit where the language model runs on a GPU."""


@dataclass(frozen=True)
class RecordUnit:
    """Texts through the model and some SAEs; a part of the texts gives a shard, which waits to be merged."""

    task: str
    saes: tuple[str, ...]
    number: int = 0
    """Of the shard, from 0."""
    of: int = 1
    """Shards of these texts; 1 has no shards."""


@dataclass(frozen=True)
class MergeUnit:
    """The shards of one set of SAEs become recordings, in their order; the model reads nothing again."""

    task: str
    saes: tuple[str, ...]
    shards: tuple[str, ...] = ()
    """Artifacts that hold the shards, in their order: paths below the cache folder, without suffix."""


@dataclass(frozen=True)
class ScoreUnit:
    """The rows of one recorded SAE on one task under one protocol."""

    task: str
    protocol: str
    sae: str
    identity: str = ""
    """Fingerprint of everything that decides the rows; known once the SAE is recorded."""
    with_bases: bool = False
    """Score the controls that use no SAE too; so for the first SAE at each probe hook."""
    losses: tuple[tuple[str, float | None], ...] = ()
    """(SAE, loss recovered) where that was measured."""
    recording: tuple[str, ...] = ()
    """Artifacts that hold what is scored, as ``shards`` of a MergeUnit; none where they could not be stored."""


SweepUnit = RecordUnit | MergeUnit | ScoreUnit


@dataclass(frozen=True)
class Needs:
    """What a unit takes; None: not known."""

    texts: int
    tokens: int
    """At least."""
    gigabytes: float | None
    """Memory at most, on the device that reads."""
    seconds: float | None
    gpu: bool
    """Whether the model runs on a GPU in it."""


@dataclass(frozen=True)
class PlannedRecord:
    """A record unit with what is known of it beforehand."""

    unit: RecordUnit
    fingerprint: str
    """Of model, precision, kernel, texts, SAEs and shard: names what it makes."""
    model: str
    dtype: str
    reads: tuple[str, ...]
    """Hooks."""
    probes: tuple[str, ...]
    """Hooks that can be probed, as far as known before the model is loaded."""
    needs: Needs

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class SweepPlan:
    """All units of a sweep."""

    record: tuple[PlannedRecord, ...]
    """Units that are left to be done; what is stored needs none."""
    score: tuple[ScoreUnit, ...]
    threads: int
    score_seconds: Mapping[str, float | None]
    """Protocol -> mean seconds of a unit in an earlier sweep like it here."""

    @property
    def record_seconds(self) -> float | None:
        """Of all record units one after another."""
        return _sum([p.needs.seconds for p in self.record])

    @property
    def scoring_seconds(self) -> float | None:
        """Of all score units one after another, as if none were stored."""
        return _sum([self.score_seconds[u.protocol] for u in self.score])


def sweep_plan(
    config: SweepConfig, task_sets: Mapping[str, TaskSet], *, shipped: bool = True, seconds: bool = True
) -> SweepPlan:
    """The units of these settings; ``seconds``: False leaves out the measurement of the first time."""
    pace = _Paces(config.run_config(next(iter(task_sets), ""), config.protocols[0], config.saes), seconds)
    record = [
        planned for task, task_set in task_sets.items() for planned in _planned(config, task, task_set, shipped, pace)
    ]
    score = [ScoreUnit(t, p, s) for t in task_sets for p in config.protocols for s in config.saes]
    return SweepPlan(
        tuple(record), tuple(score), threads_of(config), {p: scoring_pace(config, p) for p in config.protocols}
    )


def record_units(config: SweepConfig, task: str, task_set: TaskSet, saes: Sequence[str]) -> list[RecordUnit]:
    """The units that record these SAEs on a task, in the order in which they are merged."""
    size = config.saes_per_unit or max(1, len(saes))
    of = 1
    if config.texts_per_shard:
        of = max(1, math.ceil(len(set(task_set.texts.texts)) / config.texts_per_shard))
    groups = [tuple(saes[i : i + size]) for i in range(0, len(saes), size)]
    return [RecordUnit(task, group, number, of) for group in groups for number in range(of)]


def threads_of(config: SweepConfig) -> int:
    """Threads of every unit: as set, else those of this machine, and few where a GPU does the work."""
    if config.threads:
        return config.threads
    if uses_gpu(config):
        return GPU_THREADS
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) else _cores()


def uses_gpu(config: SweepConfig) -> bool:
    """Whether the language model runs on a GPU, as far as can be told without loading torch."""
    return config.device.startswith("cuda") or (config.device == "auto" and Path("/proc/driver/nvidia").exists())


def scoring_pace(config: SweepConfig, protocol: str) -> float | None:
    """Mean seconds of a score unit in the last sweep like this one here; None before there was one."""
    try:
        return float(SCORING.find(scoring_key(config, protocol)))
    except (LookupError, TypeError, ValueError):
        return None


def scoring_key(config: SweepConfig, protocol: str) -> list[Any]:
    """What decides how long a score unit takes, texts and machine aside."""
    return [protocol, config.metrics, config.ns, config.controls, config.texts_per_cell, config.tasks]


def unit_fingerprint(config: SweepConfig, task_set: TaskSet, unit: RecordUnit) -> str:
    """Fingerprint of model, precision, kernel, texts, SAEs and shard: of everything that decides what a unit makes.

    An SAE that must be loaded before its content is known counts by its name.
    """
    run = config.run_config(unit.task, config.protocols[0], unit.saes)
    key = recording_key(run, "", task_set.texts.fingerprint)
    saes = [_identity(sae) for sae in unit.saes]
    return fingerprint([key.fingerprint, run.kernel, saes, unit.number, unit.of])


def _identity(sae: str) -> str:
    with suppress(SaeEvalError):
        known = known_sae(sae)
        return sae if known is None else known.fingerprint
    return sae


def _planned(config: SweepConfig, task: str, task_set: TaskSet, shipped: bool, pace: "_Paces") -> list[PlannedRecord]:
    run = config.run_config(task, config.protocols[0], config.saes)
    missing = [sae for sae in config.saes if not _stored(run, task_set, sae, shipped)]
    return [_one(config, run, task_set, unit, pace) for unit in record_units(config, task, task_set, missing)]


def _one(config: SweepConfig, run: RunConfig, task_set: TaskSet, unit: RecordUnit, pace: "_Paces") -> PlannedRecord:
    told = [f for sae in unit.saes if (f := _facts(sae)) is not None]
    found = plan(run, task_set.texts.texts, told, seconds=False)
    probes = (p for f in told for p in offered_probes(run.model, f.id))
    return PlannedRecord(
        unit,
        unit_fingerprint(config, task_set, unit),
        model_name(run.model),
        run.dtype,
        tuple(dict.fromkeys(f.hook for f in told if f.hook)),
        tuple(dict.fromkeys(probes)),
        _needs(config, unit, found, pace(told)),
    )


def _needs(config: SweepConfig, unit: RecordUnit, found: Plan, pace: float | None) -> Needs:
    texts, tokens = round(found.texts / unit.of), round(found.tokens / unit.of)
    return Needs(
        texts,
        tokens,
        None if found.peak_bytes is None else round(found.peak_bytes / 1e9, 3),
        None if pace is None else tokens / pace * max(1, found.model_passes),
        uses_gpu(config),
    )


class _Paces:
    """Tokens per second of SAEs of the same sizes, each looked up or measured once, whatever the task."""

    def __init__(self, run: RunConfig, measure: bool) -> None:
        self._run, self._measure = run, measure
        self._known: dict[tuple[Any, ...], float | None] = {}

    def __call__(self, saes: Sequence[SaeFacts]) -> float | None:
        work = tuple(work_of(self._run.model, saes))
        if work and work not in self._known:
            known = known_pace(self._run, work)
            self._known[work] = measured_pace(self._run, work) if known is None and self._measure else known
        return self._known.get(work)


def _facts(sae: str) -> SaeFacts | None:
    try:
        return facts(sae, what_is(sae))
    except SaeEvalError:
        return None  # the sweep makes it a row with its message


def _stored(run: RunConfig, task_set: TaskSet, sae: str, shipped: bool) -> bool:
    try:
        return is_recorded(run, task_set, sae, shipped=shipped)
    except SaeEvalError:
        return False


def _sum(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) if len(known) == len(values) else None


def _cores() -> int:
    """Cores that this process may use."""
    counted: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return len(counted(0)) if counted else os.cpu_count() or 1
