"""Summaries of a sweep's rows: paired differences and agreement of rankings; and the rows as CSV."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np

from saeeval_core.config import ERASURE_N, HEADLINE_N
from saeeval_core.scores.area import AREA, RECOMMENDED, TOP_N
from saeeval_core.scores.erasure import ERASURE
from saeeval_core.scores.ranks import spearman
from saeeval_core.scores.uncertainty import (
    LEVEL,
    Estimate,
    Sampled,
    difference,
    difference_words,
    minimum_reliable_difference,
    separable,
)
from saeeval_core.storage.row_csv import csv_text
from saeeval_core.sweep.columns import BLANK, ScoreRow
from saeeval_core.sweep.rows import Unit, sample_key

_SETTING = ("metric", "variant", "protocol", "task", "selection", "n", "part")
MANY_SAES = 12
"""With more SAEs than this, differences are those of the headline settings, between fully trained SAEs."""
HEADLINES = ((ERASURE, ERASURE_N), (RECOMMENDED, None), (TOP_N, HEADLINE_N))
"""(variant, N) that ranks and, in large sweeps, differences are about: the recommended ones and the paper's."""


def to_csv(rows: Sequence[ScoreRow]) -> str:
    """The rows with the same columns as in JSON; undefined is empty."""
    return csv_text([asdict(r) for r in rows], list(BLANK))


def differences(units: Sequence[Unit]) -> list[dict[str, Any]]:
    """Paired differences of every two SAEs on the same texts, with half the interval's width (see MANY_SAES)."""
    out = []
    rows = [row for unit in units for row in unit.rows if row.role == "sae" and row.status == "ok"]
    many = len({r.sae for r in rows}) > MANY_SAES
    wanted = _longest_trained(rows)
    groups: dict[tuple[Any, ...], list[tuple[str, Sampled]]] = {}
    for unit in units:
        for row in unit.rows:
            samples = unit.samples.get(sample_key(row))
            if many and ((row.variant, row.n) not in HEADLINES or row.sae not in wanted):
                continue
            if row.role == "sae" and row.value is not None and samples is not None:
                key = tuple(getattr(row, k) for k in (*_SETTING, "hook"))
                groups.setdefault(key, []).append((row.sae, Sampled(Estimate(row.value), np.asarray(samples))))
    for key, own in groups.items():
        for (a, scored), (b, other) in combinations(own, 2):
            d = difference(scored, other)
            assert d.ci is not None
            out.append(
                dict(zip(_SETTING, key[:-1], strict=True))
                | {
                    "sae_a": a,
                    "sae_b": b,
                    "value": d.value,
                    "ci_low": d.ci[0],
                    "ci_high": d.ci[1],
                    "level": LEVEL,
                    "half_width": minimum_reliable_difference(d),
                    "separable": separable(d),
                    "words": f"{a} - {b}: {difference_words(d)}",
                }
            )
    return out


def rank_agreement(rows: Sequence[ScoreRow]) -> list[dict[str, Any]]:
    """Spearman over SAEs of every two quantities: headline scores per task, and the unsupervised figures."""
    table: dict[str, dict[str, float]] = {}
    for r in rows:
        if r.role != "sae" or r.status != "ok" or r.scope != "all" or r.part != "test" or r.protocol != "robust":
            continue
        headline = (r.variant, r.n) in ((AREA, None), *HEADLINES)
        if r.value is not None and r.selection == "attribution" and headline:
            name = f"{r.task} {r.metric} " + (f"top-{r.n}" if r.variant == TOP_N else r.variant)
            table.setdefault(name, {})[r.sae] = r.value
        for name in ("l0", "explained_variance", "loss_recovered", "training_tokens"):
            if getattr(r, name) is not None:
                table.setdefault(name, {})[r.sae] = getattr(r, name)
    out = []
    for x, y in combinations(table, 2):
        both = sorted(table[x].keys() & table[y].keys())
        if len(both) >= 3:
            rho = spearman([table[x][s] for s in both], [table[y][s] for s in both])
            out.append({"x": x, "y": y, "spearman": rho, "n_saes": len(both)})
    return out


def _longest_trained(rows: Sequence[ScoreRow]) -> set[str]:
    """SAEs trained at least as long as every other one of their architecture."""
    longest: dict[Any, int] = {}
    for r in rows:
        if r.training_tokens is not None:
            longest[r.architecture] = max(longest.get(r.architecture, 0), r.training_tokens)
    return {r.sae for r in rows if r.training_tokens is None or r.training_tokens == longest[r.architecture]}
