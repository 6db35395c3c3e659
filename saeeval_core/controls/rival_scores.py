"""Rivals that are scored on request, because they take seconds to a minute: independent components, bases of general
text, and the directions that the labels give (docs/method.md, "Controls").
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from saeeval_core.controls.about import MEANS, PROBE
from saeeval_core.controls.every_n import ControlScores, recorded, scored_metrics
from saeeval_core.controls.rivals import COMPONENTS, basis_recording, direction_recording, ica_recording
from saeeval_core.evaluation.boards import Direction, Evaluation
from saeeval_core.evaluation.select import TopByAttribution
from saeeval_core.evaluation.variants import Variants, shift_of_recordings, tpp_of_selector, tpp_variants
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording
from saeeval_core.scores.selections import by_attribution
from saeeval_core.scores.tpp import balance_weights
from saeeval_core.texts.parts import DEV, TEST, TRAIN

Fits = list[list[LatentRecording]]
"""[number of components to choose from][direction, or one for TPP]"""


def rival_scores(
    evaluation: Evaluation, ns: Sequence[int], general: ResidualRecording | None = None
) -> Iterator[ControlScores]:
    """Every rival that ``task_controls`` leaves out, at every N and of the areas, on test.

    PCA of general text and both ICAs (fitted on the task's training texts and on ``general``), then for the labels'
    own directions the difference in means and the ranking probe. Without ``general`` those fitted on it are left out.
    """
    residuals, seed = evaluation.residuals, evaluation.seed
    if general is not None:
        whole = [basis_recording(residuals, np.arange(0), "pca", general)]
        yield from _chosen(evaluation, ns, lambda _: whole)
    yield from _chosen(evaluation, ns, lambda rows: _icas(residuals, rows, seed))
    if general is not None:
        icas = _icas(residuals, np.arange(0), seed, general)
        yield from _chosen(evaluation, ns, lambda _: icas)
    yield from _directions(evaluation, MEANS, ns)
    yield from _directions(evaluation, PROBE, ns)


def _chosen(
    evaluation: Evaluation, ns: Sequence[int], fit: Callable[[np.ndarray], list[LatentRecording]]
) -> Iterator[ControlScores]:
    """Of the dictionaries that ``fit`` makes of training rows, the one that scores best on dev, per metric."""
    made: dict[bytes, list[LatentRecording]] = {}

    def of(rows: np.ndarray) -> list[LatentRecording]:
        return made.setdefault(rows.tobytes(), fit(rows))

    for metric in scored_metrics(evaluation):
        tasks = [d.task for d in evaluation.directions] if metric == "shift" else [evaluation.tpp_task]
        fits = list(map(list, zip(*(of(task.train_rows) for task in tasks), strict=True)))
        best = _best_on_dev(evaluation, metric, fits, ns)
        for found in recorded(evaluation, best[0].sae, best, ns, metrics=(metric,)):
            yield replace(found, fit=_fit_words(best, len(fits) > 1))


def _icas(
    residuals: ResidualRecording, rows: np.ndarray, seed: int, general: ResidualRecording | None = None
) -> list[LatentRecording]:
    """One per number of components; few texts or dimensions give the same dictionary for several."""
    made = (ica_recording(residuals, rows, n, seed=seed, general=general) for n in COMPONENTS)
    return list({r.n_latents: r for r in made}.values())


def _best_on_dev(evaluation: Evaluation, metric: str, fits: Fits, ns: Sequence[int]) -> list[LatentRecording]:
    if len(fits) == 1 or DEV not in evaluation.parts:
        return fits[0]

    def on_dev(recordings: list[LatentRecording]) -> float:
        own = [n for n in ns if n <= min(r.n_latents for r in recordings)]
        variants: Variants[Any]
        if metric == "shift":
            variants = shift_of_recordings(evaluation, recordings, own, DEV)
        else:
            variants = tpp_of_selector(evaluation, recordings[0], own, TopByAttribution(), DEV)
        scored = variants.mean.area or variants.mean.scores[-1]
        return -np.inf if scored.score.value is None else scored.score.value

    return max(fits, key=on_dev)


def _fit_words(recordings: Sequence[LatentRecording], chosen: bool) -> str:
    """How many components, how they were chosen, and how many fits did not converge."""
    notes = [n for r in recordings if (n := (r.about or {}).get("fit"))]
    sizes = sorted({r.n_latents for r in recordings})
    words = [f"{', '.join(map(str, sizes))} components{', chosen on dev' if chosen else ''}"]
    if notes:
        words.append(f"{len(notes)} of {len(recordings)} fits {notes[0]}")
    return "; ".join(words)


def _directions(evaluation: Evaluation, name: str, ns: Sequence[int]) -> Iterator[ControlScores]:
    """MEANS or PROBE: one latent, the same set at every N."""
    if evaluation.directions:
        own = [_of_direction(evaluation, d, name) for d in evaluation.directions]
        yield ControlScores(name, "shift", shift_of_recordings(evaluation, own, ns), own[0], False, "", tuple(own))
    if evaluation.tpp_is_live:
        latents = _of_classes(evaluation, name)
        view = evaluation.tpp_view(latents, TEST)
        scored = tpp_variants(view, [by_attribution([j], ns) for j in range(len(view.board.task.classes))])
        yield ControlScores(name, "tpp", scored, latents, of_sae=False, by_class=True)


def _of_direction(evaluation: Evaluation, direction: Direction, name: str) -> LatentRecording:
    """The direction of the spurious label, from the balanced training texts."""
    task, probes = direction.task, direction.boards[TEST].probes
    balanced = probes.training.balanced
    x = evaluation.residuals.residuals[task.rows[balanced]].astype(np.float64)
    label = task.spurious_label[balanced]
    means = np.stack([x[label].mean(0), x[~label].mean(0)])
    line = means[0] - means[1] if name == MEANS else probes.attribute.weight
    return direction_recording(evaluation.residuals, name, line[None], means.mean(0))


def _of_classes(evaluation: Evaluation, name: str) -> LatentRecording:
    """One direction per class, every other class with the same weight."""
    task, residuals = evaluation.tpp_task, evaluation.residuals
    train = np.flatnonzero(task.part == TRAIN)
    x, label = residuals.residuals[task.rows[train]].astype(np.float64), task.label[train]
    if name == PROBE:
        lines = np.stack([p.weight for p in evaluation.tpp_probes])
    else:
        classes = range(len(task.classes))
        lines = np.stack(
            [2 * (np.where(label == j, 1, -1) * balance_weights(label, j, len(classes))) @ x for j in classes]
        )
    return direction_recording(residuals, name, lines, x.mean(0))
