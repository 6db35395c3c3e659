"""Why the old settings fail: one setting switched at a time.

Every row starts from the robust protocol and changes one thing towards SAEBench's. On a recording it says what happens to the
score and to its spread over seeds; ``planted_faults`` says what happens to the agreement with planted truth.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from saeeval_core.config import PROTOCOLS, Protocol, RunConfig, cache_dir, fingerprint
from saeeval_core.controls.controls import recorded_controls
from saeeval_core.errors import DataError
from saeeval_core.evaluation.prepare import obtain_recordings, shift_probes, task_set_of, tpp_probes
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording
from saeeval_core.scores.area import area_weights
from saeeval_core.scores.probes import Probe, fit_probe
from saeeval_core.scores.shift import ShiftBoard, ShiftLatents, ShiftProbes, shift_board, shift_latents, train_rows
from saeeval_core.scores.tpp_switches import TppSwitches, probes_for, switched_tpp
from saeeval_core.scores.uncertainty import Resamples
from saeeval_core.storage.artifacts import write_atomic
from saeeval_core.texts.sources import TaskSet
from saeeval_core.texts.tasks import TEST, ShiftTask, TppTask, shift_training

NS = (1, 2, 3, 5, 10, 20, 50, 100)
BASE_N = 10
"""N of every row that does not say otherwise."""
SEEDS = (0, 1, 2, 3, 4)
_VERSION = 1
"""Raised when scores computed earlier must not be used any more."""

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
class Bench:
    """Probes and boards of one probe setting on one set of tasks; scores any SAE under any setting that shares them."""

    residuals: ResidualRecording
    protocol: Protocol
    directions: list[list[ShiftBoard]]
    """Per pair, both directions; one resample each, because only values are wanted."""
    reasons: list[list[str | None]]
    """Why the robust protocol leaves a direction out."""
    tpp_task: TppTask | None
    tpp_probes: list[Probe]

    @classmethod
    def prepare(
        cls,
        residuals: ResidualRecording,
        shift_tasks: Sequence[ShiftTask],
        tpp_task: TppTask | None,
        protocol: Protocol,
        *,
        seed: int,
        text_seed: int | None = None,
        keep: bool = False,
    ) -> "Bench":
        """Train the probes; gaps are judged as the robust protocol does.

        ``text_seed`` draws the probes' training texts when they are not to follow ``seed``. ``keep`` takes stored probes
        where there are some, and stores new ones (only where both seeds agree).
        """
        directions, reasons = [], []
        text_seed = seed if text_seed is None else text_seed
        for task in shift_tasks:
            if keep and text_seed == seed:
                probes = shift_probes(residuals, task, protocol, seed=seed)
            else:
                probes = _fit(residuals, task, protocol, seed=seed, text_seed=text_seed)
            pair = [
                shift_board(residuals, t, p, replace(protocol, strict_gap=True), part=TEST, seed=seed, resamples=200)
                for t, p in ((task, probes), (task.swapped(), probes.swapped()))
            ]
            reasons.append([b.reason for b in pair])
            directions.append([replace(b, resamples=Resamples(b.resamples.counts[:, :1]), reason=None) for b in pair])
        own: list[Probe] = []
        if tpp_task is not None:
            fit_tpp = tpp_probes if keep and protocol.optimiser == "logistic" else probes_for
            own = fit_tpp(residuals, tpp_task, protocol, seed=seed)
        return cls(residuals, protocol, directions, reasons, tpp_task, own)

    def scores(
        self, latents: LatentRecording, settings: Sequence[Setting], seed: int
    ) -> dict[tuple[str, str], float | None]:
        """(setting, metric) -> score; ``seed`` draws negatives. Settings must go with this bench's probes."""
        found: dict[tuple[str, str], float | None] = {}
        for metric, scorer in (("shift", self._shift), ("tpp", self._tpp)):
            own = [s for s in settings if metric in s.metrics]
            found |= {(name, metric): value for name, value in scorer(latents, own, seed).items()}
        return found

    def _shift(self, latents: LatentRecording, settings: Sequence[Setting], _seed: int) -> dict[str, float | None]:
        """Mean over the defined directions of each pair, then over pairs."""
        views = {
            leak: [
                [
                    shift_latents(self.residuals, latents, board, replace(self.protocol, imitate_padding_leak=leak))
                    for board in pair
                ]
                for pair in self.directions
            ]
            for leak in {s.leak for s in settings}
        }
        found = {}
        for setting in settings if self.directions else ():
            pairs = []
            for pair, reasons in zip(views[setting.leak], self.reasons, strict=True):
                own = [
                    _one(setting, [_shift_value(view, n, setting) for n in _ns(setting)])
                    for view, reason in zip(pair, reasons, strict=True)
                    if view.board.gap >= 0.001 and (reason is None or setting.small_gaps)
                ]
                if own:
                    pairs.append(float(np.mean(own)))
            found[setting.name] = float(np.mean(pairs)) if pairs else None
        return found

    def _tpp(self, latents: LatentRecording, settings: Sequence[Setting], seed: int) -> dict[str, float | None]:
        if self.tpp_task is None:
            return {}
        groups: dict[TppSwitches, list[Setting]] = {}
        for s in settings:
            switches = TppSwitches(
                s.redrawn_negatives, s.zero_effects, s.leak, s.ablation == "mean", s.measure == "auc"
            )
            groups.setdefault(switches, []).append(s)
        found: dict[str, float | None] = {}
        for switches, own in groups.items():
            ns = sorted({n for s in own for n in _ns(s)})
            values = switched_tpp(self.residuals, latents, self.tpp_task, self.tpp_probes, switches, ns, seed=seed)
            at = dict(zip(ns, values.tolist(), strict=True))
            found |= {s.name: _one(s, [at[n] for n in _ns(s)]) for s in own}
        return found


def recorded_fault_table(
    config: RunConfig, *, seeds: Sequence[int] = SEEDS, on_progress: OnProgress | None = None
) -> dict[str, Any]:
    """``fault_table`` of the config's SAEs on its texts, with the controls of the first SAE beside them."""
    task_set = task_set_of(config)
    recordings = obtain_recordings(config, task_set, config.saes)
    residuals, saes = recordings.residuals, recordings.latents
    draw: dict[str, Any] = {"seed": seeds[0], "protocol": _ROBUST, "per_cell": config.texts_per_cell}
    tasks = [*task_set.shift_tasks(**draw), *([task_set.tpp_task(**draw)] if task_set.tpp else [])]
    if not tasks:
        raise DataError(f"'{task_set.texts.name}' defines neither SHIFT pairs nor TPP classes; nothing to compare")
    # Principal components belong to one task's training texts, and this table has several tasks.
    controls = [c for c in recorded_controls(residuals, saes[0], train_rows(tasks[0]), seeds[0]) if c.sae != "pca"]
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

    With the texts fixed a seed changes folds, initialisation, batches and drawn negatives. With the texts redrawn it also
    changes the parts (stored ones are left aside) and the probes' training texts. ``controls`` are scored with the first
    seed only. Finished seeds are kept in the cache folder. DataError when a task cannot be made.
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
                        "mean_texts_redrawn": _mean(redrawn),
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
    """(setting, metric, SAE) -> score of one seed, from the cache folder where it is there."""
    identity = [
        residuals.fingerprint,
        [[s.sae, s.sae_fingerprint] for s in saes],
        task_set.texts.name,
        texts,
        seed,
        first,
        [asdict(s) for s in settings],
        texts_per_cell,
        _VERSION,
    ]
    path = cache_dir() / "faults" / f"{fingerprint(identity)}.json"
    if path.exists():
        return {(a, b, c): value for a, b, c, value in json.loads(path.read_text())}
    drawn = seed if texts == "redrawn" else first
    if texts == "redrawn":
        task_set = replace(task_set, texts=replace(task_set.texts, split=None))
    shift_tasks = task_set.shift_tasks(seed=drawn, protocol=_ROBUST, per_cell=texts_per_cell)
    tpp_task = task_set.tpp_task(seed=drawn, protocol=_ROBUST, per_cell=texts_per_cell) if task_set.tpp else None
    scores = {}
    for kind in dict.fromkeys(s.probes for s in settings):
        bench = Bench.prepare(
            residuals, shift_tasks, tpp_task, PROBE_SETTINGS[kind], seed=seed, text_seed=drawn, keep=True
        )
        for sae in saes:
            own = bench.scores(sae, [s for s in settings if s.probes == kind], seed)
            scores |= {(name, metric, sae.sae): value for (name, metric), value in own.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps([[*key, value] for key, value in scores.items()]).encode())
    return scores


def _fit(
    residuals: ResidualRecording, task: ShiftTask, protocol: Protocol, *, seed: int, text_seed: int
) -> ShiftProbes:
    """As ``fit_shift_probes``, with the training texts drawn by a seed of their own."""
    training = shift_training(task, seed=text_seed, protocol=protocol)
    x, held = residuals.residuals[task.rows], task.part == TEST
    agree = held & (task.target_label == task.spurious_label)

    def fit(rows: np.ndarray, labels: np.ndarray, own_test: np.ndarray) -> Probe:
        test = (x[own_test], labels[own_test])
        return fit_probe(x[rows], labels[rows], task.quadrant[rows], protocol, seed=seed, test=test)

    return ShiftProbes(
        training,
        base=fit(training.biased, task.target_label, agree),
        oracle=fit(training.balanced, task.target_label, held),
        attribute=fit(training.balanced, task.spurious_label, held),
    )


def _shift_value(view: ShiftLatents, n: int, setting: Setting) -> float:
    ids = view.attribute_ranking[:n]
    if setting.measure == "auc":
        # Shifting the threshold changes no AUC, so mean and zero ablation agree here.
        score = view.board.auc_score(view.removed(ids))
    else:
        score = (view.score_mean_ablated(ids) if setting.ablation == "mean" else view.score(ids)).score
    return float(score.value) if score.value is not None else float("nan")


def _ns(setting: Setting) -> tuple[int, ...]:
    return NS if setting.n is None else (setting.n,)


def _one(setting: Setting, values: Sequence[float]) -> float:
    return float(np.dot(area_weights(NS), values)) if setting.n is None else float(values[0])


def _mean(values: Sequence[float | None]) -> float | None:
    kept = [v for v in values if v is not None and np.isfinite(v)]
    return float(np.mean(kept)) if kept else None


def _sd(values: Sequence[float | None]) -> float | None:
    kept = [v for v in values if v is not None and np.isfinite(v)]
    return float(np.std(kept, ddof=1)) if len(kept) > 1 else None
