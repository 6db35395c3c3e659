"""``saeeval judge``: make the questions about an SAE's latents on a task, and ask a judge."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from saeeval_core.config import RunConfig
from saeeval_core.errors import ConfigError, DataError, JudgeError, unknown_name
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.evaluation.prepare import evaluation_of
from saeeval_core.evidence.intruder import TRIALS, judged_evidence, trials_of
from saeeval_core.evidence.sources import evidence_sources, file_source, task_source
from saeeval_core.judging.budget import Budget, Usage
from saeeval_core.judging.chat import OFFICIAL, Chat, need_library
from saeeval_core.judging.claude import ClaudeJudge, ClaudeSettings
from saeeval_core.judging.compatible import ESTIMATED_BY, TIMEOUT, CompatibleJudge, Endpoint
from saeeval_core.judging.intruder import Finder, finders
from saeeval_core.judging.messages import Messages
from saeeval_core.judging.run import Judge, JudgeRun, collect_batches, judge_questions, submit_batch
from saeeval_core.judging.select import VerdictSelector, ratings_of
from saeeval_core.judging.server import ServerJudge, ServerSettings, TokenCount, host_of
from saeeval_core.judging.verdict import Question, task_concepts
from saeeval_core.judging.verdict_files import load_shipped_verdicts
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.store import Store
from saeeval_core.ledger.verdicts import INTRUDER
from saeeval_core.recordings.obtain import draw_of, obtain_recordings, task_set_of
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.scores.selections import Rule

JUDGES = ("claude", "local", "messages", "chat")
"""Anthropic; the offline judge; any server that speaks Messages (vLLM, llama.cpp, Ollama) or Chat Completions."""
QUESTIONS = ("rating", "intruder")
"""How far a latent is related to the task's concepts; which of five windows is not one of this latent's."""
KEY_VARIABLE = "SAEEVAL_JUDGE_KEY"
"""Variable of the environment with the key for "messages" and "chat"; keys of vendors go to those vendors only."""


@dataclass(frozen=True)
class JudgeOptions:
    """The options of ``saeeval judge``."""

    judge: str = "local"
    latents: str = "top20"
    """"topK" (union over all rankings of the task) or ids separated by commas."""
    model: str = ""
    """The model's name at the server; "" for Claude's default."""
    base_url: str | None = None
    concurrency: int = 8
    budget_usd: float | None = None
    budget_tokens: int | None = None
    price_in: float | None = None
    """USD per million input tokens."""
    price_out: float | None = None
    batch: bool = False
    """Use the Message Batches API; run the same command again to collect."""
    wait: float = 0.0
    """Seconds to wait for a batch."""
    dry_run: bool = False
    """Count tokens and stop."""
    general_text: str = ""
    """File of texts to use as general text in place of the news windows."""
    reply_tokens: int = ServerSettings.max_tokens
    """Longest reply; models that think before they answer need more."""
    question: str = "rating"
    """One of QUESTIONS."""
    trials: int = TRIALS
    """Trials of each latent, for the intruder task."""

    def __post_init__(self) -> None:
        if self.judge not in JUDGES:
            hint = "chat speaks to OpenAI and servers like it, messages to those that are like Anthropic's"
            raise ConfigError(unknown_name("judge", self.judge, JUDGES, hint))
        if self.batch and self.judge != "claude":
            raise ConfigError("--batch goes with --judge claude; the others answer at once")
        if self.base_url and self.judge == "local":
            raise ConfigError("--base-url goes with --judge messages, chat or claude; the local judge is no server")
        if self.question not in QUESTIONS:
            raise ConfigError(unknown_name("question", self.question, QUESTIONS))
        if self.trials < 1:
            raise ConfigError("--trials is at least 1")
        if self.reply_tokens < 1 or self.concurrency < 1:
            raise ConfigError("--reply-tokens and --concurrency are at least 1")


@dataclass(frozen=True)
class Forecast:
    """What a run may use, counted before the first request."""

    requests: int
    input_tokens: int
    output_tokens_at_most: int
    exact: bool
    """False: scaled from some of the requests, or estimated."""
    usd_at_most: float | None
    """None without prices, and where tokens are estimated."""
    counted: bool = True
    """False: the server does not count tokens, and they are estimated from the length of the texts."""
    usd_about: float | None = None
    """In place of ``usd_at_most`` where tokens are estimated."""
    counted_by: str = ""
    """Who counted: the server's host; or by which tokenizer the estimate was made."""

    @classmethod
    def of(cls, count: TokenCount, budget: Budget, host: str) -> "Forecast":
        """The forecast of a count, at the budget's prices; ``host``: the server's."""
        usd = budget.cost(Usage(count.input, 0, count.output_at_most))
        at_most, about = (usd, None) if count.counted else (None, usd)
        by = host if count.counted else ESTIMATED_BY
        return cls(count.requests, count.input, count.output_at_most, count.exact, at_most, count.counted, about, by)


@dataclass(frozen=True)
class JudgeOutcome:
    """The outcome of ``saeeval judge``."""

    judge: str
    """Name of the rater."""
    rater_kind: str
    sae: str
    task: str
    concepts: tuple[str, ...]
    latents: int
    """Number of latents."""
    run: JudgeRun | None = None
    """Outcome of the requests; None for a dry run and for a batch."""
    forecast: Forecast | None = None
    batches: dict[str, str | int] | None = None
    """Claude's batches: id -> verdicts read, or "in progress"."""
    from_store: int | None = None
    """In a dry run: latents whose verdicts are already stored."""
    endpoint: Endpoint | None = None
    """What was found out about a server that is not known; None where nothing was asked of one."""
    question: str = "rating"
    """One of QUESTIONS."""
    found: Finder | None = None
    """How often the judge found the intruder in the trials asked for; None for ratings, and where none was answered."""

    def to_dict(self) -> dict[str, object]:
        """JSON values; what does not apply is absent."""
        out: dict[str, object] = {
            "judge": self.judge,
            "rater_kind": self.rater_kind,
            "sae": self.sae,
            "task": self.task,
            "concepts": list(self.concepts),
            "latents": self.latents,
        }
        if self.batches is not None:
            out["batches"] = self.batches
        if self.endpoint is not None:
            out["endpoint"] = self.endpoint.to_dict()
        if self.forecast is not None:
            out["count"] = asdict(self.forecast)
        if self.question != "rating":
            out["question"] = self.question
        if self.found is not None:
            out["intruder"] = self.found.to_dict()
        if self.run is not None:
            out |= self.run.to_dict()
        elif self.from_store is not None:
            out["from_store"] = self.from_store
        return out


def judge_command(
    config: RunConfig,
    options: JudgeOptions,
    *,
    store: Store | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    api_key: str = "",
) -> JudgeOutcome:
    """Explain and rate latents; verdicts are stored as they arrive.

    ``api_key`` "" means the environment's ANTHROPIC_API_KEY. DataError for a task without concepts or a latent that
    does not exist, ConfigError for options that do not go together, JudgeError when a judge cannot run at all.
    """
    wanted, asker = parse_latents(options.latents), make_judge(options, api_key)
    budget = Budget(options.budget_tokens, options.budget_usd, options.price_in, options.price_out)
    task_set = task_set_of(config)
    concepts = task_concepts(task_set)
    if not concepts and options.question == "rating":
        raise DataError(f"'{task_set.texts.name}' defines no concepts; give --target and --spurious, or --classes")
    recordings = obtain_recordings(config, task_set, config.saes[:1])
    recording = recordings.latents[0]
    if options.general_text:
        own = task_source(task_set, recordings.residuals, recording)
        sources = [own, file_source(config, Path(options.general_text))]
    else:
        sources = evidence_sources(config, task_set, recordings.residuals, recording)
    evaluation = evaluation_of(config, draw_of(config, task_set), recordings.residuals)
    ids = candidate_latents(evaluation, recording, wanted) if isinstance(wanted, int) else wanted
    if not ids:
        raise DataError("no latent has an effect on any probe of this task; give ids with --latents")
    store = store or Store()
    load_shipped_verdicts(store, recording)
    name, rating = task_set.texts.name, options.question == "rating"
    if rating:
        questions = [asker.question(judged_evidence(sources, i), concepts, name) for i in ids]
    else:
        questions = [asker.intruder_question(t, name) for i in ids for t in trials_of(sources, i, options.trials)]
    asked = tuple(c.name for c in concepts) if rating else ()
    about = JudgeOutcome(asker.rater, asker.rater_kind, recording.sae, name, asked, len(ids), question=options.question)
    if isinstance(asker, ServerJudge):
        about = _ask_server(about, store, asker, questions, budget, options, on_progress)
    elif options.dry_run:
        about = replace(about, from_store=sum(store.find_verdict(q.blank.key) is not None for q in questions))
    else:
        about = replace(about, run=judge_questions(store, asker, questions, on_progress=on_progress))
    if rating or options.dry_run:
        return about
    answers = store.verdict_history(recording.sae_fingerprint, task=INTRUDER + name, rater=asker.rater)
    wanted_trials = {q.blank.evidence_hash for q in questions}
    return replace(about, found=next(iter(finders(a for a in answers if a.evidence_hash in wanted_trials)), None))


def make_judge(options: JudgeOptions, api_key: str = "") -> Judge:
    """The judge of the options, with ``api_key`` or the environment's: ANTHROPIC_API_KEY, KEY_VARIABLE, or OPENAI_API_KEY.

    OPENAI_API_KEY goes to OpenAI's server or the environment's OPENAI_BASE_URL only. ConfigError for a judge that
    lacks an address, a model's name or its library.
    """
    if options.judge == "claude":
        key, url = os.environ.get("ANTHROPIC_API_KEY"), options.base_url or os.environ.get("ANTHROPIC_BASE_URL")
        model = options.model or ClaudeSettings.model
        return ClaudeJudge(
            api_key or key, ClaudeSettings(model, options.reply_tokens, options.concurrency, base_url=url)
        )
    if options.judge in ("messages", "chat"):
        return _compatible(options, api_key or os.environ.get(KEY_VARIABLE, ""))
    from saeeval_core.judging.local import LocalJudge

    return LocalJudge()


def _compatible(options: JudgeOptions, key: str) -> CompatibleJudge:
    url, asked = options.base_url, (options.model, options.reply_tokens, options.concurrency)
    if options.judge == "messages":
        return CompatibleJudge(key, ServerSettings(*asked, timeout=TIMEOUT, base_url=url), Messages())
    need_library()
    if not url:
        url, key = os.environ.get("OPENAI_BASE_URL") or OFFICIAL, key or os.environ.get("OPENAI_API_KEY", "")
    official = host_of(url) == host_of(OFFICIAL)
    settings = ServerSettings(*asked, timeout=TIMEOUT, base_url=url)
    return CompatibleJudge(key, settings, Chat(official=official), needs_key=official)


def candidate_latents(evaluation: Evaluation, latents: LatentRecording, k: int) -> list[int]:
    """Every latent among the top ``k`` of the attribute probe or C_b in any direction, or of any TPP class.

    Ordered by best place in any ranking, so that a budget is spent on the strongest first.
    """
    part = evaluation.parts[0]  # rankings come from training texts, the same for every part
    rankings = []
    for view in evaluation.shift_views(latents, part):
        rankings += [view.attribute_ranking[:k], view.base_ranking[:k]]
    if evaluation.scores_tpp:
        rankings += [ranking[:k] for ranking in evaluation.tpp_view(latents, part).rankings]
    best: dict[int, int] = {}
    for ranking in rankings:
        for place, latent in enumerate(ranking):
            best[int(latent)] = min(place, best.get(int(latent), k))
    return sorted(best, key=lambda i: (best[i], i))


def parse_latents(text: str) -> int | list[int]:
    """ "top50" gives 50, "3,17,9" the ids; ConfigError otherwise."""
    try:
        if text.startswith("top"):
            if (k := int(text.removeprefix("top"))) > 0:
                return k
        else:
            return list(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        pass
    raise ConfigError(f"--latents '{text}' is neither topK (such as top50) nor ids separated by commas")


def _ask_server(
    about: JudgeOutcome,
    store: Store,
    asker: ServerJudge,
    questions: Sequence[Question],
    budget: Budget,
    options: JudgeOptions,
    on_progress: Callable[[int, int], None] | None,
) -> JudgeOutcome:
    """Count tokens where it matters, find out what the server can do, and ask what the store does not know."""
    is_claude = isinstance(asker, ClaudeJudge)
    batches: dict[str, str | int] | None = {} if is_claude else None
    if is_claude and store.open_batches() and not options.dry_run:
        batches = collect_batches(store, asker, wait=options.wait if options.batch else 0.0)
    left = [q for q in questions if store.find_verdict(q.blank.key) is None]
    about = replace(about, batches=batches)
    if left:
        asker.need_key()
    there = len(questions) - len(left)
    most = None
    if left and (options.dry_run or options.batch or budget.limited):
        count = asker.count(left)
        most = [Usage(n, 0, asker.settings.max_tokens) for n in count.per_request]
        about = replace(about, forecast=Forecast.of(count, budget, asker.endpoint))
    if options.dry_run:
        return replace(about, from_store=there)
    if options.batch and is_claude:
        return _send_batch(about, store, asker, left, budget, options)
    if left and isinstance(asker, CompatibleJudge):
        about = replace(about, endpoint=_found_out(asker, budget))
    done = judge_questions(store, asker, left, budget, most=most, on_progress=on_progress)
    return replace(about, run=replace(done, from_store=there))


def _send_batch(
    about: JudgeOutcome,
    store: Store,
    asker: ClaudeJudge,
    left: Sequence[Question],
    budget: Budget,
    options: JudgeOptions,
) -> JudgeOutcome:
    count, batches = about.forecast, dict(about.batches or {})
    if count is not None and not budget.allows(Usage(count.input_tokens, 0, count.output_tokens_at_most)):
        raise JudgeError(
            f"the batch may use {count.input_tokens} tokens and {count.output_tokens_at_most} for replies, more than the "
            "budget; raise it or name fewer latents"
        )
    if (batch_id := submit_batch(store, asker, left)) is not None:
        batches |= {batch_id: "in progress"} | collect_batches(store, asker, wait=options.wait)
    return replace(about, batches=batches)


def _found_out(asker: CompatibleJudge, budget: Budget) -> Endpoint:
    """What one small question tells of the server; it counts towards the budget."""
    most = asker.probe_at_most()
    if not budget.reserve(most):
        raise JudgeError("the budget is less than one small question may take; raise it")
    try:
        found = asker.probe()
    except JudgeError:
        budget.settle(most, Usage())
        raise
    budget.settle(most, found.usage)
    return found


def selector(config: RunConfig, rater: str, rule: Rule, *, store: Store | None = None) -> VerdictSelector:
    """The selection ``config.selection``, with one rater's stored (or shipped) verdicts on the config's one SAE.

    ConfigError for several SAEs, a rater without verdicts (the message names those with), or an unknown decision set.
    """
    task_set = task_set_of(config)
    kind, _, set_name = config.selection.partition(":")
    if kind == "human":
        return VerdictSelector(task_set, "human", human=_marked_sets(store or Store(), set_name))
    if len(config.saes) != 1:
        raise ConfigError(f"--select {kind} uses verdicts on one SAE, found {len(config.saes)}: give one --sae")
    store = store or Store()
    recording = obtain_recordings(config, task_set, config.saes).latents[0]
    key = recording.sae_fingerprint
    load_shipped_verdicts(store, recording)
    there = [name for name, _, _ in store.raters(key)]
    if not rater and len(there) == 1:
        rater = there[0]
    if rater not in there:
        known = ", ".join(there) or "none; run saeeval judge first"
        raise ConfigError(
            f"no verdicts of rater '{rater}' on {recording.sae}; raters with verdicts: {known}: choose with --rater"
        )
    return VerdictSelector(task_set, kind, rater, ratings_of(store.verdicts(key, rater=rater), rater), rule)


def _marked_sets(store: Store, name: str) -> list[tuple[DecisionSet, list[int]]]:
    """The decision set with that number, else every one of that name, with the latents marked in it: of every SAE, so
    of whatever width; the selector takes those of its own.

    ConfigError for a name that sets of several people have, which NAME@OWNER tells apart.
    """
    sets = store.list_sets()
    found = [s for s in sets if name == str(s.id)] or [s for s in sets if name in (s.name, f"{s.name}@{s.who}")]
    if not found:
        known = dict.fromkeys(s.name for s in sets)
        raise ConfigError(unknown_name("decision set", name, known, "use --select human:SET (a name or number)"))
    if len(owners := dict.fromkeys(s.who for s in found)) > 1:
        exact = ", ".join(f"human:{found[0].name}@{who}" for who in list(owners)[:6])
        raise ConfigError(f"several people have a decision set '{name}'; give --select {exact}, or a number")
    return [(s, store.ablated(s.id, sys.maxsize)) for s in found]
