"""Make recordings in the background: one pass at a time per process, shared by all who need the same one."""

import threading
from dataclasses import dataclass, replace
from typing import Any

from app.jobs.background import Background, one_pass
from app.services import access
from app.services.loading import texts_of
from saeeval_core.config import RunConfig, cache_dir
from saeeval_core.recordings.obtain import obtain_recordings


@dataclass(eq=False)
class RecordingJob(Background):
    """One pass over the texts; a stopped one continues from where it was."""

    config: RunConfig
    step: str = "waiting for another run to finish"
    done: int = 0
    """Tokens"""
    total: int = 0
    eta: float | None = None
    """Seconds left."""

    def advance(self, progress: Any) -> None:
        """Called by the recorder after every batch."""
        self.check("stopped; press Run to go on from here")
        self.step, self.done, self.total, self.eta = "reading the texts", progress.done, progress.total, progress.eta

    def run(self) -> None:
        """The whole job, in the thread that calls."""
        self.carry_out(self._record)

    def _record(self) -> None:
        with one_pass:
            self.check("stopped before it began")
            self.status, self.step = "running", "loading model and SAE"
            texts = texts_of(replace(self.config, saes=()))
            obtain_recordings(self.config, texts, self.config.saes, on_progress=self.advance)


_jobs: dict[tuple[str, str], RecordingJob] = {}
_guard = threading.Lock()


def job_of(config: RunConfig) -> RecordingJob | None:
    """The latest run of these settings in this process, whoever started it."""
    return _jobs.get(_key(config))


def start(config: RunConfig) -> RecordingJob:
    """Record the SAEs of ``config`` in the background, or join a run of the same settings in progress.

    DataError on a read-only server, ConfigError for a folder that this server does not read.
    """
    access.demand("running")
    access.check(config)
    with _guard:
        job = _jobs.get(_key(config))
        if job is None or not job.active:
            job = _jobs[_key(config)] = RecordingJob(config)
            threading.Thread(target=job.run, daemon=True, name="saeeval-run").start()
        return job


def active_jobs() -> list[RecordingJob]:
    """Runs of this process that wait or are in progress."""
    return [job for job in _jobs.values() if job.active]


def _key(config: RunConfig) -> tuple[str, str]:
    return (config.to_json(), str(cache_dir()))
