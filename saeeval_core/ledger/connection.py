"""One SQLite file shared by threads and processes: opening it, transactions, and one-line messages for its failures."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

from saeeval_core.config import store_path
from saeeval_core.errors import ArtifactError
from saeeval_core.ledger.migrations import migrate

_BUSY_MS = 30_000


def default_path() -> Path:
    """$SAEEVAL_STORE, or store.sqlite in the user's data folder."""
    return store_path()


class StoreError(ArtifactError):
    """The store cannot be read or written now: full, locked, moved away, damaged. Later it may be."""


class Database:
    """An open SQLite file with the newest schema. Threads may share it, and other processes may use the file."""

    def __init__(self, path: Path | None = None) -> None:
        """Open or make the file, ``default_path()`` unless one is given.

        StoreError if it is no database or cannot be written, ArtifactError if a newer version wrote it.
        """
        self.path = path or default_path()
        self._joined, self._reopening = threading.local(), threading.Lock()
        self._open()

    def _open(self) -> None:
        with self._clear_errors("opened"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._engine = create_engine(f"sqlite:///{self.path}", connect_args={"timeout": _BUSY_MS / 1000})
            event.listen(self._engine, "connect", _on_connect)
            event.listen(self._engine, "begin", _on_begin)
            _use_wal(self._engine)
            with self._begin() as c:
                newer = migrate(c)
            self._inode = self.path.stat().st_ino
        if newer:
            self.close()
            raise ArtifactError(
                f"{self.path} was written by a newer version; update saeeval or point SAEEVAL_STORE elsewhere"
            )

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        if (joined := self._transaction) is not None:
            yield joined
            return
        self._check_place()
        with self._clear_errors("written"), self._begin() as c:
            yield c

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        if (joined := self._transaction) is not None:
            yield joined
            return
        self._check_place()
        with self._clear_errors("read"), self._engine.connect() as c:
            yield c

    @contextmanager
    def _together(self) -> Iterator[Connection]:
        """One transaction that everything this thread reads and writes inside takes part in."""
        before = self._transaction
        with self._write() as c:
            self._joined.connection = c
            try:
                yield c
            finally:
                self._joined.connection = before

    @property
    def _transaction(self) -> Connection | None:
        return getattr(self._joined, "connection", None)

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        # The lock is taken before reading, so "old" in a decision is true even when ten sessions write.
        with self._engine.connect().execution_options(begin="immediate") as c, c.begin():
            yield c

    def _check_place(self) -> None:
        """SQLite goes on writing into a file that was moved or deleted, where nobody would find it again."""
        try:
            found = self.path.stat().st_ino
        except OSError:
            raise StoreError(
                f"{self.path} was moved or deleted while open, so nothing can be saved; put it back or restart"
            ) from None
        with self._reopening:
            if found != self._inode:  # another file has taken its place, such as a copy that was put back
                self.close()
                self._open()

    @contextmanager
    def _clear_errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except (DatabaseError, sqlite3.Error, OSError) as error:
            why = getattr(error, "orig", None) or error
            raise StoreError(
                f"{self.path} cannot be {verb}: {why}; check the disk or point SAEEVAL_STORE elsewhere"
            ) from None


def insert(c: Connection, table: str, values: Mapping[str, object], how: str = "") -> int:
    """Add one row (column -> value) and return its id; ``how`` goes between "insert" and "into": "or ignore"."""
    names = ", ".join(values)
    marks = ", ".join(f":{k}" for k in values)
    return int(c.execute(text(f"insert {how} into {table} ({names}) values ({marks})"), dict(values)).lastrowid)


def given(**filters: object) -> dict[str, object]:
    """Column -> value of the filters that are not None."""
    return {k: v for k, v in filters.items() if v is not None}


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _on_begin, not guessed by the driver
    connection.execute(f"pragma busy_timeout = {_BUSY_MS}")
    connection.execute("pragma foreign_keys = on")
    connection.execute("pragma synchronous = normal")


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql(f"begin {connection.get_execution_options().get('begin', 'deferred')}")


def _use_wal(engine: Engine) -> None:
    """Switching to WAL ignores the busy timeout, so several processes that open a new file retry by hand."""
    for attempt in range(50):
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("pragma journal_mode = wal")
            return
        except raw.driver_connection.OperationalError as error:
            if "locked" not in str(error) or attempt == 49:
                raise OperationalError("pragma journal_mode", {}, error) from None
        finally:
            raw.close()
        time.sleep(0.05)
