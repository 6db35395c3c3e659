"""Timings of our side alone: the recorder against the bare forward passes, and one decision to its new score."""

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeeval_core.bench.sides import Start
from saeeval_core.config import ONEDNN, get_protocol

if TYPE_CHECKING:
    from saeeval_core.scores.shift import ShiftLatents


@dataclass(frozen=True)
class Extra:
    """Figures of our side alone."""

    recorder_efficiency: float
    """Median time of the bare model and encoder, through the same kernel, over that of the recorder."""
    recorder_pairs_s: list[list[float]]
    """[bare, recorder] in seconds, per repeat."""
    rescore_ms: float
    """Milliseconds from one toggled latent to the new score, at 20,000 texts x 16,384 latents."""


def extra(start: Start) -> Extra:
    """Time the recorder against the forward passes of model and encoder alone, and one decision."""
    import torch

    from saeeval_core.models.batches import padded_batches
    from saeeval_core.models.kernels import PackedMatrix
    from saeeval_core.recordings.recorder import record

    texts = [t for own in start.quadrants["train"] for t in own]
    hook = start.sae.info.hook
    weight = torch.randn(start.sae.info.n_latents, start.sae.info.d_in)
    encode = PackedMatrix(weight).product if start.model.kernel == ONEDNN else lambda x: x @ weight.T

    def bare() -> float:
        begun = time.perf_counter()
        with torch.inference_mode():
            for _, ids, mask in padded_batches(start.model.tokenize(sorted(set(texts))).ids):
                x = start.model.activations(ids, mask, [hook])[hook]
                encode(x[mask.bool()])
        return time.perf_counter() - begun

    def ours() -> float:
        begun = time.perf_counter()
        record(start.model, hook, texts, "bench", [start.sae])
        return time.perf_counter() - begun

    pairs = [[bare(), ours()] for _ in range(start.config.repeats)]
    return Extra(statistics.median(b / o for b, o in pairs), pairs, rescore_ms())


def rescore_ms(n_texts: int = 20_000, n_latents: int = 16_384, density: float = 0.01) -> float:
    """Median milliseconds from one toggled latent to the new score with its interval, on random arrays of that size."""
    view = _random_latents(n_texts, n_latents, density)
    chosen = view.attribute_ranking[:20].tolist()
    view.score(chosen)
    times = []
    for latent in view.attribute_ranking[20:120].tolist():
        begun = time.perf_counter()
        view.score([*chosen, latent])
        times.append(time.perf_counter() - begun)
    return 1000 * statistics.median(times)


def _random_latents(n_texts: int, n_latents: int, density: float, d: int = 64) -> "ShiftLatents":
    """Random latents, active on a share ``density`` of random texts with two labels, ready to be scored."""
    from scipy.sparse import csc_array

    from saeeval_core.recordings.context_windows import Contexts
    from saeeval_core.recordings.recording import LatentRecording, RecordingKey, ResidualRecording
    from saeeval_core.scores.probes import Probe
    from saeeval_core.scores.shift import shift_board, shift_latents
    from saeeval_core.scores.shift_probes import ShiftProbes
    from saeeval_core.texts.parts import TEST
    from saeeval_core.texts.tasks import Contrast, ShiftTask, ShiftTraining

    rng = np.random.default_rng(0)
    target, spurious = rng.random(n_texts) < 0.5, rng.random(n_texts) < 0.5
    axes = rng.normal(size=(2, d))
    x = (rng.normal(size=(n_texts, d)) + np.outer(target - 0.5, axes[0]) + np.outer(spurious - 0.5, axes[1])).astype(
        np.float32
    )
    part = np.full(n_texts, TEST, dtype=np.uint8)
    task = ShiftTask(Contrast("t", "1", "0"), Contrast("a", "1", "0"), np.arange(n_texts), target, spurious, part)
    per_column = int(n_texts * density)
    indices = np.concatenate([np.sort(rng.choice(n_texts, per_column, replace=False)) for _ in range(n_latents)])
    data = rng.random(len(indices), dtype=np.float32)
    indptr = np.arange(0, len(indices) + 1, per_column)
    key = RecordingKey("m", "s", "float32", "h", "t")
    residuals = ResidualRecording(key, 0, x, np.full(n_texts, 50), np.zeros(0, np.uint16))
    none = np.zeros(n_latents, np.float32)
    latents = LatentRecording(
        "s",
        "f",
        residuals.fingerprint,
        csc_array((data, indices, indptr), shape=(n_texts, n_latents)),
        none,
        none,
        rng.normal(size=(n_latents, d)).astype(np.float32),
        Contexts.empty(n_latents),
        {},
    )
    rows = np.arange(400)
    weights = axes[0] + axes[1], axes[0], axes[1]
    probes = ShiftProbes(ShiftTraining(100, rows, rows), *(Probe(w, 0.0, 400) for w in weights))
    protocol = get_protocol("robust")
    board = shift_board(residuals, task, probes, protocol, part=TEST, seed=0)
    return shift_latents(residuals, latents, board, protocol)
