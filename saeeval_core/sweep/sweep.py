"""Many SAEs x tasks x protocols as flat rows: one pass of the language model per task, resumed by fingerprint.

A failed SAE is a row with its message and node. The Compare view reads these rows (``columns.BLANK`` names the columns);
intervals and paired differences use the same resamples of test texts for every SAE of a task. What does the work is an
executor (``executors``); this module decides what is left to do and writes each unit as soon as it is through.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from saeeval_core.config import PROTOCOLS, RunConfig, get_protocol
from saeeval_core.errors import SaeEvalError
from saeeval_core.evaluation.prepare import check_texts
from saeeval_core.recordings.obtain import draw_of, identified, is_recorded
from saeeval_core.storage import row_json
from saeeval_core.storage.artifacts import exists, write_atomic
from saeeval_core.storage.kept import KeptJson, Shelves
from saeeval_core.sweep.columns import ScoreRow, pack
from saeeval_core.sweep.config import SweepConfig, task_set_for
from saeeval_core.sweep.executors import RAY, Executor, Local, Outcome, Where
from saeeval_core.sweep.known import recorded
from saeeval_core.sweep.plan import SCORING, MergeUnit, RecordUnit, ScoreUnit, record_units, scoring_key
from saeeval_core.sweep.rows import Unit, display_name
from saeeval_core.sweep.summary import differences, rank_agreement, to_csv
from saeeval_core.sweep.worker import SHARDS, Worker, shard_name
from saeeval_core.texts.tasks import TaskSet
from saeeval_core.versions import versions

UNITS = KeptJson(Shelves("sweep", shipped=False), "unit", version=6)
"""Finished units. The version is increased when those computed earlier must no longer be used."""

OnProgress = Callable[[str, int, int], None]
"""Called with (what is done, units done, units in all)."""


def sweep(
    config: SweepConfig,
    json_out: Path | None = None,
    csv_out: Path | None = None,
    *,
    shipped: bool = True,
    made_by: str = "saeeval sweep",
    on_progress: OnProgress | None = None,
    where: Where = Where(),
) -> dict[str, Any]:
    """Everything that ``saeeval sweep`` prints and writes. Finished units are stored in the cache folder and reused.

    SAEs that cannot be used become rows with their message; ConfigError, DataError or ModelError for the rest.
    """
    for name in config.protocols:
        get_protocol(name)
    task_sets = {task: task_set_for(config, task) for task in config.tasks}
    for task, task_set in task_sets.items():
        for protocol in config.protocols:
            run = config.run_config(task, protocol, config.saes)
            check_texts(run, draw_of(run, task_set))
    with _opened(where, config, task_sets, shipped=shipped) as executor:
        swept = _Sweep(config, task_sets, executor, shipped, on_progress or (lambda *_: None))
        swept.record()
        swept.score()
    units = swept.units()
    rows = [row for unit in units for row in unit.rows]
    named = replace(
        config,
        selections=(),
        own_texts=None,
        saes=tuple(map(display_name, config.saes)),
        model=display_name(config.model),
    )
    result = {
        "kind": "sweep",
        "schema": 1,
        "made_by": made_by,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": named.model,
        "hook": ", ".join(dict.fromkeys(r.hook for r in rows if r.hook)),
        "config": {k: v for k, v in asdict(named).items() if k not in ("selections", "own_texts")},
        "rows": [asdict(r) for r in rows],
        "differences": differences(units),
        "rank_agreement": rank_agreement(rows),
        "versions": versions(),
    }
    for path, content in ((json_out, row_json.dumps(result | pack(rows))), (csv_out, to_csv(rows))):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content.encode())
    return result


@dataclass(frozen=True)
class _Failure:
    """Why an SAE cannot be used."""

    message: str
    """In one line."""
    node: str = ""
    """As in ``Outcome``."""


@dataclass(eq=False)
class _Sweep:
    """One sweep: what is left to do, and what is done."""

    config: SweepConfig
    task_sets: Mapping[str, TaskSet]
    executor: Executor
    shipped: bool
    on_progress: OnProgress
    failed: dict[str, dict[str, _Failure]] = field(default_factory=lambda: defaultdict(dict))
    """Task -> SAE that cannot be used -> why."""
    groups: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Task -> hook read -> SAEs."""
    scored: dict[tuple[str, str, str], Unit] = field(default_factory=dict)
    """(task, protocol, SAE) -> its rows."""

    def record(self) -> None:
        """Record what is not recorded yet, one pass over the texts of a task for as many SAEs as the plan has in a unit."""
        for task in self.config.tasks:
            failed, self.groups[task] = _by_hook(self._run(task))
            self.failed[task] |= failed
        again = True
        while again:
            bad = sum(map(len, self.failed.values()))
            units = [u for task in self.config.tasks for u in self._left(task)]
            self._perform("recording", [u for u in units if u.of == 1 or not exists(self._shard(u))])
            self._merge(units)
            # The shards of a set of SAEs must all hold the same ones: without one that failed they are others.
            again = bool(self.config.texts_per_shard) and sum(map(len, self.failed.values())) > bad

    def score(self) -> None:
        """Score what is recorded; finished units are found by everything that decides them."""
        units, keys = [], {}
        for task in self.config.tasks:
            for saes in self.groups[task].values():
                for protocol in self.config.protocols:
                    for unit, key in self._unscored(task, protocol, [s for s in saes if s not in self.failed[task]]):
                        units.append(unit)
                        keys[unit] = key
        total = len(self.config.tasks) * len(self.config.protocols) * len(self.config.saes)
        seconds: dict[str, list[float]] = defaultdict(list)

        def tell(done: Outcome) -> None:
            unit = done.unit
            assert isinstance(unit, ScoreUnit)
            if done.done.rows is None:
                why = _Failure(done.done.failed.get(unit.sae, ""), done.node)
                found = self._failed_unit(unit.task, unit.sae, why, unit.protocol)
            else:
                found = Unit.of_dict(done.done.rows)
                UNITS.keep(keys[unit], found.to_dict())
                seconds[unit.protocol].append(done.seconds)
            self._scored(unit, found, total)

        self.executor.perform(units, tell)
        for protocol, own in seconds.items():
            SCORING.keep(scoring_key(self.config, protocol), sum(own) / len(own))

    def units(self) -> list[Unit]:
        """All rows: tasks, hooks, protocols, SAEs in this order, then what failed."""
        found = []
        for task in self.config.tasks:
            for saes in self.groups[task].values():
                for protocol in self.config.protocols:
                    found += [u for s in saes if (u := self.scored.get((task, protocol, s))) is not None]
            found += [self._failed_unit(task, sae, why) for sae, why in self.failed[task].items()]
        return found

    def _run(self, task: str) -> RunConfig:
        return self.config.run_config(task, self.config.protocols[0], self.config.saes)

    def _left(self, task: str) -> list[RecordUnit]:
        """Record units of what is neither recorded nor known to fail."""
        run, task_set = self._run(task), self.task_sets[task]
        losses = self._losses(task)
        missing = [
            sae
            for hook, saes in self.groups[task].items()
            for sae in saes
            if sae not in self.failed[task]
            and (
                not is_recorded(run, task_set, sae, hook, shipped=self.shipped)
                or (self.config.loss_recovered and sae not in losses)
            )
        ]
        return record_units(self.config, task, task_set, missing)

    def _merge(self, units: Sequence[RecordUnit]) -> None:
        """Merge the shards of every set of SAEs of which all are there, and remove them."""
        groups: dict[tuple[str, tuple[str, ...]], list[Path]] = defaultdict(list)
        for unit in units:
            if unit.of > 1 and not self.failed[unit.task].keys() & set(unit.saes):
                groups[unit.task, unit.saes].append(self._shard(unit))
        merges = {
            MergeUnit(task, saes, tuple(f"{SHARDS.folder}/{path.name}" for path in paths)): paths
            for (task, saes), paths in groups.items()
        }
        self._perform("merging", list(merges))
        for unit, paths in merges.items():
            if not self.failed[unit.task].keys() & set(unit.saes):
                for path in paths:
                    path.with_name(f"{path.name}.json").unlink(missing_ok=True)
                    path.with_name(f"{path.name}.safetensors").unlink(missing_ok=True)

    def _shard(self, unit: RecordUnit) -> Path:
        """The artifact that holds a shard."""
        return SHARDS.own / shard_name(self.config, self.task_sets[unit.task], unit)

    def _perform(self, what: str, units: Sequence[RecordUnit] | Sequence[MergeUnit]) -> None:
        through = 0

        def tell(done: Outcome) -> None:
            nonlocal through
            through += 1
            self.failed[done.unit.task] |= {s: _Failure(line, done.node) for s, line in done.done.failed.items()}
            there = f" on {done.node}" if done.node else ""
            self.on_progress(f"{what} {done.unit.task}{there}", min(through, len(units)), len(units))

        self.executor.perform(units, tell)

    def _losses(self, task: str) -> Mapping[str, float | None]:
        """Loss recovered of each SAE of which it is known; empty unless the settings ask for it."""
        if not self.config.loss_recovered:
            return {}
        from saeeval_core.sweep.loss_recovered import known_losses

        good = [s for saes in self.groups[task].values() for s in saes if s not in self.failed[task]]
        return known_losses(self._run(task), good, self.task_sets[task].texts.texts)

    def _unscored(self, task: str, protocol: str, saes: Sequence[str]) -> list[tuple[ScoreUnit, list[Any]]]:
        """(unit, its key) of what is not scored yet; what is stored goes to ``scored``."""
        config, task_set = self.config, self.task_sets[task]
        run = config.run_config(task, protocol, saes)
        draw = draw_of(run, task_set)
        loss = self._losses(task)
        defined = [t.identity for t in draw.shift_tasks], draw.tpp and draw.tpp.identity
        started: set[str] = set()
        """Probe hooks of SAEs so far: controls that use no SAE go with the first SAE of each."""
        left = []
        for sae in saes:
            unit = ScoreUnit(task, protocol, sae)
            try:
                found = recorded(run, task_set, sae, shipped=self.shipped)
            except SaeEvalError as error:
                self._scored(unit, self._failed_unit(task, sae, _Failure(str(error)), protocol))
                continue
            first = found.hook not in started
            started.add(found.hook)
            key = [
                found.fingerprint,
                display_name(sae),
                task,
                asdict(PROTOCOLS[protocol]),
                config.metrics,
                config.ns,
                config.seed,
                config.controls,
                config.texts_per_cell,
                first,
                [[s.name, s.judge, s.identity(found.latents)] for s in config.selections],
                config.by_direction,
                config.deletion,
                loss.get(sae),
                defined,
                found.dtype,
                found.kernel,
            ]
            try:
                self._scored(unit, UNITS.find(key, Unit.of_dict))
            except LookupError:
                identity = UNITS.name(key).partition("-")[2]
                losses = ((sae, loss[sae]),) if sae in loss else ()
                own = replace(unit, identity=identity, with_bases=first, losses=losses, recording=found.names)
                left.append((own, key))
        return left

    def _scored(self, unit: ScoreUnit, found: Unit, total: int | None = None) -> None:
        self.scored[unit.task, unit.protocol, unit.sae] = found
        total = total or len(self.config.tasks) * len(self.config.protocols) * len(self.config.saes)
        self.on_progress(f"{unit.task}, {unit.protocol}: {display_name(unit.sae)}", len(self.scored), total)

    def _failed_unit(self, task: str, sae: str, why: _Failure, protocol: str | None = None) -> Unit:
        config, task_set = self.config, self.task_sets[task]
        return Unit(
            [
                ScoreRow(
                    sae=display_name(sae),
                    model=display_name(config.model),
                    dtype=config.dtype,
                    task=task,
                    composed=task_set.texts.composed,
                    small=bool(task_set.small),
                    protocol=protocol or "",
                    status="failed",
                    error=why.message,
                    node=why.node or None,
                    seed=config.seed,
                )
            ]
        )


def _by_hook(run: RunConfig) -> tuple[dict[str, _Failure], dict[str, list[str]]]:
    """({SAE that cannot be used: why}, {hook: SAEs})."""
    failed: dict[str, _Failure] = {}
    groups: dict[str, list[str]] = {}
    for sae in run.saes:
        try:
            groups.setdefault(identified(run, sae).hook, []).append(sae)
        except SaeEvalError as error:
            failed[sae] = _Failure(str(error))
    return failed, groups


def _opened(
    where: Where, config: SweepConfig, task_sets: Mapping[str, TaskSet], *, shipped: bool
) -> AbstractContextManager[Executor]:
    """The executor, ready; closed at the end. ConfigError where it cannot be had."""
    if where.kind == RAY:
        from saeeval_core.sweep.cluster import Cluster

        return Cluster(where, config, task_sets, shipped=shipped)
    worker = Worker(config, task_sets.__getitem__, shipped=shipped, selections=config.selections)
    return nullcontext(Local(worker))
