"""``saeeval list``: known models, SAEs and tasks, without a network."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from saeeval_core.cli import options as o
from saeeval_core.cli.console import console, write_json
from saeeval_core.config import DEFAULT_MODEL
from saeeval_core.errors import ConfigError, SaeEvalError

if TYPE_CHECKING:
    from saeeval_core.texts.own import OwnTask

Row = dict[str, str | int | float | None]
"""Column title -> cell; every row of a list has the same columns."""
MOST = 400
"""Most rows that are shown; the JSON has them all."""


def list_(
    what: Annotated[str, typer.Argument(help="models, saes or tasks")],
    model: Annotated[str, typer.Option("--model", help="Only SAEs of this model.")] = "",
    json_path: o.Json = None,
) -> None:
    """List models, SAEs (bundled first, then SAELens's registry, offline) or tasks."""
    kinds = {"models": _models, "saes": lambda: _saes(model), "tasks": _tasks}
    if what not in kinds:
        raise ConfigError(f"cannot list '{what}'; list models, saes or tasks")
    rows = kinds[what]()
    if not rows:
        raise ConfigError(f"nothing found for model '{model}'; without --model everything is listed")
    write_json(json_path, rows)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for i, column in enumerate(rows[0]):
        if column == "reason":
            continue
        table.add_column(column, overflow="fold", min_width=0 if i else 30)  # a bundled SAE's name stays in one piece
    for row in rows[:MOST]:
        table.add_row(*(_cell(v) for column, v in row.items() if column != "reason"))
    console.print(table)
    if what == "saes":
        console.print(_share(rows), markup=False, highlight=False)
    if len(rows) > MOST:
        console.print(f"... {len(rows) - MOST} more; narrow with --model or write all with --json")


def _cell(value: str | int | float | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def _models() -> list[Row]:
    from saeeval_core.saes.registry import list_registry

    counts = Counter(row.model for row in list_registry())
    return [_model_row(DEFAULT_MODEL, "bundled", 0), *(_model_row(m, "Hub", n) for m, n in sorted(counts.items()))]


def _model_row(model: str, where: str, saes: int) -> Row:
    return {"model": model, "where": where, "SAEs in registry": saes}


def _saes(model: str) -> list[Row]:
    from saeeval_core.saes.registry import list_bundled, list_registry
    from saeeval_core.training.about import About, read_about

    rows = []
    for info in list_bundled() if model in ("", DEFAULT_MODEL) else ():
        about = read_about(Path(info.location)) or About()
        figures = about.l0, about.explained_variance_typical, about.dead
        rows.append(_sae_row(info.id, "bundled", info.hook, info.n_latents, *figures))
    for r in list_registry(model or None):
        rows.append(_sae_row(r.spec, "Hub", r.hook, r.n_latents, r.expected_l0) | _scorable(r.hook_out, r.not_scorable))
    return rows


def _sae_row(
    sae: str,
    where: str,
    hook: str | None,
    latents: int | None,
    l0: float | None,
    variance: float | None = None,
    dead: float | None = None,
) -> Row:
    names = {"sae": sae, "where": where, "hook": hook, "latents": latents}
    return names | {"L0": l0, "expl. var.": variance, "dead": dead} | _scorable(hook, "")


def _scorable(writes: str | None, reason: str) -> Row:
    return {"writes": writes, "scorable": not reason, "reason": reason}


def _share(rows: Sequence[Row]) -> str:
    """How many of the SAEs can be scored, and why the others cannot."""
    reasons = Counter(str(r["reason"]) for r in rows if not r["scorable"])
    said = "".join(f"; {n}: {reason}" for reason, n in reasons.most_common())
    can = sum(bool(r["scorable"]) for r in rows)
    return f"{can:,} of {len(rows):,} ({can / len(rows):.1%}) can be scored{said}"


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
