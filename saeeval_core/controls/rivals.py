"""Other dictionaries on the same recording: random and permuted decoders, principal components, residual coordinates.

Pooling is linear, so each can be written as a latent recording and scored by the ordinary code.
"""

from dataclasses import replace

import numpy as np
from scipy.sparse import csc_array

from saeeval_core.config import derive_rng
from saeeval_core.controls.about import ABOUT
from saeeval_core.recordings.context_windows import Contexts
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording

BASES = ("pca", "residual basis")
"""Bases of the pooled residuals; they use no SAE."""


def decoder_controls(latents: LatentRecording, seed: int) -> list[LatentRecording]:
    """The same codes with random and with permuted decoder rows."""
    rng = derive_rng(seed, "control decoders", latents.sae_fingerprint)
    return [
        replace(latents, sae=name, decoder=rows, about={"control": ABOUT[name]})
        for name, rows in shuffled_decoders(latents.decoder, rng).items()
    ]


def shuffled_decoders(decoder: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Name -> float32[latents, d_model]: ``decoder``, of the same shape, with its rows changed.

    "random decoder": rows in random directions, each with its own length; "permuted decoder": rows shuffled.
    """
    noise = rng.standard_normal(decoder.shape)
    noise *= np.linalg.norm(decoder, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    return {"random decoder": noise.astype(np.float32), "permuted decoder": decoder[rng.permutation(len(decoder))]}


def basis_recording(residuals: ResidualRecording, train: np.ndarray, kind: str) -> LatentRecording:
    """Pooled residuals in another basis, as signed latents: ``kind`` "pca" or "residual basis".

    train int[training texts]: rows on which "pca" is fitted and centred, so that code 0 is their mean.
    """
    x = residuals.residuals.astype(np.float64)
    if kind == "pca":
        mean = x[train].mean(0)
        _, _, rows = np.linalg.svd(x[train] - mean, full_matrices=False)
    else:
        mean, rows = np.zeros(x.shape[1]), np.eye(x.shape[1])
    codes = (x - mean) @ rows.T
    n = len(rows)
    return LatentRecording(
        kind,
        kind,
        residuals.fingerprint,
        csc_array(codes.astype(np.float32)),
        np.zeros(n, np.float32),
        np.ones(n, np.float32),
        rows.astype(np.float32),
        Contexts.empty(n),
        {"l0": float(n), "explained_variance": 1.0, "dead": 0.0, "tokens": None},
        non_negative=False,
        about={"control": ABOUT[kind]},
    )
