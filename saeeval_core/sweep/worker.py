"""Performs the units of a sweep, one after another, in whatever process it is made."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saeeval_core.config import RunConfig, cache_dir
from saeeval_core.controls.deletion import word_deletions
from saeeval_core.errors import ArtifactError, SaeEvalError
from saeeval_core.evaluation.prepare import evaluation_of
from saeeval_core.recordings.keep import keep_recordings, partial_state
from saeeval_core.recordings.obtain import (
    draw_of,
    is_recorded,
    label_cells,
    load_fitting,
    obtain_recordings,
    recorded_groups,
    recording_key,
)
from saeeval_core.recordings.plan import cannot_fit
from saeeval_core.recordings.recording import ResidualRecording
from saeeval_core.saes.asked import what_is
from saeeval_core.saes.facts import facts
from saeeval_core.storage.artifacts import exists, load_arrays, save_arrays
from saeeval_core.storage.kept import RECORDINGS, Shelves
from saeeval_core.sweep.config import SweepConfig
from saeeval_core.sweep.plan import MergeUnit, RecordUnit, ScoreUnit, SweepUnit, unit_fingerprint
from saeeval_core.sweep.rows import JudgedSelection, Scorer
from saeeval_core.texts.tasks import TaskSet

if TYPE_CHECKING:
    from saeeval_core.models.language_model import LanguageModel
    from saeeval_core.recordings.recorder import Recorded

SHARDS = Shelves("shards", shipped=False)
"""Parts of passes that wait to be merged."""
Failed = dict[str, str]
"""SAE -> why it cannot be used, in one line."""


@dataclass(frozen=True)
class Done:
    """What a unit gave, as plain values."""

    failed: Failed
    """SAEs that cannot be used; the others of the unit are done."""
    rows: Mapping[str, Any] | None = None
    """Of a score unit: ``Unit.to_dict``."""
    stored: tuple[str, ...] = ()
    """Files below the cache folder that hold what was recorded or measured."""


class Worker:
    """Holds the model and, for scoring, the boards of the last task."""

    def __init__(
        self,
        config: SweepConfig,
        task_set: Callable[[str], TaskSet],
        *,
        shipped: bool = True,
        selections: tuple[JudgedSelection, ...] = (),
    ) -> None:
        """``task_set``: gives the texts of a task."""
        self.config, self.task_set, self.shipped, self.selections = config, task_set, shipped, selections
        self._model: LanguageModel | None = None
        self._scorer: tuple[tuple[str, str, str], Scorer] | None = None

    def perform(self, unit: SweepUnit) -> Done:
        """Do one unit. An SAE that cannot be used is named in what it gives; nothing else is caught."""
        if isinstance(unit, ScoreUnit):
            self._model = None  # its memory is wanted for the boards
            return self._score(unit)
        self._scorer = None
        return self._record(unit) if isinstance(unit, RecordUnit) else self._merge(unit)

    def _run(self, unit: RecordUnit | MergeUnit) -> RunConfig:
        return self.config.run_config(unit.task, self.config.protocols[0], unit.saes)

    def _record(self, unit: RecordUnit) -> Done:
        run, task_set = self._run(unit), self.task_set(unit.task)
        saes = [s for s in unit.saes if not is_recorded(run, task_set, s, shipped=self.shipped)]
        # Each is tried before the pass, so that one bad SAE does not stop the others.
        failed = {s: line for s in saes if (line := _load_error(run, s)) is not None} if len(saes) > 1 else {}
        if unit.of > 1:
            return self._shard(unit, failed)
        usable = [s for s in saes if s not in failed]
        names: list[str] = []
        try:
            if usable:
                own = replace(run, saes=tuple(usable))
                for made in recorded_groups(own, task_set, usable, model=self.model(run)):
                    names += _recordings(made)
        except SaeEvalError as error:
            failed |= {sae: str(error) for sae in usable}
        good = [s for s in unit.saes if s not in failed]
        lost = self._losses(run, good)
        names += self._loss_files(run, [s for s in good if s not in lost])
        return Done(failed | lost, stored=tuple(dict.fromkeys(names)))

    def _shard(self, unit: RecordUnit, failed: Failed) -> Done:
        """A part of the pass; none where an SAE fails, because all parts must hold the same SAEs."""
        run, task_set = self._run(unit), self.task_set(unit.task)
        path = SHARDS.own / shard_name(self.config, task_set, unit)
        if failed or _readable(path):
            return Done(failed, stored=() if failed else _files(path))
        from saeeval_core.recordings.shards import Shard, record_shard

        try:
            model, texts = self.model(run), task_set.texts
            loaded = load_fitting(run, unit.saes, model.device, model.kernel)
            with partial_state(path.name) as folder:
                arrays = record_shard(
                    model,
                    texts.texts,
                    texts.fingerprint,
                    loaded,
                    Shard(unit.number, unit.of),
                    storage=recording_key(run, "", texts.fingerprint).storage,
                    cells=label_cells(task_set),
                    partial=folder,
                )
                save_arrays(path, arrays, {"kind": "shard"})
                _forget(folder)
        except SaeEvalError as error:
            return Done({sae: str(error) for sae in unit.saes})
        return Done({}, stored=_files(path))

    def _merge(self, unit: MergeUnit) -> Done:
        from saeeval_core.recordings.shards import merge_shards

        run, task_set = self._run(unit), self.task_set(unit.task)
        paths = [cache_dir() / name for name in unit.shards]
        try:
            model, texts = self.model(run), task_set.texts
            loaded = load_fitting(run, unit.saes, model.device, model.kernel)
            made = merge_shards(
                model,
                texts.texts,
                texts.fingerprint,
                loaded,
                (load_arrays(path)[0] for path in paths),
                storage=recording_key(run, "", texts.fingerprint).storage,
                cells=label_cells(task_set),
            )
            keep_recordings(made.residuals.values(), made.latents, None)
        except SaeEvalError as error:
            return Done({sae: str(error) for sae in unit.saes})
        failed = self._losses(run, unit.saes)
        return Done(failed, stored=(*_recordings(made), *self._loss_files(run, unit.saes)))

    def _losses(self, run: RunConfig, saes: Sequence[str]) -> Failed:
        """Measure loss recovered where that is asked for; SAEs whose loss cannot be measured."""
        if not self.config.loss_recovered or not saes:
            return {}
        from saeeval_core.sweep.loss_recovered import stored_loss_recovered

        try:
            stored_loss_recovered(run, saes, self.task_set(run.task or self.config.tasks[0]).texts.texts)
        except SaeEvalError as error:
            return {sae: str(error) for sae in saes}
        return {}

    def _loss_files(self, run: RunConfig, saes: Sequence[str]) -> tuple[str, ...]:
        if not self.config.loss_recovered:
            return ()
        from saeeval_core.sweep.loss_recovered import loss_files

        return loss_files(run, saes, self.task_set(run.task or self.config.tasks[0]).texts.texts)

    def _score(self, unit: ScoreUnit) -> Done:
        run, task_set = self.config.run_config(unit.task, unit.protocol, [unit.sae]), self.task_set(unit.task)
        try:
            pass_ = obtain_recordings(run, task_set, [unit.sae], shipped=self.shipped)
            scorer = self._scorer_of(unit, run, task_set, pass_.residuals)
            found = scorer.unit(unit.sae, pass_.latents[0], unit.identity, with_bases=unit.with_bases)
        except SaeEvalError as error:
            return Done({unit.sae: str(error)})
        return Done({}, rows=found.to_dict())

    def _scorer_of(self, unit: ScoreUnit, run: RunConfig, task_set: TaskSet, residuals: ResidualRecording) -> Scorer:
        config, key = self.config, (unit.task, unit.protocol, residuals.key.hook)
        if self._scorer is None or self._scorer[0] != key:
            self._scorer = None  # the boards of one task at a time
            evaluation = evaluation_of(run, draw_of(run, task_set), residuals, shipped=self.shipped)
            self._scorer = key, Scorer(run, evaluation, config.controls, config.by_direction, self.selections)
        scorer = self._scorer[1]
        if unit.with_bases and config.deletion and scorer.evaluation.directions:
            scorer = replace(scorer, deletions=[score for _, score in word_deletions(run, scorer.evaluation)])
        return replace(scorer, loss_recovered=dict(unit.losses))

    def model(self, run: RunConfig) -> "LanguageModel":
        """The model of the settings, loaded once."""
        if self._model is None:
            from saeeval_core.models.language_model import load_model

            self._model = load_model(run.model, device=run.device, dtype=run.dtype, kernel=run.kernel)
        return self._model


def shard_name(config: SweepConfig, task_set: TaskSet, unit: RecordUnit) -> str:
    """Name of the artifact that holds a shard."""
    return f"shard-{unit_fingerprint(config, task_set, unit)}"


def _load_error(run: RunConfig, sae: str) -> str | None:
    from saeeval_core.saes.loaded import load_sae

    try:
        if line := cannot_fit(run, facts(sae, what_is(sae))):
            return line
        load_sae(sae)
    except SaeEvalError as error:
        return str(error)
    return None


def _recordings(made: "Recorded") -> tuple[str, ...]:
    """Files below the cache folder that hold these recordings."""
    names = [f"residuals-{r.fingerprint}" for r in made.residuals.values()]
    names += [f"latents-{r.fingerprint}" for r in made.latents]
    return tuple(f for name in names for f in _files(RECORDINGS.own / name))


def _files(path: Path) -> tuple[str, ...]:
    """Files of an artifact, below the cache folder."""
    own = path.relative_to(cache_dir())
    return f"{own}.safetensors", f"{own}.json"


def _readable(path: Path) -> bool:
    if not exists(path):
        return False
    with suppress(ArtifactError):
        load_arrays(path)
        return True
    return False


def _forget(folder: Path | None) -> None:
    """Remove the state of a pass that is through."""
    for path in folder.glob("state*") if folder else ():
        path.unlink(missing_ok=True)
