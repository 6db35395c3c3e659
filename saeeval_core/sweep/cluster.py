"""A Ray cluster as the executor of a sweep: one actor per GPU or per so many CPUs, each performing one unit at a time.

An actor holds the model between its units. What is recorded comes back as bytes, or stays in a folder that all nodes
share. A unit whose worker or node is lost is done again elsewhere; an SAE that fails on one node is tried on another.
Nothing that is not plain data is sent: settings and units as JSON, texts as lists, files as bytes.
"""

import json
import logging
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from saeeval_core.config import AUTO_KERNEL, DEFAULT_KERNEL, cache_dir
from saeeval_core.errors import ConfigError, one_line
from saeeval_core.models.identity import model_stamp
from saeeval_core.storage.artifacts import write_atomic
from saeeval_core.storage.notices import notice
from saeeval_core.sweep.config import SweepConfig
from saeeval_core.sweep.executors import OnOutcome, Outcome, Where
from saeeval_core.sweep.plan import GPU_THREADS, MergeUnit, RecordUnit, ScoreUnit, SweepUnit
from saeeval_core.sweep.remote import TOKEN, Slot, inputs_of, read_files, refusal, write_files
from saeeval_core.sweep.worker import Done
from saeeval_core.texts.plain import to_plain
from saeeval_core.texts.tasks import TaskSet
from saeeval_core.versions import versions

INSTALL = "pip install 'saeeval[cluster]'"
ATTEMPTS = 3
"""How often a unit is given to a worker that is lost before it counts as failed."""
_WAIT = 60.0
"""Seconds to wait for a node where none is left."""
_STORE = 80_000_000
"""Bytes of the object store of a cluster that is started here; what does not fit waits on disk."""


@dataclass(eq=False)
class _Place:
    """An actor and what it is doing."""

    actor: Any
    node: str
    """Id of its node."""
    host: str
    """Name of the node, as people know it."""
    gpu: bool
    process: int = 0
    """Number of its process; another one after it was lost and started again."""
    unit: SweepUnit | None = None
    begun: float = 0.0


@dataclass(eq=False)
class _Tries:
    """What became of a unit so far."""

    lost: int = 0
    """Workers that were lost with it."""
    nodes: dict[str, dict[str, str]] = field(default_factory=dict)
    """Node -> SAEs that failed there, with the message."""
    hosts: list[str] = field(default_factory=list)
    """Names of nodes that were lost or failed with it, in order."""

    @property
    def where(self) -> str:
        """Each of them once."""
        return ", ".join(dict.fromkeys(self.hosts))


class Cluster:
    """Performs units on the nodes of a Ray cluster; one is started on this machine where no address is given."""

    def __init__(self, where: Where, config: SweepConfig, task_sets: Mapping[str, TaskSet], *, shipped: bool) -> None:
        """ConfigError for judged selections, whose verdicts are in the store of this machine."""
        if config.selections:
            raise ConfigError("--select needs the verdicts in this machine's store; use --executor local with it")
        self.where, self.config, self.task_sets, self.shipped = where, config, task_sets, shipped
        self._places: list[_Place] = []
        self._refused: set[str] = set()
        """Ids of nodes that are not used."""
        self._cache = os.environ.get("SAEEVAL_CACHE")

    def __enter__(self) -> Self:
        self._ray = _ray(here=not self.where.address)
        begin = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
        if self.where.address:
            own: dict[str, Any] = {"address": self.where.address}
        else:
            own = {"address": "local", "object_store_memory": _STORE, "include_dashboard": False}
        try:
            self._ray.init(**own, **begin, namespace="saeeval")
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise ConfigError(
                f"no Ray cluster at '{self.where.address}': {one_line(str(error))[:200]}; start one with ray start --head, "
                "or leave out the address"
            ) from None
        try:
            self._prepare()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_places()
        (cache_dir() / TOKEN).unlink(missing_ok=True)
        self._ray.shutdown()
        if self.where.shared and self._cache is None:
            del os.environ["SAEEVAL_CACHE"]
        elif self.where.shared and self._cache is not None:
            os.environ["SAEEVAL_CACHE"] = self._cache

    def _close_places(self) -> None:
        for place in self._places:
            self._ray.kill(place.actor)
        self._places.clear()

    def perform(self, units: Sequence[SweepUnit], tell: OnOutcome) -> None:
        """As in ``Executor``. ConfigError where no worker is left."""
        if not units:
            return
        reads = not isinstance(units[0], ScoreUnit) or self.config.deletion
        gpu = self.config.device.startswith("cuda") and reads
        left, tries = deque(units), {unit: _Tries() for unit in units}
        running: dict[Any, _Place] = {}
        while left or running:
            self._open_places(gpu)
            self._give_out(left, running, tries)
            if running:
                ready, _ = self._ray.wait(list(running), timeout=5.0)
                for ref in ready:
                    self._take(ref, running.pop(ref), left, tries, tell)
            elif self._places:  # those that are left have failed on every node there is
                while left:
                    unit = left.popleft()
                    lines = {sae: line for found in tries[unit].nodes.values() for sae, line in found.items()}
                    tell(Outcome(unit, Done(lines), tries[unit].where))
            else:
                self._wait_for_nodes(gpu)

    def _prepare(self) -> None:
        """Decide what must be the same for every worker: device, kernel and threads; put the texts where all find them."""
        if self.where.shared:
            os.environ["SAEEVAL_CACHE"] = str(self.where.shared)
        resources = self._ray.cluster_resources()
        config = self.config
        if config.device == "auto":
            config = replace(config, device="cuda" if resources.get("GPU") else "cpu")
        gpu = config.device.startswith("cuda")
        if gpu and not resources.get("GPU"):
            raise ConfigError("--device cuda, and no node of the cluster has a GPU; leave it out")
        if config.kernel == AUTO_KERNEL:
            from saeeval_core.models.kernels import kernel_for

            config = replace(config, kernel=DEFAULT_KERNEL if gpu else kernel_for(AUTO_KERNEL, "cpu"))
        if not config.threads:
            import torch

            config = replace(config, threads=GPU_THREADS if gpu else torch.get_num_threads())
        self.config = config
        most = max((node["Resources"].get("CPU", 0) for node in self._alive()), default=0)
        if not gpu and config.threads > most:
            raise ConfigError(
                f"a unit takes {config.threads} threads and no node has more than {most:g} CPUs; set --threads {most:g}"
            )
        # The same in every worker: what it was told, and what must be equal where it runs.
        self._hello = {
            "config": config.to_json(),
            "shipped": self.shipped,
            "versions": versions(),
            "stamp": model_stamp(config.model),
            "cache": str(cache_dir().resolve()) if self._shared else "",
            "folder": os.getcwd(),
        }
        if self._shared:
            write_atomic(cache_dir() / TOKEN, b"")
        self._texts = {task: self._ray.put(json.dumps(to_plain(own))) for task, own in self.task_sets.items()}

    @property
    def _shared(self) -> bool:
        """Whether all workers see the cache folder of the driver."""
        return self.where.shared is not None or not self.where.address

    def _alive(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _open_places(self, gpu: bool) -> None:
        """Actors where a node has room for them: one per GPU where the model runs on one, else per ``threads`` CPUs."""
        if self._places and self._places[0].gpu != gpu:
            self._close_places()
        made = []
        for node in self._alive():
            own, name = node["Resources"], node["NodeID"]
            room = int(own.get("GPU", 0) if gpu else own.get("CPU", 0) // self.config.threads)
            there = sum(place.node == name for place in self._places)
            if name not in self._refused:
                made += [self._place(node, gpu) for _ in range(room - there)]
        self._places += [place for place in made if self._accepted(place)]

    def _place(self, node: Mapping[str, Any], gpu: bool) -> _Place:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        actor = self._ray.remote(Slot).options(
            num_gpus=1 if gpu else 0,
            num_cpus=0 if gpu else self.config.threads,
            max_restarts=-1,
            max_task_retries=ATTEMPTS - 1,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        )
        host = f"{node['NodeManagerHostname']} ({node['NodeID'][:6]})"
        return _Place(actor.remote(self._hello), node["NodeID"], host, gpu)

    def _accepted(self, place: _Place) -> bool:
        """Whether versions, model and folder are the driver's; if not its node is named and not used."""
        try:
            theirs = json.loads(self._ray.get(place.actor.hello.remote(), timeout=5 * _WAIT))
            line, place.process = refusal(self._hello, theirs), theirs["process"]
        except self._ray.exceptions.RayError as error:
            line = one_line(str(error))[:300]
        if line:
            notice(f"worker on {place.host} refused: {line}")
            self._refused.add(place.node)
            self._ray.kill(place.actor)
        return not line

    def _wait_for_nodes(self, gpu: bool) -> None:
        """Take in nodes that come. ConfigError where there is none for a minute, or all that are there were refused."""
        end = time.monotonic() + _WAIT
        while not self._places:
            all_refused = all(node["NodeID"] in self._refused for node in self._alive())
            if time.monotonic() > end or (self._alive() and all_refused):
                raise ConfigError(
                    "no worker of the Ray cluster can be used: see the lines above; what is finished is kept, and the same "
                    "command goes on from there"
                )
            time.sleep(0.5)
            self._open_places(gpu)

    def _give_out(self, left: deque[SweepUnit], running: dict[Any, _Place], tries: Mapping[SweepUnit, _Tries]) -> None:
        for place in self._places:
            if place.unit is None and (unit := self._next_for(place, left, tries)) is not None:
                left.remove(unit)
                place.unit, place.begun = unit, time.monotonic()
                running[self._send(place, unit)] = place

    def _next_for(
        self, place: _Place, left: Sequence[SweepUnit], tries: Mapping[SweepUnit, _Tries]
    ) -> SweepUnit | None:
        """The first unit that has not failed on the node of this place."""
        return next((unit for unit in left if place.node not in tries[unit].nodes), None)

    def _send(self, place: _Place, unit: SweepUnit) -> Any:
        files = {} if self._shared else {n: self._ray.put(b) for n, b in read_files(inputs_of(unit)).items()}
        kind = type(unit).__name__
        return place.actor.perform.remote(kind, json.dumps(asdict(unit)), [self._texts[unit.task]], files)

    def _take(
        self, ref: Any, place: _Place, left: deque[SweepUnit], tries: dict[SweepUnit, _Tries], tell: OnOutcome
    ) -> None:
        """What a place gave: stored at once, or given out again where its worker was lost or its node cannot do it."""
        unit, place.unit = place.unit, None
        assert unit is not None
        own = tries[unit]
        seconds = time.monotonic() - place.begun
        try:
            text, files = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError:
            raise  # a bug in a unit keeps its traceback
        except self._ray.exceptions.RayError as error:
            self._lost(place, unit, own, error, left, tell)
            return
        given = json.loads(text)
        if given.get("error"):
            raise ConfigError(f"worker on {place.host}: {given['error']}; what is finished is kept")
        if given["process"] != place.process:
            notice(f"worker on {place.host} was lost with {_said(unit)}; started again, it did it")
            place.process = given["process"]
        write_files(files)
        done = Done(dict(given["failed"]), given["rows"], tuple(given["stored"]))
        if done.failed:
            self._failed_there(unit, done, place, left, tries, tell, seconds)
        else:
            tell(Outcome(unit, done, place.host, seconds))

    def _lost(
        self, place: _Place, unit: SweepUnit, own: _Tries, error: Exception, left: deque[SweepUnit], tell: OnOutcome
    ) -> None:
        own.lost += 1
        own.hosts.append(place.host)
        line = one_line(str(error))[:200]
        notice(f"worker on {place.host} lost with {_said(unit)}: {line}")
        self._places.remove(place)
        self._ray.kill(place.actor)
        if own.lost < ATTEMPTS:
            left.append(unit)
            return
        message = f"its worker was lost {own.lost} times, at last on {place.host}: {line}"
        tell(Outcome(unit, Done(dict.fromkeys(_saes(unit), message)), own.where))

    def _failed_there(
        self,
        unit: SweepUnit,
        done: Done,
        place: _Place,
        left: deque[SweepUnit],
        tries: dict[SweepUnit, _Tries],
        tell: OnOutcome,
        seconds: float,
    ) -> None:
        """SAEs that failed are tried once on every other node; what failed on all of them has failed."""
        own = tries[unit]
        own.nodes[place.node] = done.failed
        own.hosts.append(place.host)
        for sae, line in done.failed.items():
            notice(f"failed on {place.host}: {_said(unit)}, SAE '{sae}': {line}")
        others = {p.node for p in self._places} - set(own.nodes)
        if not others:
            tell(Outcome(unit, done, own.where, seconds))
            return
        again = unit
        if isinstance(unit, RecordUnit) and unit.of == 1:
            good = tuple(s for s in unit.saes if s not in done.failed)
            again = replace(unit, saes=tuple(s for s in unit.saes if s in done.failed))
            if good:
                tell(Outcome(replace(unit, saes=good), Done({}, stored=done.stored), place.host, seconds))
        tries[again] = own
        left.append(again)


def _said(unit: SweepUnit) -> str:
    """A unit in a few words."""
    if isinstance(unit, ScoreUnit):
        return f"scoring {unit.task}, {unit.protocol}"
    if isinstance(unit, MergeUnit):
        return f"merging {unit.task}"
    part = f", shard {unit.number + 1} of {unit.of}" if unit.of > 1 else ""
    return f"recording {unit.task}{part}"


def _saes(unit: SweepUnit) -> tuple[str, ...]:
    return (unit.sae,) if isinstance(unit, ScoreUnit) else unit.saes


def _ray(*, here: bool) -> Any:
    """Ray, which tells nobody that it is used. ConfigError where it is not installed.

    ``here``: for a cluster of this machine alone, which listens on 127.0.0.1: Ray has no other switch for that.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if here:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError:
        raise ConfigError(f"--executor ray needs Ray: {INSTALL}") from None
    return ray
