"""TPP with each of its disputed choices as a switch, for ``saeeval faults`` and ``saeeval validate``.

The protocols themselves are in ``tpp`` and ``saebench_tpp``. With all switches off the score is that of ``robust``
(same weights, same ranking); with redrawn negatives, zero effects and the padding leak on, that of SAEBench, but with
negatives drawn by numpy: the same distribution, another random stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from saeeval_core.config import Protocol
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording
from saeeval_core.scores import ablation, attribution
from saeeval_core.scores.auc import weighted_auc
from saeeval_core.scores.probes import Probe, train_adamw
from saeeval_core.scores.tpp import balance_weights, diagonal_means, fit_tpp_probes
from saeeval_core.texts.parts import TEST, TRAIN
from saeeval_core.texts.tasks import TppTask


@dataclass(frozen=True)
class TppSwitches:
    """One field per choice; the defaults are those of the robust protocol."""

    redrawn_negatives: bool = False
    """Draw 1:1 negatives anew for attribution and every accuracy, instead of all texts with equal class weights."""
    zero_effects: bool = False
    """Fill up to N with latents that have no effect instead of ablating fewer."""
    padding_leak: bool = False
    """Imitate SAEBench's padding leak."""
    mean_ablation: bool = False
    """Set ablated latents to their training mean instead of 0."""
    auc: bool = False
    """Area under the ROC curve in place of accuracy."""


def switched_tpp(
    residuals: ResidualRecording,
    latents: LatentRecording,
    task: TppTask,
    probes: Sequence[Probe],
    switches: TppSwitches,
    ns: Sequence[int],
    *,
    seed: int,
) -> np.ndarray:
    """float64[len(ns)]: TPP on the TEST part at each of ``ns`` under these switches; ``seed`` draws negatives."""
    m, rng = len(task.classes), np.random.default_rng(seed)
    train, held = np.flatnonzero(task.part == TRAIN), np.flatnonzero(task.part == TEST)
    label, rows = task.label[held], task.rows[held]
    logits = np.stack([p.logits(residuals.residuals[rows]) for p in probes], axis=1)
    dots = np.stack([ablation.dot(latents.decoder, p.weight) for p in probes], axis=1)
    own, own_label = latents.latents[task.rows[train]], task.label[train]
    scored = latents.latents[rows]
    train_mean = np.asarray(own.mean(axis=0)).ravel()
    n_valid = residuals.n_valid[rows]

    def accuracy(z: np.ndarray, j: int) -> float:
        if switches.redrawn_negatives:
            drawn = one_to_one(label, j, rng)
            weights = np.full(len(drawn), 1 / len(drawn))
        else:
            drawn, weights = np.arange(len(label)), balance_weights(label, j, m)
        positive = label[drawn] == j
        if switches.auc:
            return float(weighted_auc(z[drawn], positive, weights[None])[0])
        return float(((z[drawn] > 0) == positive) @ weights)

    clean = np.array([accuracy(logits[:, j], j) for j in range(m)])
    delta = np.empty((len(ns), m, m))
    for i in range(m):
        texts = one_to_one(own_label, i, rng) if switches.redrawn_negatives else np.arange(len(train))
        weights = None if switches.redrawn_negatives else balance_weights(own_label, i, m)
        difference = attribution.mean_difference(own[texts], own_label[texts] == i, weights)
        ranking = _ranking(difference, dots[:, i], latents.non_negative, switches.zero_effects)
        for k, n in enumerate(ns):
            ids = ranking[:n]
            removed = np.asarray(scored[:, ids].astype(np.float64) @ dots[ids])
            for j in range(m):
                gone = removed[:, j]
                if switches.mean_ablation:
                    gone = gone - ablation.mean_offset(ids, train_mean, dots[:, j])
                if switches.padding_leak:
                    gone = gone + ablation.padding_leak(ids, latents.zero_code, dots[:, j], n_valid)
                delta[k, i, j] = clean[j] - accuracy(logits[:, j] - gone, j)
    intended, unintended = diagonal_means(delta)
    return intended - unintended


def probes_for(residuals: ResidualRecording, task: TppTask, protocol: Protocol, *, seed: int) -> list[Probe]:
    """One-vs-rest probes: the logistic fit on all training texts, AdamW on one 1:1 draw of negatives per class."""
    if protocol.optimiser == "logistic":
        return fit_tpp_probes(residuals, task, protocol, seed=seed)
    import torch

    rng = np.random.default_rng(seed)
    train, held = np.flatnonzero(task.part == TRAIN), np.flatnonzero(task.part == TEST)
    x = residuals.residuals[task.rows]
    out = []
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        for j in range(len(task.classes)):
            own, test = (part[one_to_one(task.label[part], j, rng)] for part in (train, held))
            out.append(train_adamw(x[own], task.label[own] == j, protocol, (x[test], task.label[test] == j)))
    return out


def one_to_one(label: np.ndarray, positive: int, rng: np.random.Generator) -> np.ndarray:
    """int64[drawn]: positions of all texts of one class and of as many others, spread over the other classes.

    label int[texts].
    """
    others = [c for c in np.unique(label) if c != positive]
    mine = np.flatnonzero(label == positive)
    each = -(-len(mine) // len(others))
    pool = np.concatenate([rng.permutation(np.flatnonzero(label == c))[:each] for c in others])
    return np.concatenate([mine, rng.permutation(pool)[: len(mine)]])


def _ranking(difference: np.ndarray, dot: np.ndarray, non_negative: bool, zero_effects: bool) -> np.ndarray:
    if not zero_effects:
        return attribution.rank_positive(difference, dot, non_negative=non_negative)
    effect = attribution.effects(np.maximum(difference, 0), dot)
    return np.argsort(-effect, kind="stable")[: int((effect != 0).sum())]
