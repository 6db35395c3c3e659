"""The options of a sweep that say how it is divided and what executes it, and its plan in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saeeval_core.cli.console import print_lines
from saeeval_core.errors import ConfigError
from saeeval_core.wording import plural

if TYPE_CHECKING:
    from saeeval_core.sweep.executors import Where
    from saeeval_core.sweep.plan import SweepPlan

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
    seconds = plan.record_seconds
    return {
        "record_units": [own.to_dict() for own in plan.record],
        "score_units": len(plan.score),
        "threads": plan.threads,
        "record_seconds": seconds,
        "score_seconds": plan.scoring_seconds,
        "cost": None if seconds is None or not price else round(seconds / 3600 * price, 4),
    }


def say_units(plan: "SweepPlan", price: float) -> None:
    """Print the units that record, and what all of them take on one device."""
    for own in plan.record[:_SHOWN]:
        unit, needs = own.unit, own.needs
        part = f", shard {unit.number + 1} of {unit.of}" if unit.of > 1 else ""
        print_lines(
            f"  record {own.fingerprint} {unit.task}{part}: {plural(len(unit.saes), 'SAE')}, {plural(needs.texts, 'text')}, at least "
            f"{needs.tokens:,} tokens, {_known(needs.gigabytes, '.2f')} GB, {_known(needs.seconds, ',.0f')} s"
        )
    if len(plan.record) > _SHOWN:
        print_lines(f"  and {len(plan.record) - _SHOWN} more record units (--json has all)")
    gpu = any(own.needs.gpu for own in plan.record)
    print_lines(
        f"{plural(len(plan.record), 'record unit')} left: {_known(plan.record_seconds, ',.0f')} s on one "
        f"{'GPU' if gpu else 'worker'}; {plural(len(plan.score), 'score unit')}, stored ones among them: "
        f"{_known(plan.scoring_seconds, ',.0f')} s on one worker; {plural(plan.threads, 'thread')} each"
    )
    if price and plan.record_seconds is not None:
        print_lines(f"cost of the record units: {plan.record_seconds / 3600 * price:,.2f} at {price:g} per GPU hour")
    elif price:
        print_lines("cost: not known, because the time is not known")


def _known(value: float | None, form: str) -> str:
    return "not known" if value is None else format(value, form)
