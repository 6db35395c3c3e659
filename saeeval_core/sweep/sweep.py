"""Many SAEs x tasks x protocols as flat rows: one pass of the language model per task, resumed by fingerprint.

A failed SAE is a row with its message. The Compare view reads these rows (``columns.BLANK`` names the columns);
intervals and paired differences use the same resamples of test texts for every SAE of a task.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from saeeval_core.config import AUTO_KERNEL, DEFAULT_MODEL, DEFAULT_NS, PROTOCOLS, RunConfig, get_protocol
from saeeval_core.controls.deletion import word_deletions
from saeeval_core.errors import SaeEvalError
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.evaluation.prepare import check_texts, evaluation_of
from saeeval_core.recordings.obtain import (
    draw_of,
    identified,
    is_recorded,
    obtain_recordings,
    recorded_groups,
    task_set_of,
)
from saeeval_core.recordings.plan import cannot_fit
from saeeval_core.saes.asked import what_is
from saeeval_core.saes.facts import facts
from saeeval_core.storage import row_json
from saeeval_core.storage.artifacts import write_atomic
from saeeval_core.storage.kept import KeptJson, Shelves
from saeeval_core.sweep.columns import ScoreRow, pack
from saeeval_core.sweep.rows import JudgedSelection, Scorer, Unit, display_name
from saeeval_core.sweep.summary import differences, rank_agreement, to_csv
from saeeval_core.texts.tasks import TaskSet
from saeeval_core.versions import versions

UNITS = KeptJson(Shelves("sweep", shipped=False), "unit", version=6)
"""Finished units. The version is increased when those computed earlier must no longer be used."""

OnProgress = Callable[[str, int, int], None]
"""Called with (what is done, units done, units in all)."""


@dataclass(frozen=True)
class SweepConfig:
    """The settings of a sweep."""

    saes: tuple[str, ...]
    tasks: tuple[str, ...] = ("bios",)
    protocols: tuple[str, ...] = ("robust",)
    metrics: tuple[str, ...] = ("shift", "tpp")
    ns: tuple[int, ...] = DEFAULT_NS
    model: str = DEFAULT_MODEL
    seed: int = 0
    controls: bool = True
    """Score controls too: random latents and other decoders per SAE; PCA, residual basis and LEACE once per task."""
    texts_per_cell: int = 1500
    device: str = "auto"
    own_texts: RunConfig | None = None
    """Settings with texts of the user's own; ``tasks`` is then one name for them."""
    selections: tuple[JudgedSelection, ...] = field(default=(), compare=False)
    by_direction: bool = True
    """Add rows of every direction of every pair."""
    deletion: bool = False
    """Add the word-deletion control: a second pass over the scored texts."""
    loss_recovered: bool = False
    """Measure loss recovered, on a few of the task's texts."""
    probe_hook: str = ""
    """As in ``RunConfig``, and the next two."""
    dtype: str = "float32"
    kernel: str = AUTO_KERNEL

    def run_config(self, task: str, protocol: str, saes: Sequence[str]) -> RunConfig:
        """The settings of ``saeeval run`` for one unit."""
        if self.own_texts is not None:
            return replace(
                self.own_texts,
                model=self.model,
                saes=tuple(saes),
                metrics=self.metrics,
                protocol=protocol,
                ns=self.ns,
                seed=self.seed,
                device=self.device,
                dtype=self.dtype,
                kernel=self.kernel,
                probe_hook=self.probe_hook,
            )
        return RunConfig(
            model=self.model,
            saes=tuple(saes),
            task=task,
            metrics=self.metrics,
            protocol=protocol,
            ns=self.ns,
            seed=self.seed,
            texts_per_cell=self.texts_per_cell,
            device=self.device,
            dtype=self.dtype,
            kernel=self.kernel,
            probe_hook=self.probe_hook,
        )


def sweep(
    config: SweepConfig,
    json_out: Path | None = None,
    csv_out: Path | None = None,
    *,
    shipped: bool = True,
    made_by: str = "saeeval sweep",
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Everything that ``saeeval sweep`` prints and writes. Finished units are stored in the cache folder and reused.

    SAEs that cannot be used become rows with their message; ConfigError, DataError or ModelError for the rest.
    """
    for name in config.protocols:
        get_protocol(name)
    units: list[Unit] = []
    total = len(config.tasks) * len(config.protocols) * len(config.saes)
    for task in config.tasks:
        task_set = task_set_for(config, task)
        for protocol in config.protocols:
            run = config.run_config(task, protocol, config.saes)
            check_texts(run, draw_of(run, task_set))
        failed, groups = _by_hook(config.run_config(task, config.protocols[0], config.saes))
        failed |= _record_missing(config, task, task_set, groups, shipped)
        for saes in groups.values():
            for protocol in config.protocols:
                own = [s for s in saes if s not in failed]
                for sae, unit in _units(config, task, protocol, task_set, own, shipped):
                    units.append(unit)
                    if on_progress:
                        on_progress(f"{task}, {protocol}: {display_name(sae)}", len(units), total)
        units += [_failed_unit(config, task, task_set, sae, message) for sae, message in failed.items()]
    rows = [row for unit in units for row in unit.rows]
    named = replace(
        config,
        selections=(),
        own_texts=None,
        saes=tuple(map(display_name, config.saes)),
        model=display_name(config.model),
    )
    result = {
        "kind": "sweep",
        "schema": 1,
        "made_by": made_by,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": named.model,
        "hook": ", ".join(dict.fromkeys(r.hook for r in rows if r.hook)),
        "config": {k: v for k, v in asdict(named).items() if k not in ("selections", "own_texts")},
        "rows": [asdict(r) for r in rows],
        "differences": differences(units),
        "rank_agreement": rank_agreement(rows),
        "versions": versions(),
    }
    for path, content in ((json_out, row_json.dumps(result | pack(rows))), (csv_out, to_csv(rows))):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content.encode())
    return result


def task_set_for(config: SweepConfig, task: str) -> TaskSet:
    """The texts of a task; bundled ones are reduced to ``texts_per_cell`` too, so that many SAEs need not read all."""
    run = config.run_config(task, config.protocols[0], config.saes)
    found = task_set_of(run)
    if config.texts_per_cell >= RunConfig.texts_per_cell:
        return found
    return found.drawn(seed=config.seed, protocol=get_protocol(config.protocols[0]), per_cell=config.texts_per_cell)


def _by_hook(run: RunConfig) -> tuple[dict[str, str], dict[str, list[str]]]:
    """({SAE that cannot be used: message}, {hook: SAEs})."""
    failed, groups = {}, {}
    for sae in run.saes:
        try:
            groups.setdefault(identified(run, sae).hook, []).append(sae)
        except SaeEvalError as error:
            failed[sae] = str(error)
    return failed, groups


def _record_missing(
    config: SweepConfig, task: str, task_set: TaskSet, groups: Mapping[str, Sequence[str]], shipped: bool
) -> dict[str, str]:
    """One pass over the texts for the SAEs not recorded yet, whatever they read; returns those that cannot be, with why."""
    run = config.run_config(task, config.protocols[0], config.saes)
    missing = [
        sae
        for hook, saes in groups.items()
        for sae in saes
        if not is_recorded(run, task_set, sae, hook, shipped=shipped)
    ]
    failed: dict[str, str] = {}
    if len(missing) > 1:
        # Each is tried before the pass, so that one bad SAE does not stop the others.
        failed = {sae: line for sae in missing if (line := _load_error(run, sae)) is not None}
    usable = [s for s in missing if s not in failed]
    try:
        if usable:
            for _ in recorded_groups(replace(run, saes=tuple(usable)), task_set, usable):
                pass  # it is stored
    except SaeEvalError as error:
        failed |= {sae: str(error) for sae in usable}
    return failed


def _load_error(run: RunConfig, sae: str) -> str | None:
    from saeeval_core.saes.loaded import load_sae

    try:
        if line := cannot_fit(run, facts(sae, what_is(sae))):
            return line
        load_sae(sae)
    except SaeEvalError as error:
        return str(error)
    return None


def _units(
    config: SweepConfig, task: str, protocol: str, task_set: TaskSet, saes: Sequence[str], shipped: bool
) -> Iterator[tuple[str, Unit]]:
    """(SAE, unit), from the cache where everything that decides it is the same."""
    run = config.run_config(task, protocol, saes)
    draw = draw_of(run, task_set)
    loss = _losses(config, task_set, saes)
    defined = [t.identity for t in draw.shift_tasks], draw.tpp and draw.tpp.identity
    scorers: dict[str, Scorer] = {}
    started: set[str] = set()
    """Probe hooks of SAEs so far: controls that use no SAE go with the first SAE of each."""
    for sae in saes:
        try:
            pass_ = obtain_recordings(replace(run, saes=(sae,)), task_set, [sae], shipped=shipped)
            latents, hook = pass_.latents[0], pass_.residuals.key.hook
            first = hook not in started
            started.add(hook)
            key = [
                latents.scored_fingerprint,
                display_name(sae),
                task,
                asdict(PROTOCOLS[protocol]),
                config.metrics,
                config.ns,
                config.seed,
                config.controls,
                config.texts_per_cell,
                first,
                [[s.name, s.judge, s.identity(latents)] for s in config.selections],
                config.by_direction,
                config.deletion,
                loss.get(sae),
                defined,
                pass_.residuals.key.dtype,
                pass_.residuals.kernel,
            ]
            try:
                yield sae, UNITS.find(key, Unit.of_dict)
                continue
            except LookupError:
                pass
            if hook not in scorers:
                scorers[hook] = _scorer(config, run, evaluation_of(run, draw, pass_.residuals, shipped=shipped), loss)
            unit = scorers[hook].unit(sae, latents, UNITS.name(key).partition("-")[2], with_bases=first)
            UNITS.keep(key, unit.to_dict())
            yield sae, unit
        except SaeEvalError as error:
            yield sae, _failed_unit(config, task, task_set, sae, str(error), protocol)


def _scorer(config: SweepConfig, run: RunConfig, evaluation: Evaluation, loss: Mapping[str, float | None]) -> Scorer:
    found = word_deletions(run, evaluation) if config.deletion and evaluation.directions else []
    deletions = [score for _, score in found]
    return Scorer(run, evaluation, config.controls, config.by_direction, config.selections, deletions, loss)


def _losses(config: SweepConfig, task_set: TaskSet, saes: Sequence[str]) -> Mapping[str, float | None]:
    """Loss recovered of each SAE on a few of the texts; empty unless the settings ask for it."""
    if not config.loss_recovered or not saes:
        return {}
    from saeeval_core.sweep.loss_recovered import stored_loss_recovered

    run = config.run_config(config.tasks[0], config.protocols[0], saes)
    return stored_loss_recovered(run, saes, task_set.texts.texts)


def _failed_unit(
    config: SweepConfig, task: str, task_set: TaskSet, sae: str, message: str, protocol: str | None = None
) -> Unit:
    return Unit(
        [
            ScoreRow(
                sae=display_name(sae),
                model=display_name(config.model),
                dtype=config.dtype,
                task=task,
                composed=task_set.texts.composed,
                small=bool(task_set.small),
                protocol=protocol or "",
                status="failed",
                error=message,
                seed=config.seed,
            )
        ]
    )
