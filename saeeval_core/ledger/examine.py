"""Whether a store is sound: its log, its pages, its schema, and the seal of every row. Changes nothing."""

import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from sqlalchemy import create_engine

from saeeval_core.ledger.files import StoreError, beside, is_damage, open_file
from saeeval_core.ledger.migrations import MIGRATIONS, migrate
from saeeval_core.ledger.tables import LATER, TABLES
from saeeval_core.ledger.wal import PAGE, Log, read_log
from saeeval_core.wording import plural

_MAX_FAULTS = 20
_SETTLE_S = 0.1
_NAMES = [m.__name__ for m in MIGRATIONS]


@dataclass(frozen=True)
class Health:
    """What was found in a store."""

    faults: tuple[str, ...] = ()
    """Each in a few words; none in a sound store."""
    rows: dict[str, int] = field(default_factory=dict)
    """Table -> rows whose seal fits."""
    damaged: dict[str, int] = field(default_factory=dict)
    """Table -> rows whose seal does not."""
    sealed_later: int = 0
    """Rows that an earlier version wrote without a checksum, and that were sealed as they were found."""
    unsealed: int = 0
    """Rows that have none yet, because this version has not opened the store."""
    torn: bool = False
    """The log ends in a write that was cut off, or in a damaged last transaction; SQLite drops it."""

    @property
    def sound(self) -> bool:
        """Nothing is damaged."""
        return not self.faults


def examine(path: Path) -> Health:
    """Check a whole store. A missing or empty file is sound: it is a store that was not begun.

    SQLite's ``integrity_check`` is used, which does what ``quick_check`` does and finds damaged indexes, too. Others may
    write meanwhile. StoreError if it cannot be read for another reason than damage.
    """
    log = _settled_log(beside(path, "-wal"))
    if log.damaged:  # before SQLite sees it: opening the file drops what comes after the damage
        return Health(("its log (-wal) is damaged",), torn=log.torn)
    if not path.exists() or (path.stat().st_size == 0 and not log.frames):
        return Health()
    # While a store is open anywhere there is a log beside it.
    health = _examine_file(path, "ro" if beside(path, "-wal").exists() else "still", log.torn)
    if not health.sound and not log.frames and beside(path, "-wal").exists():  # opened by somebody just now
        return _examine_file(path, "ro", log.torn)
    return health


def _examine_file(path: Path, mode: str, torn: bool) -> Health:
    try:
        with closing(open_file(path, mode)) as c, _one_moment(c):
            return _examine(c, torn)
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter for damaged names in the schema
        if isinstance(error, UnicodeDecodeError) or is_damage(error):
            return Health((_short(error),), torn=torn)
        raise StoreError(f"{path} cannot be read: {error}; check the disk or point SAEEVAL_STORE elsewhere") from None


def _settled_log(path: Path) -> Log:
    """A frame that another process is just writing looks damaged for a moment."""
    log = read_log(path)
    for _ in range(2):
        if log.damaged or log.torn:
            time.sleep(_SETTLE_S)
            log = read_log(path)
    return log


@contextmanager
def _one_moment(c: sqlite3.Connection) -> Iterator[None]:
    c.execute("begin")
    try:
        yield
    finally:
        c.rollback()


def _examine(c: sqlite3.Connection, torn: bool) -> Health:
    faults = [row[0] for row in c.execute(f"pragma integrity_check({_MAX_FAULTS})") if row[0] != "ok"]
    if c.execute("pragma page_size").fetchone()[0] != PAGE:
        faults.append("its page size is another")
    known = {row[0] for row in c.execute("select name from sqlite_master")}
    if not known and not faults:
        return Health(torn=torn)
    done = [row[0] for row in c.execute("select name from migrations order by rowid")] if "migrations" in known else []
    level = sum(name in done for name in _NAMES)
    if not level or _NAMES[:level] != done[:level]:
        faults.append("its list of migrations is not whole")
    elif wrong := _schema(level) - _schema_of(c):
        faults.append(f"its schema is damaged ({sorted(wrong)[0][0]})")
    if faults or level < len(_NAMES):
        unsealed = 0 if faults else sum(_count(c, t) for t in TABLES if t in known)
        return Health(tuple(_short(f) for f in faults), unsealed=unsealed, torn=torn)
    return _examine_rows(c, torn)


def _examine_rows(c: sqlite3.Connection, torn: bool) -> Health:
    good: Counter[str] = Counter()
    bad: Counter[str] = Counter()
    later, faults = 0, []
    counters = dict(c.execute("select name, seq from sqlite_sequence").fetchall())
    for name, table in TABLES.items():
        last = 0
        for *values, seal in c.execute(f"select {', '.join(table.columns)}, seal from {name}"):
            fits = table.fits(tuple(values), seal)
            (good if fits else bad)[name] += 1
            later += fits and seal.startswith(LATER)
            last = max(last, values[0])
        if type(counters.get(name, 0)) is not int or not last <= counters.get(name, 0) <= last + _JUMP:
            faults.append(f"its counter of {name} is damaged")
    faults += [f"{plural(n, 'row')} of {name} not fitting the checksum" for name, n in bad.items()]
    return Health(tuple(faults), dict(good), dict(bad), later, torn=torn)


_JUMP = 1_000_000
"""Ids that a repair could not read leave a gap, but none that large."""


def _count(c: sqlite3.Connection, table: str) -> int:
    return int(c.execute(f"select count(*) from {table}").fetchone()[0])


@lru_cache(maxsize=8)
def _schema(level: int) -> frozenset[tuple[str, str]]:
    """The schema after the first ``level`` migrations."""
    engine = create_engine("sqlite://")
    with engine.begin() as c:
        migrate(c, MIGRATIONS[:level])
        rows = c.exec_driver_sql("select name, coalesce(sql, '') from sqlite_master").fetchall()
    engine.dispose()
    return frozenset((name, " ".join(sql.split())) for name, sql in rows)


def _schema_of(c: sqlite3.Connection) -> frozenset[tuple[str, str]]:
    rows = c.execute("select name, coalesce(sql, '') from sqlite_master").fetchall()
    return frozenset((str(name), " ".join(str(sql).split())) for name, sql in rows)


def _short(what: object) -> str:
    return " ".join(str(what).split())[:160]
