"""Compact storage of recordings: row numbers as one-byte gaps; and bfloat16 weights read without torch."""

import json
from pathlib import Path

import numpy as np
from scipy.sparse import csc_array

from saeeval_core.recordings.checks import check_indptr, check_values
from saeeval_core.storage.json_files import require


def read_bfloat16(path: Path, name: str) -> np.ndarray:
    """float32[...]: the bfloat16 tensor ``name`` of a safetensors file, in its own shape.

    numpy has no bfloat16, whose bits are the upper half of a float32.
    """
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start, end = header[name]["data_offsets"]
        file.seek(start, 1)
        raw = np.frombuffer(file.read(end - start), dtype=np.uint16)
    return (raw.astype(np.uint32) << 16).view(np.float32).reshape(header[name]["shape"])


def to_gaps(latents: csc_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(data, gaps uint8[entries], indptr int64[columns + 1]) of an array [rows, columns]: row numbers as one-byte gaps.

    A gap is the distance to the previous row of the column; one beyond 255 is bridged by entries of value 0. data
    [entries] has the dtype of the values; entries include the bridges.
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
    """Inverse of ``to_gaps`` for an array of that shape [rows, columns]; drops entries of value 0, the bridges.

    ValueError for arrays that do not fit each other or the shape: scipy would read and write beyond its memory.
    """
    check_values(data, gaps)
    check_indptr(indptr, shape[1], len(gaps), "its latents")
    total = np.cumsum(gaps, dtype=np.int64)
    before = np.concatenate([[0], total])[indptr[:-1]]
    rows = total - np.repeat(before, np.diff(indptr))
    require(not len(rows) or rows.min() >= 0 and rows.max() < shape[0], "a row number lies beyond its shape")
    inside = np.ones(len(gaps) + 1, bool)
    inside[indptr] = False  # entries that begin a column follow none
    again = (gaps[1:] == 0) & inside[1:-1] & (data[:-1] != 0)  # after a bridge, whose value is 0, a gap may be 0
    require(not again.any(), "a row number occurs twice in a column")
    latents = csc_array((data, rows.astype(np.int32), indptr.copy()), shape=shape)
    latents.eliminate_zeros()  # in place, the row pointer included
    return latents
