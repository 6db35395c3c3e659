"""Intervals that also vary the probes' training texts: every resample of them refits the probes with C as chosen.

On request, because every refit fits all probes again. Attribution is computed on the resampled texts too: the ranking
of latents is part of what varies. See docs/method.md, "Intervals".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from saeeval_core.config import Protocol, derive_rng
from saeeval_core.errors import ConfigError
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording
from saeeval_core.scores.probes import Probe, refit_logistic
from saeeval_core.scores.shift import ShiftBoard, ShiftLatents, shift_board, shift_latents
from saeeval_core.scores.shift_probes import ShiftProbes, fit_three
from saeeval_core.scores.tpp import TppBoard, TppLatents, balance_weights, tpp_board, tpp_latents
from saeeval_core.scores.uncertainty import Estimate, Scored, interval, over_pairs, redraw_within
from saeeval_core.texts.parts import TRAIN
from saeeval_core.texts.tasks import DrawnPair, TppTask

REFITS = 20
_RESAMPLES = 50
"""Resamples of test texts within each refit."""

_MOST_UNDEFINED = 0.25
"""With more refits than this undefined, there is no interval."""
_NO_REFIT = "undefined in too many refits"

ShiftScores = Callable[[ShiftLatents], Sequence[Scored]]
"""Computes the scores of one direction, such as ``lambda view: view.curve(view.attribute_ranking, ns)``."""
TppScores = Callable[[TppLatents], Sequence[Scored]]


@dataclass(frozen=True)
class RefitScore:
    """One score of one SAE under resampled training and test texts."""

    score: Estimate
    """The score on the real texts, with the interval at level "train and test texts"."""
    samples: np.ndarray
    """float[refits * resamples]; NaN where a refit's score is undefined."""
    undefined_share: float
    """Share of the refits in which the score, or one it is the mean of, is undefined; they are left out."""


def shift_refits(
    residuals: ResidualRecording,
    saes: Sequence[LatentRecording],
    directions: Sequence[tuple[str, ShiftBoard]],
    protocol: Protocol,
    scores: ShiftScores,
    *,
    seed: int = 0,
    refits: int = REFITS,
) -> list[list[RefitScore]]:
    """[SAE][score]: mean over the directions of each pair, then over pairs; all SAEs and scores share the draws.

    ``directions``: (pair, board). A direction undefined on the real texts is left out. ConfigError for probes without C
    or fewer than 20 refits.
    """
    check(all(board.probes.base.c is not None for _, board in directions), refits)
    by_pair: dict[str, list[ShiftBoard]] = {}
    for pair, board in directions:
        by_pair.setdefault(pair, []).append(board)
    # [SAE][score][pair] -> rows of float[refits * resamples], one per defined direction
    drawn: list[list[list[np.ndarray]]] = [[] for _ in saes]
    real: list[list[list[tuple[str, Scored]]]] = [[] for _ in saes]
    for pair, boards in by_pair.items():
        again = [
            _refitted(residuals, boards, protocol, derive_rng(seed, "refits", pair, r), seed * 1000 + r)
            for r in range(refits)
        ]
        for k, latents in enumerate(saes):
            true = [scores(shift_latents(residuals, latents, board, protocol)) for board in boards]
            seen = [
                [scores(shift_latents(residuals, latents, own[d], protocol)) for own in again]
                for d in range(len(boards))
            ]
            for s in range(len(true[0])):
                if len(real[k]) <= s:
                    real[k].append([])
                    drawn[k].append([])
                real[k][s] += [(pair, own[s]) for own in true]
                defined = [d for d in range(len(boards)) if true[d][s].score.value is not None]
                if defined:
                    drawn[k][s].append(np.mean([_joined([found[s] for found in seen[d]]) for d in defined], axis=0))
    out = []
    for own_real, own_drawn in zip(real, drawn, strict=True):
        means = [np.mean(rows, axis=0) if rows else np.empty(0) for rows in own_drawn]
        out.append([_refit_score(over_pairs(own).score, mean) for own, mean in zip(own_real, means, strict=True)])
    return out


def tpp_refits(
    residuals: ResidualRecording,
    saes: Sequence[LatentRecording],
    board: TppBoard,
    scores: TppScores,
    *,
    seed: int = 0,
    refits: int = REFITS,
) -> list[list[RefitScore]]:
    """The same for TPP: [SAE][score]. ConfigError for probes without C or fewer than 20 refits."""
    check(all(p.c is not None for p in board.probes), refits)
    again = []
    for r in range(refits):
        task = _redrawn(board.task, derive_rng(seed, "refits", board.task.name, r))
        train = task.part == TRAIN
        x, label, m = residuals.residuals[task.rows[train]], task.label[train], len(task.classes)
        probes = [
            _fit_like(p, x, label == j, balance_weights(label, j, m) * len(label)) for j, p in enumerate(board.probes)
        ]
        again.append(tpp_board(residuals, task, probes, part=board.part, seed=seed * 1000 + r, resamples=_RESAMPLES))
    out = []
    for latents in saes:
        true = scores(tpp_latents(latents, board))
        seen = [scores(tpp_latents(latents, own)) for own in again]
        out.append([_refit_score(s.score, _joined([found[i] for found in seen])) for i, s in enumerate(true)])
    return out


def check(keeps_c: bool, refits: int) -> None:
    """ConfigError for probes without C (``keeps_c`` False) or fewer than REFITS refits."""
    if not keeps_c:
        raise ConfigError(
            "resampling the training texts keeps C, which only the robust protocol has; choose --protocol robust"
        )
    if refits < REFITS:
        raise ConfigError(f"{refits} refits give no interval; use at least {REFITS}")


def _refitted(
    residuals: ResidualRecording, boards: Sequence[ShiftBoard], protocol: Protocol, rng: np.random.Generator, seed: int
) -> list[ShiftBoard]:
    """One refit of a pair's probes, with a board for each of its directions.

    Whether the gap differs from 0 was decided on the real texts and is not decided again for each refit.
    """
    first, protocol = boards[0], replace(protocol, strict_gap=False)
    probes = _refit(residuals, first, rng)
    return [
        shift_board(
            residuals,
            board.task,
            probes if board.task.target == first.task.target else probes.swapped(),
            protocol,
            part=board.part,
            seed=seed,
            resamples=_RESAMPLES,
        )
        for board in boards
    ]


def _refit(residuals: ResidualRecording, board: ShiftBoard, rng: np.random.Generator) -> ShiftProbes:
    task, training = board.task, board.probes.training
    quadrant = task.quadrant
    balanced = training.balanced[redraw_within(quadrant[training.balanced], rng)]
    biased = training.biased[redraw_within(quadrant[training.biased], rng)]
    pair = DrawnPair(task, replace(training, balanced=balanced, biased=biased))
    like = {"base": board.probes.base, "oracle": board.probes.oracle, "attribute": board.probes.attribute}

    def fit(texts: np.ndarray, labels: np.ndarray, name: str) -> Probe:
        return _fit_like(like[name], residuals.residuals[task.rows[texts]], labels)

    return fit_three(pair, fit)


def _fit_like(probe: Probe, x: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> Probe:
    assert probe.c is not None
    return refit_logistic(x, labels, probe.c, weights)


def _redrawn(task: TppTask, rng: np.random.Generator) -> TppTask:
    """The task with its training texts resampled within each class; the other parts stay."""
    train = np.flatnonzero(task.part == TRAIN)
    rows = np.concatenate([train[redraw_within(task.label[train], rng)], np.flatnonzero(task.part != TRAIN)])
    return replace(task, rows=task.rows[rows], label=task.label[rows], part=task.part[rows])


def _joined(scored: Sequence[Scored]) -> np.ndarray:
    """float[refits * resamples] of one score; a refit that leaves it undefined is NaN."""
    return np.concatenate([s.samples if len(s.samples) else np.full(_RESAMPLES, np.nan) for s in scored])


def _refit_score(score: Estimate, samples: np.ndarray) -> RefitScore:
    share = float(np.isnan(samples).mean()) if len(samples) else 1.0
    if score.value is None or share > _MOST_UNDEFINED:
        reason = score.reason if score.value is None else _NO_REFIT
        return RefitScore(Estimate(score.value, None, reason), samples, share)
    return RefitScore(Estimate(score.value, interval(samples[np.isfinite(samples)])), samples, share)
