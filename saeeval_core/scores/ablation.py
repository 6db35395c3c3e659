"""What ablating latents subtracts from a probe's logits: exact, and from pooled arrays alone.

Mean pooling and an affine decoder commute, so zero-ablating a set S moves a text's pooled residual by
-sum_{i in S} fbar_i D_i and the logit of a linear probe by -sum_{i in S} fbar_i (D_i . w).
See docs/method.md, "The identity".

Arrays, unless a function says otherwise: latents float32[texts, latents], the pooled fbar; decoder_dot_probe
float64[latents], D . w of one probe; ids int[set].
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csc_array

from saeeval_core.config import MAX_TOKENS
from saeeval_core.errors import ConfigError

ZERO, MEAN = "zero", "mean"
ABLATIONS = (MEAN, ZERO)
"""What an ablated latent is set to: its mean over the probe's training texts (the default), or 0 (the paper)."""


def removed(latents: csc_array, ids: Sequence[int] | np.ndarray, decoder_dot_probe: np.ndarray) -> np.ndarray:
    """float64[texts]: sum over the set of fbar_i (D_i . w), what zero ablation subtracts from each logit."""
    total = np.zeros(latents.shape[0])
    for i in ids:
        a, b = latents.indptr[i], latents.indptr[i + 1]
        total[latents.indices[a:b]] += latents.data[a:b] * decoder_dot_probe[i]
    return total


def removed_by_n(
    latents: csc_array, ranking: np.ndarray, decoder_dot_probe: np.ndarray, ns: Sequence[int]
) -> tuple[np.ndarray, list[int]]:
    """(float64[len(ns), texts], number really ablated) for the first n of the ranking, from one cumulative sum.

    ranking int[ranked]: latent ids, best first. With fewer of them than n, all are ablated. ConfigError when an n
    exceeds the number of latents of the SAE.
    """
    if max(ns) > latents.shape[1]:
        raise ConfigError(f"N = {max(ns)} but the SAE has {latents.shape[1]} latents; lower --n")
    out, total, done = np.zeros((len(ns), latents.shape[0])), np.zeros(latents.shape[0]), 0
    counts = [0] * len(ns)
    for place in np.argsort(ns, kind="stable"):
        stop = min(ns[place], len(ranking))
        total = total + removed(latents, ranking[done:stop], decoder_dot_probe)
        out[place], counts[place], done = total, stop, stop
    return out, counts


def mean_offset(ids: Sequence[int] | np.ndarray, train_mean: np.ndarray, decoder_dot_probe: np.ndarray) -> np.ndarray:
    """What mean ablation adds to every logit of zero ablation: sum over the set of E_train[fbar_i] (D_i . w).

    train_mean float64[latents]. decoder_dot_probe: float64[latents] of one probe gives float64[]; float64[latents,
    probes] gives float64[probes].
    """
    ids = np.asarray(ids, dtype=int)
    return np.asarray(train_mean[ids] @ decoder_dot_probe[ids])


def padding_leak(
    ids: Sequence[int] | np.ndarray, zero_code: np.ndarray, decoder_dot_probe: np.ndarray, n_valid: np.ndarray
) -> np.ndarray:
    """float64[texts]: what SAEBench's ablation also subtracts, sum over the set of f_i(0) (D_i . w) n_masked / n_valid.

    zero_code float32[latents]: f(0); n_valid int[texts]: valid tokens; n_masked = MAX_TOKENS - n_valid. See
    docs/method.md, "Differences from the paper and SAEBench".
    """
    ids = np.asarray(ids, dtype=int)
    return float(zero_code[ids].astype(np.float64) @ decoder_dot_probe[ids]) * (MAX_TOKENS - n_valid) / n_valid


def ablate_residuals(
    residuals: np.ndarray, latents: csc_array, ids: Sequence[int] | np.ndarray, decoder: np.ndarray
) -> np.ndarray:
    """float64[texts, d_model]: the pooled residuals after zero ablation, for retraining a probe on them.

    residuals float32[texts, d_model]; decoder float32[latents, d_model].
    """
    ids = np.asarray(ids, dtype=int)
    return residuals.astype(np.float64) - latents[:, ids].astype(np.float64) @ decoder[ids].astype(np.float64)


def dot(decoder: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """D . w as float64[latents], computed in float32; decoder float32[latents, d_model], weight float64[d_model]."""
    return (decoder @ weight.astype(np.float32)).astype(np.float64)
