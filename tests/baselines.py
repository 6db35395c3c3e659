"""Baselines that look like SAEs, so every score can be computed for them by the same code.

A useful SAE must beat a change of basis (residual coordinates, principal components) and must lose its scores when
its decoder no longer says where its latents act (random or permuted rows).
"""

import hashlib
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from saeeval_core.errors import UnsupportedSAE
from saeeval_core.saes.loaded import LoadedSAE
from saeeval_core.saes.registry import SaeInfo


def residual_basis(d: int, *, hook: str | None = None, model: str | None = None, device: str = "cpu") -> LoadedSAE:
    """The residual stream's own d coordinates as d signed latents: f = x, D = identity.

    Signed rather than 2d rectified ones: ablating latent j then means setting coordinate j to 0, and half as many
    latents compete. Reconstruction is exact; latents are dense and may be negative.
    """
    return _linear("residual-basis", torch.eye(d, device=device), torch.zeros(d, device=device), hook, model)


def pca_basis(
    residuals: np.ndarray,
    n: int | None = None,
    *,
    hook: str | None = None,
    model: str | None = None,
    device: str = "cpu",
) -> LoadedSAE:
    """Principal components of ``residuals`` [rows, d] (training rows only) as signed latents, largest variance first.

    f = (x - mean) V, D = rows of V transposed, bias = mean: ablating a component sets it to its training mean.
    ``n`` keeps the first n (default: all that the rows can tell). Each component's largest entry is positive.
    """
    rows = torch.as_tensor(np.asarray(residuals), dtype=torch.float64)
    most = min(rows.shape[0] - 1, rows.shape[1]) if rows.ndim == 2 else 0
    n = most if n is None else n
    if not 1 <= n <= most:
        raise UnsupportedSAE(f"PCA baseline: {n} components asked of residuals {tuple(rows.shape)}; use 1 to {most}")
    mean = rows.mean(dim=0)
    _, _, components = torch.linalg.svd(rows - mean, full_matrices=False)
    components = components[:n]
    largest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
    signed = components * largest.sign()
    return _linear("pca-basis", signed.float().to(device), mean.float().to(device), hook, model)


def random_decoder(sae: LoadedSAE, seed: int) -> LoadedSAE:
    """The same codes, but each decoder row points in a random direction, with the row's own norm."""
    rng = np.random.default_rng(seed)
    rows = torch.from_numpy(rng.standard_normal(tuple(sae.decoder.shape)))
    rows = rows / rows.norm(dim=1, keepdim=True) * sae.decoder.double().norm(dim=1, keepdim=True).cpu()
    return _with_decoder(sae, rows, f"random-decoder-{seed}")


def permuted_decoder(sae: LoadedSAE, seed: int) -> LoadedSAE:
    """The same codes, but every latent writes another latent's decoder row (one random cycle: none keeps its own)."""
    order = np.random.default_rng(seed).permutation(sae.info.n_latents)
    source = np.empty_like(order)
    source[order] = np.roll(order, 1)
    return _with_decoder(sae, sae.decoder[torch.from_numpy(source).to(sae.decoder.device)], f"permuted-decoder-{seed}")


def _linear(name: str, components: Tensor, mean: Tensor, hook: str | None, model: str | None) -> LoadedSAE:
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
        model=model,
    )
    return LoadedSAE(info, components, _hash(name, components, mean), encode, mean, non_negative=False)


def _with_decoder(sae: LoadedSAE, rows: Tensor, name: str) -> LoadedSAE:
    decoder = rows.to(sae.decoder)
    info = replace(sae.info, id=f"{sae.info.id}+{name}", neuronpedia_id=None)
    # Without its own decode: the new rows are ours, so there is nothing of SAELens's to check them against.
    return replace(sae, info=info, decoder=decoder, fingerprint=_hash(sae.fingerprint, decoder), module=None)


def _hash(name: str, *tensors: Tensor) -> str:
    digest = hashlib.sha256(name.encode())
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
