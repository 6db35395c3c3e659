"""The rows of one SAE in a sweep: every N, variant and selection, then its controls.

Rows are output only: code that needs the numbers uses ``Variants``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from saeeval_core.config import RunConfig, erasure_n, headline_n
from saeeval_core.controls.about import DRAWS, RANDOM, TRAINED_NULL
from saeeval_core.controls.attach import is_trained_null
from saeeval_core.controls.every_n import ControlScores, decoder_scores, random_control, reference, task_controls
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.evaluation.erased import erased_at
from saeeval_core.evaluation.paths import walk
from saeeval_core.evaluation.result import Erasure, LossPath
from saeeval_core.evaluation.select import Selector, TopByAttribution
from saeeval_core.evaluation.variants import (
    Variants,
    direction_variants,
    shift_of_selector,
    tpp_of_selector,
    variants_over_pairs,
)
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.saes.local import local_path
from saeeval_core.saes.placed import split
from saeeval_core.scores.area import TOP_N
from saeeval_core.scores.erasure import ERASURE
from saeeval_core.scores.shift import ShiftScore
from saeeval_core.scores.uncertainty import LEVEL, OverPairs, Scored
from saeeval_core.sweep.columns import ScoreRow, cells, erasure_cells
from saeeval_core.texts.parts import TEST
from saeeval_core.texts.tasks import TaskSet
from saeeval_core.training.about import About, read_about

Erased = tuple[int, Erasure]
"""(N, what fresh probes read at that N)"""


@dataclass(frozen=True)
class JudgedSelection:
    """A selection by a judge's verdicts."""

    name: str
    """One of selections.SELECTIONS."""
    judge: str
    """Name and kind, such as "LocalJudge (local)"."""
    selector: Callable[[TaskSet, LatentRecording], Selector]
    """The selector for one SAE, from the verdicts on it."""
    identity: Callable[[LatentRecording], str]
    """Fingerprint of the verdicts on an SAE: changes whenever its selection could."""


@dataclass
class Unit:
    """The rows of one SAE under one protocol, its controls included."""

    rows: list[ScoreRow] = field(default_factory=list)
    samples: dict[str, list[float]] = field(default_factory=dict)
    """``sample_key`` of a row -> its score under each resample, for paired differences."""

    def add(self, row: ScoreRow, scored: Scored) -> None:
        """Add a row with this score; of an SAE's own rows the resamples are kept too."""
        if isinstance(scored, OverPairs):
            row = replace(row, pairs=scored.pairs, left_out=scored.left_out)
        row = replace(row, **cells(scored.score))
        self.rows.append(row)
        if row.role == "sae" and scored.score.value is not None and len(scored.samples):
            self.samples[sample_key(row)] = np.round(scored.samples, 5).tolist()

    def add_variants(self, row: ScoreRow, variants: Variants[Any], erased: Erased | None = None) -> None:
        """Add a row for every N of every variant, and for the areas; ``erased`` stands with the top-N row of its N."""
        for place in variants.places():
            own = erasure_cells(erased[1]) if erased and (place.variant, place.n) == (TOP_N, erased[0]) else {}
            row_of = replace(row, variant=place.variant, n=place.n, n_ablated=place.n_ablated, **own)
            self.add(row_of, place.scored)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; inverse of ``of_dict``."""
        return asdict(self)

    @classmethod
    def of_dict(cls, kept: Mapping[str, Any]) -> "Unit":
        """A unit that was kept on disk."""
        return cls([ScoreRow.of_file(r) for r in kept["rows"]], dict(kept["samples"]))


@dataclass(frozen=True)
class Scorer:
    """Makes rows; holds what all SAEs of one task and protocol share."""

    run: RunConfig
    evaluation: Evaluation
    controls: bool = True
    by_direction: bool = True
    """Add one row per direction of every pair."""
    selections: tuple[JudgedSelection, ...] = ()
    deletions: Sequence[ShiftScore] = ()
    """Per direction, the score of the word-deletion control; empty without that control."""
    loss_recovered: Mapping[str, float | None] = field(default_factory=dict)

    def unit(self, sae: str, latents: LatentRecording, identity: str, *, with_bases: bool) -> Unit:
        """Rows of one SAE and of its controls; ``with_bases`` adds the controls that use no SAE."""
        unit = Unit()
        ns = [n for n in self.run.ns if n <= latents.n_latents]
        blank = self._blank(sae, latents, identity)
        if is_trained_null(latents):
            blank = replace(blank, role="control", control=TRAINED_NULL)
        if ns and self.evaluation.directions:
            self._shift(unit, replace(blank, metric="shift"), latents, ns)
        if ns and self.evaluation.scores_tpp:
            self._tpp(unit, replace(blank, metric="tpp"), latents, ns)
        for c in decoder_scores(self.evaluation, latents, ns) if self.controls and ns else ():
            of = display_name(sae)
            row = replace(blank, sae=f"{c.name} of {of}", role="control", control=c.name, of=of, metric=c.metric)
            unit.add_variants(row, c.variants, None if c.latents is None else self._erased(c.latents, c.metric, ns))
            self._erasure_of(unit, row, c, ns)
        for c in self._task_controls() if with_bases else ():
            row = self._task_row(identity) if c.latents is None else self._blank("", c.latents, identity)
            row = replace(row, sae=c.name, role="control", control=c.name, metric=c.metric)
            unit.add_variants(row, c.variants)
            self._erasure_of(unit, row, c, self.run.ns)
        return unit

    def _task_controls(self) -> Iterable[ControlScores]:
        if self.controls:
            return task_controls(self.evaluation, self.run.ns, self.deletions)
        if self.deletions:
            return [reference(self.evaluation, "word deletion", self.deletions, self.run.ns)]
        return []

    def _shift(self, unit: Unit, row: ScoreRow, latents: LatentRecording, ns: Sequence[int]) -> None:
        evaluation, select = self.evaluation, TopByAttribution()
        views = evaluation.shift_views(latents, TEST)
        own = [direction_variants(v, select.shift(v, ns)) for v in views]
        erased = self._erased(latents, "shift", ns)
        unit.add_variants(row, variants_over_pairs(evaluation.directions, own), erased)
        self._erasure(unit, row, [latents] * len(evaluation.directions), ns)
        if self.controls:
            self._random(unit, row, latents, ns)
        for direction, variants in zip(evaluation.directions, own, strict=True) if self.by_direction else ():
            for n, s in zip(ns, variants.zero.scores, strict=True):
                place = {"scope": direction.name, "n": n, "n_ablated": s.n_ablated}
                unit.rows.append(replace(row, **place, **cells(s.score)))
        for selection in self.selections:
            chooser = selection.selector(evaluation.draw.task_set, latents)
            judged = replace(row, selection=selection.name, judge=selection.judge)
            unit.add_variants(judged, shift_of_selector(evaluation, latents, ns, chooser))

    def _tpp(self, unit: Unit, row: ScoreRow, latents: LatentRecording, ns: Sequence[int]) -> None:
        evaluation = self.evaluation
        if not evaluation.tpp_is_live:
            for n, s in zip(ns, evaluation.redrawn_tpp(latents, ns).scores, strict=True):
                unit.add(replace(row, n=n, n_ablated=float(np.mean(s.n_ablated))), s)
            return
        variants = tpp_of_selector(evaluation, latents, ns, TopByAttribution())
        unit.add_variants(row, variants, self._erased(latents, "tpp", ns))
        if self.controls:
            self._random(unit, row, latents, ns)
        for selection in self.selections:
            if selection.name == "task-unrelated":
                continue  # defined for SHIFT alone
            chooser = selection.selector(evaluation.draw.task_set, latents)
            judged = replace(row, selection=selection.name, judge=selection.judge)
            unit.add_variants(judged, tpp_of_selector(evaluation, latents, ns, chooser))

    def _erasure_of(self, unit: Unit, row: ScoreRow, c: ControlScores, ns: Sequence[int]) -> None:
        if c.metric == "shift" and c.by_direction:
            self._erasure(unit, row, c.by_direction, [n for n in ns if n <= c.by_direction[0].n_latents])

    def _erasure(self, unit: Unit, row: ScoreRow, recordings: Sequence[LatentRecording], ns: Sequence[int]) -> None:
        """Add the row of E, SHIFT's recommended score; ``recordings``: one per direction."""
        if ns and self.evaluation.directions:
            n = erasure_n(ns)
            found = walk(self.evaluation, recordings, [n], LossPath("", "sae")).erasure[n]
            unit.add(replace(row, variant=ERASURE, n=n, n_ablated=float(n)), found)

    def _erased(self, latents: LatentRecording, metric: str, ns: Sequence[int]) -> Erased | None:
        n = erasure_n(ns) if metric == "shift" else headline_n(ns)
        found = erased_at(self.evaluation, latents, metric, n)
        return None if found is None else (n, found)

    def _random(self, unit: Unit, row: ScoreRow, latents: LatentRecording, ns: Sequence[int]) -> None:
        found = random_control(self.evaluation, latents, row.metric, ns)
        named = replace(row, sae=f"{RANDOM} of {row.sae}", role="control", control=RANDOM, of=row.sae)
        unit.add_variants(replace(named, level=f"range of {DRAWS} draws"), found.variants)

    def _blank(self, sae: str, latents: LatentRecording, identity: str) -> ScoreRow:
        """A row without a score. Figures in the SAE's ``about.json`` (held-out tokens) go before the recording's."""
        about, figures = latents.about or {}, latents.unsupervised
        trained = _training(sae)
        return replace(
            self._task_row(identity),
            sae=display_name(sae),
            architecture=about.get("architecture"),
            n_latents=latents.n_latents,
            reads=latents.hook if latents.probed else None,
            note="; ".join(latents.notes) or None,
            l0=_first(trained.l0, figures.get("l0")),
            dead=_first(trained.dead, figures.get("dead")),
            explained_variance=_first(
                trained.explained_variance_typical, trained.explained_variance, figures.get("explained_variance")
            ),
            training_tokens=trained.training_samples,
            training_seed=trained.seed,
            loss_recovered=self.loss_recovered.get(sae, trained.loss_recovered),
        )

    def _task_row(self, identity: str) -> ScoreRow:
        task_set, residuals = self.evaluation.draw.task_set, self.evaluation.residuals
        return ScoreRow(
            model=display_name(self.run.model),
            dtype=residuals.key.dtype,
            kernel=residuals.kernel,
            hook=residuals.key.hook,
            task=self.run.task or task_set.texts.name,
            composed=task_set.texts.composed,
            small=bool(task_set.small),
            protocol=self.run.protocol,
            level=LEVEL,
            seed=self.run.seed,
            fingerprint=identity,
        )


def display_name(sae: str) -> str:
    """The name of an SAE in results: of a folder or file its last part, so that no path of this machine is shown."""
    return Path(sae).name if Path(split(sae).name).exists() else sae


def _training(sae: str) -> About:
    """The SAE's ``about.json``; an empty one where there is none."""
    folder = local_path(sae) if sae else None
    return (read_about(folder) if folder is not None and folder.is_dir() else None) or About()


def _first(*values: Any) -> Any:
    """The first value that is known."""
    return next((v for v in values if v is not None), None)


def sample_key(row: ScoreRow) -> str:
    """Name under which a row's resamples are kept, for paired differences."""
    return "|".join(str(getattr(row, k)) for k in ("sae", "metric", "variant", "selection", "n", "scope"))
