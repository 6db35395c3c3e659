"""Repair of a damaged store: it is kept aside, and its rows go into a fresh one that takes its place.

Only one process repairs, the others wait. It can be killed at any moment: until the fresh store is complete the damaged
one is untouched, and from then on whoever opens the store next puts the fresh one in place. While it goes on there is a
folder ``.repair`` beside the store; writers that find it store nothing.
"""

import json
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import create_engine

from saeeval_core.ledger.backups import newest_backup, rows_of
from saeeval_core.ledger.carve import Carved, carve
from saeeval_core.ledger.examine import examine
from saeeval_core.ledger.files import StoreError, beside, engine_url, open_file, tell
from saeeval_core.ledger.migrations import migrate
from saeeval_core.ledger.tables import TABLES, now, said
from saeeval_core.ledger.wal import read_log

_WAIT_S = 300


@dataclass(frozen=True)
class Repair:
    """What a repair did."""

    aside: Path
    """Where the damaged file is kept, with its log beside it if there was one."""
    kept: Mapping[str, int]
    """Table -> rows in the fresh store."""
    lost: Mapping[str, int]
    """Table -> rows that could not be read."""


def make_ready(path: Path) -> None:
    """Before a store is opened: repair it if it is damaged, and say so. StoreError if that is not possible."""
    path = path.resolve()
    if beside(path, ".repair").exists():
        repair(path)
        return
    health = examine(path)
    if health.torn:
        tell(
            f"{path} ended in a write that was cut off or is damaged, and that was dropped; check what you decided last"
        )
    if not health.sound:
        repair(path)
    if not path.exists() or path.stat().st_size == 0:
        _point_to_backup(path)


def repair(path: Path) -> Repair | None:
    """Repair a store, or finish the repair that another process began; None if it is sound by now.

    StoreError if nothing in the file or beside it says that it was a store, or the disk is full; then it is left as
    it is.
    """
    path = path.resolve()
    with _alone(path):
        try:
            return _repair(path)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path} is damaged and cannot be repaired now: {error}; free some space") from None


def _repair(path: Path) -> Repair | None:
    work = beside(path, ".repair")
    ready = work / "ready.sqlite"
    if ready.exists():
        _put_in_place(ready, path)
        return None
    shutil.rmtree(work, ignore_errors=True)
    health = examine(path)
    if health.sound:
        return None
    work.mkdir()
    try:
        found = _carved(path, work / "copy")
        if not found.ours and newest_backup(path) is None:
            raise StoreError(
                f"{path} cannot be opened: it is no store ({health.faults[0]}); "
                "move it away or point SAEEVAL_STORE elsewhere"
            )
        aside = _keep_aside(work / "copy", path)
        done = Repair(aside, *_build(work / "fresh.sqlite", found, aside))
        os.replace(work / "fresh.sqlite", ready)
        _put_in_place(ready, path)
    finally:
        if not ready.exists():
            shutil.rmtree(work, ignore_errors=True)
    _say(path, health.faults[0], done, found)
    return done


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """The only process that repairs. The lock is SQLite's, on an empty file of its own, and ends with the process."""
    try:
        lock = sqlite3.connect(beside(path, ".lock"), timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
        with closing(lock):
            lock.execute("begin exclusive")
            yield
    except sqlite3.Error as error:
        raise StoreError(f"{path} is damaged and cannot be repaired now: {beside(path, '.lock')}: {error}") from None


def _carved(path: Path, copy: Path) -> Carved:
    """Copy the files while nobody writes, and read the copies."""
    holding = None
    with suppress(sqlite3.Error):  # too damaged for SQLite: then nobody else can write, either
        holding = open_file(path)
        holding.execute("begin immediate")  # waits for those who write just now; those after them see the folder
        holding.rollback()
    try:
        for ending in ("", "-wal"):
            if beside(path, ending).exists() and beside(path, ending).stat().st_size:
                _copy(beside(path, ending), beside(copy, ending))
    finally:
        if holding is not None:
            holding.close()
    return carve(copy.read_bytes(), read_log(beside(copy, "-wal")))


def _copy(source: Path, target: Path) -> None:
    # In a process of its own: closing a file drops all locks that this process holds on it, SQLite's among them.
    code = "import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])"
    done = subprocess.run([sys.executable, "-c", code, str(source), str(target)], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{source} cannot be copied: {''.join(done.stderr.splitlines()[-1:])}")


def _keep_aside(copy: Path, path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    aside, again = beside(path, f".damaged-{stamp}"), 1
    while aside.exists():
        again += 1
        aside = beside(path, f".damaged-{stamp}-{again}")
    for ending in ("-wal", ""):
        if beside(copy, ending).exists():
            _sync(beside(copy, ending))
            os.replace(beside(copy, ending), beside(aside, ending))
    _sync(aside.parent)
    return aside


def _build(fresh: Path, found: Carved, aside: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Write the rows that were read into a new store; (table -> rows, table -> rows that could not be read)."""
    engine = create_engine(engine_url(fresh))
    with engine.begin() as c:
        migrate(c)
    engine.dispose()
    kept = {name: len(rows) for name, rows in found.rows.items()}
    lost = {name: n for name, n in _lost(found).items() if n}
    with closing(open_file(fresh)) as c:
        c.execute("begin")
        for name, rows in found.rows.items():
            marks = ", ".join("?" * (len(TABLES[name].columns) + 1))
            statement = f"insert into {name} ({', '.join(TABLES[name].columns)}, seal) values ({marks})"
            c.executemany(statement, ((*rows[i][0], rows[i][1]) for i in sorted(rows)))
        about = TABLES["repairs"]
        row = (found.last["repairs"] + 1, aside.name, json.dumps(kept), json.dumps(lost), now())
        c.execute("insert into repairs values (?, ?, ?, ?, ?, ?)", (*row, about.seal(row)))
        for name, last in (found.last | {"repairs": row[0]}).items():
            c.execute("delete from sqlite_sequence where name = ?", (name,))
            c.execute("insert into sqlite_sequence (name, seq) values (?, ?)", (name, last))
        c.execute("commit")
    _sync(fresh)
    return kept, lost


def _lost(found: Carved) -> dict[str, int]:
    """Ids that are missing below the highest, without those that earlier repairs could not read, either."""
    missing = {name: found.last[name] - len(rows) for name, rows in found.rows.items()}
    for row, _ in found.rows["repairs"].values():
        for name, n in json.loads(str(row[3])).items():
            missing[name] = missing.get(name, 0) - n
    return {name: max(n, 0) for name, n in missing.items()}


def _put_in_place(ready: Path, path: Path) -> None:
    """Idempotent. Through SQLite where the damaged file still lets it, so that others who have it open go on with it."""
    try:
        with closing(open_file(ready)) as source, closing(open_file(path)) as target:
            source.backup(target)
            target.execute("pragma wal_checkpoint(truncate)")
        in_place = examine(path).sound
    except (sqlite3.Error, StoreError):
        in_place = False
    if not in_place:
        copy = ready.with_name("copy.sqlite")
        shutil.copyfile(ready, copy)
        _sync(copy)
        for ending in ("-wal", "-shm"):
            beside(path, ending).unlink(missing_ok=True)
        os.replace(copy, path)
        _sync(path.parent)
    shutil.rmtree(ready.parent)


def _sync(place: Path) -> None:
    """Of a file or folder, never of the store in use: closing it would drop SQLite's locks."""
    with suppress(OSError):  # folders cannot be synced everywhere
        handle = os.open(place, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _say(path: Path, why: str, done: Repair, found: Carved) -> None:
    shown = {n: k for n, k in done.kept.items() if n not in ("origins", "repairs")}
    tell(
        f"{path} was damaged ({why}) and is kept as {done.aside.name}; read into a fresh one: {said(shown)}; "
        f"could not be read: {said(done.lost)}{_hint(path, {n: set(rows) for n, rows in found.rows.items()})}"
    )


def _point_to_backup(path: Path) -> None:
    if hint := _hint(path, {}):
        tell(f"{path} is new and empty{hint}")


def _hint(path: Path, here: Mapping[str, set[int]]) -> str:
    """How to get back what only the newest backup holds, "" if that is nothing."""
    backup = newest_backup(path)
    more = {n: len(ids - here.get(n, set())) for n, ids in rows_of(backup).items()} if backup else {}
    if not any(more.values()):
        return ""
    return f"; a backup holds more ({said(more)}): saeeval store merge {shlex.quote(str(backup))}"
