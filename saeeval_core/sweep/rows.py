"""The rows of one SAE in a sweep: every N, variant and selection, with its controls after it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from saeeval_core.config import PROTOCOLS, RunConfig, derive_rng
from saeeval_core.controls.controls import (
    BASES,
    DRAWS,
    basis_recording,
    decoder_controls,
    leace_score,
    log_strength,
    matched_latents,
)
from saeeval_core.evaluation.prepare import DirectionBoards, Selector
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording
from saeeval_core.saes.registry import local_folder
from saeeval_core.scores.area import AREA, GRID, MEAN, Area, M, small_n_area, unless_empty
from saeeval_core.scores.selections import Selected
from saeeval_core.scores.shift import ShiftScore, shift_latents, train_rows
from saeeval_core.scores.tpp import TppBoard, tpp_latents
from saeeval_core.scores.uncertainty import LEVEL, Estimate, OverPairs, Scored, over_pairs, undefined
from saeeval_core.sweep.columns import BLANK
from saeeval_core.texts.sources import TaskSet
from saeeval_core.texts.tasks import TEST, TRAIN


@dataclass(frozen=True)
class Selection:
    """A way of choosing latents besides attribution, with who judged."""

    name: str
    """One of selections.SELECTIONS."""
    judge: str
    """Name and kind, such as "LocalJudge (local)"."""
    selector: Callable[[TaskSet, LatentRecording], Selector]
    """The chooser for one SAE, from its verdicts."""
    identity: Callable[[LatentRecording], str]
    """Changes whenever the same SAE could be given another selection (the verdicts' fingerprint)."""


@dataclass(frozen=True)
class Scorer:
    """Everything that is shared by the SAEs of one task and protocol."""

    metrics: tuple[str, ...]
    ns: tuple[int, ...]
    controls: bool
    by_direction: bool
    """Also one row per direction of every pair."""
    selections: tuple[Selection, ...]
    deletions: Sequence[ShiftScore]
    """Per direction, the score of the attribute-token deletion control; empty when it was not asked for."""
    loss_recovered: Mapping[str, float | None]
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
        for control in decoder_controls(latents, self.run.seed) if self.controls else ():
            row, of = self._blank(sae, latents), display_name(sae)
            row |= {"sae": f"{control.sae} of {of}", "role": "control", "control": control.sae, "of": of}
            self._score(unit, row, control)
        if with_bases:
            self._task_controls(unit)
        return unit

    def _task_controls(self, unit: dict[str, Any]) -> None:
        """Controls that no SAE has a part in."""
        for kind in BASES if self.controls else ():
            name = {"sae": kind, "role": "control", "control": kind}
            if self.boards:
                # A basis is that of a pair's own training texts.
                by_pair = {d.pair: basis_recording(self.residuals, train_rows(d.task), kind) for d in self.boards}
                own = [by_pair[d.pair] for d in self.boards]
                self._shift(unit, self._blank("", own[0]) | name | {"metric": "shift"}, own)
            if self.tpp is not None:
                task = self.tpp.task
                basis = basis_recording(self.residuals, task.rows[task.part == TRAIN], kind)
                self._tpp(unit, self._blank("", basis) | name | {"metric": "tpp"}, basis)
        references = {"word deletion": list(self.deletions)}
        if self.controls and self.boards:
            references["leace"] = [leace_score(self.residuals, d.boards[TEST]) for d in self.boards]
        pairs = [d.pair for d in self.boards]
        for name, scores in references.items():
            if scores:
                # They ablate no latents, so one number stands beside every N and variant.
                blank = (
                    dict(BLANK)
                    | self._task_columns()
                    | {"sae": name, "role": "control", "control": name, "metric": "shift"}
                )
                total = over_pairs(list(zip(pairs, scores, strict=True)))
                for variant in ("top-N", MEAN):
                    for n in self.ns:
                        self._keep_mean(unit, blank | {"variant": variant, "n": n}, total)
                    self._keep_mean(unit, blank | {"variant": _area_name(variant)}, total)

    def _blank(self, sae: str, latents: LatentRecording) -> dict[str, Any]:
        """What an SAE's own ``about.json`` says (held-out tokens of its training corpus) goes before the recording's figures."""
        about, figures = latents.about or {}, latents.unsupervised
        trained = training_facts(sae)
        explained = trained.get("explained_variance_typical", trained.get("explained_variance"))
        return (
            dict(BLANK)
            | self._task_columns()
            | {
                "sae": display_name(sae),
                "architecture": about.get("architecture"),
                "n_latents": latents.n_latents,
                "l0": trained.get("l0", figures.get("l0")),
                "dead": trained.get("dead", figures.get("dead")),
                "explained_variance": figures.get("explained_variance") if explained is None else explained,
                "training_tokens": trained.get("training_samples"),
                "training_seed": trained.get("seed"),
                "loss_recovered": self.loss_recovered.get(sae, trained.get("loss_recovered")),
            }
        )

    def _task_columns(self) -> dict[str, Any]:
        return {
            "model": display_name(self.run.model),
            "hook": self.residuals.key.hook,
            "task": self.run.task or self.task_set.texts.name,
            "composed": self.task_set.texts.composed,
            "small": bool(self.task_set.small),
            "protocol": self.run.protocol,
            "level": LEVEL,
            "seed": self.run.seed,
            "fingerprint": self.identity,
        }

    def _score(self, unit: dict[str, Any], blank: dict[str, Any], latents: LatentRecording) -> None:
        if self.boards:
            self._shift(unit, blank | {"metric": "shift"}, [latents] * len(self.boards))
        if self.tpp is not None:
            self._tpp(unit, blank | {"metric": "tpp"}, latents)
        elif "tpp" in self.metrics and self.task_set.tpp and PROTOCOLS[self.run.protocol].redraw_negatives:
            self._redrawn_tpp(unit, blank | {"metric": "tpp"}, latents)

    def _shift(self, unit: dict[str, Any], blank: dict[str, Any], recordings: Sequence[LatentRecording]) -> None:
        """``recordings``: what each direction is scored with; all the same one but for a basis."""
        latents, protocol = recordings[0], PROTOCOLS[self.run.protocol]
        ns = [n for n in self.ns if n <= latents.n_latents]
        if not ns:
            return
        views = [
            shift_latents(self.residuals, r, d.boards[TEST], protocol)
            for r, d in zip(recordings, self.boards, strict=True)
        ]
        rankings = [v.attribute_ranking for v in views]

        def along(orders: Sequence[np.ndarray]) -> dict[str, list[list[Any]]]:
            both = list(zip(views, orders, strict=True))
            return {
                "top-N": [list(map(unless_empty, v.curve(order, ns))) for v, order in both],
                MEAN: [[unless_empty(v.score_mean_ablated(order[:n])) for n in ns] for v, order in both],
            }

        curves = along(rankings)
        self._aggregate(unit, blank, curves, ns)
        if blank["role"] != "sae":
            return
        if self.controls:
            # Directions are scored apart, so a latent of one may stand in for one of another.
            self._random(
                unit,
                blank,
                latents,
                lambda strength, rng: [matched_latents(strength, [order[: max(ns)]], rng)[0] for order in rankings],
                lambda scratch, row, drawn: self._aggregate(scratch, row, along(drawn), ns),
            )
        for d, curve in zip(
            self.boards if self.by_direction else (), curves["top-N"] if self.by_direction else (), strict=True
        ):
            for n, s in zip(ns, curve, strict=True):
                row = blank | {"scope": f"{d.task.name}, {d.task.direction}", "n": n, "n_ablated": s.n_ablated}
                unit["rows"].append(_cell(row, s.score))
        for selection in self.selections:
            chooser = selection.selector(self.task_set, latents)
            chosen = [(v, chooser.shift(v, ns)) for v in views]
            by_variant = {
                "top-N": [[_if_any(v.score(c.ids), c) for c in own] for v, own in chosen],
                MEAN: [[_if_any(v.score_mean_ablated(c.ids), c) for c in own] for v, own in chosen],
            }
            self._aggregate(unit, blank | {"selection": selection.name, "judge": selection.judge}, by_variant, ns)

    def _aggregate(
        self, unit: dict[str, Any], blank: dict[str, Any], curves: Mapping[str, list[list[Any]]], ns: Sequence[int]
    ) -> None:
        """Mean of the defined directions of each pair, then over pairs (DESIGN section 2), for each N and the area."""
        pairs = [d.pair for d in self.boards]
        for variant, by_direction in curves.items():
            for k, n in enumerate(ns):
                ablated = float(np.mean([curve[k].n_ablated for curve in by_direction]))
                total = over_pairs([(pair, curve[k]) for pair, curve in zip(pairs, by_direction, strict=True)])
                self._keep_mean(unit, blank | {"variant": variant, "n": n, "n_ablated": ablated}, total)
            if 1 in ns and M in ns:
                total = over_pairs([(pair, _area(curve, ns)) for pair, curve in zip(pairs, by_direction, strict=True)])
                self._keep_mean(unit, blank | {"variant": _area_name(variant)}, total)

    def _tpp(self, unit: dict[str, Any], blank: dict[str, Any], latents: LatentRecording) -> None:
        ns = [n for n in self.ns if n <= latents.n_latents]
        if not ns:
            return
        view = tpp_latents(latents, self.tpp)

        def along(orders: Sequence[np.ndarray]) -> dict[str, list[Any]]:
            sets = [[order[:n] for order in orders] for n in ns]
            return {
                "top-N": [unless_empty(view.score(s)) for s in sets],
                MEAN: [unless_empty(view.score_mean_ablated(s)) for s in sets],
            }

        self._tpp_rows(unit, blank, along(view.rankings), ns)
        if self.controls and blank["role"] == "sae":
            tops = [order[: max(ns)] for order in view.rankings]
            self._random(
                unit,
                blank,
                latents,
                lambda strength, rng: matched_latents(strength, tops, rng),
                lambda scratch, row, drawn: self._tpp_rows(scratch, row, along(drawn), ns),
            )
        for selection in self.selections if blank["role"] == "sae" else ():
            if selection.name == "task-unrelated":
                continue  # defined for SHIFT alone
            chosen = selection.selector(self.task_set, latents).tpp(view, ns)
            sets = [[own[k] for own in chosen] for k in range(len(ns))]
            by_variant = {
                "top-N": [_if_any(view.score([c.ids for c in own]), *own) for own in sets],
                MEAN: [_if_any(view.score_mean_ablated([c.ids for c in own]), *own) for own in sets],
            }
            self._tpp_rows(unit, blank | {"selection": selection.name, "judge": selection.judge}, by_variant, ns)

    def _tpp_rows(
        self, unit: dict[str, Any], blank: dict[str, Any], curves: Mapping[str, Sequence[Any]], ns: Sequence[int]
    ) -> None:
        for variant, curve in curves.items():
            for n, s in zip(ns, curve, strict=True):
                row = blank | {"variant": variant, "n": n, "n_ablated": float(np.mean(s.n_ablated))}
                self._keep(unit, row, s)
            if 1 in ns and M in ns:
                self._keep(unit, blank | {"variant": _area_name(variant)}, _area(curve, ns))

    def _random(
        self,
        unit: dict[str, Any],
        blank: dict[str, Any],
        latents: LatentRecording,
        draw: Callable[[np.ndarray, np.random.Generator], list[np.ndarray]],
        score: Callable[[dict[str, Any], dict[str, Any], list[np.ndarray]], None],
    ) -> None:
        """As many other latents of the same strength in place of the ranked ones: mean over draws; the interval is their range."""
        name = "random latents"
        row = blank | {"sae": f"{name} of {blank['sae']}", "role": "control", "control": name, "of": blank["sae"]}
        rng = derive_rng(self.run.seed, name, latents.sae_fingerprint, blank["metric"])
        strength, draws = log_strength(latents), []
        for _ in range(DRAWS):
            scratch: dict[str, Any] = {"rows": [], "samples": {}}
            score(scratch, row, draw(strength, rng))
            draws.append(scratch["rows"])
        for same in zip(*draws, strict=True):
            values = [r["value"] for r in same if r["value"] is not None]
            known = {"value": float(np.mean(values)), "ci_low": min(values), "ci_high": max(values)} if values else {}
            unit["rows"].append(same[0] | known | {"level": f"range of {DRAWS} draws"})

    def _redrawn_tpp(self, unit: dict[str, Any], blank: dict[str, Any], latents: LatentRecording) -> None:
        from saeeval_core.scores.saebench_tpp import redrawn_tpp

        protocol, ns = PROTOCOLS[self.run.protocol], [n for n in self.ns if n <= latents.n_latents]
        if not ns:
            return
        task = self.task_set.tpp_task(seed=self.run.seed, protocol=protocol, per_cell=self.run.texts_per_cell)
        for cell in redrawn_tpp(self.residuals, latents, task, protocol, ns=ns, seed=self.run.seed)["by_n"]:
            test = cell["test"]
            unit["rows"].append(
                blank
                | {
                    "n": cell["n"],
                    "n_ablated": float(np.mean(cell["n_ablated"])),
                    "value": test["score"],
                    "reason": test["reason"],
                }
            )

    def _keep_mean(self, unit: dict[str, Any], row: dict[str, Any], total: OverPairs) -> None:
        self._keep(unit, row | {"pairs": total.pairs, "left_out": total.left_out}, total)

    def _keep(self, unit: dict[str, Any], row: dict[str, Any], scored: Scored) -> None:
        row = _cell(row, scored.score)
        unit["rows"].append(row)
        if row["role"] == "sae" and scored.score.value is not None:
            unit["samples"][sample_key(row)] = np.round(scored.samples, 5).tolist()


def display_name(sae: str) -> str:
    """The name an SAE has in results: where a folder lies on this machine is left out."""
    return Path(sae).name if Path(sae).is_dir() else sae


def training_facts(sae: str) -> dict[str, Any]:
    """What the SAE's ``about.json`` says about its training (samples, seed); {} when it has none."""
    folder = local_folder(sae) if sae else None
    if folder is None:
        return {}
    try:
        return json.loads((folder / "about.json").read_text())
    except (OSError, json.JSONDecodeError):
        return {}


def _if_any(score: Any, *chosen: Selected) -> Any:
    """A selection that ended empty is a state, not a score of 0."""
    if any(c.ids for c in chosen):
        return score
    return replace(score, score=undefined(chosen[0].state), samples=np.empty(0))


def _cell(row: dict[str, Any], score: Estimate) -> dict[str, Any]:
    low, high = score.ci or (None, None)
    return row | {"value": score.value, "ci_low": low, "ci_high": high, "reason": score.reason}


def _area(curve: Sequence[Scored], ns: Sequence[int]) -> Area:
    """On the default grid where all of it is there, so that areas of different sweeps are the same number."""
    kept = [k for k, n in enumerate(ns) if n in GRID or not set(GRID) <= set(ns)]
    return small_n_area([curve[k] for k in kept], [ns[k] for k in kept])


def _area_name(variant: str) -> str:
    return AREA if variant == "top-N" else f"{variant}, {AREA}"


def sample_key(row: Mapping[str, Any]) -> str:
    """Name under which a row's resamples are kept, for paired differences."""
    return "|".join(str(row[k]) for k in ("sae", "metric", "variant", "selection", "n", "scope"))
