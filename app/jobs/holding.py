"""Following a committed set through later layers in the background: one per question, shared by all who ask the same."""

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.jobs.background import Background, one_pass
from app.services import access, scoring
from app.services.loading import Loaded
from saeeval_core.holding.asked import Asked, asked_key
from saeeval_core.holding.held import Held, HeldClasses

if TYPE_CHECKING:
    from saeeval_core.recordings.recorder import Progress


@dataclass(frozen=True)
class Question:
    """What is to be followed: a set of SHIFT or one per class of TPP, as it was committed, at some hooks."""

    loaded: Loaded
    asked: Asked
    hooks: tuple[str, ...]
    damage: bool
    """Also measure change of loss and KL on general text."""

    @property
    def key(self) -> tuple[object, ...]:
        """The same for everybody who asks the same, after a reload too."""
        own = self.loaded
        asked = asked_key(scoring.evaluation(own), own.latents, self.asked, self.hooks, None)
        return own.config, json.dumps(asked), self.damage


@dataclass(eq=False)
class HoldingJob(Background):
    """One set being followed; nothing is kept of a stopped one."""

    question: Question
    step: str = "waiting for another run to finish"
    done: int = 0
    """Tokens"""
    total: int = 0
    eta: float | None = None
    """Seconds left."""
    result: Held | HeldClasses | None = None
    note: str = ""
    """Why something is not measured."""

    def advance(self, progress: "Progress") -> None:
        """Called after every batch."""
        self.check("stopped; nothing was kept")
        self.step, self.done, self.total, self.eta = "reading the texts", progress.done, progress.total, progress.eta

    def run(self) -> None:
        """The whole job, in the thread that calls."""
        self.carry_out(self._follow)

    def _follow(self) -> None:
        with one_pass:
            self.check("stopped before it began")
            self.status, self.step = "running", "loading model and SAE"
            from saeeval_core.holding.kept import damage_texts, followed

            asked, own = self.question, self.question.loaded
            general, self.note = damage_texts() if asked.damage else (None, "")
            args = own.config, scoring.evaluation(own), own.latents, asked.asked, asked.hooks
            self.result = followed(*args, general=general, on_progress=self.advance)


_jobs: dict[tuple[object, ...], HoldingJob] = {}
_guard = threading.Lock()


def job_of(question: Question) -> HoldingJob | None:
    """The latest run of this question in this process, whoever started it."""
    return _jobs.get(question.key)


def start(question: Question) -> HoldingJob:
    """Follow the set in the background, or join a run of the same question; a stored answer is there at once.

    DataError on a read-only server, ConfigError for a folder that this server does not read.
    """
    access.demand("running")
    access.check(question.loaded.config)
    with _guard:
        job = _jobs.get(question.key)
        if job is None or not job.active:
            job = _jobs[question.key] = HoldingJob(question)
            threading.Thread(target=job.run, daemon=True, name="saeeval-hold").start()
        return job
