"""Bag-of-words baselines on composed texts, and writing the texts together with these figures."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np

from saeeval_core.config import derive_rng
from saeeval_core.texts.composed import ComposedText
from saeeval_core.texts.stock import Stock

CLEAR_GAP = 0.1
"""A pair has a clear gap when the interval of its base-to-oracle gap lies above this."""


@dataclass(frozen=True)
class LabelReport:
    """Accuracies of a bag-of-words classifier on one label."""

    label: str
    chance: float
    same_patterns: float
    """Accuracy on held-out train texts (a fifth): new records, known patterns."""
    new_patterns: float
    """Accuracy on test texts: patterns and names not seen in training."""


@dataclass(frozen=True)
class PairReport:
    """Bag-of-words accuracies on balanced test texts of one pair, in one direction."""

    pair: tuple[str, str]
    target: str
    spurious: str
    base: float
    """Probe trained on texts where the two labels agree."""
    oracle: float
    """Probe trained on as many balanced texts."""
    gap: float
    gap_ci: tuple[float, float]
    """95 % percentile interval over test texts, resampled within quadrants."""


@dataclass(frozen=True)
class TextReport:
    """Bag-of-words figures of a rendered data set."""

    labels: tuple[LabelReport, ...]
    pairs: tuple[PairReport, ...]


def text_report(stock: Stock, texts: Sequence[ComposedText], seed: int, resamples: int = 1000) -> TextReport:
    """Accuracies per label, and base and oracle accuracy per pair and direction, of TF-IDF and logistic regression."""
    words = np.array([t.text for t in texts], dtype=object)
    split = np.array([t.split for t in texts])
    y = {label: np.array([t.labels[i] for t in texts]) for i, label in enumerate(stock.labels)}
    rng = derive_rng(seed, "text report", stock.name)
    train, test = np.flatnonzero(split == "train"), np.flatnonzero(split == "test")
    held = rng.random(len(train)) < 0.2
    labels = tuple(
        LabelReport(
            label=label,
            chance=1 / len(values),
            same_patterns=float(np.mean(_bag_correct(words, y[label], train[~held], train[held]))),
            new_patterns=float(np.mean(_bag_correct(words, y[label], train, test))),
        )
        for label, values in stock.labels.items()
    )
    pairs = tuple(r for pair in stock.pairs for r in _pair_reports(stock, pair, words, split, y, rng, resamples))
    return TextReport(labels, pairs)


def _pair_reports(
    stock: Stock,
    pair: tuple[str, str],
    words: np.ndarray,
    split: np.ndarray,
    y: Mapping[str, np.ndarray],
    rng: np.random.Generator,
    resamples: int,
) -> list[PairReport]:
    """Quadrant sizes as in SHIFT: n per quadrant for the oracle, 2n from each agreeing quadrant for the base."""
    first, second = stock.labels
    quadrants = list(product(pair, stock.labels[second]))
    rows = {
        (part, q): rng.permutation(np.flatnonzero((split == part) & (y[first] == q[0]) & (y[second] == q[1])))
        for part in ("train", "test")
        for q in quadrants
    }
    agreeing = [quadrants[0], quadrants[3]]
    n = min(len(rows["train", q]) for q in agreeing) // 2
    n = min(n, *(len(rows["train", q]) for q in quadrants))
    biased = np.concatenate([rows["train", q][: 2 * n] for q in agreeing])
    balanced = np.concatenate([rows["train", q][:n] for q in quadrants])
    m = min(len(rows["test", q]) for q in quadrants)
    test = np.concatenate([rows["test", q][:m] for q in quadrants])
    draws = np.concatenate([rng.integers(m, size=(resamples, m)) + k * m for k in range(4)], axis=1)
    reports = []
    for target, spurious in ((first, second), (second, first)):
        base = _bag_correct(words, y[target], biased, test)
        oracle = _bag_correct(words, y[target], balanced, test)
        gaps = (oracle.astype(float) - base)[draws].mean(axis=1)
        low, high = np.percentile(gaps, [2.5, 97.5])
        reports.append(
            PairReport(
                pair,
                target,
                spurious,
                base=float(base.mean()),
                oracle=float(oracle.mean()),
                gap=float(oracle.mean() - base.mean()),
                gap_ci=(float(low), float(high)),
            )
        )
    return reports


def _bag_correct(words: np.ndarray, y: np.ndarray, fit_rows: np.ndarray, test_rows: np.ndarray) -> np.ndarray:
    """bool[test]: which test texts a TF-IDF + logistic regression, fitted on other texts, labels rightly."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=10.0, max_iter=500))
    model.fit(words[fit_rows], y[fit_rows])
    return model.predict(words[test_rows]) == y[test_rows]


def write_parquet(stock: Stock, texts: Sequence[ComposedText], path: Path, seed: int, report: TextReport) -> None:
    """Write `path` (columns text, the two labels, split, record; zstd) and beside it a JSON on how it was made.

    The JSON holds the report's figures and names the target, the spurious label and the pairs, clear gaps first.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[str]] = {"text": [t.text for t in texts]}
    for i, label in enumerate(stock.labels):
        columns[label] = [t.labels[i] for t in texts]
    columns |= {"split": [t.split for t in texts], "record": [t.record for t in texts]}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    pq.write_table(pa.table(columns), partial, compression="zstd", compression_level=19)
    partial.replace(path)
    lengths = [len(t.text.split()) for t in texts]
    target, spurious = stock.labels
    positive, negative = stock.labels[spurious]
    made = {
        "name": stock.name,
        "composed": True,
        "source": "composed: rendered from hand-written sentence patterns",
        "target": target,
        "spurious": {"column": spurious, "positive": positive, "negative": negative},
        "pairs": [list(pair) for pair in _clear_first(stock, report)],
        "how": "rendered from hand-written sentence patterns by saeeval_core.texts.composed; no person or product is real",
        "licence": "as this repository",
        "stock": f"{stock.name}_stock.json",
        "stock_sha256": stock.sha256,
        "seed": seed,
        "texts": len(texts),
        "labels": {label: list(values) for label, values in stock.labels.items()},
        "split": dict(Counter(t.split for t in texts)),
        "patterns": {
            pool: len({p for t in texts if (t.split == "train") == (pool == "train") for p in t.patterns})
            for pool in ("train", "eval")
        },
        "words": {"min": min(lengths), "mean": round(float(np.mean(lengths)), 1), "max": max(lengths)},
        "bag_of_words": {"labels": [asdict(r) for r in report.labels], "pairs": [asdict(r) for r in report.pairs]},
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(made, indent=1) + "\n")


def _clear_first(stock: Stock, report: TextReport) -> list[tuple[str, str]]:
    """The stock's pairs, those with a clear gap in either direction before the others."""
    clear = {r.pair for r in report.pairs if r.gap_ci[0] > CLEAR_GAP}
    return sorted(stock.pairs, key=lambda pair: pair not in clear)
