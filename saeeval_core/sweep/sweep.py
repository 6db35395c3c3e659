"""Many SAEs x tasks x protocols as flat rows: one pass of the language model per hook, resumed by fingerprint.

A failed SAE is a row with its message. Rows are what the Compare view reads (``bench_format.BLANK`` names the columns);
intervals and paired differences come from the same resamples of test texts for every SAE of a task.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from saeeval_core.config import DEFAULT_MODEL, DEFAULT_NS, PROTOCOLS, RunConfig, cache_dir, fingerprint, get_protocol
from saeeval_core.controls.deletion import word_deletions
from saeeval_core.errors import SaeEvalError
from saeeval_core.evaluation.prepare import (
    check_texts,
    obtain_recordings,
    recording_key,
    shift_boards,
    shift_identity,
    task_set_of,
    tpp_boards,
    tpp_identity,
    versions,
)
from saeeval_core.recordings.known_saes import identify, known_sae
from saeeval_core.recordings.recording import ResidualRecording, recording_folders
from saeeval_core.scores.tpp import TppBoard
from saeeval_core.storage import row_json
from saeeval_core.storage.artifacts import write_atomic
from saeeval_core.sweep.columns import BLANK, pack
from saeeval_core.sweep.rows import Scorer, Selection, display_name
from saeeval_core.sweep.summary import differences, rank_agreement, to_csv
from saeeval_core.texts.sources import TaskSet
from saeeval_core.texts.tasks import TEST

_VERSION = 5
"""Raised when units computed earlier must not be used any more."""

OnProgress = Callable[[str, int, int], None]
"""Called with (what is done, units done, units in all)."""


@dataclass(frozen=True)
class SweepConfig:
    """What a sweep covers."""

    saes: tuple[str, ...]
    tasks: tuple[str, ...] = ("bios",)
    protocols: tuple[str, ...] = ("robust",)
    metrics: tuple[str, ...] = ("shift", "tpp")
    ns: tuple[int, ...] = DEFAULT_NS
    model: str = DEFAULT_MODEL
    seed: int = 0
    controls: bool = True
    """Also score random and permuted decoders of every SAE, and PCA and the residual basis once per task."""
    texts_per_cell: int = 1500
    device: str = "auto"
    own_texts: RunConfig | None = None
    """Settings that name texts of the user's own (``--texts`` and what goes with it); ``tasks`` is then one name for them."""
    selections: tuple[Selection, ...] = field(default=(), compare=False)
    by_direction: bool = True
    """Also rows of every direction of every pair."""
    deletion: bool = False
    """Also the attribute-token deletion control: a second pass over the scored texts."""
    loss_recovered: bool = False
    """Also measure loss recovered, on a few of the task's texts."""

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
    """Everything ``saeeval sweep`` prints and writes. Finished units are kept in the cache folder and reused."""
    for name in config.protocols:
        get_protocol(name)
    units: list[dict[str, Any]] = []
    total = len(config.tasks) * len(config.protocols) * len(config.saes)
    for task in config.tasks:
        task_set = _task_set(config, task)
        for protocol in config.protocols:
            check_texts(config.run_config(task, protocol, config.saes), task_set)
        failed, groups = _by_hook(config.saes)
        for hook, saes in groups.items():
            failed |= _record_missing(config, task, task_set, hook, saes, shipped)
            for protocol in config.protocols:
                own = [s for s in saes if s not in failed]
                for sae, unit in _units(config, task, protocol, task_set, own, shipped):
                    units.append(unit)
                    if on_progress:
                        on_progress(f"{task}, {protocol}: {display_name(sae)}", len(units), total)
        units += [_failed_unit(config, task, task_set, sae, message) for sae, message in failed.items()]
    rows = [row for unit in units for row in unit["rows"]]
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
        "hook": ", ".join(dict.fromkeys(r["hook"] for r in rows if r["hook"])),
        "config": {k: v for k, v in asdict(named).items() if k not in ("selections", "own_texts")},
        "rows": rows,
        "differences": differences(units),
        "rank_agreement": rank_agreement(rows),
        "versions": versions(),
    }
    for path, content in ((json_out, row_json.dumps(result | pack(rows))), (csv_out, to_csv(rows))):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content.encode())
    return result


def _task_set(config: SweepConfig, task: str) -> TaskSet:
    """The texts of a task; a bundled one is cut to ``texts_per_cell`` too, so that many SAEs need not read all of it."""
    run = config.run_config(task, config.protocols[0], config.saes)
    found = task_set_of(run)
    if config.texts_per_cell >= RunConfig.texts_per_cell:
        return found
    return found.drawn(seed=config.seed, protocol=get_protocol(config.protocols[0]), per_cell=config.texts_per_cell)


def _by_hook(saes: Sequence[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """({SAE that cannot be used: message}, {hook: SAEs})."""
    failed, groups = {}, {}
    for sae in saes:
        try:
            groups.setdefault(identify(sae).hook, []).append(sae)
        except SaeEvalError as error:
            failed[sae] = str(error)
    return failed, groups


def _record_missing(
    config: SweepConfig, task: str, task_set: TaskSet, hook: str, saes: Sequence[str], shipped: bool
) -> dict[str, str]:
    """One pass over the texts for the SAEs not recorded yet; returns those that cannot be, with their messages."""
    run = config.run_config(task, config.protocols[0], saes)
    key = recording_key(run, hook, task_set.texts.fingerprint)
    folders, failed, missing = recording_folders(shipped=shipped), {}, []
    for sae in saes:
        known = known_sae(sae)
        if known is None or not any((f / f"latents-{key.of_sae(known.fingerprint)}.json").exists() for f in folders):
            missing.append(sae)
    if len(missing) > 1:
        # Found out one by one before the pass, so that one bad SAE does not cost the others theirs.
        failed = {sae: line for sae in missing if (line := _load_error(sae)) is not None}
    usable = [s for s in missing if s not in failed]
    try:
        if usable:
            obtain_recordings(replace(run, saes=tuple(usable)), task_set, usable, shipped=shipped)
    except SaeEvalError as error:
        failed |= {sae: str(error) for sae in usable}
    return failed


def _load_error(sae: str) -> str | None:
    from saeeval_core.saes.loaded import load_sae

    try:
        load_sae(sae)
    except SaeEvalError as error:
        return str(error)
    return None


def _units(
    config: SweepConfig, task: str, protocol: str, task_set: TaskSet, saes: Sequence[str], shipped: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(SAE, unit), from the cache where its fingerprint is there."""
    run = config.run_config(task, protocol, saes)
    scorer = None
    loss: Mapping[str, float | None] = {}
    if config.loss_recovered and saes:
        from saeeval_core.sweep.loss_recovered import stored_loss_recovered

        hook = identify(saes[0]).hook
        loss = stored_loss_recovered(config.model, saes, hook, task_set.texts.texts, device=config.device)
    draw: dict[str, Any] = {"seed": run.seed, "protocol": PROTOCOLS[protocol], "per_cell": run.texts_per_cell}
    defined = (
        [shift_identity(t) for t in task_set.shift_tasks(**draw)],
        task_set.tpp and tpp_identity(task_set.tpp_task(**draw)),
    )
    for i, sae in enumerate(saes):
        try:
            pass_ = obtain_recordings(replace(run, saes=(sae,)), task_set, [sae], shipped=shipped)
            latents = pass_.latents[0]
            identity = fingerprint(
                [
                    latents.fingerprint,
                    display_name(sae),
                    task,
                    asdict(PROTOCOLS[protocol]),
                    config.metrics,
                    config.ns,
                    config.seed,
                    config.controls,
                    config.texts_per_cell,
                    i == 0,
                    [[s.name, s.judge, s.identity(latents)] for s in config.selections],
                    config.by_direction,
                    config.deletion,
                    loss.get(sae),
                    defined,
                    _VERSION,
                ]
            )
            path = cache_dir() / "sweep" / f"{identity}.json"
            if path.exists():
                yield sae, json.loads(path.read_text())
                continue
            if scorer is None:
                boards = (
                    shift_boards(run, task_set, pass_.residuals, PROTOCOLS[protocol], shipped)
                    if "shift" in config.metrics
                    else []
                )
                tpp = _tpp_board(config, run, task_set, pass_.residuals, shipped)
                deletions = (
                    word_deletions(run, task_set, pass_.residuals.key.hook, boards)
                    if config.deletion and boards
                    else []
                )
                scorer = Scorer(
                    config.metrics,
                    config.ns,
                    config.controls,
                    config.by_direction,
                    config.selections,
                    [s for _, s in deletions],
                    loss,
                    run,
                    task_set,
                    pass_.residuals,
                    boards,
                    tpp,
                    identity,
                )
            unit = replace(scorer, identity=identity).unit(sae, latents, with_bases=i == 0)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, json.dumps(unit).encode())
            yield sae, unit
        except SaeEvalError as error:
            yield sae, _failed_unit(config, task, task_set, sae, str(error), protocol)


def _tpp_board(
    config: SweepConfig, run: RunConfig, task_set: TaskSet, residuals: ResidualRecording, shipped: bool
) -> TppBoard | None:
    """None when TPP is not wanted, not defined, or redraws its negatives (and so has no board)."""
    protocol = PROTOCOLS[run.protocol]
    if "tpp" not in config.metrics or not task_set.tpp or protocol.redraw_negatives:
        return None
    task = task_set.tpp_task(seed=run.seed, protocol=protocol, per_cell=run.texts_per_cell)
    return tpp_boards(run, task, residuals, protocol, shipped)[TEST]


def _failed_unit(
    config: SweepConfig, task: str, task_set: TaskSet, sae: str, message: str, protocol: str | None = None
) -> dict[str, Any]:
    row = dict(BLANK) | {
        "sae": display_name(sae),
        "model": display_name(config.model),
        "task": task,
        "composed": task_set.texts.composed,
        "small": bool(task_set.small),
        "protocol": protocol or "",
        "status": "failed",
        "error": message,
        "seed": config.seed,
    }
    return {"rows": [row], "samples": {}}
