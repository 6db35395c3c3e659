"""Make the verdict files that come with the bundled SAEs.

``assets/verdicts/SAE.jsonl`` holds two raters: LocalJudge for every latent that can be a candidate, and a reference
whose explanations and ratings were written by a language model with a judge's rubric, from excerpts of the evidence a
judge gets (rater kind "llm"). Neither is ever counted as a person.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from saeeval_core.config import RunConfig, assets_dir
from saeeval_core.evaluation.prepare import evaluation_of
from saeeval_core.evidence.intruder import judged_evidence
from saeeval_core.evidence.sources import evidence_sources
from saeeval_core.judging.command import candidate_latents
from saeeval_core.judging.local import LocalJudge
from saeeval_core.judging.verdict import Question, task_concepts
from saeeval_core.judging.verdict_files import read_verdicts, write_verdicts
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.recordings.obtain import draw_of, obtain_recordings, task_set_of
from saeeval_core.wording import plural

REFERENCE = "reference (LLM-written)"


def build_verdicts(
    sae: str,
    tasks: Sequence[str],
    *,
    k: int = 50,
    say: Callable[[str], None] = lambda _: None,
    judge: LocalJudge | None = None,
) -> Path:
    """Rate every candidate of these tasks with LocalJudge and write the SAE's verdict file, after each task.

    Reference rows and other tasks' rows are kept, and candidates rated before on the same evidence are not rated again.
    Rows about other weights are dropped: they explain other latents.
    """
    path = assets_dir() / "verdicts" / f"{sae}.jsonl"
    judge = judge or LocalJudge()
    for task in tasks:
        questions, fingerprint = _questions(sae, task, k, judge)
        there = _written(path, fingerprint, lambda line: say(f"{sae}: {line}"))
        known = {v.key: v for v in there if v.rater == judge.rater}
        answered: list[Verdict] = [known[q.blank.key] for q in questions if q.blank.key in known]
        say(f"{sae}, {task}: {len(questions)} candidates, {len(answered)} rated before")
        new = [q for q in questions if q.blank.key not in known]
        judge.ask(new, lambda verdict, _usage, to=answered: to.append(verdict))
        asked = {q.blank.task for q in questions}
        others = [v for v in there if v.rater != judge.rater or v.task not in asked]
        write_verdicts(path, sorted([*others, *(v for v in answered if v.ok)], key=_order))
    return path


def _questions(sae: str, task: str, k: int, judge: LocalJudge) -> tuple[list[Question], str]:
    """(the questions about every candidate of one task, fingerprint of the SAE)."""
    config = RunConfig(task=task, saes=(sae,))
    task_set = task_set_of(config)
    recordings = obtain_recordings(config, task_set, [sae])
    sources = evidence_sources(config, task_set, recordings.residuals, recordings.latents[0])
    evaluation = evaluation_of(config, draw_of(config, task_set), recordings.residuals)
    ids, concepts = candidate_latents(evaluation, recordings.latents[0], k), task_concepts(task_set)
    questions = [judge.question(judged_evidence(sources, i), concepts, task_set.texts.name) for i in ids]
    return questions, recordings.latents[0].sae_fingerprint


def _written(path: Path, fingerprint: str, say: Callable[[str], None]) -> list[Verdict]:
    """Rows of the file that are about these weights."""
    every = read_verdicts(path) if path.exists() else []
    own = [v for v in every if v.sae_fingerprint == fingerprint]
    if len(own) < len(every):
        say(f"{plural(len(every) - len(own), 'verdict')} about other weights dropped")
    return own


def _order(v: Verdict) -> tuple[bool, str, str, int]:
    return (v.rater != REFERENCE, v.rater, v.task, v.latent)
