"""``assets/manifest.json``: the digest of every shipped file that is read.

Files shipped by earlier versions carry no seal of their own and keep their bytes, so what they must be stands here.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from saeeval_core.config import assets_dir, digest
from saeeval_core.errors import ArtifactError
from saeeval_core.storage.json_files import read_json
from saeeval_core.storage.notices import notice

MANIFEST = "manifest.json"
_FOLDERS = ("recordings", "results", "saes", "texts", "verdicts")


def shipped_digest(path: Path) -> str | None:
    """What the manifest says of a shipped file; None for one that it does not name or that is not below assets.

    For ``*.json`` it is the digest of the value, of which a sidecar holds its arrays' checksum; else of the bytes.
    """
    folder = assets_dir()
    if not path.is_relative_to(folder):
        return None
    return _digests(folder).get(path.relative_to(folder).as_posix())


def is_as_shipped(path: Path) -> bool:
    """False for a shipped file that is not what the manifest says; such a file is named on stderr, and never moved."""
    try:
        check_file(path)
    except ArtifactError as error:
        notice(f"shipped file ignored: {error}")
        return False
    return True


def check_file(path: Path) -> None:
    """ArtifactError for a shipped file that is not what the manifest says; nothing for one that it does not name."""
    expected = shipped_digest(path)
    try:
        fits = expected is None or expected == _digest(path)
    except (ArtifactError, OSError):
        fits = False
    if not fits:
        raise ArtifactError(f"{path} is not what {MANIFEST} says; restore it from the repository")


def build_manifest() -> Path:
    """Write the manifest of what lies in the assets folder, and return its path. ArtifactError for damaged JSON."""
    folder = assets_dir()
    found = {p.relative_to(folder).as_posix(): _digest(p) for p in _shipped(folder)}
    path = folder / MANIFEST
    path.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    return path


def _shipped(folder: Path) -> Iterator[Path]:
    """Files that are read; arrays with a sidecar are covered by it, because it holds their checksum."""
    for room in _FOLDERS:
        for path in sorted((folder / room).rglob("*")):
            arrays = path.suffix == ".safetensors" and not path.with_suffix(".json").exists()
            if path.suffix in (".json", ".jsonl", ".parquet") or arrays:
                yield path


def _digest(path: Path) -> str:
    stat = path.stat()
    return _hashed(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _hashed(path: Path, _modified: int, _size: int) -> str:
    if path.suffix == ".json":
        return digest(read_json(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digests(folder: Path) -> dict[str, str]:
    path = folder / MANIFEST
    try:
        stat = path.stat()
    except OSError:
        return {}
    return _read(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _read(path: Path, _modified: int, _size: int) -> dict[str, str]:
    try:
        found = read_json(path)
    except ArtifactError as error:
        notice(f"shipped files cannot be checked, and recordings are made again: {error}")
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}
