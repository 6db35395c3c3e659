"""How recordings are written small: row numbers as one-byte gaps; and bfloat16 weights read without torch."""

import json
from pathlib import Path

import numpy as np
from scipy.sparse import csc_array


def read_bfloat16(path: Path, name: str) -> np.ndarray:
    """The bfloat16 tensor ``name`` of a safetensors file as float32 of its shape.

    numpy has no bfloat16, whose bits are the upper half of a float32.
    """
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start, end = header[name]["data_offsets"]
        file.seek(start, 1)
        raw = np.frombuffer(file.read(end - start), dtype=np.uint16)
    return (raw.astype(np.uint32) << 16).view(np.float32).reshape(header[name]["shape"])


def to_gaps(latents: csc_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers of a column-sparse array as one-byte gaps: (data, gaps, indptr).

    A gap is the distance to the row before in the column; one beyond 255 is bridged by entries of value 0. data has the
    dtype of the values, gaps are uint8 [entries and bridges], indptr is int64 [columns + 1].
    """
    rows = latents.indices.astype(np.int64)
    gaps = np.diff(rows, prepend=0)
    starts = latents.indptr[:-1][np.diff(latents.indptr) > 0]
    gaps[starts] = rows[starts]
    bridges = gaps // 255
    place = np.arange(len(rows)) + np.cumsum(bridges)  # where each entry stands once the bridges before it are in
    data = np.zeros(len(rows) + int(bridges.sum()), dtype=latents.data.dtype)
    out = np.full(len(data), 255, dtype=np.uint8)
    data[place], out[place] = latents.data, gaps - 255 * bridges
    added = np.concatenate([[0], np.cumsum(bridges)])
    return data, out, (latents.indptr + added[latents.indptr]).astype(np.int64)


def from_gaps(data: np.ndarray, gaps: np.ndarray, indptr: np.ndarray, shape: tuple[int, ...]) -> csc_array:
    """Inverse of ``to_gaps`` for an array of that shape [rows, columns]; entries of value 0 are the bridges and go."""
    total = np.cumsum(gaps, dtype=np.int64)
    before = np.concatenate([[0], total])[indptr[:-1]]
    rows = total - np.repeat(before, np.diff(indptr))
    latents = csc_array((data, rows.astype(np.int32), indptr.copy()), shape=shape)
    latents.eliminate_zeros()  # in place, the row pointer included
    return latents
