"""Arrays in ``.npz`` and ``.safetensors`` files: their shapes without their values, within bounds, no pickle.

What a file claims is checked against what it holds before room is made for it.
"""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from saeeval_core.errors import UnsupportedSAE

Shapes = Mapping[str, tuple[int, ...]]
"""Name of an array -> its shape."""
_MOST_ARRAYS = 64
_LOOSEST, _SMALL = 50, 64 << 20
"""Most times that weights are smaller compressed than not; files that unpack to fewer bytes are not held to it."""
_NUMBERS = "fiub"
"""numpy's kinds of numbers that an array may hold; bfloat16 is stored by safetensors only."""


def shapes_of(spec: str, path: Path) -> Shapes:
    """The arrays of a file. UnsupportedSAE for one that is damaged, holds objects, or claims more than it holds."""
    with _one_line(spec, path):
        if path.suffix == ".npz":
            return _npz_shapes(spec, path)
        from safetensors import safe_open

        with safe_open(path, framework="np") as file:
            names = list(file.keys())
            return {name: tuple(file.get_slice(name).get_shape()) for name in names}


def read_scalar(spec: str, path: Path, name: str) -> float:
    """The one number of an array. UnsupportedSAE if it holds several, or none."""
    with _one_line(spec, path):
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                value = file[name]
        else:
            from safetensors import safe_open

            with safe_open(path, framework="np") as file:
                value = file.get_tensor(name)
        if value.size != 1 or not np.isfinite(value).all():
            raise UnsupportedSAE(f"SAE '{spec}': {name} is no number in {path.name}; expected one")
        return float(value.reshape(-1)[0])


def read_arrays(spec: str, path: Path) -> dict[str, np.ndarray]:
    """Every array of an ``.npz``; UnsupportedSAE as ``shapes_of``, which is asked first."""
    shapes_of(spec, path)
    with _one_line(spec, path), np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _npz_shapes(spec: str, path: Path) -> Shapes:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _check_zip(spec, path, entries)
        found = {}
        for entry in entries:
            with archive.open(entry) as file:
                shape, dtype = _header(file)
            if dtype.hasobject or dtype.kind not in _NUMBERS:
                raise UnsupportedSAE(
                    f"SAE '{spec}': {entry.filename[:60]} in {path.name} is no array of numbers ({dtype}), and objects are "
                    "never opened; save plain arrays with numpy.savez"
                )
            if prod(shape) * dtype.itemsize > entry.file_size:
                raise UnsupportedSAE(f"SAE '{spec}': {path.name} claims more values than it holds; save it again")
            found[entry.filename.removesuffix(".npy")] = shape
    return found


def _check_zip(spec: str, path: Path, entries: list[zipfile.ZipInfo]) -> None:
    size = sum(e.file_size for e in entries)
    if len(entries) > _MOST_ARRAYS or size > max(_SMALL, _LOOSEST * path.stat().st_size):
        raise UnsupportedSAE(
            f"SAE '{spec}': {path.name} holds {len(entries):,} arrays of {size / 1e9:.1f} GB in a file of "
            f"{path.stat().st_size / 1e6:.1f} MB, which weights do not; save it again with numpy.savez"
        )


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


@contextmanager
def _one_line(spec: str, path: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    # What numpy, zipfile and safetensors raise for files that are damaged, cut short or of another kind.
    except (
        SafetensorError,
        zipfile.BadZipFile,
        ValueError,
        OSError,
        LookupError,
        EOFError,
        RuntimeError,
        TypeError,
    ) as error:
        why = " ".join(str(error).split())[:120]
        raise UnsupportedSAE(f"SAE '{spec}': {path.name} holds no plain arrays ({why}); save it again") from None
