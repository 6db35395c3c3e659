"""What performs the units of a sweep: this process, or the workers of a Ray cluster. The units are the same."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from saeeval_core.errors import ConfigError
from saeeval_core.sweep.plan import SweepUnit
from saeeval_core.sweep.worker import Done, Worker

LOCAL, RAY = "local", "ray"


@dataclass(frozen=True)
class Outcome:
    """A unit that is through."""

    unit: SweepUnit
    done: Done
    node: str = ""
    """Where it was done, or, with a comma between, every node where it failed; "" is this process."""
    seconds: float = 0.0


OnOutcome = Callable[[Outcome], None]


class Executor(Protocol):
    """Performs units in any order and tells of each at once, so that what is finished can be stored at once."""

    def perform(self, units: Sequence[SweepUnit], tell: OnOutcome) -> None:
        """Do all of them; SaeEvalError where nothing can be done any more."""


class Local:
    """This process, one unit after the other."""

    def __init__(self, worker: Worker) -> None:
        """``worker``: of this process."""
        self._worker = worker

    def perform(self, units: Sequence[SweepUnit], tell: OnOutcome) -> None:
        """As in ``Executor``."""
        for unit in units:
            begun = time.monotonic()
            done = self._worker.perform(unit)
            tell(Outcome(unit, done, seconds=time.monotonic() - begun))


@dataclass(frozen=True)
class Where:
    """What executes a sweep, as named on the command line."""

    kind: str = LOCAL
    address: str = ""
    """Of a Ray cluster: HOST:PORT, "auto" for the one this machine belongs to, "" for one that is started here."""
    shared: Path | None = None
    """Folder that all workers see at the same path, in place of the cache folder."""

    @classmethod
    def parse(cls, text: str, shared: Path | None = None) -> "Where":
        """From "local", "ray" or "ray:ADDRESS". ConfigError for anything else."""
        kind, _, address = text.partition(":")
        if kind not in (LOCAL, RAY) or (kind == LOCAL and address) or (text != kind and not address):
            raise ConfigError(f"--executor is '{text}'; give local, ray or ray:ADDRESS, such as ray:auto")
        if kind == LOCAL and shared is not None:
            raise ConfigError("--shared goes with --executor ray; with local set SAEEVAL_CACHE")
        return cls(kind, address, shared)
