"""``saeeval sweep``, ``validate``, ``faults``, ``bench`` and ``report``: comparisons of SAEs, settings and tools."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from saeeval_core.cli import options as o
from saeeval_core.cli.console import bar, command_line, console, write_json
from saeeval_core.cli.executing import Executing, plan_json, say_failed, say_units
from saeeval_core.cli.planned import show_plan
from saeeval_core.config import AUTO_KERNEL, AUTO_PROBE, DEFAULT_MODEL, DEFAULT_SAE, DEFAULT_TASK, RunConfig
from saeeval_core.errors import ConfigError, DataError
from saeeval_core.wording import plural


@o.with_texts
def sweep(
    sae: o.Saes = [],
    suite: Annotated[
        Path | None, typer.Option("--suite", help="Compare every SAE in this folder, made by saeeval suite.")
    ] = None,
    model: o.Model = DEFAULT_MODEL,
    task: o.Tasks = [DEFAULT_TASK],
    own: o.TextOptions = o.TextOptions(),
    metrics: o.Metrics = "shift,tpp",
    protocol: o.Protocols = "robust",
    n: o.Ns = o.DEFAULT_N,
    texts_per_cell: o.TextsPerCell = 1500,
    select: Annotated[
        str, typer.Option("--select", help="Score judged selections too: judge,task-unrelated (with --rater).")
    ] = "",
    rater: o.Rater = "",
    threshold: o.Threshold = 2,
    controls: o.Controls = True,
    deletion: o.Deletion = False,
    loss_recovered: Annotated[
        bool, typer.Option("--loss-recovered", help="Measure loss recovered too, on a few texts.")
    ] = False,
    seed: o.Seed = 0,
    hook: o.WritesHook = "",
    read_hook: o.ReadHook = "",
    probe_hook: o.ProbeHook = AUTO_PROBE,
    device: o.Device = "auto",
    dtype: o.Dtype = "float32",
    kernel: o.Kernel = AUTO_KERNEL,
    executing: Executing = Executing(),
    plan: o.PlanOnly = False,
    json_path: o.Json = None,
    csv_path: Annotated[Path | None, typer.Option("--csv", help="Write the rows here as CSV.")] = None,
) -> None:
    """Compare many SAEs on several tasks and protocols, with controls, in one model pass per task."""
    from saeeval_core.saes.asked import with_hooks
    from saeeval_core.scores.selections import Rule
    from saeeval_core.sweep.judged import judged_selections
    from saeeval_core.sweep.plan import sweep_plan
    from saeeval_core.sweep.sweep import SweepConfig, task_set_for
    from saeeval_core.sweep.sweep import sweep as run_sweep
    from saeeval_core.texts.files import stem
    from saeeval_core.training.suite import suite_folders

    saes = [*sae, *map(str, suite_folders(suite) if suite else ())]
    if not saes:
        raise ConfigError("nothing to compare; give --sae NAME (repeatable) or --suite FOLDER")
    texts = RunConfig(**own.settings(""), texts_per_cell=texts_per_cell)
    config = SweepConfig(
        with_hooks(saes, hook, read_hook),
        (stem(Path(own.texts)),) if own.texts else tuple(task),
        o.words(protocol),
        metrics=o.words(metrics),
        ns=o.numbers(n, "--n"),
        model=model,
        seed=seed,
        controls=controls,
        texts_per_cell=texts_per_cell,
        device=device,
        dtype=dtype,
        kernel=kernel,
        own_texts=texts if own.texts else None,
        by_direction=suite is None,
        deletion=deletion,
        loss_recovered=loss_recovered,
        probe_hook=probe_hook,
        selections=judged_selections(o.words(select), rater, Rule(threshold)),
        **executing.settings(),
    )
    where = executing.where
    if plan:
        found = [(name, task_set_for(config, name)) for name in config.tasks]
        runs = [(config.run_config(name, config.protocols[0], saes), task_set) for name, task_set in found]
        units = sweep_plan(config, dict(found))
        more = plan_json(units, executing.price)
        show_plan(runs, units=len(units.score), shipped=True, json_path=json_path, more=more)
        say_units(units, config, executing.price)
        return
    with bar("scoring") as advance:
        result = run_sweep(
            config,
            json_path,
            csv_path,
            made_by=command_line(),
            on_progress=lambda what, done, total: advance(done, total, what),
            where=where,
        )
    failed = [r for r in result["rows"] if r["error"]]
    console.print(
        f"{plural(len(result['rows']), 'row')}; the Compare view opens them from assets/results or --json FILE"
    )
    say_failed(failed)
    if failed and len(failed) == len(result["rows"]):
        names = {r["sae"] for r in failed}
        raise DataError(f"none of {plural(len(names), 'SAE')} could be scored; the first: {failed[0]['error']}")


def validate(protocol: o.Protocols = "robust,saebench,paper", json_path: o.Json = None) -> None:
    """Check on planted worlds, where the true concepts are known, whether the scores measure what they should."""
    from saeeval_core.planted.validate import validate as run_validation

    with bar("worlds") as advance:
        result = run_validation(json_path, protocols=o.words(protocol), on_progress=lambda _, d, t: advance(d, t))
    for line in result["verdict"]:
        console.print(line, markup=False)


@o.with_texts
def faults(
    sae: o.Saes = [DEFAULT_SAE],
    model: o.Model = DEFAULT_MODEL,
    task: o.Task = DEFAULT_TASK,
    own: o.TextOptions = o.TextOptions(),
    seeds: Annotated[
        str, typer.Option("--seeds", help="Seeds for the spread; the score shown is of the first.")
    ] = "0,1,2,3,4",
    planted: Annotated[
        bool, typer.Option("--planted", help="Use planted worlds instead: shows agreement with the truth.")
    ] = False,
    device: o.Device = "auto",
    json_path: o.Json = None,
) -> None:
    """Show what each setting of earlier tools does to the score, switching one at a time. Resumes when run again."""
    from saeeval_core.formats.tables import print_faults
    from saeeval_core.storage import row_json
    from saeeval_core.storage.artifacts import write_atomic

    with bar("scoring") as advance:

        def progress(what: str, done: int, total: int) -> None:
            advance(done, total, what)

        if planted:
            from saeeval_core.planted.world_faults import planted_fault_table

            result = planted_fault_table(on_progress=progress)
        else:
            from saeeval_core.planted.faults import recorded_fault_table

            config = RunConfig(model=model, saes=tuple(sae), device=device, **own.settings(task))
            result = recorded_fault_table(config, seeds=o.numbers(seeds, "--seeds"), on_progress=progress)
    if json_path is not None:
        write_atomic(json_path, row_json.dumps(result | {"made_by": command_line()}).encode())
    print_faults(console, result)


def bench(
    texts: Annotated[Path, typer.Option("--texts", help="CSV, Parquet or JSONL file of labelled texts.")],
    target: o.Target,
    spurious: o.Spurious,
    text_column: o.TextColumn = "text",
    model: o.Model = DEFAULT_MODEL,
    sae: o.Sae = DEFAULT_SAE,
    train_per_quadrant: Annotated[int, typer.Option(help="Training texts per quadrant.")] = 150,
    test_per_quadrant: Annotated[int, typer.Option(help="Test texts per quadrant.")] = 75,
    repeats: Annotated[int, typer.Option(help="Runs of each side, alternating; medians are reported.")] = 3,
    json_path: o.Json = None,
) -> None:
    """Compare time and memory with SAEBench 0.6.0's own functions on the same texts (needs: make bench-setup)."""
    from saeeval_core.bench.compare import run_bench
    from saeeval_core.bench.sides import BenchConfig

    config = BenchConfig(
        str(texts), text_column, target, spurious, model, sae, train_per_quadrant, test_per_quadrant, repeats
    )
    result = run_bench(config, say=console.print)
    write_json(json_path, result.to_dict())
    table = Table("figure", "value", box=None, header_style="bold")
    for key, value in result.summary.items():
        table.add_row(key, f"{value:.4g}" if isinstance(value, float) else str(value))
    console.print(table)


def report(
    result: Annotated[Path, typer.Argument(help="JSON written by saeeval run --json.")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
) -> None:
    """Write a saved result as one self-contained HTML page, which opens offline."""
    from datetime import UTC, datetime

    from app.report_page import result_page
    from saeeval_core.evaluation.result_json import read_result
    from saeeval_core.storage.artifacts import write_atomic

    page = result_page(read_result(result), when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    write_atomic(out, page.encode())
    console.print(f"wrote {out}")
