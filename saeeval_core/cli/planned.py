"""``--plan``: what a run or sweep will take, before anything is loaded."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from saeeval_core.cli.console import print_lines, write_json
from saeeval_core.config import RunConfig
from saeeval_core.errors import UnsupportedSAE
from saeeval_core.wording import plural

if TYPE_CHECKING:
    from saeeval_core.recordings.plan import Plan
    from saeeval_core.saes.facts import SaeFacts
    from saeeval_core.texts.tasks import TaskSet

_GB = 1e9


def show_plan(
    runs: Sequence[tuple[RunConfig, "TaskSet"]],
    *,
    units: int,
    shipped: bool,
    json_path: Path | None,
    more: Mapping[str, object] | None = None,
) -> None:
    """Print, and write as JSON, what recording the SAEs of these runs will take; those that are stored take nothing.

    ``runs``: settings, with the texts that are recorded. ``units``: SAEs x tasks x protocols that are scored.
    ``more``: values that the JSON gets too, of units into which the work is divided; how long those take and how much
    memory is theirs to say. ConfigError, after that, where it cannot be done here.
    """
    divided = more is not None
    plans = [_plan(run, task_set, shipped, seconds=not divided) for run, task_set in runs]
    passes = [_row(r, n, p) for r, n, p in plans]
    write_json(json_path, {"kind": "plan", "units": units, "passes": passes, **(more or {})})
    if not divided:
        print_lines(f"{plural(units, 'unit')}: SAEs x tasks x protocols")
    for run, stored, plan in plans:
        print_lines(*(_lines_of_units if divided else _lines)(run, stored, plan))
    for _, _, plan in plans:
        plan.check()


def _plan(run: RunConfig, task_set: "TaskSet", shipped: bool, *, seconds: bool) -> tuple[RunConfig, int, "Plan"]:
    """(settings, SAEs whose recordings are stored, plan of the others)."""
    from saeeval_core.recordings.obtain import is_recorded
    from saeeval_core.recordings.plan import plan

    missing = [sae for sae in run.saes if not is_recorded(run, task_set, sae, shipped=shipped)]
    if missing:
        _fetch_settings(run.model)
    found = plan(run, task_set.texts.texts, [_facts(sae) for sae in missing], seconds=seconds and bool(missing))
    return run, len(run.saes) - len(missing), found


def _facts(sae: str) -> "SaeFacts":
    from saeeval_core.saes.asked import what_is
    from saeeval_core.saes.facts import facts

    return facts(sae, what_is(sae))


def _fetch_settings(model: str) -> None:
    """Get the config.json of a model of the Hub; without a network its sizes stay unknown."""
    from saeeval_core.models.identity import CONFIG_FILE, model_name, model_settings
    from saeeval_core.storage.hub import hub_errors
    from saeeval_core.storage.notices import notice

    if model_settings(model) is not None or "/" not in model_name(model) or Path(model_name(model)).is_absolute():
        return
    from huggingface_hub import hf_hub_download

    try:
        with hub_errors(f"model '{model}'", model_name(model), f"no {CONFIG_FILE} in {model}"):
            hf_hub_download(model_name(model), CONFIG_FILE)
    except UnsupportedSAE as error:
        notice(f"time and memory are not known: {error}")


def _row(run: RunConfig, stored: int, plan: "Plan") -> dict[str, object]:
    return {
        "task": _name(run),
        "model": run.model,
        "device": run.device,
        "dtype": run.dtype,
        "kernel": run.kernel,
        "stored_saes": stored,
        "groups": [list(group) for group in plan.groups],
        "model_passes": plan.model_passes,
        "keeps_activations": plan.keeps_activations,
        "texts": plan.texts,
        "tokens": plan.tokens,
        "seconds": plan.seconds,
        "pace": _pace(plan),
        "model_GB": _gb(plan.model_bytes),
        "sae_GB": _gb(plan.sae_bytes),
        "peak_GB": _gb(plan.peak_bytes),
        "stored_GB": _gb(plan.stored_bytes),
        "activations_GB": _gb(plan.activation_bytes),
        "fits": not plan.refused,
        "reason": plan.refused or plan.not_kept,
    }


def _pace(plan: "Plan") -> str | None:
    if plan.seconds is None:
        return None
    return "earlier pass" if plan.measured else "products measured for two seconds"


def _lines_of_units(run: RunConfig, stored: int, plan: "Plan") -> list[str]:
    """What the units of a task do not say: how many SAEs are stored, and what the others take on disk."""
    if not plan.groups:
        return [_nothing_left(run, stored)]
    saes = sum(map(len, plan.groups))
    line = (
        f"{_name(run)}: {plural(saes, 'SAE')} to record, {stored} stored; on disk at most {_said(plan.stored_bytes)} GB"
    )
    return [line, *([f"  {plan.not_kept}"] if plan.not_kept else [])]


def _name(run: RunConfig) -> str:
    return run.task or Path(run.texts).name


def _nothing_left(run: RunConfig, stored: int) -> str:
    return f"{_name(run)}: {plural(stored, 'SAE')} to score, all recorded: no pass is needed"


def _lines(run: RunConfig, stored: int, plan: "Plan") -> list[str]:
    name = _name(run)
    saes = sum(map(len, plan.groups))
    if not saes:
        return [_nothing_left(run, stored)]
    again = "" if len(plan.groups) == 1 else f" in {len(plan.groups)} groups"
    how = ", whose activations are kept on disk meanwhile" if plan.keeps_activations else ""
    pace = (
        "the pace of an earlier pass"
        if plan.measured
        else "the products alone, measured for two seconds with this machine as busy as now"
    )
    took = "not known" if plan.seconds is None else f"about {plan.seconds:,.0f} s ({pace})"
    return [
        f"{name}: {plural(saes, 'SAE')} to record{again}, {stored} stored; the model reads the texts {plan.model_passes}x{how}",
        f"  {plural(plan.texts, 'text')}, at least {plan.tokens:,} tokens; seconds: {took}",
        f"  GB: model {_said(plan.model_bytes)}, SAEs {_said(plan.sae_bytes)}, peak {_said(plan.peak_bytes)} "
        f"({run.device}, {run.dtype}, kernel {run.kernel}); on disk at most {_said(plan.stored_bytes)}"
        + (f" and {_said(plan.activation_bytes)} meanwhile" if plan.keeps_activations else ""),
        *([f"  {plan.not_kept}"] if plan.not_kept else []),
    ]


def _gb(size: int | None) -> float | None:
    return None if size is None else round(size / _GB, 3)


def _said(size: int | None) -> str:
    return "not known" if size is None else f"{size / _GB:.2f}"
