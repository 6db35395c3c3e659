"""Following a committed set through later layers in the background: one per question, shared by all who ask the same."""

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.jobs.background import Background, one_pass
from app.services import access, scoring
from app.services.loading import Loaded
from saeeval_core.evaluation.boards import Direction
from saeeval_core.holding.asked import AskedSet
from saeeval_core.holding.held import Held

if TYPE_CHECKING:
    from saeeval_core.recordings.recorder import Progress


@dataclass(frozen=True)
class Question:
    """What is to be followed: a set in one direction, as it was committed, at some hooks."""

    loaded: Loaded
    direction: Direction
    ids: tuple[int, ...]
    ablation: str
    hooks: tuple[str, ...]
    damage: bool
    """Also measure change of loss and KL on general text."""

    @property
    def key(self) -> tuple[object, ...]:
        """The same for everybody who asks the same, after a reload too."""
        asked = self.direction.name, self.ids, self.ablation, self.hooks, self.damage
        return (self.loaded.config, self.loaded.latents.scored_fingerprint, *asked)


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
    result: Held | None = None
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
            found = followed(
                own.config,
                scoring.evaluation(own),
                own.latents,
                AskedSet(asked.direction, asked.ids, asked.ablation),
                asked.hooks,
                general=general,
                on_progress=self.advance,
            )
            assert isinstance(found, Held)
            self.result = found


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
