"""The ``saeeval`` command: parse, call, print. Bad input is one line on stderr and exit code 1, never a traceback."""

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from saeeval_core.config import DEFAULT_MODEL, DEFAULT_NS, DEFAULT_SAE, DEFAULT_TASK, RunConfig, cache_dir
from saeeval_core.errors import ConfigError, SaeEvalError
from saeeval_core.formats.tables import print_run

app = typer.Typer(
    help="Judge sparse autoencoders by what they let people do: SHIFT and TPP scores with error bars.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(width=min(100, Console().width) if sys.stdout.isatty() else 100, highlight=False)

Json = Annotated[Path | None, typer.Option("--json", help="Write the full result here as JSON.")]
Model = Annotated[str, typer.Option("--model", help="Bundled name, local folder or Hub id.")]
Sae = Annotated[
    list[str], typer.Option("--sae", help="Bundled name, local folder, SAELens release/id or hub:REPO. Repeatable.")
]
Task = Annotated[
    str,
    typer.Option("--task", help="bios, reviews, news, bias_in_bios, amazon or ag_news; :PAIR keeps one SHIFT pair."),
]
Texts = Annotated[str, typer.Option("--texts", help="CSV, Parquet or JSONL file of your own, or hub:REPO.")]
TextColumn_ = Annotated[str, typer.Option("--text-column", help="Column of --texts that holds the text.")]
Target = Annotated[str, typer.Option("--target", help="COLUMN=POSITIVE,NEGATIVE: the label to keep.")]
Spurious = Annotated[str, typer.Option("--spurious", help="COLUMN=POSITIVE,NEGATIVE: the cue to remove.")]
Classes = Annotated[str, typer.Option("--classes", help="COLUMN=A,B,C: the classes of TPP.")]
Group = Annotated[str, typer.Option("--group-column", help="Texts of one group stay in one part.")]
Protocol_ = Annotated[str, typer.Option("--protocol", help="robust, saebench or paper.")]
Seed = Annotated[int, typer.Option("--seed", help="Texts drawn, split, negatives and initialisation.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Dtype = Annotated[str, typer.Option("--dtype", help="float32 or bfloat16, for the language model.")]


def main() -> None:
    """Entry point; ``SaeEvalError`` is the only error shown without a traceback."""
    try:
        code = app(standalone_mode=False)
        if code == 130:  # typer turns Ctrl-C into this exit code
            raise KeyboardInterrupt
        if code:
            sys.exit(code)
    except SaeEvalError as error:
        _stop(str(error), 1)
    except typer.Abort:
        _stop("stopped; what was finished is kept, and the same command continues from there", 130)
    except KeyboardInterrupt:
        _stop("stopped; what was finished is kept, and the same command continues from there", 130)
    except OSError as error:
        _stop(f"{error.strerror or error}: {error.filename or 'file'}; check the path and the free space", 1)
    except Exception as error:
        # Click's own usage errors carry an exit code; anything else is a bug and keeps its traceback.
        if not hasattr(error, "exit_code"):
            raise
        error.show() if hasattr(error, "show") else None
        sys.exit(error.exit_code)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="models, saes or tasks")],
    model: Annotated[str, typer.Option("--model", help="Only SAEs of this model.")] = "",
    json_path: Json = None,
) -> None:
    """List models, SAEs (bundled first, then SAELens's registry, offline) or tasks."""
    rows = {"models": _models, "saes": lambda: _saes(model), "tasks": _tasks}.get(what)
    if rows is None:
        raise ConfigError(f"cannot list '{what}'; list models, saes or tasks")
    found = rows()
    if not found:
        raise ConfigError(f"nothing found for model '{model}'; without --model everything is listed")
    _write_json(json_path, found)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for i, column in enumerate(found[0]):
        table.add_column(column, overflow="fold", min_width=0 if i else 30)  # a bundled SAE's name stays in one piece
    for row in found[:400]:
        table.add_row(*("" if v is None else f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
    console.print(table)
    if len(found) > 400:
        console.print(f"... {len(found) - 400} more; narrow with --model or write all with --json")


@app.command()
def run(
    model: Model = DEFAULT_MODEL,
    sae: Sae = [DEFAULT_SAE],
    task: Task = DEFAULT_TASK,
    texts: Texts = "",
    text_column: TextColumn_ = "text",
    target: Target = "",
    spurious: Spurious = "",
    classes: Classes = "",
    group_column: Group = "",
    metrics: Annotated[str, typer.Option("--metrics", help="shift,tpp")] = "shift,tpp",
    protocol: Protocol_ = "robust",
    n: Annotated[str, typer.Option("--n", help="Numbers of latents to ablate.")] = ",".join(map(str, DEFAULT_NS)),
    seed: Seed = 0,
    texts_per_cell: Annotated[int, typer.Option(help="Most texts drawn per quadrant or class.")] = 1500,
    select: Annotated[
        str, typer.Option("--select", help="attribution, judge, task-unrelated or human:SET.")
    ] = "attribution",
    rater: Annotated[str, typer.Option(help="Whose verdicts the judge selections use.")] = "",
    threshold: Annotated[int, typer.Option(help="Related means a rating of at least this: 1 (the paper) or 2.")] = 2,
    zero_non_maximum: Annotated[
        bool, typer.Option(help="Set every rating below the latent's highest to 0 first.")
    ] = False,
    order: Annotated[str, typer.Option(help="top-then-filter or filter-then-top.")] = "top-then-filter",
    device: Device = "auto",
    dtype: Dtype = "float32",
    controls: Annotated[
        bool, typer.Option(help="Score controls beside the SAE: random latents, shuffled decoders, PCA, LEACE.")
    ] = True,
    deletion: Annotated[
        bool, typer.Option("--deletion", help="Control that deletes telling words (another pass).")
    ] = False,
    refits: Annotated[
        int, typer.Option(help="Also vary the probes' training texts: refit them this often (20 or more).")
    ] = 0,
    shipped_recording: Annotated[bool, typer.Option(help="Use recordings that came with the package.")] = True,
    json_path: Json = None,
) -> None:
    """Score SAEs: SHIFT in both directions, its aggregate over pairs, and the TPP matrix, for every N."""
    from saeeval_core.controls import attach as beside
    from saeeval_core.evaluation import prepare as pipeline

    config = RunConfig(
        model=model,
        saes=tuple(sae),
        task="" if texts else task,
        texts=texts,
        text_column=text_column,
        target=target,
        spurious=spurious,
        classes=classes,
        group_column=group_column,
        metrics=tuple(_words(metrics)),
        protocol=protocol,
        ns=_numbers(n),
        seed=seed,
        texts_per_cell=texts_per_cell,
        device=device,
        dtype=dtype,
        selection=select,
    )
    if refits:
        beside.check_refits(config, select, refits)
    chooser = None
    if select != "attribution":
        from saeeval_core.judging.command import selector
        from saeeval_core.scores.selections import Rule

        chooser = selector(config, rater, Rule(threshold, zero_non_maximum, order))
    with _recording_bar() as on_progress:
        prepared = pipeline.prepare(config, shipped=shipped_recording, on_progress=on_progress)
    result = pipeline.score(prepared, chooser)
    if controls:
        beside.add_controls(prepared, result, shipped=shipped_recording)
    if deletion:
        beside.add_deletion(prepared, result)
    if refits:
        beside.add_refits(prepared, result, refits)
    _write_json(json_path, result)
    print_run(console, result)


@app.command("train-sae")
def train_sae(
    corpus: Annotated[Path, typer.Option(help="Parquet or JSONL with a text column, or a .txt of paragraphs.")],
    out: Annotated[Path, typer.Option(help="Folder to write the SAE to.")],
    model: Model = DEFAULT_MODEL,
    hook: Annotated[str, typer.Option(help="Residual-stream hook to train on.")] = "blocks.15.hook_resid_post",
    architecture: Annotated[
        str, typer.Option(help="topk, standard, jumprelu, jumprelu-tanh, gated, batchtopk or matryoshka.")
    ] = "topk",
    latents: Annotated[int, typer.Option(help="Width of the SAE.")] = 4096,
    l0: Annotated[float, typer.Option(help="Active latents per token (TopK family, JumpReLU).")] = 50,
    l1: Annotated[float, typer.Option(help="Sparsity penalty (Standard, Gated).")] = 2.0,
    tokens: Annotated[int, typer.Option(help="Distinct tokens of activations to cache.")] = 2_000_000,
    samples: Annotated[int, typer.Option(help="Training samples, with repetition.")] = 4_000_000,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 1e-3,
    seed: Seed = 0,
    cache: Annotated[Path | None, typer.Option(help="Folder for cached activations.")] = None,
    device: Device = "auto",
    dtype: Dtype = "bfloat16",
    json_path: Json = None,
) -> None:
    """Train an SAE for a model that has none, on activations cached on disk. Resumes when run again."""
    from saeeval_core.models.language_model import load_model
    from saeeval_core.training.trainer import TrainingConfig, cache_activations, read_corpus
    from saeeval_core.training.trainer import train_sae as train

    config = TrainingConfig(architecture, latents, l0, l1, samples, lr=lr, seed=seed, autocast=True)
    passages = read_corpus(corpus)
    language_model = load_model(model, device=device, dtype=dtype)
    with _bar("caching activations") as advance:
        cached = cache_activations(
            language_model,
            hook,
            passages,
            cache or cache_dir() / "activations",
            max_tokens=tokens,
            seed=seed,
            progress=lambda _, done, total: advance(done, total),
        )
    about = train(cached, config, out, note={"corpus": corpus.name})
    _write_json(json_path, about)
    console.print(
        f"{out}: {about['architecture']}, L0 {about['l0']:.1f}, explained variance {about['explained_variance']:.3f}, "
        f"dead {about['dead']:.1%}; use it with: saeeval run --model {model} --sae {out}"
    )


@app.command()
def bench(
    texts: Annotated[Path, typer.Option("--texts", help="Labelled texts.")],
    target: Target,
    spurious: Spurious,
    text_column: TextColumn_ = "text",
    model: Model = DEFAULT_MODEL,
    sae: Annotated[str, typer.Option("--sae", help="SAE to time.")] = DEFAULT_SAE,
    train_per_quadrant: Annotated[int, typer.Option(help="Training texts per quadrant.")] = 150,
    test_per_quadrant: Annotated[int, typer.Option(help="Test texts per quadrant.")] = 75,
    repeats: Annotated[int, typer.Option(help="Runs of each side, alternating; medians are reported.")] = 3,
    json_path: Json = None,
) -> None:
    """Time and memory against SAEBench 0.6.0's own functions on the same texts (needs: make bench-setup)."""
    from saeeval_core.bench import BenchConfig, run_bench

    config = BenchConfig(
        str(texts), text_column, target, spurious, model, sae, train_per_quadrant, test_per_quadrant, repeats
    )
    result = run_bench(config, say=console.print)
    _write_json(json_path, result)
    table = Table("figure", "value", box=None, header_style="bold")
    for key, value in result["summary"].items():
        table.add_row(key, f"{value:.4g}" if isinstance(value, float) else str(value))
    console.print(table)


@app.command()
def judge(
    judge: Annotated[
        str, typer.Option("--judge", help="claude (ANTHROPIC_API_KEY) or local (weak, offline).")
    ] = "local",
    latents: Annotated[
        str, typer.Option(help="topK of every ranking of the task, or ids separated by commas.")
    ] = "top20",
    model: Model = DEFAULT_MODEL,
    sae: Annotated[str, typer.Option("--sae")] = DEFAULT_SAE,
    task: Task = DEFAULT_TASK,
    judge_model: Annotated[str, typer.Option(help="Claude's model id.")] = "",
    base_url: Annotated[str, typer.Option(help="Another server that speaks the Messages API.")] = "",
    concurrency: Annotated[int, typer.Option(help="Requests at once.")] = 8,
    budget: Annotated[float | None, typer.Option("--budget", help="USD; needs both prices.")] = None,
    budget_tokens: Annotated[int | None, typer.Option(help="Tokens in and out.")] = None,
    price_in: Annotated[float | None, typer.Option(help="USD per million input tokens.")] = None,
    price_out: Annotated[float | None, typer.Option(help="USD per million output tokens.")] = None,
    batch: Annotated[bool, typer.Option("--batch", help="Message Batches API; run again to collect.")] = False,
    wait: Annotated[float, typer.Option(help="Seconds to wait for a batch.")] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count tokens and stop.")] = False,
    general_text: Annotated[str, typer.Option(help="File of general text for contexts.")] = "",
    json_path: Json = None,
) -> None:
    """Explain and rate latents with an LLM. Verdicts are stored; asking again for the same thing costs nothing."""
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
    )
    with _bar("judging") as advance:
        result = judge_command(RunConfig(model=model, saes=(sae,), task=task), options, on_progress=advance)
    _finish(json_path, result)


@app.command("import-explanations")
def import_explanations(
    source: Annotated[
        str, typer.Argument(help="CSV or JSONL file with a column latent, or: neuronpedia (not verified live).")
    ],
    sae: Annotated[
        str, typer.Option("--sae", help="What they are about; every row is checked against it.")
    ] = DEFAULT_SAE,
    task: Annotated[
        str, typer.Option("--task", help="Texts the ratings are about; without it shown with every task.")
    ] = "",
    rater: Annotated[
        str, typer.Option(help="Name of the rater where a row gives none; default: the file's name.")
    ] = "",
    json_path: Json = None,
) -> None:
    """Import explanations and ratings made elsewhere: columns explanation, reason, rater, rating:CONCEPT (0 to 4)."""
    from saeeval_core.judging.import_command import import_command

    _finish(json_path, import_command(source, sae, task=task, rater=rater))


@app.command()
def agreement(
    labels: Annotated[
        Path | None, typer.Option(help="The paper's label file; without it, the stored verdicts.")
    ] = None,
    sae: Annotated[str, typer.Option("--sae")] = DEFAULT_SAE,
    task: Annotated[str, typer.Option("--task", help="Only verdicts given for these texts, such as bios.")] = "",
    missing_as_zero: Annotated[
        bool, typer.Option("--missing-as-zero", help="Read missing ratings as 0 (named in the output).")
    ] = False,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples of the intervals.", min=1)] = 1000,
    json_path: Json = None,
) -> None:
    """How far raters agree: exact, within 1, Cohen's kappa with intervals, Krippendorff's alpha."""
    from saeeval_core.judging.agreement import agreement_command

    if labels is not None and task:
        raise ConfigError("--task goes with the stored verdicts; leave it out with --labels")
    result = agreement_command(
        labels=labels,
        sae="" if labels else sae,
        task=task or None,
        missing_as_zero=missing_as_zero,
        resamples=resamples,
    )
    _finish(json_path, result)


@app.command()
def suite(
    corpus: Annotated[Path, typer.Option(help="Parquet or JSONL with a text column, or a .txt of paragraphs.")],
    out: Annotated[Path, typer.Option(help="Folder that gets one SAE folder per point.")],
    architectures: Annotated[
        str, typer.Option(help="topk,batchtopk,standard,jumprelu-tanh,matryoshka; several runs may share --out.")
    ] = "topk,standard,jumprelu-tanh,matryoshka",
    latents: Annotated[int, typer.Option(help="Width of every SAE.")] = 2048,
    samples: Annotated[int, typer.Option(help="Training samples of each run, with repetition.")] = 3_000_000,
    checkpoints: Annotated[int, typer.Option(help="Kept states of each run, the untrained one included.")] = 4,
    seeds: Annotated[str, typer.Option(help="The first keeps every checkpoint, the others the last.")] = "0",
    model: Model = DEFAULT_MODEL,
    hook: Annotated[str, typer.Option(help="Residual-stream hook to train on.")] = "blocks.15.hook_resid_post",
    tokens: Annotated[int, typer.Option(help="Distinct tokens of activations to cache.")] = 2_000_000,
    cache: Annotated[Path | None, typer.Option(help="Folder for cached activations.")] = None,
    device: Device = "auto",
    dtype: Dtype = "bfloat16",
    json_path: Json = None,
) -> None:
    """Train architectures x three sparsities x checkpoints to compare with saeeval sweep --suite. Resumes when run again."""
    from saeeval_core.models.language_model import load_model
    from saeeval_core.training.suite import SuiteConfig, train_suite
    from saeeval_core.training.trainer import cache_activations, read_corpus

    config = SuiteConfig(tuple(_words(architectures)), latents, samples, checkpoints, _numbers(seeds, "--seeds"))
    passages = read_corpus(corpus)
    language_model = load_model(model, device=device, dtype=dtype)
    with _bar("caching activations") as advance:
        cached = cache_activations(
            language_model,
            hook,
            passages,
            cache or cache_dir() / "activations",
            max_tokens=tokens,
            progress=lambda _, done, total: advance(done, total),
        )
    del language_model
    with _bar("training") as advance:
        folders = train_suite(cached, out, config, progress=lambda what, done, total: advance(done, total, what))
    about = [json.loads((f / "about.json").read_text()) | {"sae": f.name} for f in folders]
    _write_json(json_path, about)
    table = Table("SAE", "samples", "L0", "expl. var.", "dead", box=None, header_style="bold")
    for a in about:
        figures = f"{a['l0']:.1f}", f"{a['explained_variance_typical']:.3f}", f"{a['dead']:.1%}"
        table.add_row(a["sae"], f"{a['training_samples']:,}", *figures)
    console.print(table)


@app.command()
def sweep(
    sae: Sae = [],
    suite: Annotated[
        Path | None, typer.Option("--suite", help="Folder made by saeeval suite: every SAE in it.")
    ] = None,
    model: Model = DEFAULT_MODEL,
    task: Annotated[list[str], typer.Option("--task", help="Repeatable.")] = [DEFAULT_TASK],
    protocol: Annotated[str, typer.Option("--protocol", help="robust,saebench,paper")] = "robust",
    n: Annotated[str, typer.Option("--n", help="Numbers of latents to ablate.")] = ",".join(map(str, DEFAULT_NS)),
    texts_per_cell: Annotated[int, typer.Option(help="Most texts per quadrant or class, of bundled tasks too.")] = 1500,
    select: Annotated[str, typer.Option("--select", help="Also judged selections: judge,task-unrelated.")] = "",
    rater: Annotated[str, typer.Option(help="Whose verdicts --select uses.")] = "",
    threshold: Annotated[int, typer.Option(help="Related means a rating of at least this: 1 (the paper) or 2.")] = 2,
    controls: Annotated[
        bool, typer.Option(help="Random latents, random and permuted decoders, PCA, residual basis, LEACE.")
    ] = True,
    deletion: Annotated[
        bool, typer.Option("--deletion", help="Control that deletes telling words (another pass).")
    ] = False,
    loss_recovered: Annotated[bool, typer.Option("--loss-recovered", help="Measure it on a few texts.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    json_path: Json = None,
    csv_path: Annotated[Path | None, typer.Option("--csv", help="Write the rows here as CSV.")] = None,
) -> None:
    """Compare many SAEs on several tasks and protocols in one model pass per hook, with controls beside every score."""
    from saeeval_core.scores.selections import Rule
    from saeeval_core.sweep.judged import judged_selections
    from saeeval_core.sweep.sweep import SweepConfig
    from saeeval_core.sweep.sweep import sweep as run_sweep
    from saeeval_core.training.suite import suite_folders

    saes = [*sae, *map(str, suite_folders(suite) if suite else ())]
    if not saes:
        raise ConfigError("nothing to compare; give --sae NAME (repeatable) or --suite FOLDER")
    config = SweepConfig(
        tuple(saes),
        tuple(task),
        tuple(_words(protocol)),
        ns=_numbers(n),
        model=model,
        seed=seed,
        controls=controls,
        texts_per_cell=texts_per_cell,
        device=device,
        by_direction=suite is None,
        deletion=deletion,
        loss_recovered=loss_recovered,
        selections=judged_selections(_words(select), rater, Rule(threshold)),
    )
    with _bar("scoring") as advance:
        result = run_sweep(
            config,
            json_path,
            csv_path,
            made_by=_command_line(),
            on_progress=lambda what, done, total: advance(done, total, what),
        )
    failed = sorted({(r["sae"], r["error"]) for r in result["rows"] if r.get("error")})
    console.print(f"{len(result['rows'])} rows; the Compare view opens them from assets/results or --json FILE")
    for name, message in failed:
        console.print(f"failed: {name}: {message}", style="red", markup=False)


@app.command()
def validate(
    protocol: Annotated[str, typer.Option("--protocol", help="robust,saebench,paper")] = "robust,saebench,paper",
    json_path: Json = None,
) -> None:
    """Check the scores themselves on planted worlds, where the true concepts are known."""
    from saeeval_core.planted.validate import validate as run_validation

    with _bar("worlds") as advance:
        result = run_validation(json_path, protocols=tuple(_words(protocol)), on_progress=lambda _, d, t: advance(d, t))
    for line in result["verdict"]:
        console.print(line, markup=False)


@app.command()
def faults(
    sae: Sae = [DEFAULT_SAE],
    model: Model = DEFAULT_MODEL,
    task: Task = DEFAULT_TASK,
    seeds: Annotated[
        str, typer.Option("--seeds", help="Spread over these; the first one's score is shown.")
    ] = "0,1,2,3,4",
    planted: Annotated[
        bool, typer.Option("--planted", help="On planted worlds instead: agreement with the truth.")
    ] = False,
    device: Device = "auto",
    json_path: Json = None,
) -> None:
    """What each setting of earlier tools does to the score: one switched at a time. Resumes when run again."""
    from saeeval_core.formats.tables import print_faults
    from saeeval_core.storage import row_json
    from saeeval_core.storage.artifacts import write_atomic

    with _bar("scoring") as advance:

        def progress(what: str, done: int, total: int) -> None:
            advance(done, total, what)

        if planted:
            from saeeval_core.planted.world_faults import planted_fault_table

            result = planted_fault_table(on_progress=progress)
        else:
            from saeeval_core.planted.faults import recorded_fault_table

            config = RunConfig(model=model, saes=tuple(sae), task=task, device=device)
            result = recorded_fault_table(config, seeds=_numbers(seeds, "--seeds"), on_progress=progress)
    if json_path is not None:
        write_atomic(json_path, row_json.dumps(result | {"made_by": _command_line()}).encode())
    print_faults(console, result)


@app.command()
def report(
    result: Annotated[Path, typer.Argument(help="JSON written by saeeval run --json.")],
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
) -> None:
    """One self-contained HTML page of a saved result, which opens offline."""
    from datetime import UTC, datetime

    from app.report_page import result_page
    from saeeval_core.storage.artifacts import write_atomic

    page = result_page(_read_json(result), when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    write_atomic(out, page.encode())
    console.print(f"wrote {out}")


@app.command("build-bundle")
def build_bundle(
    corpus: Annotated[Path | None, typer.Option(help="Corpus the SAEs are trained on (steps 'saes').")] = None,
    step: Annotated[
        list[str],
        typer.Option("--step", help="texts, saes, recordings, tokens, probes, controls or verdicts; default all."),
    ] = [],
) -> None:
    """Remake everything in assets/; each step can be run alone and resumes."""
    from saeeval_core.bundle import build

    build(step, corpus, say=console.print)


@app.command("app")
def app_(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 8501,
    open_browser: Annotated[bool, typer.Option(help="Open the dashboard in a browser.")] = True,
) -> None:
    """Open the dashboard on this machine."""
    from app.launch import main as launch

    console.print(f"The dashboard: http://localhost:{port} (Ctrl-C ends it)", markup=False)
    launch(port=port, open_browser=open_browser)


def _models() -> list[dict[str, Any]]:
    from saeeval_core.saes.registry import list_registry

    bundled = {"model": DEFAULT_MODEL, "where": "bundled", "SAEs in registry": 0}
    counts: dict[str, int] = {}
    for row in list_registry():
        counts[row.model] = counts.get(row.model, 0) + 1
    return [bundled] + [{"model": m, "where": "Hub", "SAEs in registry": c} for m, c in sorted(counts.items())]


def _saes(model: str) -> list[dict[str, Any]]:
    from saeeval_core.saes.registry import list_bundled, list_registry

    rows = []
    for info in list_bundled():
        if model in ("", DEFAULT_MODEL):
            path = Path(info.location) / "about.json"
            about = json.loads(path.read_text()) if path.exists() else {}
            rows.append(
                {
                    "sae": info.id,
                    "where": "bundled",
                    "hook": info.hook,
                    "latents": info.n_latents,
                    "L0": about.get("l0"),
                    "expl. var.": about.get("explained_variance_typical"),
                    "dead": about.get("dead"),
                }
            )
    for row in list_registry(model or None):
        rows.append(
            {
                "sae": row.spec,
                "where": "Hub",
                "hook": row.hook,
                "latents": row.n_latents,
                "L0": row.expected_l0,
                "expl. var.": None,
                "dead": None,
            }
        )
    return rows


def _tasks() -> list[dict[str, Any]]:
    from saeeval_core.texts.sources import BUNDLED_TASKS, HUB_TASKS, load_task_set

    rows = []
    for name in BUNDLED_TASKS:
        try:
            found = load_task_set(name)
        except SaeEvalError as error:
            rows.append({"task": name, "texts": f"missing: {error}", "SHIFT pairs": "", "TPP classes": ""})
            continue
        kind = "composed" if found.texts.composed else "real"
        pairs = [str(target) for target, _ in found.pairs]
        rows.append(_task_row(name, f"{len(found.texts.texts)} {kind}", pairs, found.tpp[1] if found.tpp else ()))
    for name, source in HUB_TASKS.items():
        pairs = [target.split("=")[1].replace(",", "/") for target, _ in source.pairs]
        rows.append(_task_row(name, f"Hub: {source.repo}", pairs, source.classes.split("=")[1].split(",")))
    return rows


def _task_row(name: str, texts: str, pairs: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    return {"task": name, "texts": texts, "SHIFT pairs": ", ".join(pairs), "TPP classes": ", ".join(classes)}


def _command_line() -> str:
    """The command as typed, folders and files by their last name: it is stored, and where they lie is nobody's business."""
    words = [Path(w).name if "/" in w and Path(w).parent.exists() else w for w in sys.argv[1:]]
    return shlex.join(["saeeval", *words])


def _words(text: str) -> list[str]:
    return [w.strip() for w in text.split(",") if w.strip()]


def _numbers(text: str, option: str = "--n") -> tuple[int, ...]:
    try:
        return tuple(int(w) for w in _words(text))
    except ValueError:
        raise ConfigError(f"{option} is '{text}'; give whole numbers such as 1,2,5,10") from None


def _finish(path: Path | None, result: dict[str, Any]) -> None:
    """Write the result where asked; print it where not."""
    _write_json(path, result)
    if path is None:
        console.print_json(json.dumps(result))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ConfigError(f"'{path}' is not JSON; give a file written by saeeval run --json") from None


def _write_json(path: Path | None, value: Any) -> None:
    if path is not None:
        from saeeval_core.storage.artifacts import write_atomic

        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(value, indent=1, allow_nan=False).encode())


class _recording_bar:
    """Progress with ETA on stderr, shown only when a recording must be made."""

    def __enter__(self) -> Any:
        self.bar = Progress(
            TextColumn("recording"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}% {task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self.task = None

        def on_progress(p: Any) -> None:
            if self.task is None:
                self.bar.start()
                self.task = self.bar.add_task("recording", total=p.total, rate="")
            self.bar.update(self.task, completed=p.done, rate=f"{p.done / max(p.seconds, 1e-9):.0f} tok/s")

        return on_progress

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


class _bar:
    """Plain progress with ETA on stderr."""

    def __init__(self, label: str) -> None:
        self.bar = Progress(
            TextColumn(label),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}% {task.fields[label]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )

    def __enter__(self) -> Any:
        self.bar.start()
        task = self.bar.add_task("", total=None, label="")
        return lambda done, total, label="": self.bar.update(task, completed=done, total=total, label=label)

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


def _stop(line: str, code: int) -> None:
    sys.stderr.write(f"saeeval: {line}\n")
    sys.stderr.flush()
    # Libraries' background threads must not delay or decorate the exit.
    os._exit(code) if code == 130 else sys.exit(code)
