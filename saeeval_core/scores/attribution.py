"""How much each latent moves a probe between its two classes, which ranks the latents to ablate.

    I_i = (mean of pooled f_i over positives - mean over negatives) * (D_i . w)      on the probe's own training texts

Karvonen et al., arXiv 2411.18895; docs/method.md, "Attribution".
"""

import numpy as np
from scipy.sparse import csc_array


def mean_difference(latents: csc_array, positive: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """float64[latents]: mean pooled latent of the positive texts minus that of the negative ones.

    latents float32[texts, latents], positive bool[texts]; ``weights`` float[texts] makes both means weighted.
    """
    w = np.ones(len(positive)) if weights is None else weights.astype(np.float64)
    signed = np.where(positive, w / w[positive].sum(), -w / w[~positive].sum())
    return np.asarray(signed @ latents.astype(np.float64)).ravel()


def effects(difference: np.ndarray, decoder_dot_probe: np.ndarray) -> np.ndarray:
    """I_i, float64[latents], from ``mean_difference`` and D . w, both float64[latents]."""
    return difference * decoder_dot_probe


def rank_by_magnitude(effect: np.ndarray) -> np.ndarray:
    """int64[ranked]: latent ids by falling |I|, without those of effect 0; ties go to the lower id. SHIFT's ranking.

    effect float64[latents].
    """
    order = np.argsort(-np.abs(effect), kind="stable")
    return order[effect[order] != 0]


def rank_positive(difference: np.ndarray, decoder_dot_probe: np.ndarray, *, non_negative: bool) -> np.ndarray:
    """int64[eligible]: ids of latents with I > 0, by falling I; ties go to the lower id. TPP's ranking.

    difference, decoder_dot_probe float64[latents]. For non-negative codes the difference is clamped at 0, so a latent
    that is stronger on the negatives never counts.
    """
    clamped = np.maximum(difference, 0) if non_negative else difference
    effect = effects(clamped, decoder_dot_probe)
    order = np.argsort(-effect, kind="stable")
    return order[effect[order] > 0]
