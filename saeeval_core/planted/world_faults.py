"""The fault table on planted worlds: what each setting does to agreement with the truth and to spread over texts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from saeeval_core.planted import validate
from saeeval_core.planted.faults import SETTINGS, DrawSettings, OnProgress, Setting, SettingScores
from saeeval_core.planted.settings import WorldConfig
from saeeval_core.planted.validate import all_saes, world_tasks
from saeeval_core.planted.world import build_world
from saeeval_core.scores.ranks import spearman
from saeeval_core.scores.uncertainty import mean_known
from saeeval_core.storage.kept import KeptJson, Shelves

GROUPS = {f"planted, {name}": worlds for name, worlds in validate.GROUPS.items()}
REDRAWS = 3
"""Draws of texts, in development worlds, whose spread is reported."""
_DRAWS = KeptJson(Shelves("planted", shipped=False), "faults", version=2)
"""Scores of one world and draw. The version is raised when those computed earlier must not be used any more."""


def planted_fault_table(
    groups: Mapping[str, Sequence[WorldConfig]] = GROUPS,
    settings: Sequence[Setting] = SETTINGS,
    *,
    steps: int = 1200,
    redraws: int = REDRAWS,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Figures of every setting averaged over the worlds of each group. Finished worlds are stored in the cache folder.

    ``sd_texts_redrawn`` of the first group is the spread of one SAE's score over ``redraws`` draws of texts from the
    same generator (probes retrained), averaged over the fully trained SAEs and worlds.
    """
    jobs = [
        (name, w, range(redraws if name == next(iter(groups)) else 1))
        for name, worlds in groups.items()
        for w in worlds
    ]
    points: dict[str, list[list[dict[str, Any]]]] = {name: [] for name in groups}
    for i, (name, config, draws) in enumerate(jobs):
        if on_progress:
            on_progress(config.name, i, len(jobs))
        points[name].append([p for draw in draws for p in world_scores(config, settings, steps, draw)])
    if on_progress:
        on_progress("done", len(jobs), len(jobs))
    rows = [
        {"setting": s.name, "metric": metric, "where": name, "worlds": len(own)} | _figures(own, f"{s.name}|{metric}")
        for name, own in points.items()
        for s in settings
        for metric in s.metrics
    ]
    return {"kind": "faults", "schema": 1, "task": "planted", "composed": False, "rows": rows}


def world_scores(config: WorldConfig, settings: Sequence[Setting], steps: int, draw: int) -> list[dict[str, Any]]:
    """Per SAE of one world and draw of texts: its role, truth and scores ("setting|metric" -> score).

    Draws after the first score fully trained SAEs only.
    """
    key = [asdict(config), [asdict(s) for s in settings], steps, draw]
    return _DRAWS.get(key, lambda: _world_scores(config, settings, steps, draw))


def _world_scores(config: WorldConfig, settings: Sequence[Setting], steps: int, draw: int) -> list[dict[str, Any]]:
    world = build_world(config, text_seed=draw)
    by_kind = {
        kind: SettingScores.prepare(world.residuals, world_tasks(world), kind, DrawSettings(0, 0), kept=None)
        for kind in dict.fromkeys(s.probes for s in settings)
    }
    found = []
    saes = list(all_saes(world, steps))
    longest = max(int(s.about.get("training_tokens") or 0) for s in saes)
    for sae in saes:
        last = sae.role == "trained" and sae.about["training_tokens"] == longest
        if draw and not last:
            continue
        recording, truth = sae.record(world)
        scores: dict[str, float | None] = {}
        for kind, own_scores in by_kind.items():
            own = own_scores.scores(recording, [s for s in settings if s.probes == kind], 0)
            scores |= {"|".join(key): value for key, value in own.items()}
        found.append(
            {"sae": sae.name, "role": sae.role, "last": last, "draw": draw, "truth": truth["truth"], "scores": scores}
        )
    return found


def _figures(worlds: Sequence[Sequence[Mapping[str, Any]]], key: str) -> dict[str, float | None]:
    per_world: list[dict[str, float | None]] = []
    for points in worlds:
        by_role: dict[str, list[float]] = {}
        trained, redrawn = [], {}
        for p in points:
            value = p["scores"][key]
            if value is None:
                continue
            if p["last"]:
                redrawn.setdefault(p["sae"], []).append(value)
            if p["draw"] == 0:
                by_role.setdefault(p["role"], []).append(value)
                if p["role"] == "trained":
                    trained.append((value, p["truth"]))
        oracle = by_role.get("oracle", [None])[0]
        spreads = [float(np.std(v, ddof=1)) for v in redrawn.values() if len(v) > 1]
        per_world.append(
            {
                "spearman": spearman([v for v, _ in trained], [t for _, t in trained]),
                "oracle_score": oracle,
                "oracle_rank": None if oracle is None else 1 + sum(v > oracle for v in by_role.get("trained", [])),
                "random_score": mean_known(by_role.get("random", [])),
                "permuted_score": mean_known(by_role.get("permuted", [])),
                "sd_texts_redrawn": mean_known(spreads),
            }
        )
    return {name: mean_known([w[name] for w in per_world]) for name in per_world[0]}
