"""Named arrays on disk: one safetensors file and a JSON sidecar with its checksum. No pickle anywhere.

The sidecar is written last, so an interrupted save leaves no readable artifact. Loading verifies the checksum.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from saeeval_core.errors import ArtifactError

Sidecar = dict[str, Any]
"""JSON metadata stored with arrays: the values of the module that stores them, and "sha256", the arrays' checksum."""


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, object]) -> None:
    """Write arrays to ``path.safetensors``, and ``meta`` with their checksum to ``path.json``, each by rename.

    The arrays may have any shape [...] and any dtype that safetensors knows.

    ArtifactError if the disk is full or the folder cannot be written.
    """
    blob = save_safetensors({name: np.ascontiguousarray(a) for name, a in arrays.items()})
    sidecar = dict(meta) | {"sha256": hashlib.sha256(blob).hexdigest(), "bytes": len(blob)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sidecar(path).unlink(missing_ok=True)
        write_atomic(_data(path), blob)
        write_atomic(_sidecar(path), json.dumps(sidecar, indent=1, sort_keys=True).encode())
    except OSError as error:
        raise ArtifactError(
            f"cannot write {path}: {error.strerror}; free some space or choose another folder"
        ) from None


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], Sidecar]:
    """Arrays (shape [...] and dtype as saved) and sidecar of ``path``.

    ArtifactError if either is missing, damaged or half-written.
    """
    meta = load_meta(path)
    try:
        blob = _data(path).read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"{_data(path)} cannot be read ({error.strerror}); delete {_sidecar(path)} and rebuild"
        ) from None
    found = hashlib.sha256(blob).hexdigest()
    if found != meta.get("sha256"):
        raise ArtifactError(
            f"{_data(path)} is damaged: checksum {found[:12]}, expected {str(meta.get('sha256'))[:12]}; delete it and rebuild"
        )
    try:
        return load_safetensors(blob), meta
    except SafetensorError as error:
        raise ArtifactError(f"{_data(path)} is not a safetensors file ({error}); delete it and rebuild") from None


def load_meta(path: Path) -> Sidecar:
    """The sidecar alone; ArtifactError if it is missing or damaged."""
    try:
        return json.loads(_sidecar(path).read_text())
    except FileNotFoundError:
        raise ArtifactError(f"no artifact at {path}; it was never finished or has been deleted: rebuild it") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ArtifactError(f"{_sidecar(path)} is not valid JSON; delete it and rebuild") from None


def exists(path: Path) -> bool:
    """True when an artifact was completely written (its content is verified only on load)."""
    return _sidecar(path).exists() and _data(path).exists()


def write_atomic(path: Path, content: bytes) -> None:
    """Write to a temporary file beside ``path``, then rename it. OSError if that fails; then nothing is left."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    path.chmod(0o644)


def _data(path: Path) -> Path:
    return path.with_name(path.name + ".safetensors")


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".json")
