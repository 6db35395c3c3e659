"""A damaged store: every flip is found or harmless, what can be read is read, the rest is counted and said."""

import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from stores import WIDTH, fill, flip, flip_in, make_set, state

from saeeval_core.ledger import repair as repairing
from saeeval_core.ledger.examine import examine
from saeeval_core.ledger.files import StoreError, beside
from saeeval_core.ledger.migrations import MIGRATIONS
from saeeval_core.ledger.repair import repair
from saeeval_core.ledger.store import PressId, Store
from saeeval_core.ledger.wal import read_log

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, dict]:
    """A closed store, one file, and what it holds."""
    path = tmp_path_factory.mktemp("whole") / "s.sqlite"
    store = Store(path)
    fill(store)
    held = state(store)
    store.close()
    assert not beside(path, "-wal").exists()
    return path, held


@pytest.fixture(scope="module")
def logged(tmp_path_factory) -> tuple[Path, dict]:
    """A store whose process was killed: nearly everything is in its log still."""
    folder = tmp_path_factory.mktemp("logged")
    store = Store(folder / "open.sqlite")
    fill(store, presses=5)
    for ending in ("", "-wal"):
        shutil.copy(beside(store.path, ending), beside(folder / "s.sqlite", ending))
    return folder / "s.sqlite", state(store)


def copy(of: tuple[Path, dict], to: Path) -> tuple[Path, dict]:
    """Of file and log."""
    for ending in ("", "-wal"):
        if beside(of[0], ending).exists():
            shutil.copy(beside(of[0], ending), beside(to / "s.sqlite", ending))
    return to / "s.sqlite", of[1]


def _as_it_was(kind: str, held: object, found: object, told: str) -> bool:
    """Equal; or a set whose newest name, owner or origin is among the rows that are said to be lost."""
    if kind == "sets" and held is not None:
        parts = {"set name": "name", "set owner": "who", "set origin": "looks_before"}
        gone = [part for row, part in parts.items() if row in told.split("could not be read:")[-1]]
        return replace(found, **{part: getattr(held, part) for part in gone}) == held  # type: ignore[type-var]
    return held == found


def check(path: Path, held: dict, told: str, most_lost: int) -> None:
    """Nothing in the store is other than it was, and what is not there is counted and said."""
    store = Store(path)
    found = state(store)
    wrong = [
        (kind, i)
        for kind in held
        for i, row in found[kind].items()
        if not _as_it_was(kind, held[kind].get(i), row, told)
    ]
    lost = [(kind, i) for kind in held for i in held[kind] if i not in found[kind]]
    assert wrong == [] and len(lost) <= most_lost and (not lost or told), (lost, told)
    make_set(store, "goes on")
    store.close()
    assert examine(path).sound


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_anywhere_in_the_file(whole, tmp_path, told, seed):
    path, held = copy(whole, tmp_path)
    flip(path, random.Random(seed).randrange(path.stat().st_size * 8))
    sound = examine(path).sound
    Store(path).close()
    assert sound != bool(told())
    check(path, held, told(), most_lost=3)


@pytest.mark.parametrize("byte", [0, 16, 17, 18, 20, 28, 40, 56, 100, 103, 105, 108])
def test_a_flipped_bit_in_the_header_loses_nothing(whole, tmp_path, told, byte):
    path, held = copy(whole, tmp_path)
    flip(path, byte * 8 + 1)
    Store(path).close()
    check(path, held, told(), most_lost=0)


@pytest.mark.parametrize(
    "text", [b"latent integer", b"m001_decisions", b"'ablate', 'keep'", b"append-only", b"create index decisions_set"]
)
def test_a_damaged_schema_loses_nothing(whole, tmp_path, told, text):
    path, held = copy(whole, tmp_path)
    content = path.read_bytes()
    assert text in content or text.lower() in content.lower()
    flip(path, content.lower().find(text.lower()) * 8 + 1)
    assert not examine(path).sound
    check(path, held, told(), most_lost=0)
    with pytest.raises(Exception, match="append-only"), Store(path)._write() as c:
        c.exec_driver_sql("delete from decisions")


@pytest.mark.parametrize("text", [b"sae_fingerprint, rater", b"reason text", b"CHECK", b"decisions_setdecisions"])
def test_a_name_in_the_schema_that_is_no_text(whole, tmp_path, told, text):
    path, held = copy(whole, tmp_path)
    flip(path, (path.read_bytes().lower().find(text.lower()) + 1) * 8 + 7)
    assert not examine(path).sound
    check(path, held, told(), most_lost=0)


@pytest.mark.parametrize("page", range(1, 20, 3))
def test_a_page_of_zeros(whole, tmp_path, told, page):
    path, held = copy(whole, tmp_path)
    content = bytearray(path.read_bytes())
    assert len(content) > page * 4096
    content[page * 4096 : (page + 1) * 4096] = bytes(4096)
    path.write_bytes(content)
    Store(path).close()
    assert "was damaged" in told() and "is kept as s.sqlite.damaged-" in told()
    check(path, held, told(), most_lost=100)


def test_a_truncated_file(whole, tmp_path, told):
    path, held = copy(whole, tmp_path)
    path.write_bytes(path.read_bytes()[: 4096 * 9 + 17])
    Store(path).close()
    assert "could not be read" in told()
    check(path, held, told(), most_lost=200)


def test_the_person_is_told_what_was_kept_and_what_was_lost(whole, tmp_path, told):
    path, held = copy(whole, tmp_path)
    flip_in(path, b"pronouns")
    assert examine(path).damaged == {"decisions": 1}
    before = path.read_bytes()
    done = repair(path)
    assert done is not None and done.lost == {"decisions": 1} and done.kept["decisions"] == len(held["decisions"]) - 1
    assert done.aside.read_bytes() == before and done.aside.name in told() and "could not be read: 1 decision" in told()
    assert repair(path) is None and examine(path).sound  # a second one finds nothing to do
    with closing(sqlite3.connect(path)) as c:
        assert c.execute("select aside, lost from repairs").fetchall() == [(done.aside.name, '{"decisions": 1}')]


def test_what_a_former_repair_lost_is_not_counted_again(whole, tmp_path):
    path, _ = copy(whole, tmp_path)
    for which in range(2):
        flip_in(path, b"pronouns", which)
        done = repair(path)
        assert done is not None and done.lost == {"decisions": 1}


def test_ids_of_lost_rows_are_not_given_again(whole, tmp_path):
    path, held = copy(whole, tmp_path)
    last = max(held["commits"])
    flip_in(path, b'{"score": 0.5}')
    store = Store(path)
    assert last not in {c.id for c in store.commits()}
    assert store.commit(1, "ann", [3], {}).id == last + 1


@pytest.mark.parametrize("seed", range(6))
def test_a_flipped_bit_in_the_log(logged, tmp_path, told, seed):
    path, held = copy(logged, tmp_path)
    log = beside(path, "-wal")
    # Of the last transaction it cannot be said whether it was cut off; it is told, and may be lost.
    flip(log, random.Random(seed).randrange((log.stat().st_size - 8 * 4120) * 8))
    Store(path).close()
    assert "its log (-wal) is damaged" in told()
    check(path, held, told(), most_lost=3)


@pytest.mark.parametrize("byte", [1, 10, 17, 22, 25, 30, 40, 44, 50])
def test_a_damaged_header_of_the_log_loses_nothing(logged, tmp_path, told, byte):
    path, held = copy(logged, tmp_path)
    flip(beside(path, "-wal"), byte * 8)
    check(path, held, "", most_lost=0)


def test_a_log_that_ends_in_a_half_written_transaction_is_said(logged, tmp_path, told):
    path, held = copy(logged, tmp_path)
    log = beside(path, "-wal")
    log.write_bytes(log.read_bytes()[:-10])  # the last frame is not whole: as after a kill
    Store(path).close()
    assert told() == ""
    path, held = copy(logged, tmp_path)
    flip(log, (log.stat().st_size - 10) * 8)
    Store(path).close()
    assert "ended in a write that was cut off or is damaged" in told()
    check(path, held, told(), most_lost=1)


def test_sound_logs_are_read_as_sqlite_reads_them(logged, tmp_path):
    path, _ = copy(logged, tmp_path)
    log = read_log(beside(path, "-wal"))
    assert len(log.frames) > 50 and not log.damaged and not log.torn
    pages = {f.page: f.content for f in log.frames}
    with closing(sqlite3.connect(path)) as c:
        c.execute("pragma wal_checkpoint(truncate)")
    content = path.read_bytes()
    assert all(content[(n - 1) * 4096 : n * 4096] == page for n, page in pages.items())


def test_a_repair_that_was_killed_is_finished_by_the_next_one(whole, tmp_path, monkeypatch):
    path, held = copy(whole, tmp_path)
    flip_in(path, b"pronouns")
    for at in ("_copy", "_build", "_put_in_place"):
        with monkeypatch.context() as m:
            m.setattr(repairing, at, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                Store(path)
    assert beside(path, ".repair").exists()
    check(path, held, "told", most_lost=1)
    assert not beside(path, ".repair").exists()


def test_an_open_store_that_gets_damaged_mends_itself_and_takes_the_press_again(whole, tmp_path, told):
    path, held = copy(whole, tmp_path)
    store = Store(path)
    content = bytearray(path.read_bytes())
    content[8192 : 8192 + 4096 * 8] = bytes(4096 * 8)  # what SQLite has not read yet
    path.write_bytes(content)
    press = PressId("page", 99, "ann", "decide")
    tries = 0
    while not store.carried_out(press):
        tries += 1
        assert tries < 4
        try:
            with store.once(press):
                made = make_set(store, "after")
                store.decide(made.id, "ann", {1: "ablate"})
        except StoreError as error:
            assert "\n" not in str(error) and "try again" in str(error)
    assert "was damaged" in told() and [s.name for s in store.list_sets()][-1] == "after"


def test_nobody_writes_while_the_store_is_being_repaired(whole, tmp_path, monkeypatch):
    path, held = copy(whole, tmp_path)
    store = Store(path)
    seen = []
    real = repairing._build

    def build(*args):
        with pytest.raises(StoreError, match="being repaired"), store._begin() as c:  # waited since before the repair
            store._check_still_here()
            c.exec_driver_sql("select 1")
        seen.append(True)
        return real(*args)

    monkeypatch.setattr(repairing, "_build", build)
    flip_in(path, b"pronouns")
    assert repair(path) is not None and seen == [True]
    make_set(store, "after")
    assert Store(path).list_sets()[-1].name == "after"


_OTHER = """
import sys
from pathlib import Path
from saeeval_core.ledger.store import Store

store = Store(Path(sys.argv[1]))
store.create_set("theirs", "bob", metric="shift", task="t", direction="d", sae_fingerprint="s", recording_fingerprint="r")
"""


def test_two_processes_that_find_damage_repair_it_once(whole, tmp_path):
    path, held = copy(whole, tmp_path)
    flip_in(path, b"pronouns")
    started = [subprocess.Popen([sys.executable, "-c", _OTHER, str(path)]) for _ in range(2)]
    assert [p.wait(60) for p in started] == [0, 0]
    assert len(list(tmp_path.glob("*.damaged-*"))) == 1
    assert [s.name for s in Store(path).list_sets()][-2:] == ["theirs", "theirs"]


def test_a_file_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "s.sqlite"
    for content in (b"no database " * 900, b"SQLite format 3\0" + b"x" * 9000):
        path.write_bytes(content)
        with pytest.raises(StoreError, match=r"s.sqlite cannot be opened: it is no store .*; move it away"):
            Store(path)
        assert path.read_bytes() == content and not list(tmp_path.glob("*damaged*"))
    path.unlink()
    with closing(sqlite3.connect(path)) as c:
        c.execute("create table bookmarks (url text)")
    with pytest.raises(StoreError, match="it is no store"):
        Store(path)


def test_a_damaged_store_from_before_checksums_is_read_by_form(tmp_path, told):
    from sqlalchemy import create_engine, text

    from saeeval_core.ledger.migrations import migrate

    path = tmp_path / "s.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    columns = "name, who, metric, task, direction, sae_fingerprint, recording_fingerprint"
    with engine.begin() as c:
        migrate(c, MIGRATIONS[:4])
        c.execute(text(f"insert into decision_sets ({columns}) values ('old', 'ann', 'shift', 'bios', 'd', 's', 'r')"))
        for k in range(50):
            c.execute(
                text(f"insert into decisions (set_id, who, latent, old, new) values (1, 'ann', {k}, 'none', 'keep')")
            )
    engine.dispose()
    flip(path, 8 * 100)  # the kind of the schema's page
    store = Store(path)
    assert "was damaged" in told() and store.decisions(1, WIDTH) == dict.fromkeys(range(50), "keep")
    store.close()
    assert examine(path).sealed_later == 51


def test_rows_written_before_checksums_are_sealed_once_and_known_as_such(tmp_path):
    from sqlalchemy import create_engine, text

    from saeeval_core.ledger.migrations import migrate

    path = tmp_path / "s.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    columns = "name, who, metric, task, direction, sae_fingerprint, recording_fingerprint"
    with engine.begin() as c:
        migrate(c, MIGRATIONS[:4])
        c.execute(text(f"insert into decision_sets ({columns}) values ('old', 'ann', 'shift', 'bios', 'd', 's', 'r')"))
    engine.dispose()
    assert examine(path).unsealed == 1
    store = Store(path)
    store.decide(1, "ann", {4: "keep"})
    store.close()
    health = examine(path)
    assert (health.sound, health.sealed_later, health.rows["decision_sets"], health.rows["decisions"]) == (
        True,
        1,
        1,
        1,
    )
    with closing(sqlite3.connect(path)) as c, pytest.raises(sqlite3.Error, match="newer version now"):
        c.execute(f"insert into decision_sets ({columns}) values ('old', 'ann', 'shift', 'bios', 'd', 's', 'r')")


def test_a_row_damaged_while_the_store_is_open_is_named_and_never_used(tmp_path, told):
    store = Store(tmp_path / "s.sqlite")
    made = make_set(store)
    store.decide(made.id, "ann", {3: "ablate"})
    store.decide(made.id, "ann", {3: "keep", 4: "ablate"})
    with store._write() as c:
        for table in ("decisions", "commits"):
            c.exec_driver_sql(f"drop trigger {table}_no_update")
        c.exec_driver_sql("update decisions set new = 'unsure' where id = 2")
    assert store.decisions(made.id, WIDTH) == {3: "ablate", 4: "ablate"}
    assert [d.id for d in store.history(made.id)] == [1, 3]
    assert "row 2 of decisions is damaged and not used" in told()
    store.commit(made.id, "ann", [1, 2], {})
    with store._write() as c:
        c.exec_driver_sql("update commits set ids = '[1]'")
    assert store.commits() == []
