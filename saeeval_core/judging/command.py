"""``saeeval judge``: from a task and an SAE to the questions, and on to a judge."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saeeval_core.config import RunConfig, assets_dir
from saeeval_core.errors import ConfigError, DataError, JudgeError, unknown_name
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.evaluation.prepare import evaluation_of
from saeeval_core.evidence.evidence import judged_evidence
from saeeval_core.evidence.sources import evidence_sources, file_source, task_source
from saeeval_core.judging.budget import Budget, Usage
from saeeval_core.judging.claude import ClaudeJudge, ClaudeSettings
from saeeval_core.judging.imports import SaeIdentity, load_shipped
from saeeval_core.judging.run import Judge, collect_batches, judge_questions, submit_batch
from saeeval_core.judging.select import Selector, ratings_of
from saeeval_core.judging.verdict import Question, task_concepts
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
    """File of texts that stand in for the news windows as general text."""

    def __post_init__(self) -> None:
        if self.judge not in JUDGES:
            raise ConfigError(unknown_name("judge", self.judge, JUDGES))
        if self.batch and self.judge != "claude":
            raise ConfigError("--batch goes with --judge claude; the local judge answers at once")


def judge_command(
    config: RunConfig,
    options: JudgeOptions,
    *,
    store: Store | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    api_key: str = "",
) -> dict[str, Any]:
    """What ``saeeval judge`` prints and writes; plain JSON values. Verdicts go to the store as they arrive.

    ``api_key`` "" stands for the environment's ANTHROPIC_API_KEY.
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
    about = {
        "judge": asker.rater,
        "rater_kind": asker.rater_kind,
        "sae": recording.sae,
        "task": task_set.texts.name,
        "concepts": [c.name for c in concepts],
        "latents": len(ids),
    }
    if isinstance(asker, ClaudeJudge):
        return about | _ask_claude(store, asker, questions, budget, options, on_progress)
    if options.dry_run:
        return about | {"from_store": sum(store.find_verdict(q.blank.key) is not None for q in questions)}
    return about | judge_questions(store, asker, questions, on_progress=on_progress).to_dict()


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


def load_shipped_verdicts(store: Store, recording: LatentRecording) -> int:
    """Put the verdicts shipped for this SAE into the store, once."""
    identity = SaeIdentity(recording.sae, recording.sae_fingerprint, recording.n_latents)
    return load_shipped(store, assets_dir() / "verdicts", identity)


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
    store: Store,
    asker: ClaudeJudge,
    questions: Sequence[Question],
    budget: Budget,
    options: JudgeOptions,
    on_progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """Collect what is ready, count, keep within the budget, ask the rest."""
    out: dict[str, Any] = {"batches": {}}
    if store.open_batches() and not options.dry_run:
        out["batches"] = collect_batches(store, asker, wait=options.wait if options.batch else 0.0)
    left = [q for q in questions if store.find_verdict(q.blank.key) is None]
    most = None
    if left and (options.dry_run or options.batch or budget.limited):
        count = asker.count(left)
        most = [Usage(n, 0, asker.settings.max_tokens) for n in count.per_request]
        in_all = Usage(count.input, 0, count.output_at_most)
        out["count"] = {
            "requests": count.requests,
            "input_tokens": count.input,
            "output_tokens_at_most": count.output_at_most,
            "exact": count.exact,
            "usd_at_most": budget.cost(in_all),
        }
        if options.batch and not options.dry_run and not budget.allows(in_all):
            raise JudgeError(
                f"the batch may use {count.input} tokens and {count.output_at_most} for replies, more than the budget; "
                "raise it or name fewer latents"
            )
    if options.dry_run:
        return out | {"from_store": len(questions) - len(left)}
    if options.batch:
        if (batch_id := submit_batch(store, asker, left)) is not None:
            out["batches"] |= {batch_id: "in progress"} | collect_batches(store, asker, wait=options.wait)
        return out
    done = judge_questions(store, asker, left, budget, most=most, on_progress=on_progress).to_dict()
    return out | done | {"from_store": len(questions) - len(left)}


def selector(config: RunConfig, rater: str, rule: Rule, *, store: Store | None = None) -> Selector:
    """The selection that ``config.selection`` names, with one rater's stored (or shipped) verdicts on the config's one SAE.

    ConfigError for several SAEs, for a rater without verdicts (those there are named), or an unknown decision set.
    """
    task_set = task_set_of(config)
    kind, _, set_name = config.selection.partition(":")
    if kind == "human":
        return Selector(task_set, "human", human=_marked_sets(store or Store(), set_name))
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
    return Selector(task_set, kind, rater, ratings_of(store.verdicts(key, rater=rater), rater), rule)


def _marked_sets(store: Store, name: str) -> list[tuple[DecisionSet, list[int]]]:
    """Every decision set of that name, or the one with that number, with the latents marked in it."""
    sets = store.list_sets()
    found = [s for s in sets if name in (str(s.id), s.name)]
    if not found:
        known = dict.fromkeys(s.name for s in sets)
        raise ConfigError(unknown_name("decision set", name, known, "use --select human:SET (a name or number)"))
    return [(s, store.ablated(s.id)) for s in found]
