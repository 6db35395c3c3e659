"""Values that are computed once and stored on disk, under a fingerprint of everything they depend on.

Files that came with the package are tried before those made on this machine.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from saeeval_core.config import assets_dir, cache_dir, digest, fingerprint
from saeeval_core.errors import ArtifactError
from saeeval_core.storage.artifacts import (
    Sidecar,
    check_seal,
    check_shipped,
    exists,
    load_meta,
    sealed,
    set_aside,
    write_atomic,
)
from saeeval_core.storage.json_files import as_artifact, read_json, require
from saeeval_core.storage.manifest import shipped_digest
from saeeval_core.storage.notices import try_to_store

T = TypeVar("T")


@dataclass(frozen=True)
class Shelves:
    """The folders that hold artifacts of one kind: the shipped one, then this machine's cache."""

    folder: str
    """Name below the assets and below the cache folder."""
    shipped: bool = True
    """False: use only what was made on this machine."""

    @property
    def own(self) -> Path:
        """Where new artifacts go."""
        return cache_dir() / self.folder

    def folders(self) -> list[Path]:
        """The folders in search order."""
        return [assets_dir() / self.folder, self.own] if self.shipped else [self.own]

    def places(self, name: str) -> Iterator[Path]:
        """Paths at which an artifact of that name may be, in search order."""
        return (folder / name for folder in self.folders())

    def first(self, name: str, what: str, load: Callable[[Path], T]) -> T | None:
        """The first artifact of that name that ``load`` accepts, or None.

        One that it refuses with an ArtifactError is named as a stored ``what`` and skipped, in the cache moved aside.
        """
        for path in filter(exists, self.places(name)):
            try:
                return load(path)
            except ArtifactError as error:
                set_aside(path, error, what)
        return None

    def every(self, kind: str, read: Callable[[Path, Sidecar], T]) -> list[T]:
        """``read(path, sidecar)`` of all artifacts named "kind-...", in search order; unusable ones as in ``first``."""
        found = []
        for folder in self.folders():
            for file in sorted(folder.glob(f"{kind}-*.json")):
                path = file.with_suffix("")
                try:
                    with as_artifact(file):
                        require(exists(path), "its arrays are missing")
                        found.append(read(path, _meta(path, file)))
                except ArtifactError as error:
                    set_aside(path, error, kind)
        return found


def _meta(path: Path, file: Path) -> Sidecar:
    """The sidecar of an artifact; read again only once its file has changed, because pages list them all the time."""
    stat = file.stat()
    return _read_meta(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=4096)
def _read_meta(path: Path, _modified: int, _size: int, _inode: int) -> Sidecar:
    return load_meta(path)


RECORDINGS = Shelves("recordings")
"""Recordings, and in the same folders the probes and controls that belong to one."""


@dataclass(frozen=True)
class KeptJson:
    """JSON values of one kind, one file each, named by a fingerprint of everything the value depends on."""

    shelves: Shelves
    kind: str
    """Start of the file names."""
    version: int
    """Increased when values stored earlier must no longer be used."""

    def name(self, key: Sequence[Any]) -> str:
        """File name without suffix; ``key``: JSON values, everything that the stored value depends on."""
        return f"{self.kind}-{fingerprint([*key, self.version])}"

    def find(self, key: Sequence[Any], read: Callable[[Any], Any] = lambda value: value) -> Any:
        """The stored value, converted by ``read``; LookupError when there is none.

        A file that is damaged or belongs to another key is reported on stderr and skipped, in the cache moved aside.
        """
        for path in self.shelves.places(f"{self.name(key)}.json"):
            if os.path.exists(path):  # False, too, where it cannot be looked up
                try:
                    with as_artifact(path):
                        return read(self._value(path, key))
                except ArtifactError as error:
                    set_aside(path, error, self.kind)
        raise LookupError(self.name(key))

    def keep(self, key: Sequence[Any], value: Any) -> None:
        """Store the value in this machine's cache; a disk that is full or read-only costs a notice."""
        path = self.shelves.own / f"{self.name(key)}.json"
        content = json.dumps(sealed({"key": self._digest(key), "value": value})).encode()

        def write() -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content)

        try_to_store(f"{self.kind} of {path}", write)

    def get(self, key: Sequence[Any], make: Callable[[], Any], read: Callable[[Any], Any] = lambda value: value) -> Any:
        """The stored value, converted by ``read``, or else that of ``make``, which is then stored."""
        try:
            return self.find(key, read)
        except LookupError:
            value = make()
            self.keep(key, value)
            return value

    def _digest(self, key: Sequence[Any]) -> str:
        return digest([*key, self.version])

    def _value(self, path: Path, key: Sequence[Any]) -> Any:
        content, shipped = read_json(path), shipped_digest(path)
        if shipped is not None:
            check_shipped(path, content, shipped)
            if not isinstance(content, dict) or "seal" not in content:
                return content  # shipped by an earlier version: the value alone
        check_seal(path, content if isinstance(content, dict) else {})
        if content["key"] != self._digest(key):
            raise ArtifactError(f"{path} was stored for something else; delete it and rebuild")
        return content["value"]
