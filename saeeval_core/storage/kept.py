"""Values that are computed once and stored on disk, under a fingerprint of everything they depend on.

Files that came with the package are tried before those made on this machine.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saeeval_core.config import assets_dir, cache_dir, fingerprint
from saeeval_core.storage.artifacts import write_atomic


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

        A file that cannot be read is reported on stderr and skipped.
        """
        for path in self.shelves.places(f"{self.name(key)}.json"):
            try:
                return read(json.loads(path.read_text(encoding="utf-8")))
            except FileNotFoundError:
                continue
            except (OSError, ValueError, KeyError, TypeError) as error:
                sys.stderr.write(f"stored {self.kind} ignored and made again: {path.name}: {error}\n")
        raise LookupError(self.name(key))

    def keep(self, key: Sequence[Any], value: Any) -> None:
        """Store the value in this machine's cache."""
        path = self.shelves.own / f"{self.name(key)}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(value).encode())

    def get(self, key: Sequence[Any], make: Callable[[], Any]) -> Any:
        """The stored value, or else that of ``make``, which is then stored."""
        try:
            return self.find(key)
        except LookupError:
            value = make()
            self.keep(key, value)
            return value
