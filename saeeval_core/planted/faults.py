"""What each setting of earlier tools does to the scores, one switched at a time.

Every row starts from the robust protocol and changes one thing towards SAEBench's. On a recording a row shows what
happens to the score and to its spread over seeds; on planted worlds (``world_faults``), to the agreement with the
truth.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from saeeval_core.config import ERASURE_N, PROTOCOLS, Protocol, RunConfig
from saeeval_core.controls.controls import recorded_controls
from saeeval_core.errors import DataError
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.recordings.obtain import obtain_recordings, task_set_of
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording
from saeeval_core.scores.ablation import MEAN
from saeeval_core.scores.area import GRID, small_n_area
from saeeval_core.scores.erasure import ERASURE, without_interval
from saeeval_core.scores.probes import Probe
from saeeval_core.scores.shift import MIN_GAP, ShiftBoard, ShiftLatents, shift_latents
from saeeval_core.scores.tpp_switches import TppSwitches, probes_for, switched_tpp
from saeeval_core.scores.uncertainty import Estimate, Sampled, Scored, mean_known, over_pairs
from saeeval_core.storage.kept import RECORDINGS, KeptJson, Shelves
from saeeval_core.texts.parts import TEST
from saeeval_core.texts.tasks import Draw, TaskSet

BASE_N = 10
"""N of every row that does not say otherwise."""
SEEDS = (0, 1, 2, 3, 4)
_SEEDS = KeptJson(Shelves("faults", shipped=False), "scores", version=2)
"""Scores of one seed. The version is raised when those computed earlier must not be used any more."""
_RESAMPLES = 200
"""Enough to decide whether there is a gap; the scores need no interval here."""

OnProgress = Callable[[str, int, int], None]
"""Called with (what is done, units done, units in all)."""


@dataclass(frozen=True)
class Setting:
    """One row of the table: the robust protocol with one thing changed."""

    name: str
    probes: str = "robust"
    """Key of PROBE_SETTINGS: settings with equal probes share them."""
    leak: bool = False
    ablation: str = "zero"
    measure: str = "accuracy"
    """accuracy | auc | ERASURE, which needs no gap and no threshold"""
    n: int | None = BASE_N
    """None: the small-N area."""
    small_gaps: bool = False
    """Keep directions whose gap cannot be told from 0."""
    redrawn_negatives: bool = False
    zero_effects: bool = False
    metrics: tuple[str, ...] = ("shift", "tpp")


_ROBUST = PROTOCOLS["robust"]
_SAEBENCH = PROTOCOLS["saebench"]
PROBE_SETTINGS: dict[str, Protocol] = {
    "robust": _ROBUST,
    "adamw l1": replace(_SAEBENCH, separate_dev=True, best_test_epoch=False, imitate_padding_leak=False),
    "adamw l1, test epoch": replace(_SAEBENCH, separate_dev=True, imitate_padding_leak=False),
    "adamw": replace(_SAEBENCH, separate_dev=True, best_test_epoch=False, imitate_padding_leak=False, l1=0.0),
}
"""Probes that differ in one thing from their neighbour: optimiser and regularisation, L1, and the chosen epoch."""
SETTINGS = (
    Setting(f"baseline: robust, zero ablation, accuracy, N = {BASE_N}"),
    Setting("padding leak", leak=True),
    Setting("probe: AdamW + L1 in place of cross-validated L2", probes="adamw l1"),
    Setting("probe: AdamW without L1", probes="adamw"),
    Setting("probe: AdamW + L1, epoch chosen on its test texts", probes="adamw l1, test epoch"),
    Setting("negatives redrawn 1:1 for every number", redrawn_negatives=True, metrics=("tpp",)),
    Setting("latents without effect fill up N", zero_effects=True, metrics=("tpp",)),
    Setting("directions with too small a gap kept", small_gaps=True, metrics=("shift",)),
    Setting("N = 5", n=5),
    Setting("N = 20", n=20),
    Setting("N = 50", n=50),
    Setting("N = 100", n=100),
    Setting(f"mean ablation, N = {BASE_N}", ablation="mean"),
    Setting("mean ablation, N = 50", ablation="mean", n=50),
    Setting(f"AUC, N = {BASE_N}", measure="auc"),
    Setting("AUC, N = 50", measure="auc", n=50),
    Setting("small-N area, zero ablation", n=None),
    Setting("small-N area, mean ablation", n=None, ablation="mean"),
    Setting("small-N area, AUC", n=None, measure="auc"),
    Setting(f"{ERASURE} (fresh probes), N = {ERASURE_N}", measure=ERASURE, n=ERASURE_N),
    Setting(
        "SAEBench's settings together, N = 20",
        probes="adamw l1, test epoch",
        leak=True,
        redrawn_negatives=True,
        zero_effects=True,
        small_gaps=True,
        n=20,
    ),
)


@dataclass(frozen=True)
class DrawSettings:
    """The seeds of a draw, and its size."""

    seed: int
    """Seed of folds, initial weights and batches."""
    text_seed: int
    """Seed of parts and the probes' training texts."""
    per_cell: int = 1500


@dataclass(frozen=True)
class SettingScores:
    """Probes and boards of one probe setting; scores any SAE under every setting that uses these probes."""

    evaluation: Evaluation
    tpp_probes: list[Probe]

    @classmethod
    def prepare(
        cls, residuals: ResidualRecording, task_set: TaskSet, kind: str, draw: DrawSettings, *, kept: Shelves | None
    ) -> "SettingScores":
        """Train the probes of one of PROBE_SETTINGS; whether a gap is too small is decided as in the robust protocol.

        ``kept``: folders where probes are found and stored; None trains them all.
        """
        protocol = replace(PROBE_SETTINGS[kind], strict_gap=True)
        drawn = Draw(task_set, protocol, draw.text_seed, draw.per_cell)
        evaluation = Evaluation(residuals, drawn, seed=draw.seed, resamples=_RESAMPLES, kept=kept)
        own: list[Probe] = []
        if evaluation.scores_tpp:
            stored = kept is not None and protocol.optimiser == "logistic"
            train = probes_for(residuals, evaluation.tpp_task, protocol, seed=draw.seed) if not stored else None
            own = evaluation.tpp_probes if train is None else train
        return cls(evaluation, own)

    @cached_property
    def boards(self) -> list[tuple[str, ShiftBoard, str | None]]:
        """Per direction: its pair, its test board with one resample and S always defined, and why it would not be."""
        tests = [(d.pair, d.boards[TEST]) for d in self.evaluation.directions]
        return [(pair, replace(b.values_only(), reason=None), b.reason) for pair, b in tests]

    def scores(
        self, latents: LatentRecording, settings: Sequence[Setting], seed: int
    ) -> dict[tuple[str, str], float | None]:
        """(setting, metric) -> score; ``seed`` draws negatives. The settings must have these probes."""
        found: dict[tuple[str, str], float | None] = {}
        if self.boards:
            own = [s for s in settings if "shift" in s.metrics]
            found |= {(name, "shift"): value for name, value in self._shift(latents, own).items()}
        if self.evaluation.scores_tpp:
            own = [s for s in settings if "tpp" in s.metrics]
            found |= {(name, "tpp"): value for name, value in self._tpp(latents, own, seed).items()}
        return found

    def _shift(self, latents: LatentRecording, settings: Sequence[Setting]) -> dict[str, float | None]:
        """Mean over the directions that a setting keeps of each pair, then over pairs."""
        residuals, protocol = self.evaluation.residuals, self.evaluation.protocol
        views = {
            leak: [
                (pair, shift_latents(residuals, latents, board, replace(protocol, imitate_padding_leak=leak)), reason)
                for pair, board, reason in self.boards
            ]
            for leak in {s.leak for s in settings}
        }
        found: dict[str, float | None] = {}
        for setting in settings:
            if setting.measure == ERASURE:
                found[setting.name] = self._erased(latents, setting)
                continue
            kept = [
                (pair, _shift_score(view, setting))
                for pair, view, reason in views[setting.leak]
                if view.board.gap >= MIN_GAP and (reason is None or setting.small_gaps)
            ]
            found[setting.name] = over_pairs(kept).score.value
        return found

    def _erased(self, latents: LatentRecording, setting: Setting) -> float | None:
        """E of SHIFT: of every direction in which both labels can be read."""
        found = []
        for d, (pair, board, _) in zip(self.evaluation.directions, self.boards, strict=True):
            ranking = shift_latents(
                self.evaluation.residuals, latents, board, self.evaluation.protocol
            ).attribute_ranking
            view = self.evaluation.shift_erasure(latents, d, TEST)
            found.append((pair, without_interval(view.value(ranking[: setting.n]))))
        return over_pairs(found).score.value

    def _tpp(self, latents: LatentRecording, settings: Sequence[Setting], seed: int) -> dict[str, float | None]:
        groups: dict[TppSwitches, list[Setting]] = {}
        found: dict[str, float | None] = {}
        for s in settings:
            if s.measure == ERASURE:
                rankings = self.evaluation.tpp_view(latents, TEST).rankings
                found[s.name] = self.evaluation.tpp_erasure(latents, TEST).value([r[: s.n] for r in rankings]).value
                continue
            switches = TppSwitches(s.redrawn_negatives, s.zero_effects, s.leak, s.ablation == MEAN, s.measure == "auc")
            groups.setdefault(switches, []).append(s)
        for switches, own in groups.items():
            ns = sorted({n for s in own for n in _ns(s)})
            task, residuals = self.evaluation.tpp_task, self.evaluation.residuals
            values = switched_tpp(residuals, latents, task, self.tpp_probes, switches, ns, seed=seed)
            at = {n: Sampled(Estimate(v), np.array([v])) for n, v in zip(ns, values.tolist(), strict=True)}
            found |= {s.name: _one(s, [at[n] for n in _ns(s)]).score.value for s in own}
        return found


def recorded_fault_table(
    config: RunConfig, *, seeds: Sequence[int] = SEEDS, on_progress: OnProgress | None = None
) -> dict[str, Any]:
    """``fault_table`` of the config's SAEs on its texts, with the controls of the first SAE.

    DataError for texts without tasks; raises what ``obtain_recordings`` raises.
    """
    task_set = task_set_of(config)
    recordings = obtain_recordings(config, task_set, config.saes)
    residuals, saes = recordings.residuals, recordings.latents
    draw = Draw(task_set, _ROBUST, seeds[0], config.texts_per_cell)
    tasks = [*draw.shift_tasks, *([draw.tpp] if draw.tpp else [])]
    if not tasks:
        raise DataError(f"'{task_set.texts.name}' defines neither SHIFT pairs nor TPP classes; nothing to compare")
    # Principal components belong to one task's training texts, and this table has several tasks.
    controls = [c for c in recorded_controls(residuals, saes[0], tasks[0].train_rows, seeds[0]) if c.sae != "pca"]
    return fault_table(
        residuals,
        saes,
        task_set,
        controls=controls,
        seeds=seeds,
        texts_per_cell=config.texts_per_cell,
        on_progress=on_progress,
    )


def fault_table(
    residuals: ResidualRecording,
    saes: Sequence[LatentRecording],
    task_set: TaskSet,
    *,
    controls: Sequence[LatentRecording] = (),
    seeds: Sequence[int] = SEEDS,
    settings: Sequence[Setting] = SETTINGS,
    texts_per_cell: int = 1500,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Scores and their spread over seeds of every setting on a recording, texts fixed and texts redrawn.

    With the texts fixed a seed changes folds, initial weights, batches and drawn negatives. With the texts redrawn it
    also changes the parts (a ``split`` column is ignored) and the probes' training texts. ``controls`` are scored with
    the first seed only. Finished seeds are stored in the cache folder. DataError when a task cannot be made.
    """
    draws = [(texts, seed) for texts in ("fixed", "redrawn") for seed in seeds]
    found: dict[str, list[dict[tuple[str, str, str], float | None]]] = {"fixed": [], "redrawn": []}
    for i, (texts, seed) in enumerate(draws):
        if on_progress:
            on_progress(f"texts {texts}, seed {seed}", i, len(draws))
        own = [*saes, *controls] if i == 0 else list(saes)
        found[texts].append(_seed_scores(residuals, own, task_set, texts, seed, seeds[0], settings, texts_per_cell))
    if on_progress:
        on_progress("done", len(draws), len(draws))
    if not any(found["fixed"]):
        raise DataError(f"'{task_set.texts.name}' defines neither SHIFT pairs nor TPP classes; nothing to compare")
    rows = []
    for setting in settings:
        for metric in setting.metrics:
            for sae in (*saes, *controls):
                key = (setting.name, metric, sae.sae)
                fixed, redrawn = ([d[key] for d in found[texts] if key in d] for texts in ("fixed", "redrawn"))
                if not fixed:
                    continue
                rows.append(
                    {
                        "setting": setting.name,
                        "metric": metric,
                        "where": task_set.texts.name,
                        "sae": sae.sae,
                        "role": "sae" if sae in saes else "control",
                        "score": fixed[0],
                        "seeds": len(fixed),
                        "sd_texts_fixed": _sd(fixed),
                        "mean_texts_redrawn": mean_known(redrawn),
                        "sd_texts_redrawn": _sd(redrawn),
                    }
                )
    return {
        "kind": "faults",
        "schema": 1,
        "task": task_set.texts.name,
        "composed": task_set.texts.composed,
        "rows": rows,
    }


def _seed_scores(
    residuals: ResidualRecording,
    saes: Sequence[LatentRecording],
    task_set: TaskSet,
    texts: str,
    seed: int,
    first: int,
    settings: Sequence[Setting],
    texts_per_cell: int,
) -> dict[tuple[str, str, str], float | None]:
    """(setting, metric, SAE) -> score of one seed, from the cache folder where it is stored."""
    key = [
        residuals.fingerprint,
        [[s.sae, s.sae_fingerprint] for s in saes],
        task_set.texts.name,
        texts,
        seed,
        first,
        [asdict(s) for s in settings],
        texts_per_cell,
    ]
    if texts == "redrawn":
        task_set = replace(task_set, texts=replace(task_set.texts, split=None))
    draw = DrawSettings(seed, seed if texts == "redrawn" else first, texts_per_cell)

    def score() -> list[list[Any]]:
        found = []
        for kind in dict.fromkeys(s.probes for s in settings):
            prepared = SettingScores.prepare(residuals, task_set, kind, draw, kept=RECORDINGS)
            for sae in saes:
                own = prepared.scores(sae, [s for s in settings if s.probes == kind], seed)
                found += [[name, metric, sae.sae, value] for (name, metric), value in own.items()]
        return found

    return {(a, b, c): value for a, b, c, value in _SEEDS.get(key, score)}


def _shift_score(view: ShiftLatents, setting: Setting) -> Scored:
    """One direction under one setting."""
    ids = [view.attribute_ranking[:n] for n in _ns(setting)]
    if setting.measure == "auc":
        # Shifting the threshold changes no AUC, so mean and zero ablation agree here.
        return _one(setting, [view.board.auc_score(view.removed(i)) for i in ids])
    return _one(setting, [view.under(setting.ablation).score(i) for i in ids])


def _ns(setting: Setting) -> tuple[int, ...]:
    return GRID if setting.n is None else (setting.n,)


def _one(setting: Setting, curve: Sequence[Scored]) -> Scored:
    """The setting's one number of a curve: its small-N area or its only score."""
    return small_n_area(curve, GRID) if setting.n is None else curve[0]


def _sd(values: Sequence[float | None]) -> float | None:
    kept = [v for v in values if v is not None and np.isfinite(v)]
    return float(np.std(kept, ddof=1)) if len(kept) > 1 else None
