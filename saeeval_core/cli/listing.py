"""``saeeval list``: known models, SAEs and tasks, without a network."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from saeeval_core.cli import options as o
from saeeval_core.cli.console import print_lines, print_wide, write_json
from saeeval_core.cli.sae_rows import Row, Wanted, released_share, sae_rows
from saeeval_core.config import DEFAULT_MODEL
from saeeval_core.errors import ConfigError, SaeEvalError

if TYPE_CHECKING:
    from saeeval_core.texts.own import OwnTask

MOST = 400
"""Most rows that are shown; the JSON has them all."""


def list_(
    what: Annotated[str, typer.Argument(help="models, saes or tasks")],
    model: Annotated[str, typer.Option("--model", help="Only SAEs of this model.")] = "",
    sae: Annotated[
        list[str], typer.Option("--sae", help="Only these: names, folders or globs such as 'RELEASE/*'. Repeatable.")
    ] = [],
    hook: Annotated[
        str,
        typer.Option("--hook", help="Only SAEs that read or write it: blocks.12.hook_resid_post, blocks.12, mlp_out."),
    ] = "",
    architecture: Annotated[
        str, typer.Option("--architecture", help="Only SAEs of it: topk, JumpReLUSAE, '*transcoder'.")
    ] = "",
    width: Annotated[str, typer.Option("--width", help="Only SAEs of so many latents: 16k, 4096 or 4k-65k.")] = "",
    json_path: o.Json = None,
) -> None:
    """List models, SAEs (bundled first, then SAELens's registry, offline) or tasks."""
    wanted = Wanted(model, tuple(sae), hook, architecture, width)
    kinds = {"models": _models, "saes": lambda: sae_rows(wanted), "tasks": _tasks}
    if what not in kinds:
        raise ConfigError(f"cannot list '{what}'; list models, saes or tasks")
    if what != "saes" and wanted != Wanted():
        raise ConfigError(f"{wanted} narrows the list of SAEs; {what} are listed whole")
    rows = kinds[what]()
    if not rows:
        raise ConfigError(f"nothing found for {wanted}; without it everything is listed")
    write_json(json_path, rows)
    _show(rows)
    if what == "saes":
        print_lines(released_share())


def _show(rows: Sequence[Row]) -> None:
    """A table whose rows each stand on one line, however long: ids are there to be copied."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in (c for c in rows[0] if c != "reason"):
        table.add_column(column, no_wrap=True)
    for row in rows[:MOST]:
        table.add_row(*(_cell(row, column) for column in row if column != "reason"))
    print_wide(table)
    if len(rows) > MOST:
        print_lines(f"... {len(rows) - MOST:,} more; narrow with --model, --sae, --hook, --architecture or --width")


def _cell(row: Row, column: str) -> str:
    value = row[column]
    if isinstance(value, bool):
        return "yes" if value else f"no: {row['reason']}"
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def _models() -> list[Row]:
    from saeeval_core.saes.releases import list_registry

    counts = Counter(row.model for row in list_registry())
    return [_model_row(DEFAULT_MODEL, "bundled", 0), *(_model_row(m, "Hub", n) for m, n in sorted(counts.items()))]


def _model_row(model: str, where: str, saes: int) -> Row:
    return {"model": model, "where": where, "SAEs in registry": saes}


def _tasks() -> list[Row]:
    from saeeval_core.texts.hub_tasks import HUB_TASKS
    from saeeval_core.texts.own import kept_tasks
    from saeeval_core.texts.sources import BUNDLED_TASKS, load_task_set

    rows = []
    for name in BUNDLED_TASKS:
        try:
            found = load_task_set(name)
        except SaeEvalError as error:
            rows.append(_task_row(name, f"missing: {error}", (), ()))
            continue
        kind = "composed" if found.texts.composed else "real"
        pairs = [str(target) for target, _ in found.pairs]
        rows.append(_task_row(name, f"{len(found.texts.texts)} {kind}", pairs, found.tpp[1] if found.tpp else ()))
    for name, source in HUB_TASKS.items():
        pairs = [target.split("=")[1].replace(",", "/") for target, _ in source.pairs]
        rows.append(_task_row(name, f"Hub: {source.repo}", pairs, source.classes.split("=")[1].split(",")))
    return [*map(_own_row, kept_tasks()), *rows]


def _own_row(task: "OwnTask") -> Row:
    labels = task.labels
    pairs = ["/".join(labels.target.values)] if labels.target else []
    return _task_row(task.ref, f"{task.texts} of {task.source}", pairs, labels.classes.values if labels.classes else ())


def _task_row(name: str, texts: str, pairs: Sequence[str], classes: Sequence[str]) -> Row:
    return {"task": name, "texts": texts, "SHIFT pairs": ", ".join(pairs), "TPP classes": ", ".join(classes)}
