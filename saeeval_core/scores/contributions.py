"""Contributions of latents to a SHIFT score: alone, and on entering or leaving a set; and sets drawn at random."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from saeeval_core.recordings.context_windows import ContextRef
from saeeval_core.recordings.recording import ResidualRecording
from saeeval_core.scores.shift import ShiftLatents, ShiftScore
from saeeval_core.scores.uncertainty import Estimate, Sampled, difference, estimate


@dataclass(frozen=True)
class Share:
    """One latent's contribution to the score of a set (docs/method.md, "SHIFT": solo and leave-one-out)."""

    latent: int
    inside: bool
    """The latent belongs to the set."""
    solo: Estimate
    """S when this latent alone is ablated."""
    change: Estimate
    """Inside: S(set) - S(set without it), the leave-one-out change. Outside: S(set with it) - S(set)."""


def share(view: ShiftLatents, ids: Sequence[int], latent: int, *, whole: ShiftScore) -> Share:
    """Contribution of one latent to the set ``ids``, whose score is ``whole``; intervals over the same resamples."""
    inside = latent in ids
    other = view.score([i for i in ids if i != latent] if inside else [*ids, latent])
    with_it, without = (whole, other) if inside else (other, whole)
    solo = whole if list(ids) == [latent] else view.score([latent])
    return Share(latent, inside, solo.score, difference(with_it, without))


def random_sets(view: ShiftLatents, size: int, *, draws: int, rng: np.random.Generator) -> Sampled:
    """Mean S over ``draws`` sets of ``size`` latents drawn from those that fire on the scored texts.

    The interval (samples float[resamples]) covers both the resampled texts and the draws: each resample uses one draw.
    If fewer latents fire than ``size``, all of them are taken.
    """
    firing = np.flatnonzero(np.diff(view.latents.indptr))
    scores = [view.score(rng.choice(firing, min(size, len(firing)), replace=False)) for _ in range(draws)]
    if scores[0].score.value is None:
        return Sampled(scores[0].score, np.empty(0))
    samples = np.stack([s.samples for s in scores])
    pick = np.arange(samples.shape[1]) % draws
    mixed = samples[pick, np.arange(samples.shape[1])]
    return Sampled(estimate(float(np.mean([s.score.value for s in scores])), mixed), mixed)


def activation_histogram(view: ShiftLatents, latent: int, bins: int = 12) -> list[tuple[float, list[int]]]:
    """Pooled activation of one latent on the scored texts, without zeros: per bin (left edge, texts per quadrant)."""
    latents = view.latents
    a, b = latents.indptr[latent], latents.indptr[latent + 1]
    values, quadrant = latents.data[a:b].astype(float), view.board.quadrant[latents.indices[a:b]]
    if not len(values):
        return []
    edges = np.linspace(min(0.0, values.min()), values.max() or 1.0, bins + 1)
    counts = [np.histogram(values[quadrant == q], edges)[0] for q in range(4)]
    return [(float(edges[i]), [int(c[i]) for c in counts]) for i in range(bins)]


def quadrant_means(view: ShiftLatents, latent: int) -> list[tuple[float, float]]:
    """Per quadrant: (mean pooled activation, share of the scored texts on which the latent fires)."""
    latents = view.latents
    a, b = latents.indptr[latent], latents.indptr[latent + 1]
    quadrant = view.board.quadrant
    sizes = np.bincount(quadrant, minlength=4)
    own = quadrant[latents.indices[a:b]]
    total = np.bincount(own, weights=latents.data[a:b], minlength=4)
    return [(float(total[q] / sizes[q]), float((own == q).sum() / sizes[q])) for q in range(4)]


def peak_tokens(
    texts: Sequence[str], residuals: ResidualRecording, contexts: Sequence[ContextRef], k: int = 4
) -> tuple[str, ...]:
    """The ``k`` strongest tokens in a latent's recorded contexts: stripped, distinct, by summed activation."""
    total: dict[str, float] = {}
    for c in contexts:
        at = int(np.argmax(np.abs(c.activation)))
        spans = residuals.token_spans(c.text)
        if c.position + at < len(spans):
            start, end = spans[c.position + at]
            if word := texts[c.text][start:end].strip():
                total[word] = total.get(word, 0.0) + float(abs(c.activation[at]))
    return tuple(sorted(total, key=lambda w: -total[w])[:k])
