"""Why the old settings fail: one setting switched at a time, on planted worlds and on real tasks.

Every row starts from the robust protocol and changes one thing towards SAEBench's. On planted worlds it says what happens to
the agreement with truth; on a recording, what happens to the score and to its spread over seeds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from saeeval_core.config import PROTOCOLS, Protocol
from saeeval_core.errors import DataError
from saeeval_core.pipeline import shift_probes, tpp_probes
from saeeval_core.probes import Probe, fit_probe
from saeeval_core.recording import LatentRecording, ResidualRecording
from saeeval_core.shift import ShiftBoard, ShiftLatents, ShiftProbes, shift_board, shift_latents
from saeeval_core.small_n import area_weights
from saeeval_core.sources import TaskSet
from saeeval_core.texts import TEST, ShiftTask, TppTask, shift_training
from saeeval_core.tpp_switches import TppSwitches, probes_for, switched_tpp
from saeeval_core.uncertainty import Resamples

NS = (1, 2, 3, 5, 10, 20, 50, 100)
BASE_N = 10
"""N of every row that does not say otherwise."""
SEEDS = (0, 1, 2, 3, 4)


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
        "SAEBench's settings together, N = 20", probes="adamw l1, test epoch", leak=True, redrawn_negatives=True,
        zero_effects=True, small_gaps=True, n=20,
    ),
)  # fmt: skip


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
        cls, residuals: ResidualRecording, shift_tasks: Sequence[ShiftTask], tpp_task: TppTask | None, protocol: Protocol, *,
        seed: int, text_seed: int | None = None, keep: bool = False,
    ) -> "Bench":  # fmt: skip
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

    def shift(self, latents: LatentRecording, setting: Setting) -> float | None:
        """Mean over the defined directions of each pair, then over pairs."""
        protocol = replace(self.protocol, imitate_padding_leak=setting.leak)
        ns = NS if setting.n is None else (setting.n,)
        pairs = []
        for boards, reasons in zip(self.directions, self.reasons, strict=True):
            own = []
            for board, reason in zip(boards, reasons, strict=True):
                if board.gap < 0.001 or (reason is not None and not setting.small_gaps):
                    continue
                view = shift_latents(self.residuals, latents, board, protocol)
                own.append(_one(setting, [_shift_value(view, n, setting) for n in ns]))
            if own:
                pairs.append(float(np.mean(own)))
        return float(np.mean(pairs)) if pairs else None

    def tpp(self, latents: LatentRecording, setting: Setting, seed: int) -> float | None:
        """None where no TPP task is defined."""
        if self.tpp_task is None:
            return None
        switches = TppSwitches(
            setting.redrawn_negatives, setting.zero_effects, setting.leak, setting.ablation == "mean", setting.measure == "auc"
        )
        ns = NS if setting.n is None else (setting.n,)
        values = switched_tpp(self.residuals, latents, self.tpp_task, self.tpp_probes, switches, ns, seed=seed)
        return _one(setting, values.tolist())


def fault_table(
    residuals: ResidualRecording, saes: Sequence[LatentRecording], task_set: TaskSet, *, seeds: Sequence[int] = SEEDS,
    settings: Sequence[Setting] = SETTINGS, texts_per_cell: int = 1500, progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Scores and their spread over seeds of every setting on a recording, texts fixed and texts redrawn.

    With the texts fixed a seed changes folds, initialisation, batches and drawn negatives. With the texts redrawn it also
    changes the parts (stored ones are left aside) and the probes' training texts. DataError when a task cannot be made.
    """
    unsplit = replace(task_set, texts=replace(task_set.texts, split=None))
    scores: dict[tuple[str, str, str, str], list[float | None]] = {}
    for texts in ("fixed", "redrawn"):
        for seed in seeds:
            drawn, own_set = (seed, unsplit) if texts == "redrawn" else (seeds[0], task_set)
            shift_tasks = own_set.shift_tasks(seed=drawn, protocol=_ROBUST, per_cell=texts_per_cell)
            tpp_task = own_set.tpp_task(seed=drawn, protocol=_ROBUST, per_cell=texts_per_cell) if task_set.tpp else None
            for kind in dict.fromkeys(s.probes for s in settings):
                if progress:
                    progress(f"texts {texts}, seed {seed}, probes {kind}")
                bench = Bench.prepare(
                    residuals, shift_tasks, tpp_task, PROBE_SETTINGS[kind], seed=seed, text_seed=drawn, keep=True
                )
                for setting in (s for s in settings if s.probes == kind):
                    for sae in saes:
                        if "shift" in setting.metrics and shift_tasks:
                            key = (setting.name, "shift", sae.sae, texts)
                            scores.setdefault(key, []).append(bench.shift(sae, setting))
                        if "tpp" in setting.metrics and tpp_task is not None:
                            scores.setdefault((setting.name, "tpp", sae.sae, texts), []).append(bench.tpp(sae, setting, seed))
    if not scores:
        raise DataError(f"'{task_set.texts.name}' defines neither SHIFT pairs nor TPP classes; nothing to compare")
    rows = []
    for setting in settings:
        for metric in setting.metrics:
            for sae in saes:
                fixed, redrawn = (scores.get((setting.name, metric, sae.sae, texts)) for texts in ("fixed", "redrawn"))
                if fixed is None or redrawn is None:
                    continue
                rows.append({
                    "setting": setting.name, "metric": metric, "where": task_set.texts.name, "sae": sae.sae,
                    "score": _mean(fixed), "sd_texts_fixed": _sd(fixed), "sd_texts_redrawn": _sd(redrawn),
                    "score_texts_redrawn": _mean(redrawn), "seeds": len(seeds),
                })  # fmt: skip
    return {"kind": "faults", "schema": 1, "rows": rows}


def planted_fault_table(
    worlds: Sequence[Any], settings: Sequence[Setting] = SETTINGS, *, steps: int = 1200, progress: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Agreement with truth of every setting, averaged over planted worlds (``planted.WorldConfig``)."""
    from saeeval_core.planted import build_world
    from saeeval_core.validate import all_saes, spearman

    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for config in worlds:
        world = build_world(config)
        benches = {
            kind: Bench.prepare(world.residuals, world.shift_tasks, world.tpp_task, PROBE_SETTINGS[kind], seed=0)
            for kind in dict.fromkeys(s.probes for s in settings)
        }
        points = []
        for sae in all_saes(world, steps):
            if progress:
                progress(f"{config.name}: {sae.name}")
            recording, truth = sae.record(world)
            own = {}
            for s in settings:
                if "shift" in s.metrics:
                    own[s.name, "shift"] = benches[s.probes].shift(recording, s)
                if "tpp" in s.metrics:
                    own[s.name, "tpp"] = benches[s.probes].tpp(recording, s, 0)
            points.append((sae.role, truth["truth"], own))
        for s in settings:
            for metric in s.metrics:
                by_role: dict[str, list[float]] = {}
                for role, _, own in points:
                    if (value := own[s.name, metric]) is not None:
                        by_role.setdefault(role, []).append(value)
                trained = [(own[s.name, metric], t) for role, t, own in points if role == "trained" and own[s.name, metric] is not None]
                oracle = by_role.get("oracle", [None])[0]
                found.setdefault((s.name, metric), []).append({
                    "spearman": spearman([v for v, _ in trained], [t for _, t in trained]), "oracle": oracle,
                    "rank": None if oracle is None else 1 + sum(v > oracle for v in by_role.get("trained", [])),
                    "random": _mean(by_role.get("random", [])), "permuted": _mean(by_role.get("permuted", [])),
                })  # fmt: skip
    rows = [
        {
            "setting": name, "metric": metric, "where": "planted", "worlds": len(own), "spearman": _mean([w["spearman"] for w in own]),
            "oracle_rank": _mean([w["rank"] for w in own]), "oracle_score": _mean([w["oracle"] for w in own]),
            "random_score": _mean([w["random"] for w in own]), "permuted_score": _mean([w["permuted"] for w in own]),
        }
        for (name, metric), own in found.items()
    ]  # fmt: skip
    return {"kind": "faults", "schema": 1, "rows": rows}


def _fit(residuals: ResidualRecording, task: ShiftTask, protocol: Protocol, *, seed: int, text_seed: int) -> ShiftProbes:
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


def _one(setting: Setting, values: Sequence[float]) -> float:
    return float(np.dot(area_weights(NS), values)) if setting.n is None else float(values[0])


def _mean(values: Sequence[float | None]) -> float | None:
    kept = [v for v in values if v is not None and np.isfinite(v)]
    return float(np.mean(kept)) if kept else None


def _sd(values: Sequence[float | None]) -> float | None:
    kept = [v for v in values if v is not None and np.isfinite(v)]
    return float(np.std(kept, ddof=1)) if len(kept) > 1 else None


