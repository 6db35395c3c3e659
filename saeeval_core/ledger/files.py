"""Where the store and the files beside it lie, raw connections to SQLite files, and the error of a store."""

import sqlite3
from pathlib import Path

from sqlalchemy import URL

from saeeval_core.config import store_path
from saeeval_core.errors import ArtifactError
from saeeval_core.storage.notices import notice

SAYS = "store: "
"""Begins every notice about the store."""
BUSY_MS = 30_000
"""How long a writer waits for the one before it."""


class StoreError(ArtifactError):
    """The store cannot be read or written now: full, locked, moved away, damaged. Later it may be."""

    def __init__(self, line: str) -> None:
        """One line, whatever characters the path holds."""
        super().__init__("".join(c if c.isprintable() else "?" for c in line))


def tell(line: str) -> None:
    """Tell the person at the server, on stderr and on the page, once."""
    notice(SAYS + "".join(c if c.isprintable() else "?" for c in line))


def default_path() -> Path:
    """$SAEEVAL_STORE, or store.sqlite in the user's data folder."""
    return store_path()


def beside(path: Path, ending: str) -> Path:
    """The file or folder of the store's name with an ending: "-wal", ".lock", ".repair" or ".backups"."""
    return path.with_name(path.name + ending)


def engine_url(path: Path) -> URL:
    """For SQLAlchemy; a "?", "#" or "%" in the path stays part of it."""
    return URL.create("sqlite", database=str(path.absolute()))


def open_file(path: Path, mode: str = "rw") -> sqlite3.Connection:
    """A raw connection without implied transactions. ``mode``: "rw", "rwc" (made if missing), "ro" or "still".

    "ro" sees what others write meanwhile; "still" is for a file that nobody writes, and makes no files beside it.
    sqlite3.Error if it cannot be opened.
    """
    address = f"{path.absolute().as_uri()}?{'immutable=1' if mode == 'still' else f'mode={mode}'}"
    return sqlite3.connect(address, uri=True, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False)


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that the file is malformed or no database, or holds a text that is no text."""
    code = getattr(error, "sqlite_errorcode", None)
    return (
        "decode to UTF-8" in str(error)
        or code is not None
        and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    )
