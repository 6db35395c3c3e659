"""What a batch of codes says of each text and latent: means, and where each latent is strongest.

Of sparse codes only the entries that are not 0 are visited; codes that are not sparse would cost more in that way, and
many times their own memory.
"""

from dataclasses import dataclass

import torch

from saeeval_core.recordings.segments import Segments

SPARSE = 1 / 16
"""Largest share of entries that are not 0 in codes that are visited entry by entry."""
_LAST = 2**31 - 1


@dataclass(frozen=True, eq=False)
class PooledCodes:
    """Codes of several texts, pooled."""

    active: torch.Tensor
    """int64[latents]: tokens on which each latent is active."""
    means: torch.Tensor
    """float64[texts, latents]: mean of s*f over each text's tokens."""
    peak: torch.Tensor
    """float32[texts, latents]: highest |s*f| of each text."""
    where: torch.Tensor
    """int64[texts, latents]: first token of the text that has it."""


def pooled_codes(codes: torch.Tensor, scaled: torch.Tensor, segments: Segments) -> PooledCodes:
    """Pool codes f and s*f, both float32[tokens, latents]."""
    sparse = int(torch.count_nonzero(codes)) <= SPARSE * codes.numel()
    return _sparse(codes, scaled, segments) if sparse else _dense(codes, scaled, segments)


def _dense(codes: torch.Tensor, scaled: torch.Tensor, segments: Segments) -> PooledCodes:
    padded = segments.padded(scaled)
    means = segments.means(padded)
    peak, where = padded.abs().max(1)
    return PooledCodes(torch.count_nonzero(codes, 0), means, peak, where)


def _sparse(codes: torch.Tensor, scaled: torch.Tensor, segments: Segments) -> PooledCodes:
    token, latent = codes.nonzero(as_tuple=True)
    value, text = scaled[token, latent], segments.texts[token]
    shape = len(segments), codes.shape[1]
    cell = text * shape[1] + latent
    sums = torch.zeros(shape, dtype=torch.float64, device=codes.device)
    sums.view(-1).index_add_(0, cell, value.double())
    # One number that orders by strength (the bits of floats from 0 order as the floats do), then the earlier token.
    place = token - segments.starts[text]
    strongest = torch.zeros(shape, dtype=torch.int64, device=codes.device)
    order = (value.abs().view(torch.int32).long() << 32) + (_LAST - place)
    strongest.view(-1).scatter_reduce_(0, cell, order, "amax")
    where = torch.where(strongest > 0, _LAST - (strongest & _LAST), 0)
    return PooledCodes(
        torch.bincount(latent, minlength=shape[1]),
        sums / segments.sizes[:, None],
        (strongest >> 32).int().view(torch.float32),
        where,
    )
