"""TPP as SAEBench 0.6.0 computes it: its selection of latents, and negatives redrawn for every number.

SAEBench consumes torch's global generator in a fixed order; the same is done here inside a fork, so equal seeds give
equal numbers. What differs from our own TPP: docs/method.md, "Differences from the paper and SAEBench".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from saeeval_core.config import Protocol
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording
from saeeval_core.scores import ablation
from saeeval_core.scores.probes import Probe, train_adamw
from saeeval_core.scores.tpp import TppScore, diagonal_means
from saeeval_core.scores.uncertainty import Estimate, undefined
from saeeval_core.texts.parts import TEST, TRAIN
from saeeval_core.texts.tasks import MIN_CLASSES, MIRRORED, TppTask

if TYPE_CHECKING:
    import torch

POSITIVE, NEGATIVE = 1, 0


def draw_one_vs_rest(sizes: Sequence[int], positive: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(class int64[drawn], position in its class int64[drawn], label bool[drawn]): one class against the others, 1:1.

    ``sizes``: texts per class; the label is True for the class ``positive``. Shuffled. Draws ceil(n_pos / other
    classes) from each other class, then n_pos of those, then shuffles: three kinds of ``torch.randperm`` in this order,
    from the global generator.
    """
    import torch

    n = sizes[positive]
    others = [c for c in range(len(sizes)) if c != positive]
    each = math.ceil(n / len(others))
    pool_class, pool_place = [], []
    for c in others:
        drawn = torch.randperm(sizes[c])[:each]
        pool_class.append(np.full(len(drawn), c))
        pool_place.append(drawn.numpy())
    chosen = torch.randperm(sum(map(len, pool_class)))[:n].numpy()
    classes = np.concatenate([np.full(n, positive), np.concatenate(pool_class)[chosen]])
    places = np.concatenate([np.arange(n), np.concatenate(pool_place)[chosen]])
    order = torch.randperm(len(classes)).numpy()
    return classes[order], places[order], (classes == positive)[order]


def top_n(effects: "torch.Tensor", n: int) -> np.ndarray:
    """int64[ablated]: ids SAEBench ablates, the top k of effects float32[latents] with k = min(n, non-zero effects).

    Negative effects count as non-zero, so latents without any effect can be among the top k.
    """
    import torch

    k = min(n, int((effects != 0).sum()))
    return torch.topk(effects, k)[1].numpy() if k else np.empty(0, dtype=int)


def class_effects(latents: Any, positive: np.ndarray, probe: Probe, decoder: np.ndarray) -> "torch.Tensor":
    """float32[latents]: max(mean on positives - mean on negatives, 0) * (D . w), in float32 as SAEBench computes it.

    latents float32[texts, latents], sparse; positive bool[texts]; decoder float32[latents, d_model].
    """
    import torch

    mean = [np.asarray(latents[rows].mean(axis=0), dtype=np.float32).ravel() for rows in (positive, ~positive)]
    difference = torch.from_numpy(mean[0] - mean[1]).clamp(min=0)
    return difference * torch.from_numpy(ablation.dot(decoder, probe.weight).astype(np.float32))


REDRAWN = "negatives are redrawn for every number; no interval under this protocol"
"""Why scores of ``redrawn_tpp`` carry no interval."""


@dataclass(frozen=True)
class RedrawnTpp:
    """TPP with negatives redrawn for every number, on the test part; no intervals (REDRAWN)."""

    probes: list[Probe]
    clean: list[Estimate]
    """A_j."""
    scores: list[TppScore]
    """One per N."""


def redrawn_tpp(
    residuals: ResidualRecording,
    latents: LatentRecording,
    task: TppTask,
    protocol: Protocol,
    *,
    ns: Sequence[int],
    seed: int,
) -> RedrawnTpp:
    """TPP as SAEBench computes it: its selection, negatives redrawn 1:1 at every step, in SAEBench's order of draws.

    Trains its own probes. Residuals must have no NaN rows (``obtain.check_tokens``).
    """
    import torch

    m = len(task.classes)
    rows = {part: [task.rows[(task.part == part) & (task.label == c)] for c in range(m)] for part in (TRAIN, TEST)}
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        probes = [_train(residuals, rows, c, protocol) for c in range(m)]
        clean = [_accuracy(residuals, rows[TEST], probes[c], c, None) for c in range(m)]
        effects = []
        for c in range(m):
            drawn, positive = _draw(rows[TRAIN], c)
            effects.append(class_effects(latents.latents[drawn], positive, probes[c], latents.decoder))
        accuracy = np.empty((m, len(ns), m))
        counts = np.empty((m, len(ns)), dtype=int)
        for i in range(m):
            for k, n in enumerate(ns):
                ids = top_n(effects[i], n)
                counts[i, k] = len(ids)
                for j in range(m):
                    removed = _removed(residuals, latents, ids, probes[j], protocol)
                    accuracy[i, k, j] = _accuracy(residuals, rows[TEST], probes[j], j, removed)
    scores = [_score(np.array(clean) - accuracy[:, k], counts[:, k]) for k in range(len(ns))]
    return RedrawnTpp(probes, [Estimate(c) for c in clean], scores)


def _score(delta: np.ndarray, n_ablated: np.ndarray) -> TppScore:
    hit, miss = (float(v) for v in diagonal_means(delta))
    return TppScore(
        tuple(n_ablated.tolist()),
        [[Estimate(v, None, REDRAWN) for v in row] for row in delta.tolist()],
        Estimate(hit - miss, None, REDRAWN) if len(delta) >= MIN_CLASSES else undefined(MIRRORED),
        Estimate(hit),
        Estimate(miss),
        np.empty(0),
    )


def _draw(rows: Sequence[np.ndarray], positive: int) -> tuple[np.ndarray, np.ndarray]:
    classes, places, labels = draw_one_vs_rest([len(r) for r in rows], positive)
    return np.array([rows[c][p] for c, p in zip(classes, places, strict=True)]), labels


def _train(residuals: ResidualRecording, rows: dict[int, list[np.ndarray]], c: int, protocol: Protocol) -> Probe:
    train, labels = _draw(rows[TRAIN], c)
    test, test_labels = _draw(rows[TEST], c)
    x = residuals.residuals
    return train_adamw(x[train], labels, protocol, (x[test], test_labels))


def _removed(
    residuals: ResidualRecording, latents: LatentRecording, ids: np.ndarray, probe: Probe, protocol: Protocol
) -> np.ndarray:
    dot = ablation.dot(latents.decoder, probe.weight)
    removed = ablation.removed(latents.latents, ids, dot)
    if protocol.imitate_padding_leak:
        removed = removed + ablation.padding_leak(ids, latents.zero_code, dot, residuals.n_valid)
    return removed


def _accuracy(
    residuals: ResidualRecording, rows: Sequence[np.ndarray], probe: Probe, c: int, removed: np.ndarray | None
) -> float:
    drawn, labels = _draw(rows, c)
    logits = probe.logits(residuals.residuals[drawn])
    return float(((logits - (0 if removed is None else removed[drawn]) > 0) == labels).mean())
