"""``saeeval judge``, ``saeeval import-explanations`` and ``saeeval agreement``: raters' verdicts on latents."""

from pathlib import Path
from typing import Annotated

import typer

from saeeval_core.cli import options as o
from saeeval_core.cli.console import bar, finish
from saeeval_core.config import DEFAULT_MODEL, DEFAULT_SAE, DEFAULT_TASK, RunConfig
from saeeval_core.errors import ConfigError, JudgeError
from saeeval_core.storage.notices import notice


@o.with_texts
def judge(
    judge: Annotated[
        str,
        typer.Option(
            "--judge",
            help="claude (ANTHROPIC_API_KEY), local (weak, offline), or a server that speaks messages (vLLM, llama.cpp, "
            "Ollama) or chat (Chat Completions: OpenAI and those like it); SAEEVAL_JUDGE_KEY where it wants a key.",
        ),
    ] = "local",
    latents: Annotated[
        str, typer.Option(help="topK (the first K of every ranking of the task), or ids separated by commas.")
    ] = "top20",
    model: o.Model = DEFAULT_MODEL,
    sae: o.Sae = DEFAULT_SAE,
    task: o.Task = DEFAULT_TASK,
    own: o.TextOptions = o.TextOptions(),
    judge_model: Annotated[
        str, typer.Option("--model-name", "--judge-model", help="The judge's name at its server, such as qwen3:8b.")
    ] = "",
    base_url: Annotated[str, typer.Option(help="Address of the judge's server, such as http://localhost:11434.")] = "",
    concurrency: Annotated[int, typer.Option(help="Requests at once.")] = 8,
    budget: Annotated[float | None, typer.Option("--budget", help="Most USD to spend; needs both prices.")] = None,
    budget_tokens: Annotated[int | None, typer.Option(help="Most tokens to use, input and output together.")] = None,
    price_in: Annotated[float | None, typer.Option(help="USD per million input tokens.")] = None,
    price_out: Annotated[float | None, typer.Option(help="USD per million output tokens.")] = None,
    batch: Annotated[bool, typer.Option("--batch", help="Use the Batches API; run again to collect.")] = False,
    wait: Annotated[float, typer.Option(help="Seconds to wait for a batch.")] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say tokens and cost, ask nothing.")] = False,
    general_text: Annotated[str, typer.Option(help="File of general text for contexts, in place of the news.")] = "",
    reply_tokens: Annotated[int, typer.Option(help="Longest reply; a model that thinks first needs more.")] = 800,
    question: Annotated[
        str,
        typer.Option(help="rating (concepts, 0 to 4), or intruder: which of five windows is not one of this latent's?"),
    ] = "rating",
    trials: Annotated[int, typer.Option(help="With --question intruder: trials of each latent.")] = 4,
    json_path: o.Json = None,
) -> None:
    """Explain and rate latents with an LLM, or let it find intruders. Verdicts are stored, so asking the same again costs nothing."""
    from saeeval_core.judging.command import JudgeOptions, judge_command

    options = JudgeOptions(
        judge,
        latents,
        judge_model,
        base_url or None,
        concurrency,
        budget,
        budget_tokens,
        price_in,
        price_out,
        batch,
        wait,
        dry_run,
        general_text,
        reply_tokens,
        question,
        trials,
    )
    config = RunConfig(model=model, saes=(sae,), **own.settings(task))
    with bar("judging") as advance:
        result = judge_command(config, options, on_progress=advance)
    if result.endpoint is not None:
        notice(result.endpoint.words)
    finish(json_path, result.to_dict())
    if result.run is not None and not result.run.answered + result.run.from_store:
        why = ", ".join(f"{status} {n}" for status, n in result.run.failures.items()) or "the budget allows no request"
        raise JudgeError(f"no verdict on any of {result.latents} latents: {why}; mend that and run the same again")


def import_explanations(
    source: Annotated[
        str,
        typer.Argument(help="Table with a column latent, a file of Neuronpedia, or: neuronpedia (not verified live)."),
    ],
    sae: o.Sae = DEFAULT_SAE,
    task: Annotated[
        str, typer.Option("--task", help="Texts that the ratings are about; without it they are shown with every task.")
    ] = "",
    rater: Annotated[
        str, typer.Option("--rater", help="Name of the rater where a row has none; default: the file's name.")
    ] = "",
    encoding: o.Encoding = "",
    delimiter: o.Delimiter = "",
    json_path: o.Json = None,
) -> None:
    """Import explanations and ratings made elsewhere: columns explanation, reason, rater, rating:CONCEPT (0 to 4).

    Neuronpedia's own files (columns index and description; .jsonl, .jsonl.gz, .json, .csv) are read too.
    """
    from saeeval_core.judging.import_command import import_command
    from saeeval_core.texts.tables import FileForm

    form = FileForm(encoding, delimiter)
    finish(json_path, import_command(source, sae, task=_texts_name(task), rater=rater, form=form).to_dict())


def agreement(
    labels: Annotated[
        Path | None, typer.Option(help="The paper's label file; without it the stored verdicts are compared.")
    ] = None,
    sae: o.Sae = DEFAULT_SAE,
    task: Annotated[str, typer.Option("--task", help="Only verdicts given for these texts, such as bios.")] = "",
    missing_as_zero: Annotated[
        bool, typer.Option("--missing-as-zero", help="Read missing ratings as 0 (the output says so).")
    ] = False,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples of the intervals.", min=1)] = 1000,
    judge: Annotated[
        str,
        typer.Option(
            "--judge", help="A judge with stored verdicts: how far it agrees with people's decisions, and other labels."
        ),
    ] = "",
    threshold: Annotated[int, typer.Option(help="With --judge: a rating of this or more means ablate (1 or 2).")] = 2,
    json_path: o.Json = None,
) -> None:
    """Measure agreement of raters: exact, within 1, Cohen's kappa with intervals, Krippendorff's alpha."""
    from saeeval_core.judging.agreement import agreement_command

    if labels is not None and task:
        raise ConfigError("--task goes with the stored verdicts; leave it out with --labels")
    if judge:
        if labels is not None or missing_as_zero:
            raise ConfigError(
                "--judge goes with the stored decisions and verdicts; leave out --labels and --missing-as-zero"
            )
        from saeeval_core.judging.trusted import trust_command
        from saeeval_core.scores.selections import Rule

        trusted = trust_command(judge, sae, task or DEFAULT_TASK, rule=Rule(threshold), resamples=resamples)
        finish(json_path, trusted.to_dict())
        return
    result = agreement_command(
        labels=labels,
        sae="" if labels else sae,
        task=_texts_name(task) or None,
        missing_as_zero=missing_as_zero,
        resamples=resamples,
    )
    finish(json_path, result.to_dict())


def _texts_name(task: str) -> str:
    """Name under which verdicts on a task are stored."""
    if not task.startswith("own:"):
        return task
    from saeeval_core.texts.own import find_task

    return find_task(task).key
