"""The options of a sweep that say how it is divided and what executes it, its plan in words, and which units failed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from saeeval_core.cli.console import print_lines, print_wide
from saeeval_core.errors import ConfigError
from saeeval_core.wording import plural

if TYPE_CHECKING:
    from saeeval_core.sweep.config import SweepConfig
    from saeeval_core.sweep.executors import Where
    from saeeval_core.sweep.plan import PlannedRecord, SweepPlan

_SHOWN = 12
"""Units of a plan that are printed; all stand in its JSON."""


@dataclass(frozen=True)
class Executing:
    """See docs/cluster.md."""

    executor: Annotated[
        str,
        typer.Option(
            "--executor", help="local, ray (a cluster of this machine), ray:auto or ray:HOST:PORT (docs/cluster.md)."
        ),
    ] = "local"
    shared: Annotated[
        Path | None, typer.Option("--shared", help="Folder at the same path on every node of the Ray cluster.")
    ] = None
    saes_per_unit: Annotated[int, typer.Option(help="Most SAEs recorded in one unit of work; 0: all.")] = 0
    texts_per_shard: Annotated[int, typer.Option(help="About so many texts read in one unit; 0: all.")] = 0
    threads: Annotated[int, typer.Option(help="Threads of a unit; 0: those of this machine.")] = 0
    price: Annotated[float, typer.Option("--price", help="Of an hour of one GPU: --plan then says the cost.")] = 0.0

    @property
    def where(self) -> "Where":
        """What executes the sweep. ConfigError for what is unknown."""
        from saeeval_core.sweep.executors import Where

        return Where.parse(self.executor, self.shared)

    def settings(self) -> dict[str, Any]:
        """Values of ``SweepConfig``. ConfigError for a price below 0."""
        if self.price < 0:
            raise ConfigError(f"--price is {self.price:g}; give the price of an hour of one GPU, from 0 on")
        return {name: getattr(self, name) for name in ("saes_per_unit", "texts_per_shard", "threads")}


def plan_json(plan: "SweepPlan", price: float) -> Mapping[str, Any]:
    """What a plan's JSON says of units; None where something is not known."""
    cost = _cost(plan, price) if price else None
    return {
        "record_units": [own.to_dict() for own in plan.record],
        "score_units": len(plan.score),
        "threads": plan.threads,
        "record_seconds": plan.record_seconds,
        "score_seconds": plan.scoring_seconds,
        "cost": None if cost is None else round(cost, 4),
    }


def say_units(plan: "SweepPlan", config: "SweepConfig", price: float) -> None:
    """Print the units that record, and what all units take on one device."""
    if plan.record:
        print_wide(_table(plan.record[:_SHOWN]))
    if len(plan.record) > _SHOWN:
        print_lines(f"and {len(plan.record) - _SHOWN} more record units (--json has all)")
    device = "GPU" if any(own.needs.gpu for own in plan.record) else "worker"
    how = f"{plural(plan.threads, 'thread')} each ({config.device}, {config.dtype}, kernel {config.kernel})"
    if plan.record:
        print_lines(
            f"record: {plural(len(plan.record), 'unit')}, one after another {_taking(plan.record_seconds, device)}, {how}; by an "
            "earlier pass like it here, else by its products alone, measured for two seconds"
        )
    score = f"{plural(len(config.saes), 'SAE')} x {plural(len(config.tasks), 'task')} x {plural(len(config.protocols), 'protocol')}"
    print_lines(
        f"score: {plural(len(plan.score), 'unit')}, {score}, {_taking(plan.scoring_seconds, 'worker')}; stored ones take none"
    )
    if price:
        cost = _cost(plan, price)
        why = "not known, because the time is not known" if cost is None else f"{cost:,.2f} for the record units"
        print_lines(f"cost: {why}, at {price:g} for an hour of one {device}")


def say_failed(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the failed rows of a sweep as a table; what failed alike in several units is one line."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        unit = f"score {row['task']}, {row['protocol']}" if row["protocol"] else f"record {row['task']}"
        alike.setdefault((row["sae"], row["node"] or "this machine", row["error"]), []).append(unit)
    if rows:
        table = Table("failed unit", "SAE", "node", "message", box=None, header_style="bold")
        for (sae, node, message), units in alike.items():
            table.add_row(*map(escape, ("; ".join(dict.fromkeys(units)), sae, node, message)), style="red")
        print_wide(table)


def _table(units: Sequence["PlannedRecord"]) -> Table:
    numbers = ("SAEs", "texts", "tokens, at least", "GB, at most", "seconds")
    table = Table("record unit", "task", "shard", box=None, header_style="bold")
    for name in numbers:
        table.add_column(name, justify="right")
    for own in units:
        unit, needs = own.unit, own.needs
        shard = f"{unit.number + 1} of {unit.of}" if unit.of > 1 else "all texts"
        counts = f"{len(unit.saes)}", f"{needs.texts:,}", f"{needs.tokens:,}"
        told = _known(needs.gigabytes, ".2f"), _known(needs.seconds, ",.0f")
        table.add_row(own.fingerprint, escape(unit.task), shard, *counts, *told)
    return table


def _cost(plan: "SweepPlan", price: float) -> float | None:
    """Of the record units; None where their time is not known."""
    return None if plan.record_seconds is None else plan.record_seconds / 3600 * price


def _taking(seconds: float | None, device: str) -> str:
    if seconds is None:
        return "time not known yet"
    return f"{seconds:,.0f} s on one {device}"


def _known(value: float | None, form: str) -> str:
    return "not known" if value is None else format(value, form)
