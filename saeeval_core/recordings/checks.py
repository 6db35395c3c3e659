"""That arrays read from a file fit each other and the shape that is said of them; else a ValueError with the reason.

A checksum says that a file is as it was written; these checks say that code may index with what it holds.
"""

import numpy as np

from saeeval_core.storage.json_files import require


def check_residuals(residuals: np.ndarray, n_valid: np.ndarray, token_ends: np.ndarray, storage: str) -> None:
    """residuals ``storage``[texts, d_model], n_valid int32[texts], token_ends uint16[valid tokens]."""
    _is(residuals, storage, 2, "its residuals")
    _is(n_valid, "int32", 1, "its token counts")
    _is(token_ends, "uint16", 1, "its token ends")
    require(len(n_valid) == len(residuals), f"it has {len(n_valid)} token counts for {len(residuals)} texts")
    require(not (n_valid < 0).any(), "a token count is below 0")
    total = int(n_valid.sum(dtype=np.int64))
    require(total == len(token_ends), f"it has {len(token_ends)} token ends for {total} tokens")


def check_values(data: np.ndarray, gaps: np.ndarray) -> None:
    """data float32[entries], gaps uint8[entries]."""
    require(data.ndim == 1 and data.dtype.kind == "f", f"its latents are {data.dtype} in {data.ndim} dimensions")
    _is(gaps, "uint8", 1, "its row numbers")
    require(len(data) == len(gaps), f"it has {len(gaps)} row numbers for {len(data)} latents")


def check_indptr(indptr: np.ndarray, columns: int, entries: int, what: str) -> None:
    """indptr int64[columns + 1] from 0 to ``entries``, never falling."""
    _is(indptr, "int64", 1, f"the column numbers of {what}")
    require(len(indptr) == columns + 1, f"{what} have {len(indptr) - 1} columns, expected {columns}")
    ok = indptr[0] == 0 and indptr[-1] == entries and bool((indptr[1:] >= indptr[:-1]).all())
    require(ok, f"the column numbers of {what} do not divide {entries} entries")


def check_per_latent(latents: int, **arrays: np.ndarray) -> None:
    """Each array is float32[latents]."""
    for name, array in arrays.items():
        _is(array, "float32", 1, name)
        require(len(array) == latents, f"{name} has {len(array)} values for {latents} latents")


def check_contexts(
    indptr: np.ndarray,
    text: np.ndarray,
    position: np.ndarray,
    activation: np.ndarray,
    kind: np.ndarray,
    shape: tuple[int, int],
    sizes: tuple[int, int],
) -> None:
    """The arrays of ``Contexts`` for a recording of that shape (texts, latents); sizes: (window, number of kinds)."""
    for array, dtype, what in ((text, "int32", "texts"), (position, "int16", "positions"), (kind, "uint8", "kinds")):
        _is(array, dtype, 1, f"the {what} of its contexts")
        require(len(array) == len(text), f"it has {len(array)} {what} for {len(text)} contexts")
    _is(activation, "float16", 2, "the activations of its contexts")
    require(activation.shape == (len(text), sizes[0]), f"its contexts have shape {activation.shape}")
    check_indptr(indptr, shape[1], len(text), "its contexts")
    require(not len(text) or text.min() >= 0 and text.max() < shape[0], "a context lies in a text beyond its shape")
    require(not len(text) or position.min() >= 0 and kind.max() < sizes[1], "a context has an unknown place or kind")


def _is(array: np.ndarray, dtype: str, dimensions: int, what: str) -> None:
    found, expected = f"{array.dtype}, {array.ndim} dimensions", f"{np.dtype(dtype)}, {dimensions} dimensions"
    require(found == expected, f"{what}: {found}, expected {expected}")
