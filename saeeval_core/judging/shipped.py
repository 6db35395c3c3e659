"""Making the verdict files that come with the bundled SAEs.

``assets/verdicts/SAE.jsonl`` holds two raters: LocalJudge for every latent that can enter a candidate queue, and a
reference whose explanations and ratings were written by a language model with a judge's rubric, from excerpts of the
evidence a judge gets (rater kind "llm"). Neither is a person, and neither is ever counted as one.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from saeeval_core.config import RunConfig, assets_dir
from saeeval_core.judging.command import candidate_latents, evidence_sources, general_sources, judged_evidence
from saeeval_core.judging.imports import read_verdicts, write_verdicts
from saeeval_core.judging.local import LocalJudge
from saeeval_core.judging.verdict import task_concepts
from saeeval_core.pipeline import obtain_recordings, task_set_of
from saeeval_core.store import Verdict

REFERENCE = "reference (LLM-written)"


def build_verdicts(
    sae: str,
    tasks: Sequence[str],
    *,
    k: int = 50,
    say: Callable[[str], None] = lambda _: None,
    judge: LocalJudge | None = None,
) -> Path:
    """Rate every candidate of these tasks with LocalJudge and write the SAE's verdict file; reference rows are kept.

    Reference rows written for other weights are dropped: they would explain other latents.
    """
    path = assets_dir() / "verdicts" / f"{sae}.jsonl"
    judge = judge or LocalJudge()
    rows: list[Verdict] = []
    fingerprint = ""
    for task in tasks:
        config = RunConfig(task=task, saes=(sae,))
        task_set = task_set_of(config)
        recordings = obtain_recordings(config, task_set, [sae])
        fingerprint = recordings.latents[0].sae_fingerprint
        sources = evidence_sources(task_set, recordings, general_sources(config, [sae]))[0]
        ids = candidate_latents(config, task_set, recordings, k)
        say(f"{sae}, {task}: {len(ids)} candidates")
        concepts = task_concepts(task_set)
        questions = [judge.question(judged_evidence(sources, i), concepts, task_set.texts.name) for i in ids]
        judge.ask(questions, lambda verdict, _usage: rows.append(verdict))
    written = [v for v in read_verdicts(path) if v.rater == REFERENCE] if path.exists() else []
    kept = [v for v in written if v.sae_fingerprint == fingerprint]
    if len(kept) < len(written):
        say(f"{sae}: {len(written) - len(kept)} reference verdicts are about other weights and were dropped")
    write_verdicts(
        path, sorted([*kept, *(v for v in rows if v.ok)], key=lambda v: (v.rater != REFERENCE, v.task, v.latent))
    )
    return path
