"""Tokens that a latent's decoder row promotes and suppresses: a stored table, so that showing them loads no model."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from saeeval_core.config import assets_dir, cache_dir
from saeeval_core.errors import ArtifactError
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.storage.artifacts import exists, load_arrays, save_arrays, set_aside
from saeeval_core.storage.json_files import as_artifact, require, typed
from saeeval_core.storage.notices import try_to_store

TOKENS_KEPT = 10
"""Tokens kept per latent and side."""
COSINE_EDGES = np.linspace(-0.24, 0.24, 25)
"""Bin edges of the histogram over the vocabulary."""

_ARRAYS = ("promoted", "promoted_cosine", "suppressed", "suppressed_cosine", "histogram")


@dataclass(frozen=True)
class TokenCosine:
    """A token of the vocabulary and the cosine of its unembedding row with the decoder row."""

    token: str
    cosine: float


@dataclass(frozen=True)
class TokenTable:
    """Per latent the tokens its decoder row promotes and suppresses most, by cosine with the unembedding."""

    sae_fingerprint: str
    strings: tuple[str, ...]
    """The tokens that occur in the table."""
    promoted: np.ndarray
    """int32[latents, k]: index into ``strings``, highest cosine first."""
    promoted_cosine: np.ndarray
    """float16[latents, k]"""
    suppressed: np.ndarray
    """int32[latents, k]: index into ``strings``, lowest cosine first."""
    suppressed_cosine: np.ndarray
    """float16[latents, k]"""
    histogram: np.ndarray
    """uint32[latents, len(COSINE_EDGES) - 1]: vocabulary tokens per bin of cosine; the outer bins are open."""

    def of(self, latent: int) -> tuple[tuple[TokenCosine, ...], tuple[TokenCosine, ...]]:
        """(promoted, suppressed), strongest first."""
        return (
            self._row(self.promoted[latent], self.promoted_cosine[latent]),
            self._row(self.suppressed[latent], self.suppressed_cosine[latent]),
        )

    def _row(self, ids: np.ndarray, cosines: np.ndarray) -> tuple[TokenCosine, ...]:
        return tuple(TokenCosine(self.strings[i], round(float(c), 4)) for i, c in zip(ids, cosines, strict=True))

    def save(self, path: Path) -> None:
        """Write ``path.safetensors`` and ``path.json``."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        meta = {"kind": "tokens", "sae_fingerprint": self.sae_fingerprint, "strings": list(self.strings), "about": {}}
        save_arrays(path, arrays, meta)


def promoted_tokens(
    decoder: np.ndarray,
    unembedding: np.ndarray,
    token_strings: Sequence[str],
    k: int = TOKENS_KEPT,
    *,
    sae_fingerprint: str,
) -> TokenTable:
    """cos(W_U[v], D_i) for every token v: the k highest and k lowest per latent.

    decoder float[latents, d_model], unembedding W_U float[vocabulary, d_model], one string per row of the unembedding.
    The model's final normalisation is left out, as in the paper (Karvonen et al., arXiv 2411.18895).
    """
    directions, rows = _unit(decoder), _unit(unembedding)
    best, worst, counts = [], [], []
    inside = np.nextafter(np.float32(COSINE_EDGES[-1]), np.float32(0))
    for start in range(0, len(directions), 256):
        cosine = directions[start : start + 256] @ rows.T
        best.append(_top(cosine, k))
        worst.append(_top(-cosine, k))
        clipped = np.clip(cosine, COSINE_EDGES[0], inside)
        counts += [np.histogram(row, COSINE_EDGES)[0].astype(np.uint32) for row in clipped]
    up, up_cosine = (np.concatenate(part) for part in zip(*best, strict=True))
    down, down_cosine = (np.concatenate(part) for part in zip(*worst, strict=True))
    used, index = np.unique(np.concatenate([up, down]), return_inverse=True)
    index = index.reshape(2, *up.shape).astype(np.int32)
    strings = tuple(token_strings[i] for i in used)
    return TokenTable(
        sae_fingerprint,
        strings,
        index[0],
        up_cosine.astype(np.float16),
        index[1],
        (-down_cosine).astype(np.float16),
        np.stack(counts),
    )


def load_token_table(path: Path) -> TokenTable:
    """Inverse of ``TokenTable.save``; ArtifactError if missing, damaged or of another kind."""
    a, meta = load_arrays(path)
    with as_artifact(path):
        require(meta["kind"] == "tokens", f"it holds '{meta['kind']}', expected 'tokens'")
        strings = typed(meta, "strings", list)
        require(all(isinstance(s, str) for s in strings), "a token is no text")
        table = TokenTable(typed(meta, "sae_fingerprint", str), tuple(strings), *(a[n] for n in _ARRAYS))
        _check(table)
        return table


def _check(table: TokenTable) -> None:
    """ValueError where the arrays do not fit each other or the strings."""
    shape = table.promoted.shape
    require(table.histogram.shape == (shape[0], len(COSINE_EDGES) - 1), f"its histogram is {table.histogram.shape}")
    for ids, cosines in ((table.promoted, table.promoted_cosine), (table.suppressed, table.suppressed_cosine)):
        require(ids.shape == cosines.shape == shape and ids.dtype == np.int32, f"its tokens are {ids.shape}")
        require(not ids.size or ids.min() >= 0 and ids.max() < len(table.strings), "a token has no text")


def token_table_paths(sae: str, sae_fingerprint: str) -> list[Path]:
    """Where the table of an SAE may be stored: in a bundled SAE's folder, or in the cache folder."""
    return [assets_dir() / "saes" / sae / "tokens", cache_dir() / "tokens" / sae_fingerprint]


def find_token_table(sae: str, sae_fingerprint: str) -> TokenTable | None:
    """The stored table of exactly these weights, or None; a damaged one is named on stderr."""
    for path in token_table_paths(sae, sae_fingerprint):
        if exists(path):
            try:
                table = _cached_table(path, path.with_suffix(".json").stat().st_mtime_ns)
            except ArtifactError as error:
                set_aside(path, error, "tokens")
                continue
            if table.sae_fingerprint == sae_fingerprint:
                return table
    return None


def make_token_table(latents: LatentRecording, model: str, *, keep: bool = True) -> TokenTable:
    """Compute the table, for which the language model is loaded; with ``keep`` it is stored in the cache folder."""
    from saeeval_core.models.language_model import load_model

    lm = load_model(model)
    unembedding = lm.unembedding()
    strings = [lm.tokenizer.decode([i]) for i in range(len(unembedding))]
    table = promoted_tokens(latents.decoder, unembedding, strings, sae_fingerprint=latents.sae_fingerprint)
    if keep:
        path = token_table_paths(latents.sae, latents.sae_fingerprint)[1]
        try_to_store(f"tokens in {path.parent}", lambda: table.save(path))
    return table


@lru_cache(maxsize=8)
def _cached_table(path: Path, _modified: int) -> TokenTable:
    return load_token_table(path)


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _top(values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Column ids and values of the k highest per row, highest first."""
    ids = (
        np.argpartition(-values, k - 1, axis=1)[:, :k]
        if k < values.shape[1]
        else np.tile(np.arange(values.shape[1]), (len(values), 1))
    )
    picked = np.take_along_axis(values, ids, axis=1)
    order = np.argsort(-picked, axis=1, kind="stable")
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(picked, order, axis=1)
