"""Folders of files that other libraries write and read, such as an unpacked model: what each file must be, in a seal."""

import hashlib
import json
import os
from pathlib import Path

from saeeval_core.errors import ArtifactError
from saeeval_core.storage.artifacts import check_seal, sealed, write_atomic
from saeeval_core.storage.json_files import read_json

_SEAL = "seal.json"


def seal_folder(folder: Path) -> None:
    """Write the seal of the files in a folder, once each of them has reached the disk. OSError if that fails."""
    files = {path.name: _digest(path, sync=True) for path in _files(folder)}
    write_atomic(folder / _SEAL, json.dumps(sealed({"files": files})).encode())


def check_sealed(folder: Path) -> None:
    """ArtifactError unless every file in a folder is what it was when the folder was sealed."""
    seal = read_json(folder / _SEAL)
    check_seal(folder / _SEAL, seal if isinstance(seal, dict) else {})
    try:
        found = {path.name: _digest(path) for path in _files(folder)}
    except OSError as error:
        raise ArtifactError(f"{folder} cannot be read ({error.strerror}); delete it and rebuild") from None
    if odd := sorted({*found.items()} ^ {*seal["files"].items()}):
        raise ArtifactError(f"{folder / odd[0][0]} is damaged, missing or new; delete the folder and rebuild")


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and p.name != _SEAL and not p.name.startswith("."))


def _digest(path: Path, *, sync: bool = False) -> str:
    with path.open("rb") as file:
        if sync:
            os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()
