"""Many SAEs x tasks x protocols as flat rows: one pass of the language model per hook, resumed by fingerprint.

A failed SAE is a row with its message. Rows are what the Compare view reads (``bench_format.BLANK`` names the columns);
intervals and paired differences come from the same resamples of test texts for every SAE of a task.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from saeeval_core.artifacts import write_atomic
from saeeval_core.bench_format import BLANK
from saeeval_core.config import DEFAULT_MODEL, DEFAULT_NS, PROTOCOLS, RunConfig, cache_dir, fingerprint, get_protocol
from saeeval_core.controls import recorded_controls
from saeeval_core.errors import SaeEvalError
from saeeval_core.pipeline import (
    DirectionBoards,
    obtain_recordings,
    recording_key,
    shift_boards,
    task_set_of,
    tpp_probes,
    versions,
)
from saeeval_core.recording import LatentRecording, ResidualRecording, recording_folders
from saeeval_core.registry import file_fingerprint, inspect_sae
from saeeval_core.shift import ShiftLatents, shift_latents, train_rows
from saeeval_core.small_n import small_n_area
from saeeval_core.sources import TaskSet
from saeeval_core.texts import TEST
from saeeval_core.tpp import TppBoard, tpp_board, tpp_latents
from saeeval_core.tpp_switches import mean_ablated
from saeeval_core.uncertainty import (
    LEVEL,
    Estimate,
    difference_words,
    estimate,
    mean_of,
    minimum_reliable_difference,
    paired_difference,
    separable,
)

AREA = "small-N area"
_SETTING = ("metric", "variant", "protocol", "task", "selection", "n", "part")
_VERSION = 1
"""Raised when units computed earlier must not be used any more."""

Selector = Callable[[ShiftLatents, int], np.ndarray]
"""Ids to ablate for SHIFT, from one direction's view of an SAE and N; a judge's selection returns at most N."""
OnProgress = Callable[[str, int, int], None]
"""Called with (what is done, units done, units in all)."""


@dataclass(frozen=True)
class Selection:
    """A way of choosing latents besides attribution, with who judged."""

    name: str
    judge: str
    """Name and kind, such as "LocalJudge (local)"."""
    select: Selector
    identity: str
    """Changes whenever the same SAE could be given another selection (the verdicts' fingerprint)."""


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

    def run_config(self, task: str, protocol: str, saes: Sequence[str]) -> RunConfig:
        """The settings of ``saeeval run`` for one unit."""
        if self.own_texts is not None:
            return replace(
                self.own_texts, model=self.model, saes=tuple(saes), metrics=self.metrics, protocol=protocol, ns=self.ns,
                seed=self.seed, device=self.device,
            )  # fmt: skip
        return RunConfig(
            model=self.model, saes=tuple(saes), task=task, metrics=self.metrics, protocol=protocol, ns=self.ns, seed=self.seed,
            texts_per_cell=self.texts_per_cell, device=self.device,
        )  # fmt: skip


def sweep(
    config: SweepConfig, json_out: Path | None = None, csv_out: Path | None = None, *, shipped: bool = True,
    made_by: str = "saeeval sweep", on_progress: OnProgress | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Everything ``saeeval sweep`` prints and writes. Finished units are kept in the cache folder and reused."""
    for name in config.protocols:
        get_protocol(name)
    units: list[dict[str, Any]] = []
    total = len(config.tasks) * len(config.protocols) * len(config.saes)
    for task in config.tasks:
        task_set = task_set_of(config.run_config(task, config.protocols[0], config.saes))
        failed, groups = _by_hook(config.saes)
        for hook, saes in groups.items():
            failed |= _record_missing(config, task, task_set, hook, saes, shipped)
            for protocol in config.protocols:
                own = [s for s in saes if s not in failed]
                for sae, unit in _units(config, task, protocol, task_set, own, shipped):
                    units.append(unit)
                    if on_progress:
                        on_progress(f"{task}, {protocol}: {sae}", len(units), total)
        units += [_failed_unit(config, task, task_set, sae, message) for sae, message in failed.items()]
    rows = [row for unit in units for row in unit["rows"]]
    result = {
        "kind": "sweep", "schema": 1, "made_by": made_by, "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": config.model, "hook": ", ".join(dict.fromkeys(r["hook"] for r in rows if r["hook"])),
        "config": {k: v for k, v in asdict(replace(config, selections=())).items() if k != "selections"},
        "rows": rows, "differences": differences(units), "rank_agreement": rank_agreement(rows), "versions": versions(),
    }  # fmt: skip
    for path, content in ((json_out, json.dumps(result, indent=1, allow_nan=False)), (csv_out, to_csv(rows))):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content.encode())
    return result


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows with the same columns as in JSON; undefined is empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(BLANK), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(dict(r) for r in rows)
    return out.getvalue()


def differences(units: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Paired differences of every two SAEs on the same texts, with the minimum reliable difference and its words."""
    out = []
    groups: dict[tuple[Any, ...], list[tuple[str, float, np.ndarray]]] = {}
    for unit in units:
        for row in unit["rows"]:
            samples = unit["samples"].get(_sample_key(row))
            if row["role"] == "sae" and row["value"] is not None and samples is not None:
                key = tuple(row[k] for k in (*_SETTING, "hook"))
                groups.setdefault(key, []).append((row["sae"], row["value"], np.asarray(samples)))
    for key, own in groups.items():
        for (a, va, sa), (b, vb, sb) in combinations(own, 2):
            d = paired_difference(va - vb, sa, sb)
            assert d.ci is not None
            out.append(
                dict(zip(_SETTING, key[:-1], strict=True))
                | {"sae_a": a, "sae_b": b, "value": d.value, "ci_low": d.ci[0], "ci_high": d.ci[1], "level": LEVEL,
                   "half_width": minimum_reliable_difference(d), "separable": separable(d),
                   "words": f"{a} - {b}: {difference_words(d)}"}
            )  # fmt: skip
    return out


def rank_agreement(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Spearman, over SAEs, of every two quantities: headline scores per task and the unsupervised figures."""
    table: dict[str, dict[str, float]] = {}
    for r in rows:
        if r["role"] != "sae" or r["status"] != "ok" or r["scope"] != "all" or r["part"] != "test" or r["protocol"] != "robust":
            continue
        headline = r["variant"] == AREA or (r["variant"], r["n"]) == ("top-N", 10)
        if r["value"] is not None and r["selection"] == "attribution" and headline:
            name = f"{r['task']} {r['metric']} " + (r["variant"] if r["n"] is None else f"top-{r['n']}")
            table.setdefault(name, {})[r["sae"]] = r["value"]
        for name in ("l0", "explained_variance", "loss_recovered", "training_tokens"):
            if r[name] is not None:
                table.setdefault(name, {})[r["sae"]] = r[name]
    out = []
    for x, y in combinations(table, 2):
        both = sorted(table[x].keys() & table[y].keys())
        if len(both) >= 3:
            rho = _spearman([table[x][s] for s in both], [table[y][s] for s in both])
            out.append({"x": x, "y": y, "spearman": rho, "n_saes": len(both)})
    return out


def _by_hook(saes: Sequence[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """({SAE that cannot be used: message}, {hook: SAEs})."""
    failed, groups = {}, {}
    for sae in saes:
        try:
            hook = inspect_sae(sae).hook
        except SaeEvalError as error:
            failed[sae] = str(error)
            continue
        if hook:
            groups.setdefault(hook, []).append(sae)
        else:
            failed[sae] = f"SAE '{sae}' does not say which hook it reads; add metadata.hook_name to its cfg.json"
    return failed, groups


def _record_missing(
    config: SweepConfig, task: str, task_set: TaskSet, hook: str, saes: Sequence[str], shipped: bool
) -> dict[str, str]:
    """One pass over the texts for the SAEs not recorded yet; returns those that cannot be, with their messages."""
    run = config.run_config(task, config.protocols[0], saes)
    key = recording_key(run, hook, task_set.texts.fingerprint)
    folders, failed, missing = recording_folders(shipped=shipped), {}, []
    for sae in saes:
        print_ = file_fingerprint(inspect_sae(sae))
        if print_ is None or not any((f / f"latents-{key.of_sae(print_)}.json").exists() for f in folders):
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
    from saeeval_core.saes import load_sae

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
    boards, tpp = None, None
    for i, sae in enumerate(saes):
        try:
            pass_ = obtain_recordings(replace(run, saes=(sae,)), task_set, [sae], shipped=shipped)
            latents = pass_.latents[0]
            identity = fingerprint([
                latents.fingerprint, task, asdict(PROTOCOLS[protocol]), config.metrics, config.ns, config.seed, config.controls,
                config.texts_per_cell, i == 0, [s.identity for s in config.selections], _VERSION,
            ])  # fmt: skip
            path = cache_dir() / "sweep" / f"{identity}.json"
            if path.exists():
                yield sae, json.loads(path.read_text())
                continue
            if boards is None:
                boards = shift_boards(run, task_set, pass_.residuals, PROTOCOLS[protocol], shipped) if "shift" in config.metrics else []
                tpp = _tpp_board(config, run, task_set, pass_.residuals, shipped)
            unit = _Scorer(config, run, task_set, pass_.residuals, boards, tpp, identity).unit(sae, latents, with_bases=i == 0)
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
    probes = tpp_probes(residuals, task, protocol, seed=run.seed, shipped=shipped)
    return tpp_board(residuals, task, probes, part=TEST, seed=run.seed, resamples=run.resamples)


@dataclass(frozen=True)
class _Scorer:
    config: SweepConfig
    run: RunConfig
    task_set: TaskSet
    residuals: ResidualRecording
    boards: list[DirectionBoards]
    tpp: TppBoard | None
    identity: str

    def unit(self, sae: str, latents: LatentRecording, *, with_bases: bool) -> dict[str, Any]:
        """{"rows", "samples": {key: float[resamples]}} of one SAE; its controls follow it."""
        unit: dict[str, Any] = {"rows": [], "samples": {}}
        self._score(unit, self._blank(sae, latents), latents)
        if self.config.controls:
            train = self.boards[0].task if self.boards else self.tpp.task
            for control in recorded_controls(self.residuals, latents, train_rows(train), self.run.seed):
                own = control.sae in ("random decoder", "permuted decoder")
                if own or with_bases:
                    row = self._blank(sae, latents) if own else self._blank("", control)
                    name = f"{control.sae} of {sae}" if own else control.sae
                    row |= {"sae": name, "role": "control", "control": control.sae, "of": sae if own else None}
                    self._score(unit, row, control)
        return unit

    def _blank(self, sae: str, latents: LatentRecording) -> dict[str, Any]:
        about, figures = latents.about or {}, latents.unsupervised
        trained = training_facts(sae)
        return dict(BLANK) | {
            "sae": sae, "architecture": about.get("architecture"), "n_latents": latents.n_latents, "l0": figures.get("l0"),
            "explained_variance": figures.get("explained_variance"), "dead": figures.get("dead"),
            "training_tokens": trained.get("training_samples"), "training_seed": trained.get("seed"),
            "loss_recovered": trained.get("loss_recovered"),
            "model": self.run.model, "hook": self.residuals.key.hook, "task": self.run.task or self.task_set.texts.name,
            "composed": self.task_set.texts.composed, "small": bool(self.task_set.small), "protocol": self.run.protocol,
            "level": LEVEL, "seed": self.run.seed, "fingerprint": self.identity,
        }  # fmt: skip

    def _score(self, unit: dict[str, Any], blank: dict[str, Any], latents: LatentRecording) -> None:
        if self.boards:
            self._shift(unit, blank | {"metric": "shift"}, latents)
        if self.tpp is not None:
            self._tpp(unit, blank | {"metric": "tpp"}, latents)
        elif "tpp" in self.config.metrics and self.task_set.tpp and PROTOCOLS[self.run.protocol].redraw_negatives:
            self._redrawn_tpp(unit, blank | {"metric": "tpp"}, latents)

    def _shift(self, unit: dict[str, Any], blank: dict[str, Any], latents: LatentRecording) -> None:
        protocol, ns = PROTOCOLS[self.run.protocol], [n for n in self.config.ns if n <= latents.n_latents]
        views = [shift_latents(self.residuals, latents, d.boards[TEST], protocol) for d in self.boards]
        curves = {"top-N": [v.curve(v.attribute_ranking, ns) for v in views]}
        curves["mean ablation"] = [[v.score_mean_ablated(v.attribute_ranking[:n]) for n in ns] for v in views]
        self._aggregate(unit, blank, curves, ns)
        if blank["role"] != "sae":
            return
        for d, curve in zip(self.boards, curves["top-N"], strict=True):
            for n, s in zip(ns, curve, strict=True):
                row = blank | {"scope": f"{d.task.name}, {d.task.direction}", "n": n, "n_ablated": s.n_ablated}
                unit["rows"].append(_cell(row, s.score))
        for selection in self.config.selections:
            chosen = {"top-N": [[v.score(selection.select(v, n)) for n in ns] for v in views]}
            self._aggregate(unit, blank | {"selection": selection.name, "judge": selection.judge}, chosen, ns)

    def _aggregate(
        self, unit: dict[str, Any], blank: dict[str, Any], curves: Mapping[str, list[list[Any]]], ns: Sequence[int]
    ) -> None:
        """Mean of the defined directions of each pair, then over pairs (DESIGN section 2), for each N and the area."""
        pairs = [d.pair for d in self.boards]
        for variant, by_direction in curves.items():
            for k, n in enumerate(ns):
                cells = [(curve[k].score, curve[k].samples) for curve in by_direction]
                ablated = float(np.mean([curve[k].n_ablated for curve in by_direction]))
                self._keep(unit, blank | {"variant": variant, "n": n, "n_ablated": ablated}, *over_pairs(pairs, cells))
            if 1 in ns and 20 in ns:
                cells = [small_n_area(curve, ns) for curve in by_direction]
                self._keep(unit, blank | {"variant": _area_name(variant)}, *over_pairs(pairs, cells))

    def _tpp(self, unit: dict[str, Any], blank: dict[str, Any], latents: LatentRecording) -> None:
        ns = [n for n in self.config.ns if n <= latents.n_latents]
        view = tpp_latents(latents, self.tpp)
        curves = {
            "top-N": [view.at(n) for n in ns],
            "mean ablation": [mean_ablated(view, [r[:n] for r in view.rankings]) for n in ns],
        }
        for variant, curve in curves.items():
            for n, s in zip(ns, curve, strict=True):
                row = blank | {"variant": variant, "n": n, "n_ablated": float(np.mean(s.n_ablated))}
                self._keep(unit, row, s.score, s.samples)
            if 1 in ns and 20 in ns:
                self._keep(unit, blank | {"variant": _area_name(variant)}, *small_n_area(curve, ns))

    def _redrawn_tpp(self, unit: dict[str, Any], blank: dict[str, Any], latents: LatentRecording) -> None:
        from saeeval_core.saebench import redrawn_tpp

        protocol, ns = PROTOCOLS[self.run.protocol], [n for n in self.config.ns if n <= latents.n_latents]
        task = self.task_set.tpp_task(seed=self.run.seed, protocol=protocol, per_cell=self.run.texts_per_cell)
        for cell in redrawn_tpp(self.residuals, latents, task, protocol, ns=ns, seed=self.run.seed)["by_n"]:
            test = cell["test"]
            unit["rows"].append(blank | {"n": cell["n"], "n_ablated": float(np.mean(cell["n_ablated"])), "value": test["score"],
                                         "reason": test["reason"]})  # fmt: skip

    def _keep(
        self, unit: dict[str, Any], row: dict[str, Any], score: Estimate, samples: np.ndarray,
        pairs: int | None = None, left_out: int | None = None,
    ) -> None:  # fmt: skip
        row = _cell(row | {"pairs": pairs, "left_out": left_out}, score)
        unit["rows"].append(row)
        if row["role"] == "sae" and score.value is not None:
            unit["samples"][_sample_key(row)] = np.round(samples, 5).tolist()


def over_pairs(pairs: Sequence[str], cells: Sequence[tuple[Estimate, np.ndarray]]) -> tuple[Estimate, np.ndarray, int, int]:
    """(estimate, samples, defined pairs, directions left out) of per-direction scores."""
    by_pair: dict[str, list[tuple[Estimate, np.ndarray]]] = {}
    for pair, cell in zip(pairs, cells, strict=True):
        by_pair.setdefault(pair, []).append(cell)
    means, left_out = [], 0
    for own in by_pair.values():
        mean, out = mean_of([e for e, _ in own], [s for _, s in own])
        left_out += out
        if mean.value is not None:
            means.append((mean.value, np.mean([s for e, s in own if e.value is not None], axis=0)))
    if not means:
        return Estimate(None, None, cells[0][0].reason if cells else "no pair"), np.empty(0), 0, left_out
    samples = np.mean([s for _, s in means], axis=0)
    return estimate(float(np.mean([v for v, _ in means])), samples), samples, len(means), left_out


def training_facts(sae: str) -> dict[str, Any]:
    """What the SAE's ``about.json`` says about its training (samples, seed); {} when it has none."""
    path = Path(inspect_sae(sae).location) / "about.json" if sae else Path()
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}


def _failed_unit(
    config: SweepConfig, task: str, task_set: TaskSet, sae: str, message: str, protocol: str | None = None
) -> dict[str, Any]:
    row = dict(BLANK) | {
        "sae": sae, "model": config.model, "task": task, "composed": task_set.texts.composed, "small": bool(task_set.small),
        "protocol": protocol or "", "status": "failed", "error": message, "seed": config.seed,
    }  # fmt: skip
    return {"rows": [row], "samples": {}}


def _cell(row: dict[str, Any], score: Estimate) -> dict[str, Any]:
    low, high = score.ci or (None, None)
    return row | {"value": score.value, "ci_low": low, "ci_high": high, "reason": score.reason}


def _area_name(variant: str) -> str:
    return AREA if variant == "top-N" else f"{variant}, {AREA}"


def _sample_key(row: Mapping[str, Any]) -> str:
    return "|".join(str(row[k]) for k in ("sae", "metric", "variant", "selection", "n", "scope"))


def _spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    from scipy.stats import spearmanr

    value = float(spearmanr(a, b).statistic)
    return value if np.isfinite(value) else None
