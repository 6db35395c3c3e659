"""Backup copies of a store in the folder ``.backups`` beside it: the last five, each whole and checked.

Copies are numbered, and numbers decide which is newest: a clock that was set back deletes nothing.
"""

import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from saeeval_core.ledger.examine import examine
from saeeval_core.ledger.files import StoreError, beside, open_file, tell
from saeeval_core.ledger.tables import TABLES

KEPT = 5
EVERY_S = 3600.0
_STEP = 256
"""Pages copied at once; between two steps other threads go on."""
_NAME = re.compile(r"(\d{6})-.*\.sqlite")


def backups(path: Path) -> list[Path]:
    """Copies of this store, the oldest first."""
    folder = beside(path, ".backups")
    found = [f for f in folder.iterdir() if _NAME.fullmatch(f.name)] if folder.is_dir() else []
    return sorted(found, key=lambda f: f.name)


def newest_backup(path: Path) -> Path | None:
    """The copy that was made last, None without any."""
    return next(reversed(backups(path)), None)


def rows_of(file: Path) -> dict[str, set[int]]:
    """Table -> ids of a store that nobody writes, such as a backup; {} if it cannot be read."""
    with suppress(sqlite3.Error), closing(open_file(file, "still")) as c:
        there = {row[0] for row in c.execute("select name from sqlite_master where type = 'table'")}
        return {name: {row[0] for row in c.execute(f"select id from {name}")} for name in TABLES if name in there}
    return {}


def back_up(path: Path) -> Path | None:
    """Make a copy, unless the newest one holds everything already; None then, and where there is nothing to copy.

    Others write meanwhile: the copy is of the moment at which it began. A copy that is not sound is not kept.
    OSError, sqlite3.Error or StoreError if it cannot be made.
    """
    path = path.resolve()
    newest = newest_backup(path)
    with closing(open_file(path, "ro")) as source:
        source.execute("begin")
        held = _counters(source)
        if not held or (newest and _counters_of(newest) == held):
            return None
        folder = beside(path, ".backups")
        folder.mkdir(exist_ok=True)
        _remove_unfinished(folder)
        unfinished = folder / f".unfinished-{os.getpid()}-{threading.get_ident()}"
        try:
            _copy(source, unfinished)
            made = _named(unfinished, folder, newest)
        finally:
            unfinished.unlink(missing_ok=True)
    for old in backups(path)[:-KEPT]:
        old.unlink(missing_ok=True)
    return made


class Keeper:
    """Backs a store up when it starts and then every hour in which something was written, in the background."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock, self._last = path, clock, clock()
        self._busy = threading.Lock()
        self.thread = self._start()

    def wrote(self) -> None:
        """To be called after every write; returns at once."""
        if self._clock() - self._last >= EVERY_S:
            self._last = self._clock()
            self.thread = self._start()

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="store backup", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        with self._busy:
            try:
                back_up(self._path)
            except (OSError, sqlite3.Error, StoreError) as error:
                tell(f"no backup of {self._path} was made ({error}); the store itself is not touched by that")


def _copy(source: sqlite3.Connection, target: Path) -> None:
    with closing(open_file(target, "rwc")) as copy:
        source.backup(copy, pages=_STEP, sleep=0.0)
        copy.execute("pragma journal_mode = delete")  # one file, that can be read where nothing can be written
    with open(target, "rb") as file:
        os.fsync(file.fileno())
    health = examine(target)
    if not health.sound:
        raise StoreError(f"the copy is damaged: {health.faults[0]}; restart saeeval, which mends the store")


def _named(unfinished: Path, folder: Path, newest: Path | None) -> Path:
    """Give the copy the next number; another process may have taken it just now."""
    number = int(_NAME.fullmatch(newest.name)[1]) if newest else 0  # type: ignore[index]
    while True:
        number += 1
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        if not list(folder.glob(f"{number:06d}-*")):
            return unfinished.rename(folder / f"{number:06d}-{stamp}.sqlite")


def _remove_unfinished(folder: Path) -> None:
    """Copies of processes that were killed; one that is being made just now is younger."""
    for file in folder.glob(".unfinished-*"):
        with suppress(OSError):
            if abs(time.time() - file.stat().st_mtime) > EVERY_S:
                file.unlink()


def _counters_of(file: Path) -> dict[str, int]:
    with suppress(sqlite3.Error), closing(open_file(file, "still")) as c:
        return _counters(c)
    return {}


def _counters(c: sqlite3.Connection) -> dict[str, int]:
    """Table -> highest id ever given: rows are only added, so equal counters mean equal content."""
    return {name: seq for name, seq in c.execute("select name, seq from sqlite_sequence") if seq}
