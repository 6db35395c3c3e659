"""One SQLite file shared by threads and processes: opening it, transactions, and one-line messages for its failures."""

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

from saeeval_core.errors import ArtifactError
from saeeval_core.ledger.backups import Keeper
from saeeval_core.ledger.files import BUSY_MS, StoreError, beside, default_path, engine_url, is_damage, tell
from saeeval_core.ledger.migrations import migrate
from saeeval_core.ledger.repair import make_ready, repair
from saeeval_core.ledger.tables import TABLES, Row, fits_cached, now

__all__ = ["Database", "StoreError", "default_path", "given", "insert", "is_sound", "sound"]

_READ_OFTEN = ("decision_sets", "set_names", "decisions")
"""Tables of short rows that every press reads; the seal of such a row is computed once."""


class Database:
    """An open SQLite file with the newest schema. Threads may share it, and other processes may use the file."""

    def __init__(self, path: Path | None = None) -> None:
        """Open or make the file, ``default_path()`` unless one is given.

        A damaged store is repaired first. StoreError if it is no store or cannot be written, ArtifactError if a newer
        version wrote it.
        """
        self.path = path or default_path()
        self._in_repair = beside(self.path.resolve(), ".repair")
        self._keeper: Keeper | None = None
        self._joined, self._reopening = threading.local(), threading.Lock()
        self._open()

    def _open(self) -> None:
        with self._clear_errors("opened"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            make_ready(self.path)
            self._engine = create_engine(engine_url(self.path), connect_args={"timeout": BUSY_MS / 1000})
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

    def keep_backups(self) -> Keeper:
        """Back up now, and from now on every hour in which something was written, in the background."""
        self._keeper = self._keeper or Keeper(self.path)
        return self._keeper

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
            self._check_still_here()
            yield c
        if self._keeper is not None:
            self._keeper.wrote()

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        if (joined := self._transaction) is not None:
            yield joined
            return
        self._check_place()
        with self._clear_errors("read"), self._engine.connect() as c:
            yield c

    @contextmanager
    def together(self) -> Iterator[Connection]:
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
        if self._in_repair.exists():
            self._mend()
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

    def _check_still_here(self) -> None:
        """While this waited for the writer before it, the file may have been moved, or its repair begun."""
        if self._in_repair.exists() or self.path.stat().st_ino != self._inode:
            raise StoreError(f"{self.path} is being repaired or was replaced, so nothing was saved; try again")

    def _mend(self) -> None:
        """Wait for a repair that another process has begun, or repair the file; then open it again."""
        with self._reopening:
            self.close()
            repair(self.path)
            self._open()

    @contextmanager
    def _clear_errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except (DatabaseError, sqlite3.Error, OSError) as error:
            why = getattr(error, "orig", None) or error
            if is_damage(why) and verb != "opened":
                self._mend()
                raise StoreError(f"{self.path} was damaged and has been repaired ({why}); try again") from None
            raise StoreError(
                f"{self.path} cannot be {verb}: {why}; check the disk or point SAEEVAL_STORE elsewhere"
            ) from None


def insert(c: Connection, table: str, values: Mapping[str, object]) -> int:
    """Add one sealed row and return its id. ``values``: all columns; without "id" it is the next one, and without a time it is now.

    The connection must hold the write lock. KeyError for a missing column.
    """
    about = TABLES[table]
    full = {about.time: now()} | values
    full["id"] = values.get("id") or _next_id(c, table)
    row = about.row(full)
    marks = ", ".join("?" * (len(row) + 1))
    c.exec_driver_sql(
        f"insert into {table} ({', '.join(about.columns)}, seal) values ({marks})", (*row, about.seal(row))
    )
    return int(full["id"])


def _next_id(c: Connection, table: str) -> int:
    """Never one that was given before, even if that row is lost."""
    query = (
        f"select max(coalesce((select max(id) from {table}), 0), "
        "coalesce((select seq from sqlite_sequence where name = ?), 0)) + 1"
    )
    return int(c.exec_driver_sql(query, (table,)).scalar_one())


def sound(table: str, rows: Iterable[Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """The rows (``select *``) whose seal fits, as column -> value without it; the others are named and left out."""
    columns = TABLES[table].columns
    return (dict(zip(columns, row, strict=False)) for row in rows if is_sound(table, row))


def is_sound(table: str, row: Sequence[Any]) -> bool:
    """Whether the seal of a row (``select *``) fits; if not, the row is named, once."""
    *values, seal = row
    check = fits_cached if table in _READ_OFTEN else _fits
    if check(table, tuple(values), seal):
        return True
    tell(f"row {row[0]} of {table} is damaged and not used; restart saeeval, which mends the store")
    return False


def _fits(table: str, row: Row, seal: object) -> bool:
    return TABLES[table].fits(row, seal)


def given(**filters: object) -> dict[str, object]:
    """Column -> value of the filters that are not None."""
    return {k: v for k, v in filters.items() if v is not None}


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _on_begin, not guessed by the driver
    connection.execute(f"pragma busy_timeout = {BUSY_MS}")
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
