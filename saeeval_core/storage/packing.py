"""Arrays as compressed byte planes: about half the size for pooled latents, and exactly the same numbers back.

Bytes of equal significance are stored together (signs and exponents repeat, mantissas do not), then deflated.
"""

import math
import zlib
from collections.abc import Mapping
from typing import TypedDict

import numpy as np

from saeeval_core.errors import ArtifactError

_LEVEL = 1
"""Higher levels save 4 % more and take three times as long."""


class Packed(TypedDict):
    """Dtype and shape of an array before it was packed."""

    dtype: str
    shape: list[int]


Layout = Mapping[str, Packed]
"""Name of a packed array -> its dtype and shape."""


def pack(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], Layout]:
    """(every array, of any shape and dtype, as uint8[compressed bytes]; the layout that ``unpack`` needs)."""
    layout = {name: Packed(dtype=a.dtype.str, shape=list(a.shape)) for name, a in arrays.items()}
    return {name: np.frombuffer(zlib.compress(_planes(a), _LEVEL), np.uint8) for name, a in arrays.items()}, layout


def unpack(arrays: Mapping[str, np.ndarray], layout: Layout) -> dict[str, np.ndarray]:
    """Inverse of ``pack``: uint8[compressed bytes] to arrays of their own shape and dtype.

    Arrays that the layout does not name are returned as they are. ArtifactError if one does not fit its layout.
    """
    return {name: _array(name, a, layout[name]) if name in layout else a for name, a in arrays.items()}


def _planes(a: np.ndarray) -> bytes:
    return np.ascontiguousarray(a).reshape(-1).view(np.uint8).reshape(a.size, a.dtype.itemsize).T.tobytes()


def _array(name: str, packed: np.ndarray, about: Packed) -> np.ndarray:
    dtype, shape = np.dtype(about["dtype"]), tuple(about["shape"])
    size = math.prod(shape) * dtype.itemsize
    try:
        inflater = zlib.decompressobj()
        raw = inflater.decompress(packed.tobytes(), size + 1)  # never more than the layout promises
    except zlib.error as error:
        raise ArtifactError(
            f"packed array '{name}' cannot be read ({error}); delete the recording and rebuild"
        ) from None
    if len(raw) != size:
        raise ArtifactError(
            f"packed array '{name}' holds {len(raw)} bytes, expected {size}; delete the recording and rebuild"
        )
    planes = np.frombuffer(raw, np.uint8).reshape(dtype.itemsize, math.prod(shape))
    return planes.T.copy().view(dtype).reshape(shape)
