"""Named arrays on disk: one safetensors file and a JSON sidecar with its checksum. No pickle anywhere.

The sidecar is written last, so an interrupted save leaves no readable artifact. Loading verifies checksum and seal; of
shipped artifacts, which keep their bytes, the manifest says what they must be.
"""

import glob
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from saeeval_core.config import cache_dir, digest
from saeeval_core.errors import ArtifactError
from saeeval_core.storage.json_files import read_json
from saeeval_core.storage.manifest import MANIFEST, shipped_digest
from saeeval_core.storage.notices import notice

_LEFT_BEHIND = 6 * 3600.0
"""Seconds after which nobody is still writing a temporary file."""

Sidecar = dict[str, Any]
"""JSON metadata stored with arrays: the values of the module that stores them, and those that ``save_arrays`` adds."""


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, object]) -> None:
    """Write arrays to ``path.safetensors``, and ``meta`` with their checksum to ``path.json``, each by rename.

    The arrays may have any shape [...] and any dtype that safetensors knows. The sidecar also gets the artifact's name
    and a seal: the digest of everything else in it, so of meta, name and the arrays' checksum together.

    ArtifactError if the disk is full or the folder cannot be written.
    """
    blob = save_safetensors({name: np.ascontiguousarray(a) for name, a in arrays.items()})
    about = {"name": path.name, "sha256": hashlib.sha256(blob).hexdigest(), "bytes": len(blob)}
    sidecar = sealed(dict(meta) | about)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sidecar(path).unlink(missing_ok=True)
        write_atomic(_data(path), blob)
        write_atomic(_sidecar(path), json.dumps(sidecar, indent=1).encode())
    except OSError as error:
        raise ArtifactError(
            f"cannot write {path}: {error.strerror}; free some space or choose another folder"
        ) from None


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], Sidecar]:
    """Arrays (shape [...] and dtype as saved) and sidecar of ``path``.

    ArtifactError if either is missing, damaged, half-written, or not what was saved under that name.
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
            f"{_data(path)} is damaged: checksum {found[:12]}, expected {str(meta.get('sha256'))[:12]}; "
            + ("delete it and rebuild" if shipped_digest(_sidecar(path)) is None else "restore it from the repository")
        )
    try:
        return load_safetensors(blob), meta
    except SafetensorError as error:
        raise ArtifactError(f"{_data(path)} is not a safetensors file ({error}); delete it and rebuild") from None


def load_meta(path: Path) -> Sidecar:
    """The sidecar alone; ArtifactError if it is missing, damaged, or not what was saved under that name."""
    file = _sidecar(path)
    meta = read_json(file)
    if not isinstance(meta, dict):
        raise ArtifactError(f"{file} holds a {type(meta).__name__}, expected an object; delete it and rebuild")
    shipped = shipped_digest(file)
    if shipped is not None:
        check_shipped(file, meta, shipped)
        return meta
    check_seal(file, meta)
    if meta.get("name") != path.name:
        raise ArtifactError(f"{file} was saved as '{meta.get('name')}', not under this name; delete it and rebuild")
    return meta


def sealed(values: Mapping[str, object]) -> dict[str, Any]:
    """The values as JSON gives them back, with "seal": the digest of all others."""
    plain = json.loads(json.dumps(dict(values)))
    return plain | {"seal": digest(plain)}


def check_seal(file: Path, values: Mapping[str, Any]) -> None:
    """ArtifactError unless "seal" is the digest of the other values."""
    if "seal" not in values:
        raise ArtifactError(f"{file} was written by an older version, without a seal; delete it and rebuild")
    if values["seal"] != digest({k: v for k, v in values.items() if k != "seal"}):
        raise ArtifactError(f"{file} is damaged: its seal does not fit its content; delete it and rebuild")


def check_unchanged(source: str, values: object) -> None:
    """ArtifactError for a result that is not as it was written; nothing for one without a seal, as others make them."""
    if not isinstance(values, Mapping) or "seal" not in values:
        return
    try:
        fits = values["seal"] == digest({k: v for k, v in values.items() if k != "seal"})
    except (TypeError, ValueError, RecursionError):
        fits = False
    if not fits:
        raise ArtifactError(
            f"{source} is not as it was written: its seal does not fit; make it again, or take 'seal' out of a file "
            "that was edited on purpose"
        )


def check_shipped(file: Path, value: object, expected: str) -> None:
    """ArtifactError unless ``value``, read from a shipped file, has the digest that the manifest names."""
    if digest(value) != expected:
        raise ArtifactError(f"{file} is not what {MANIFEST} says; restore it from the repository")


def exists(path: Path) -> bool:
    """True when an artifact was completely written (its content is verified only on load)."""
    return os.path.exists(_sidecar(path)) and os.path.exists(_data(path))  # False, too, where it cannot be looked up


def set_aside(path: Path, error: ArtifactError, what: str) -> None:
    """Name an artifact that cannot be used, and move its files into "aside" beside it, so that it is made again.

    ``path``: without suffix, or a single ``.json`` file. Only files below the cache folder are moved, never shipped
    ones, and of one name only the last is kept.
    """
    notice(f"stored {what} ignored and made again: {error}")
    files = [path] if path.suffix == ".json" else [_sidecar(path), _data(path)]
    # Without its sidecar an artifact is invisible already, and another process may be writing it just now.
    if path.is_relative_to(cache_dir()) and files[0].exists():
        with suppress(OSError):  # a read-only cache: it is skipped where it lies
            (path.parent / "aside").mkdir(exist_ok=True)
            for file in files:
                file.replace(path.parent / "aside" / file.name)


def write_atomic(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write to a temporary file beside ``path``, then rename it. OSError if that fails; then nothing is left.

    ``content``: the bytes, or what writes them into an open file. Both the file and its folder reach the disk before
    this returns: after a power cut the old or the new content is there, never an empty file. What a killed process left
    beside ``path`` is removed by the next one that writes there.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            content(file) if callable(content) else file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _remove_leftovers(path, Path(temporary))
        Path(temporary).chmod(0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _remove_leftovers(path: Path, own: Path) -> None:
    """Temporary files of ``path`` that are hours older than ``own``; both times are the disk's, whatever clock is right."""
    for old in path.parent.glob(f".{glob.escape(path.name)}.*"):
        with suppress(OSError):
            if own.stat().st_mtime - old.stat().st_mtime > _LEFT_BEHIND:
                old.unlink()


def _data(path: Path) -> Path:
    return path.with_name(path.name + ".safetensors")


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some file systems know no such thing
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
