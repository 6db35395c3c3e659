"""Other dictionaries on the same recording: shuffled decoders, principal and independent components, coordinates, and
the directions that the labels give.

Pooling is linear, so each can be written as a latent recording and scored by the ordinary code.
"""

import warnings
from dataclasses import replace

import numpy as np
from scipy.sparse import csc_array

from saeeval_core.config import derive_rng
from saeeval_core.controls.about import ABOUT, ICA, ICA_GENERAL, PCA_GENERAL
from saeeval_core.recordings.context_windows import Contexts
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording

BASES = ("pca", "residual basis")
"""Bases of the pooled residuals; they use no SAE."""
COMPONENTS = (32, 64, 128)
"""Numbers of independent components to choose from, on dev."""
ICA_STEPS, ICA_TOLERANCE = 400, 1e-3
"""Of FastICA: most iterations, and the change at which it ends."""


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


def basis_recording(
    residuals: ResidualRecording, train: np.ndarray, kind: str, general: ResidualRecording | None = None
) -> LatentRecording:
    """Pooled residuals in another basis, as signed latents: ``kind`` "pca" or "residual basis".

    train int[training texts]: rows on which "pca" is fitted and centred, so that code 0 is their mean. With ``general``
    it is fitted on those residuals instead, and named so.
    """
    x = residuals.residuals.astype(np.float64)
    if kind == "pca":
        fit = x[train] if general is None else general.residuals.astype(np.float64)
        mean = fit.mean(0)
        _, _, rows = np.linalg.svd(fit - mean, full_matrices=False)
    else:
        mean, rows = np.zeros(x.shape[1]), np.eye(x.shape[1])
    return dictionary(residuals, PCA_GENERAL if general is not None else kind, (x - mean) @ rows.T, rows)


def ica_recording(
    residuals: ResidualRecording, train: np.ndarray, n: int, *, seed: int, general: ResidualRecording | None = None
) -> LatentRecording:
    """The first ``n`` principal components of the pooled residuals, turned until they are independent (FastICA).

    train int[training texts]: rows it is fitted on, unless ``general`` is given. Fewer components where there are
    fewer texts or dimensions. A fit that did not converge says so in ``about``.
    """
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    x = residuals.residuals.astype(np.float64)
    fit = x[train] if general is None else general.residuals.astype(np.float64)
    n = min(n, fit.shape[1], len(fit) - 1)
    state = int(derive_rng(seed, "ica").integers(2**31))
    ica = FastICA(n, whiten="unit-variance", random_state=state, max_iter=ICA_STEPS, tol=ICA_TOLERANCE)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ConvergenceWarning)
        ica.fit(fit)
    open_ended = any(issubclass(w.category, ConvergenceWarning) for w in said)
    note = f"not converged after {ICA_STEPS} steps" if open_ended else ""
    return dictionary(residuals, ICA if general is None else ICA_GENERAL, ica.transform(x), ica.mixing_.T, note)


def direction_recording(
    residuals: ResidualRecording, name: str, directions: np.ndarray, center: np.ndarray
) -> LatentRecording:
    """One signed latent per direction, float[directions, d_model]: the projection on it, 0 at ``center`` float[d_model].

    To ablate one is to project its direction out, around the center.
    """
    rows = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return dictionary(residuals, name, (residuals.residuals.astype(np.float64) - center) @ rows.T, rows)


def dictionary(
    residuals: ResidualRecording, name: str, codes: np.ndarray, rows: np.ndarray, note: str = ""
) -> LatentRecording:
    """Codes float[texts, latents] and rows float[latents, d_model] as signed latents of a control of ABOUT.

    ``note``: what its fit has to say, added to how it is made.
    """
    n = len(rows)
    return LatentRecording(
        name,
        name,
        residuals.fingerprint,
        csc_array(codes.astype(np.float32)),
        np.zeros(n, np.float32),
        np.ones(n, np.float32),
        rows.astype(np.float32),
        Contexts.empty(n),
        {"l0": float(n), "explained_variance": 1.0 if n >= rows.shape[1] else None, "dead": 0.0, "tokens": None},
        non_negative=False,
        about={"control": ABOUT[name], "fit": note},
    )
