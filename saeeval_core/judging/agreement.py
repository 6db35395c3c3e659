"""Agreement of raters: exact, within 1, Cohen's kappa, Krippendorff's alpha, with intervals over latents.

Ratings are 0..4 per (item, concept). A missing rating is left out, never read as 0, unless ``missing_as_zero`` is
given, which the result then states.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from saeeval_core.config import derive_rng
from saeeval_core.errors import DataError
from saeeval_core.judging.paper_labels import paper_ratings, read_paper_labels
from saeeval_core.judging.verdict_files import load_shipped
from saeeval_core.ledger.store import Store
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.recordings.known_saes import KnownSae, identify
from saeeval_core.scores.uncertainty import Estimate, interval, undefined

LEVELS = 5
Cells = Mapping[tuple[int | str, str], int]
"""(item, concept) -> rating"""


@dataclass(frozen=True)
class Agreement:
    """Two raters on the cells both rated."""

    a: str
    b: str
    n: int
    """Cells both rated."""
    items: int
    """Latents among them; intervals resample these."""
    exact: Estimate
    within_1: Estimate
    kappa_5: Estimate
    """Cohen's kappa over five levels."""
    kappa_quadratic: Estimate
    """The same with quadratic weights."""
    kappa_ge1: Estimate
    """Of "rated >= 1"."""
    kappa_ge2: Estimate
    confusion: np.ndarray
    """int[5, 5]: rows a, columns b."""

    def to_dict(self) -> dict[str, object]:
        """JSON values: every statistic as a number or null, intervals and reasons under keys of their own."""
        stats = {name: getattr(self, name) for name in _STATISTICS}
        return (
            {"a": self.a, "b": self.b, "n": self.n, "items": self.items}
            | {name: e.value for name, e in stats.items()}
            | {"ci": {name: list(e.ci) if e.ci else None for name, e in stats.items()}}
            | {"reason": {name: e.reason for name, e in stats.items() if e.reason}}
            | {"confusion": self.confusion.tolist()}
        )


@dataclass(frozen=True)
class Conflict:
    """One cell on which two raters differ."""

    item: int | str
    concept: str
    a: int
    b: int

    @property
    def distance(self) -> int:
        """Levels apart."""
        return abs(self.a - self.b)


def agreement(a: str, b: str, ratings_a: Cells, ratings_b: Cells, *, resamples: int = 1000, seed: int = 0) -> Agreement:
    """Agreement on the cells both rated; intervals are 95 % percentiles over resampled items."""
    cells = sorted(set(ratings_a) & set(ratings_b), key=lambda c: (str(c[0]), c[1]))
    x, y = np.array([ratings_a[c] for c in cells], dtype=int), np.array([ratings_b[c] for c in cells], dtype=int)
    items, member = np.unique([str(item) for item, _ in cells], return_inverse=True)
    # One table per item, so that a resample of items is a weighted sum of tables.
    tables = np.zeros((max(len(items), 1), LEVELS, LEVELS))
    np.add.at(tables, (member, x, y), 1)
    total = tables.sum(0)
    drawn = np.zeros((0, LEVELS, LEVELS))
    if len(items):
        rng = derive_rng(seed, "agreement", a, b)
        drawn = np.tensordot(
            rng.multinomial(len(items), np.full(len(items), 1 / len(items)), resamples), tables, axes=1
        )
    stats = {name: _estimate(name, a, b, total, drawn) for name in _STATISTICS}
    return Agreement(a, b, len(cells), len(items), confusion=total.astype(int), **stats)


def agreements(ratings: Mapping[str, Cells], *, resamples: int = 1000, seed: int = 0) -> list[Agreement]:
    """Agreement of every pair of raters that share a cell."""
    pairs = [
        agreement(a, b, ratings[a], ratings[b], resamples=resamples, seed=seed) for a, b in combinations(ratings, 2)
    ]
    return [p for p in pairs if p.n]


def by_concept(
    a: str, b: str, ratings_a: Cells, ratings_b: Cells, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Agreement]:
    """Agreement per concept that both rated."""
    out = {}
    for concept in sorted({c for _, c in set(ratings_a) & set(ratings_b)}):
        x, y = ({k: v for k, v in r.items() if k[1] == concept} for r in (ratings_a, ratings_b))
        out[concept] = agreement(a, b, x, y, resamples=resamples, seed=seed)
    return out


def krippendorff(ratings: Mapping[str, Cells], *, metric: str = "ordinal") -> Estimate:
    """Krippendorff's alpha = 1 - (observed disagreement) / (disagreement expected by chance) over all raters.

    ``metric``: "nominal", "ordinal" or "interval" distance between levels. Cells rated once do not count; undefined
    without two ratings of a cell, or when all ratings are the same.
    """
    cells = {c for r in ratings.values() for c in r}
    table = np.zeros((len(cells), LEVELS))
    for row, cell in enumerate(cells):
        for r in ratings.values():
            if cell in r:
                table[row, r[cell]] += 1
    table = table[table.sum(1) >= 2]
    if not len(table):
        return undefined("no cell has two ratings")
    # Coincidences: each pair of ratings within a cell, weighted so that a cell counts once per rating.
    pairs = (table[:, :, None] * table[:, None, :] - table[:, :, None] * np.eye(LEVELS)) / (table.sum(1) - 1)[
        :, None, None
    ]
    observed = pairs.sum(0)
    marginal = observed.sum(0)
    expected = (np.outer(marginal, marginal) - np.diag(marginal)) / (marginal.sum() - 1)
    distance = _distances(marginal, metric)
    if not (expected * distance).sum():
        return undefined("all ratings are the same")
    return Estimate(float(1 - (observed * distance).sum() / (expected * distance).sum()))


def conflicts(ratings_a: Cells, ratings_b: Cells, *, threshold: int | None = None) -> list[Conflict]:
    """Cells rated differently, largest distance first; with a threshold only those on different sides of it."""
    out = [
        Conflict(item, concept, ratings_a[item, concept], ratings_b[item, concept])
        for item, concept in set(ratings_a) & set(ratings_b)
        if ratings_a[item, concept] != ratings_b[item, concept]
    ]
    if threshold is not None:
        out = [c for c in out if (c.a >= threshold) != (c.b >= threshold)]
    return sorted(out, key=lambda c: (-c.distance, str(c.item).zfill(9), c.concept))


def ratings_by_rater(verdicts: Sequence[Verdict]) -> dict[str, dict[tuple[int | str, str], int]]:
    """Cells per rater; failures, concepts without a rating, and raters who only explained are absent."""
    out: dict[str, dict[tuple[int | str, str], int]] = {}
    for v in verdicts:
        if v.ok and v.ratings:
            out.setdefault(v.rater, {}).update({(v.latent, concept): r for concept, r in v.ratings.items()})
    return out


def with_missing_as_zero(
    ratings: Mapping[str, Cells], raters: Sequence[str]
) -> dict[str, dict[tuple[int | str, str], int]]:
    """The same with 0 in cells that someone rated but one of ``raters`` did not; to compare with older figures."""
    cells = {c for r in ratings.values() for c in r}
    return {name: ({c: 0 for c in cells} if name in raters else {}) | dict(r) for name, r in ratings.items()}


@dataclass(frozen=True)
class AgreementReport:
    """Every pair of raters overall and per concept, alpha, and how missing ratings were read."""

    source: str
    """Name of a label file, or "store"."""
    raters: Mapping[str, int]
    """Rater -> cells rated."""
    pairs: Sequence[tuple[Agreement, Mapping[str, Agreement]]]
    """Overall, and per concept."""
    alpha: Mapping[str, Estimate]
    """Distance between levels -> Krippendorff's alpha."""
    resamples: int
    """Resamples of latents behind the intervals."""
    zeros: tuple[str, ...] = ()
    """Raters whose missing ratings were read as 0; those of all others are left out."""
    sae: KnownSae | None = None
    task: str | None = None
    """Texts whose verdicts are compared; None for all."""

    def to_dict(self) -> dict[str, object]:
        """JSON values, as ``saeeval agreement`` writes them."""
        about: dict[str, object] = {"source": self.source}
        if self.sae is not None:
            about |= {"sae": self.sae.id, "sae_fingerprint": self.sae.fingerprint, "task": self.task}
        pairs = [
            overall.to_dict() | {"by_concept": {concept: a.to_dict() for concept, a in each.items()}}
            for overall, each in self.pairs
        ]
        return about | {
            "missing_ratings": f"read as 0 for {', '.join(self.zeros)}" if self.zeros else "left out",
            "interval": {"level": 0.95, "unit": "latents", "resamples": self.resamples},
            "raters": dict(self.raters),
            "pairs": pairs,
            "krippendorff_alpha": {metric: e.to_dict() for metric, e in self.alpha.items()},
        }


def report(
    ratings: Mapping[str, Cells], source: str, *, missing_as_zero: Sequence[str] = (), resamples: int = 1000
) -> AgreementReport:
    """Compare all raters. DataError for fewer than two."""
    if len(ratings) < 2:
        raise DataError(
            f"agreement needs two raters, found {', '.join(ratings) or 'none'}; judge or import some ratings first"
        )
    if missing_as_zero:
        ratings = with_missing_as_zero(ratings, missing_as_zero)
    pairs = [
        (p, by_concept(p.a, p.b, ratings[p.a], ratings[p.b], resamples=resamples))
        for p in agreements(ratings, resamples=resamples)
    ]
    return AgreementReport(
        source,
        {name: len(cells) for name, cells in ratings.items()},
        pairs,
        {metric: krippendorff(ratings, metric=metric) for metric in ("ordinal", "interval")},
        resamples,
        tuple(missing_as_zero),
    )


def agreement_command(
    *,
    labels: Path | None = None,
    sae: str = "",
    task: str | None = None,
    missing_as_zero: bool = False,
    store: Store | None = None,
    resamples: int = 1000,
) -> AgreementReport:
    """Agreement in the paper's label file, or in all verdicts on one SAE, shipped ones too. DataError as ``report``."""
    if labels is not None:
        ratings = paper_ratings(read_paper_labels(labels))
        zero = ["llm"] if missing_as_zero else []
        return report(ratings, labels.name, missing_as_zero=zero, resamples=resamples)
    known, store = identify(sae), store or Store()
    load_shipped(store, known)
    by_rater = ratings_by_rater(store.verdicts(known.fingerprint, task=task))
    zero = list(by_rater) if missing_as_zero else []
    return replace(report(by_rater, "store", missing_as_zero=zero, resamples=resamples), sae=known, task=task)


def _exact(t: np.ndarray) -> np.ndarray:
    return np.trace(t, axis1=-2, axis2=-1) / t.sum((-2, -1))


def _within_1(t: np.ndarray) -> np.ndarray:
    return (t * (_GRID <= 1)).sum((-2, -1)) / t.sum((-2, -1))


def _kappa(t: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """1 - (weighted disagreement) / (expected from the margins), [...]; NaN where none is expected. t [..., k, k]"""
    n = t.sum((-2, -1))
    expected = t.sum(-1)[..., :, None] * t.sum(-2)[..., None, :] / n[..., None, None]
    chance = (expected * weights).sum((-2, -1))
    return 1 - (t * weights).sum((-2, -1)) / np.where(chance > 0, chance, np.nan)


def _binary(t: np.ndarray, threshold: int) -> np.ndarray:
    low, high = slice(None, threshold), slice(threshold, None)
    rows = np.stack([t[..., low, :].sum(-2), t[..., high, :].sum(-2)], axis=-2)
    return np.stack([rows[..., low].sum(-1), rows[..., high].sum(-1)], axis=-1)


_GRID = np.abs(np.arange(LEVELS)[:, None] - np.arange(LEVELS))
_STATISTICS = {
    "exact": _exact,
    "within_1": _within_1,
    "kappa_5": lambda t: _kappa(t, (_GRID > 0).astype(float)),
    "kappa_quadratic": lambda t: _kappa(t, _GRID.astype(float) ** 2),
    "kappa_ge1": lambda t: _kappa(_binary(t, 1), 1 - np.eye(2)),
    "kappa_ge2": lambda t: _kappa(_binary(t, 2), 1 - np.eye(2)),
}
_THRESHOLDS = {"kappa_ge1": 1, "kappa_ge2": 2}


def _estimate(name: str, a: str, b: str, total: np.ndarray, drawn: np.ndarray) -> Estimate:
    if not total.sum():
        return undefined("no cell rated by both")
    statistic = _STATISTICS[name]
    value = float(statistic(total[None])[0])
    if np.isnan(value):
        return undefined("both raters always gave the same answer")
    table = _binary(total, _THRESHOLDS[name]) if name in _THRESHOLDS else total
    for rater, answers in ((a, table.sum(1)), (b, table.sum(0))):
        # With one answer of one rater all agreement is what chance gives: kappa would be 0 whatever the other says.
        if name.startswith("kappa") and np.count_nonzero(answers) == 1:
            return undefined(f"{rater} always gave the same answer")
    samples = statistic(drawn)
    kept = samples[~np.isnan(samples)]
    return Estimate(value, interval(kept) if len(kept) else None)


def _distances(marginal: np.ndarray, metric: str) -> np.ndarray:
    """Squared distance between levels."""
    if metric == "nominal":
        return (_GRID > 0).astype(float)
    if metric == "interval":
        return _GRID.astype(float) ** 2
    assert metric == "ordinal", metric
    middle = np.cumsum(marginal) - marginal / 2
    return (middle[:, None] - middle) ** 2
