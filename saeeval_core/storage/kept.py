"""What is computed once and kept on disk: a fingerprint decides the file, shipped files are looked at before those made here."""

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
    """The folders in which artifacts of one kind lie: the one that came with the package, then this machine's."""

    folder: str
    """Name below the assets and below the cache folder."""
    shipped: bool = True
    """False leaves aside what came with the package."""

    @property
    def own(self) -> Path:
        """Where new artifacts go."""
        return cache_dir() / self.folder

    def folders(self) -> list[Path]:
        """In the order in which they are looked through."""
        return [assets_dir() / self.folder, self.own] if self.shipped else [self.own]

    def places(self, name: str) -> Iterator[Path]:
        """Paths at which an artifact of that name can lie."""
        return (folder / name for folder in self.folders())


RECORDINGS = Shelves("recordings")
"""Recordings, and beside them what belongs to one: probes and controls."""


@dataclass(frozen=True)
class KeptJson:
    """Plain JSON values of one kind, each in a file that is named after everything that decides it."""

    shelves: Shelves
    kind: str
    """Beginning of the file's name."""
    version: int
    """Raised when values kept earlier must not be used any more."""

    def name(self, key: Sequence[Any]) -> str:
        """File name, without ending, of the value that ``key`` (JSON values) decides."""
        return f"{self.kind}-{fingerprint([*key, self.version])}"

    def find(self, key: Sequence[Any], read: Callable[[Any], Any] = lambda value: value) -> Any:
        """The value, turned by ``read`` into what callers use; LookupError when there is none.

        A file that cannot be read is named on stderr and left aside.
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
        """Write the value where this machine's are kept."""
        path = self.shelves.own / f"{self.name(key)}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(value).encode())

    def get(self, key: Sequence[Any], make: Callable[[], Any]) -> Any:
        """The value, made and kept where it is not there yet."""
        try:
            return self.find(key)
        except LookupError:
            value = make()
            self.keep(key, value)
            return value
