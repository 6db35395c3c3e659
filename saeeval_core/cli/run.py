"""``saeeval run``: score SAEs on one task."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saeeval_core.cli import options as o
from saeeval_core.cli.console import console, recording_bar, write_json
from saeeval_core.cli.planned import show_plan
from saeeval_core.config import AUTO_KERNEL, AUTO_PROBE, DEFAULT_MODEL, DEFAULT_SAE, DEFAULT_TASK, RunConfig
from saeeval_core.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from saeeval_core.evaluation.result import RunResult
    from saeeval_core.evaluation.select import Selector

FORMATS = ("saeeval", "saebench")


@o.with_texts
def run(
    model: o.Model = DEFAULT_MODEL,
    sae: o.Saes = [DEFAULT_SAE],
    task: o.Task = DEFAULT_TASK,
    own: o.TextOptions = o.TextOptions(),
    metrics: o.Metrics = "shift,tpp",
    protocol: o.Protocol = "robust",
    n: o.Ns = o.DEFAULT_N,
    seed: o.Seed = 0,
    texts_per_cell: o.TextsPerCell = 1500,
    hook: o.WritesHook = "",
    read_hook: o.ReadHook = "",
    probe_hook: o.ProbeHook = AUTO_PROBE,
    select: Annotated[
        str,
        typer.Option("--select", help="attribution, judge, task-unrelated, human:SET or set:FILE (an exported set)."),
    ] = "attribution",
    rater: o.Rater = "",
    threshold: o.Threshold = 2,
    zero_non_maximum: Annotated[
        bool, typer.Option(help="First set every rating below the latent's highest to 0, as the paper's code does.")
    ] = False,
    order: Annotated[
        str, typer.Option(help="Judged selections: top-then-filter (at most N) or filter-then-top (the first N).")
    ] = "top-then-filter",
    device: o.Device = "auto",
    dtype: o.Dtype = "float32",
    kernel: o.Kernel = AUTO_KERNEL,
    controls: o.Controls = True,
    rivals: o.Rivals = False,
    deletion: o.Deletion = False,
    refits: Annotated[
        int, typer.Option(help="Refits for intervals that also vary the probes' training texts (20 or more).")
    ] = 0,
    plan: o.PlanOnly = False,
    shipped_recording: Annotated[bool, typer.Option(help="Use the recordings that come with the package.")] = True,
    json_path: o.Json = None,
    format_: Annotated[
        str,
        typer.Option("--format", help="What --json writes: saeeval (a file) or saebench (a folder of SAEBench files)."),
    ] = "saeeval",
) -> None:
    """Score SAEs: SHIFT in both directions, its mean over pairs, and the TPP matrix, for every N."""
    from saeeval_core.controls import attach
    from saeeval_core.evaluation.prepare import drawn_texts, prepare
    from saeeval_core.evaluation.score import score
    from saeeval_core.formats.tables import print_run
    from saeeval_core.saes.asked import with_hooks

    _check_format(format_, json_path)
    config = RunConfig(
        model=model,
        saes=with_hooks(sae, hook, read_hook),
        **own.settings(task),
        metrics=o.words(metrics),
        protocol=protocol,
        ns=o.numbers(n, "--n"),
        seed=seed,
        texts_per_cell=texts_per_cell,
        device=device,
        dtype=dtype,
        kernel=kernel,
        selection=select,
        probe_hook=probe_hook,
    )
    if plan:
        texts = drawn_texts(config, shipped=shipped_recording).task_set
        show_plan([(config, texts)], units=len(sae), shipped=shipped_recording, json_path=json_path)
        return
    if refits:
        attach.check_refits(config, select, refits)
    chooser: Selector | None = None
    if select.startswith("set:"):
        from saeeval_core.formats.set_selection import set_of_file
        from saeeval_core.recordings.obtain import task_set_of

        chooser = set_of_file(select, task_set_of(config).texts.name)
    elif select != "attribution":
        from saeeval_core.judging.command import selector
        from saeeval_core.scores.selections import Rule

        chooser = selector(config, rater, Rule(threshold, zero_non_maximum, order))
    with recording_bar() as on_progress:
        prepared = prepare(config, shipped=shipped_recording, on_progress=on_progress)
    result = score(prepared, chooser)
    if controls:
        result = attach.with_controls(prepared, result, chooser, shipped=shipped_recording)
    if rivals:
        result = attach.with_rivals(prepared, result, chooser, shipped=shipped_recording)
    if deletion:
        result = attach.with_deletion(prepared, result)
    if refits:
        result = attach.with_refits(prepared, result, refits)
    _write(result, format_, json_path)
    print_run(console, result)


def _check_format(name: str, json_path: Path | None) -> None:
    """ConfigError for a format that is unknown or has nowhere to be written; called before anything is computed."""
    if name not in FORMATS:
        raise ConfigError(unknown_name("format", name, FORMATS))
    if name == "saebench" and json_path is None:
        raise ConfigError("--format saebench writes a folder of files; name it with --json FOLDER")
    if name == "saebench" and json_path is not None and json_path.is_file():
        raise ConfigError(f"'{json_path}' is a file; --format saebench needs a folder, so name another one with --json")


def _write(result: "RunResult", format_: str, json_path: Path | None) -> None:
    from saeeval_core.evaluation.result_json import to_json
    from saeeval_core.storage.artifacts import sealed

    if json_path is None or format_ == "saeeval":
        write_json(json_path, sealed(to_json(result)))
        return
    from saeeval_core.formats.saebench_files import export_saebench

    for name, content in export_saebench(result, when_ms=int(time.time() * 1000)).items():
        write_json(json_path / name, content)
