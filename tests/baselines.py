"""Signed dictionaries that look like SAEs: residual coordinates and principal components.

Their latents may be negative and their reconstruction is known exactly, so code that reads SAEs can be tested with them.
"""

import hashlib

import numpy as np
import torch
from torch import Tensor

from saeeval_core.saes.loaded import LoadedSAE
from saeeval_core.saes.registry import SaeInfo


def residual_basis(d: int, *, hook: str | None = None) -> LoadedSAE:
    """The residual stream's own d coordinates as d signed latents: f = x, D = identity."""
    return _linear("residual-basis", torch.eye(d), torch.zeros(d), hook)


def pca_basis(residuals: np.ndarray, n: int | None = None, *, hook: str | None = None) -> LoadedSAE:
    """The first n principal components of ``residuals`` [rows, d] as signed latents, largest variance first.

    f = (x - mean) V, D = V transposed, bias = mean: ablating a component sets it to its mean.
    """
    rows = torch.as_tensor(np.asarray(residuals), dtype=torch.float64)
    mean = rows.mean(dim=0)
    _, _, components = torch.linalg.svd(rows - mean, full_matrices=False)
    return _linear("pca-basis", components[:n].float(), mean.float(), hook)


def _linear(name: str, components: Tensor, mean: Tensor, hook: str | None) -> LoadedSAE:
    def encode(x: Tensor) -> Tensor:
        return (x.float() - mean) @ components.T

    n, d = components.shape
    info = SaeInfo(
        id=name,
        location="",
        architecture="LinearBasis",
        d_in=d,
        n_latents=n,
        hook=hook,
        hook_out=hook,
        d_out=d,
        model=None,
    )
    fingerprint = hashlib.sha256(name.encode() + components.numpy().tobytes() + mean.numpy().tobytes()).hexdigest()[:16]
    return LoadedSAE(info, components, fingerprint, encode, mean, non_negative=False)
