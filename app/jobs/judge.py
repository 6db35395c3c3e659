"""Judge runs in the background: one per SAE and texts, visible to every session. The API key stays with the run."""

import threading
from dataclasses import dataclass

from app.jobs.background import Background
from app.services import access, ledger
from app.services.loading import Loaded
from saeeval_core.config import RunConfig
from saeeval_core.judging.command import Forecast, JudgeOptions, JudgeOutcome, judge_command, make_judge
from saeeval_core.judging.compatible import CompatibleJudge, Endpoint
from saeeval_core.ledger.store import Store
from saeeval_core.scores.uncertainty import say
from saeeval_core.wording import plural


@dataclass(eq=False)
class JudgeJob(Background):
    """One run of a judge; verdicts that arrived before it stops are kept."""

    options: JudgeOptions
    done: int = 0
    """Verdicts that arrived."""
    total: int = 0
    result: JudgeOutcome | None = None
    """What ``judge_command`` returned."""
    tested: Endpoint | None = None
    """What a test of the server found."""

    def advance(self, done: int, total: int) -> None:
        """Called with every verdict."""
        self.done, self.total = done, total
        self.check("stopped; verdicts that arrived are kept, and asking again asks only for the rest")


_jobs: dict[tuple[str, str, str], JudgeJob] = {}
_guard = threading.Lock()


def job_of(loaded: Loaded) -> JudgeJob | None:
    """The latest run on this SAE and these texts in this process, whoever started it."""
    return _jobs.get(_key(loaded))


def start(loaded: Loaded, options: JudgeOptions, api_key: str = "", *, only_test: bool = False) -> JudgeJob:
    """Ask in the background, or join a run in progress. ``api_key`` "" means the server's environment variable.

    ``only_test``: only find out what the judge's server can do. DataError on a read-only server.
    """
    access.demand("asking a judge")
    with _guard:
        job = _jobs.get(_key(loaded))
        if job is None or not job.active:
            job = _jobs[_key(loaded)] = JudgeJob(options)
            args = (job, loaded.config, ledger.store(), api_key)
            work = _test if only_test else _work
            threading.Thread(target=work, args=args, daemon=True, name="saeeval-judge").start()
        return job


def summary(result: JudgeOutcome) -> str:
    """The outcome of a run in one line, failures by their names."""
    run = result.run
    if run is None:
        there = f"{plural(result.from_store, 'verdict')} already there."
        if (count := result.forecast) is None:
            return f"{plural(result.latents, 'latent')}; {there}"
        counted = "" if count.exact else "about "
        tokens = f"{counted}{count.input_tokens:,} tokens in, at most {count.output_tokens_at_most:,} out"
        by = "" if count.counted else f" ({count.counted_by})"
        return f"{count.requests} requests, {tokens}{by}; {_cost(count)}; {there}"
    failed = ", ".join(f"{name} {n}" for name, n in run.failures.items())
    said = f" {result.endpoint.words}." if result.endpoint is not None else ""
    parts = [f"{run.answered} new verdicts", f"{run.from_store} were there already"]
    if result.found is not None:
        parts.append(f"finds the intruder in {say(result.found.accuracy(), 2)} of {result.found.trials} trials")
    parts += [f"no verdict: {failed}"] if failed else []
    parts += [f"{run.not_asked} not asked: the budget is used up"] if run.not_asked else []
    tokens = run.used.input + run.used.cached + run.used.output
    cost = f" (${run.usd:,.2f})" if run.usd is not None else ""
    return "; ".join(parts) + (f". {tokens:,} tokens used{cost}." if tokens else ".") + said


def _cost(count: Forecast) -> str:
    """Of the tokens of a forecast, at the prices given."""
    if count.usd_at_most is not None:
        return f"at most ${count.usd_at_most:,.2f}"
    if count.usd_about is not None:
        return f"about ${count.usd_about:,.2f}"
    return "cost unknown without prices"


def _key(loaded: Loaded) -> tuple[str, str, str]:
    return (str(ledger.store().path), loaded.latents.sae_fingerprint, loaded.task_set.texts.name)


def _work(job: JudgeJob, config: RunConfig, store: Store, api_key: str) -> None:
    def ask() -> None:
        job.status = "running"
        access.check_judge(job.options.base_url)
        job.result = judge_command(config, job.options, store=store, on_progress=job.advance, api_key=api_key)

    job.carry_out(ask)


def _test(job: JudgeJob, _config: RunConfig, _store: Store, api_key: str) -> None:
    def ask() -> None:
        job.status = "running"
        access.check_judge(job.options.base_url)
        judge = make_judge(job.options, api_key)
        assert isinstance(judge, CompatibleJudge)  # the others have no test
        job.tested = judge.probe()

    job.carry_out(ask)
