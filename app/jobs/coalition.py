"""The smallest set of latents that does it, searched in the background: presses come first, everybody sees the answer."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from app.jobs.background import Background
from app.services import quiet, scoring
from app.services.loading import Loaded
from saeeval_core.scores.coalitions import STRONGEST, Coalition, by_erasure, by_shift
from saeeval_core.scores.uncertainty import Estimate

SHIFT, ERASURE = "S", "E"
SCORES = (SHIFT, ERASURE)
"""What a set can be searched for."""
_MOST = 64
"""Searches whose answers are remembered."""


@dataclass(frozen=True)
class Search:
    """What is searched, on the part that is shown while latents are chosen."""

    loaded: Loaded
    pair: str
    target: str
    part: int
    ablation: str
    score: str
    """One of SCORES."""

    @property
    def key(self) -> tuple[object, ...]:
        """The same for the same recordings; E is the same under every ablation."""
        ablation = self.ablation if self.score == SHIFT else ""
        return (
            self.loaded.config,
            self.loaded.latents.fingerprint,
            self.pair,
            self.target,
            self.part,
            ablation,
            self.score,
        )


@dataclass(eq=False)
class CoalitionJob(Background):
    """One search; what was found before it is stopped stands."""

    search: Search
    share: float = 0.0
    """Of the longest search."""
    found: Coalition = Coalition((), ())
    whole: Estimate | None = None
    """The searched score of the set that was found, with its interval, once the search has ended."""

    def run(self) -> None:
        """The whole job, in the thread that calls."""
        self.carry_out(self._search)

    def _search(self) -> None:
        with _one_at_a_time:
            self.status, asked = "running", self.search
            view = scoring.shift_view(asked.loaded, asked.pair, asked.target, asked.part).under(asked.ablation)
            if asked.score == SHIFT:
                self.found = by_shift(view, watch=self._watch)
                self.whole = view.score(self.found.ids).score
            else:
                erasure = scoring.shift_erasure(asked.loaded, asked.pair, asked.target, asked.part)
                strongest = [int(i) for i in view.attribute_ranking[:STRONGEST]]
                self.found = by_erasure(erasure, strongest, watch=self._watch)
                self.whole = erasure.score(self.found.ids).score

    def _watch(self, found: Coalition, share: float) -> bool:
        self.found, self.share = found, share
        quiet.wait(self.cancelled_now)
        return self.cancelled_now()

    def cancelled_now(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()


_jobs: OrderedDict[tuple[object, ...], CoalitionJob] = OrderedDict()
_guard, _one_at_a_time = threading.Lock(), threading.Lock()


def job_of(search: Search) -> CoalitionJob | None:
    """The latest search of that kind in this process, whoever started it."""
    return _jobs.get(search.key)


def start(search: Search) -> CoalitionJob:
    """Search in the background, or join a search in progress."""
    with _guard:
        job = _jobs.get(search.key)
        if job is None or not job.active:
            job = _jobs[search.key] = CoalitionJob(search)
            _jobs.move_to_end(search.key)
            while len(_jobs) > _MOST:
                _jobs.popitem(last=False)
            threading.Thread(target=job.run, daemon=True, name="saeeval-coalition").start()
        return job
