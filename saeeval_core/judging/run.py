"""Judge many latents: stored answers are not asked for again, a budget stops the run, finished verdicts are kept."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from saeeval_core.evidence.evidence import LatentEvidence
from saeeval_core.evidence.intruder import Trial
from saeeval_core.judging.budget import Budget, Usage
from saeeval_core.judging.claude import ClaudeJudge, describe, rebuild
from saeeval_core.judging.server import Keep
from saeeval_core.judging.verdict import Concept, Question
from saeeval_core.ledger.store import Store
from saeeval_core.ledger.verdicts import Verdict


class Judge(Protocol):
    """The interface of every judge."""

    rater: str
    rater_kind: str

    def question(self, evidence: LatentEvidence, concepts: Sequence[Concept], task: str) -> Question:
        """The question about one latent."""
        ...

    def intruder_question(self, trial: Trial, texts: str) -> Question:
        """The question which of five windows is the intruder."""
        ...

    def ask(self, questions: Sequence[Question], keep: Keep, may_ask: Callable[[Question], bool]) -> None:
        """Answer all questions; ``keep`` gets each verdict as it arrives."""
        ...


@dataclass(frozen=True)
class JudgeRun:
    """The outcome of a run."""

    rater: str
    asked: int
    answered: int
    from_store: int
    not_asked: int
    """Questions left out because the budget was reached."""
    failures: dict[str, int]
    """Status without a verdict -> how many."""
    used: Usage
    usd: float | None

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {**vars(self), "used": vars(self.used)}


def judge_questions(
    store: Store,
    judge: Judge,
    questions: Sequence[Question],
    budget: Budget | None = None,
    *,
    most: Sequence[Usage] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> JudgeRun:
    """Ask the questions that the store has no answer to; every verdict is stored as it arrives.

    ``most``: per question, the most it may use; needed for a budget, and counted as used where a server does not say.
    ``on_progress(done, total)`` may raise Cancelled.
    """
    budget = budget or Budget()
    largest = {q.blank.key: m for q, m in zip(questions, most or [Usage()] * len(questions), strict=True)}
    waiting = [q for q in questions if store.find_verdict(q.blank.key) is None]
    arrived: list[Verdict] = []

    def keep(verdict: Verdict, usage: Usage | None) -> None:
        most_of_it = largest[verdict.key]
        budget.settle(most_of_it, most_of_it if usage is None else usage)
        store.add_verdicts([verdict])
        arrived.append(verdict)
        if on_progress is not None:
            on_progress(len(arrived), len(waiting))

    if waiting:
        judge.ask(waiting, keep, lambda q: budget.reserve(largest[q.blank.key]))
    failures = Counter(a.status for a in arrived if not a.ok)
    return JudgeRun(
        judge.rater,
        len(arrived),
        len(arrived) - failures.total(),
        len(questions) - len(waiting),
        len(waiting) - len(arrived),
        dict(failures),
        budget.used,
        budget.cost(budget.used),
    )


def submit_batch(store: Store, judge: ClaudeJudge, questions: Sequence[Question]) -> str | None:
    """Send the questions without an answer that are in no open batch; returns the batch id, None if none are left."""
    under_way = {q.blank.key for content in store.open_batches().values() for q in rebuild(content).values()}
    new = [q for q in questions if q.blank.key not in under_way and store.find_verdict(q.blank.key) is None]
    if not new:
        return None
    batch_id = judge.submit(new)
    store.note_batch(batch_id, "created", describe(new))
    return batch_id


def collect_batches(
    store: Store,
    judge: ClaudeJudge,
    *,
    wait: float = 0.0,
    pause: float = 20.0,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, str | int]:
    """Store the verdicts of finished batches; waits up to ``wait`` seconds. Id -> verdicts read, or "in progress"."""
    out: dict[str, str | int] = {}
    deadline = time.monotonic() + wait
    while True:
        for batch_id, content in store.open_batches().items():
            found = judge.collect(batch_id, rebuild(content))
            if found is None:
                out[batch_id] = "in progress"
                continue
            store.add_verdicts(found)
            store.note_batch(batch_id, "collected", {"verdicts": len(found)})
            out[batch_id] = len(found)
        if not store.open_batches() or time.monotonic() >= deadline:
            return out
        sleep(pause)
