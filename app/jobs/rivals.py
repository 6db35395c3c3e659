"""Scoring the rivals of a task in the background: once for all SAEs and sessions."""

import threading
from collections.abc import Hashable
from dataclasses import dataclass, replace

from app.jobs.background import Background
from app.services import access, trust
from app.services.loading import Loaded


@dataclass(eq=False)
class RivalsJob(Background):
    """One piece of work."""

    total: int
    """Rivals to score, about."""
    done: int = 0
    now: str = ""
    """The rival that was scored last."""

    def advance(self, name: str) -> None:
        """Called with every rival that is scored."""
        self.done, self.now = self.done + 1, name
        self.check("stopped; nothing was stored")


_jobs: dict[Hashable, RivalsJob] = {}
_guard = threading.Lock()


def job_of(loaded: Loaded) -> RivalsJob | None:
    """The latest work on this task in this process, whoever started it."""
    return _jobs.get(_key(loaded))


def start(loaded: Loaded) -> RivalsJob:
    """Start it, or join what is in progress. DataError on a read-only server: it stores what it scores."""
    access.demand("running")
    with _guard:
        job = _jobs.get(_key(loaded))
        if job is None or not job.active:
            job = _jobs[_key(loaded)] = RivalsJob(trust.rival_steps(loaded))
            threading.Thread(target=_work, args=(job, loaded), daemon=True, name="saeeval-rivals").start()
        return job


def _key(loaded: Loaded) -> Hashable:
    return replace(loaded.config, saes=()), loaded.residuals.fingerprint


def _work(job: RivalsJob, loaded: Loaded) -> None:
    def score() -> None:
        job.status = "running"
        trust.make_rivals(loaded, job.advance)

    job.carry_out(score)
