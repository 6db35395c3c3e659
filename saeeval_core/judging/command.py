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
from saeeval_core.evidence.evidence import judged_evidence
from saeeval_core.evidence.sources import evidence_sources, file_source, task_source
from saeeval_core.judging.budget import Budget, Usage
from saeeval_core.judging.claude import ClaudeJudge, ClaudeSettings
from saeeval_core.judging.run import Judge, JudgeRun, collect_batches, judge_questions, submit_batch
from saeeval_core.judging.select import VerdictSelector, ratings_of
from saeeval_core.judging.verdict import Question, task_concepts
from saeeval_core.judging.verdict_files import load_shipped_verdicts
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.store import Store
from saeeval_core.recordings.obtain import draw_of, obtain_recordings, task_set_of
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.scores.selections import Rule

JUDGES = ("claude", "local")


@dataclass(frozen=True)
class JudgeOptions:
    """The options of ``saeeval judge``."""

    judge: str = "local"
    latents: str = "top20"
    """"topK" (union over all rankings of the task) or ids separated by commas."""
    model: str = ""
    """Claude's model id; "" for the default."""
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

    def __post_init__(self) -> None:
        if self.judge not in JUDGES:
            raise ConfigError(unknown_name("judge", self.judge, JUDGES))
        if self.batch and self.judge != "claude":
            raise ConfigError("--batch goes with --judge claude; the local judge answers at once")


@dataclass(frozen=True)
class Forecast:
    """What a run may use, counted before the first request."""

    requests: int
    input_tokens: int
    output_tokens_at_most: int
    exact: bool
    """False: scaled from some of the requests."""
    usd_at_most: float | None
    """None without prices."""


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
        if self.forecast is not None:
            out["count"] = asdict(self.forecast)
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
    wanted = parse_latents(options.latents)
    budget = Budget(options.budget_tokens, options.budget_usd, options.price_in, options.price_out)
    task_set = task_set_of(config)
    concepts = task_concepts(task_set)
    if not concepts:
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
    asker = make_judge(options, api_key)
    questions = [asker.question(judged_evidence(sources, i), concepts, task_set.texts.name) for i in ids]
    about = JudgeOutcome(
        asker.rater, asker.rater_kind, recording.sae, task_set.texts.name, tuple(c.name for c in concepts), len(ids)
    )
    if isinstance(asker, ClaudeJudge):
        return _ask_claude(about, store, asker, questions, budget, options, on_progress)
    if options.dry_run:
        return replace(about, from_store=sum(store.find_verdict(q.blank.key) is not None for q in questions))
    return replace(about, run=judge_questions(store, asker, questions, on_progress=on_progress))


def make_judge(options: JudgeOptions, api_key: str = "") -> Judge:
    """The judge of the options; Claude's key from ``api_key`` or the environment's ANTHROPIC_API_KEY."""
    if options.judge == "claude":
        settings = ClaudeSettings(
            model=options.model or ClaudeSettings.model,
            concurrency=options.concurrency,
            base_url=options.base_url or os.environ.get("ANTHROPIC_BASE_URL"),
        )
        return ClaudeJudge(api_key or os.environ.get("ANTHROPIC_API_KEY"), settings)
    from saeeval_core.judging.local import LocalJudge

    return LocalJudge()


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


def _ask_claude(
    about: JudgeOutcome,
    store: Store,
    asker: ClaudeJudge,
    questions: Sequence[Question],
    budget: Budget,
    options: JudgeOptions,
    on_progress: Callable[[int, int], None] | None,
) -> JudgeOutcome:
    """Collect finished batches, count tokens, ask the rest within the budget."""
    batches: dict[str, str | int] = {}
    if store.open_batches() and not options.dry_run:
        batches = collect_batches(store, asker, wait=options.wait if options.batch else 0.0)
    left = [q for q in questions if store.find_verdict(q.blank.key) is None]
    if left:
        asker.need_key()
    there = len(questions) - len(left)
    most = None
    if left and (options.dry_run or options.batch or budget.limited):
        count = asker.count(left)
        most = [Usage(n, 0, asker.settings.max_tokens) for n in count.per_request]
        in_all = Usage(count.input, 0, count.output_at_most)
        about = replace(
            about,
            forecast=Forecast(count.requests, count.input, count.output_at_most, count.exact, budget.cost(in_all)),
        )
        if options.batch and not options.dry_run and not budget.allows(in_all):
            raise JudgeError(
                f"the batch may use {count.input} tokens and {count.output_at_most} for replies, more than the budget; "
                "raise it or name fewer latents"
            )
    if options.dry_run:
        return replace(about, batches=batches, from_store=there)
    if options.batch:
        if (batch_id := submit_batch(store, asker, left)) is not None:
            batches |= {batch_id: "in progress"} | collect_batches(store, asker, wait=options.wait)
        return replace(about, batches=batches)
    done = judge_questions(store, asker, left, budget, most=most, on_progress=on_progress)
    return replace(about, batches=batches, run=replace(done, from_store=there))


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
