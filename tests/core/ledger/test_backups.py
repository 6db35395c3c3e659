"""Backup copies: whole, checked, five of them, and never in the way."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from stores import WIDTH, fill, make_set, state

from saeeval_core.ledger import backups as making
from saeeval_core.ledger.backups import Keeper, back_up, backups, rows_of
from saeeval_core.ledger.examine import examine
from saeeval_core.ledger.files import beside
from saeeval_core.ledger.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.sqlite")


def test_a_copy_holds_everything_and_is_one_file(store):
    assert back_up(store.path) is None  # nothing to copy
    fill(store)
    made = back_up(store.path)
    assert made is not None and list(made.parent.iterdir()) == [made] and examine(made).sound
    assert rows_of(made)["decisions"] == set(state(store)["decisions"])
    assert state(Store(made)) == state(store)


def test_a_copy_is_made_only_of_something_new_and_five_are_kept(store):
    made = []
    for k in range(8):
        make_set(store, f"set {k}")
        made.append(back_up(store.path))
        assert back_up(store.path) is None
    assert backups(store.path) == made[-5:]


def test_a_clock_that_is_set_back_deletes_none_of_the_newest(store, monkeypatch):
    class Clock:
        year = 2031

        @classmethod
        def now(cls, tz):
            cls.year -= 1
            return making_datetime(cls.year, 1, 1, tzinfo=tz)

    making_datetime = making.datetime
    monkeypatch.setattr(making, "datetime", Clock)
    for k in range(7):
        make_set(store, f"set {k}")
        back_up(store.path)
    assert [len(rows_of(b)["decision_sets"]) for b in backups(store.path)] == [3, 4, 5, 6, 7]


def test_ids_and_not_the_clock_say_what_is_newest(store, monkeypatch):
    made = make_set(store)
    times = iter(["2031-01-01T00:00:00.000Z", "2020-01-01T00:00:00.000Z", "2019-01-01T00:00:00.000Z"])
    monkeypatch.setattr("saeeval_core.ledger.connection.now", lambda: next(times))
    for decision in ("ablate", "keep", "unsure"):
        store.decide(made.id, "ann", {3: decision})
    assert store.decisions(made.id, WIDTH) == {3: "unsure"}
    monkeypatch.undo()
    store.undo(made.id, "ann")
    assert store.decisions(made.id, WIDTH) == {3: "keep"}


def test_the_keeper_copies_at_the_start_and_every_hour_in_which_something_was_written(store):
    fill(store, presses=2)
    hours = 0.0
    keeper = Keeper(store.path, clock=lambda: hours * 3600)
    keeper.thread.join()
    store._keeper = keeper
    assert len(backups(store.path)) == 1
    for hours in (0.5, 0.9, 1.0, 1.5, 2.1, 9.0):
        make_set(store, f"at {hours}")
        keeper.thread.join()
    assert len(backups(store.path)) == 4


def test_writing_goes_on_while_a_copy_is_made(store):
    fill(store)
    copying, stop = making._copy, threading.Event()

    def write() -> None:
        while not stop.is_set():
            make_set(store, "meanwhile")

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(3):
        made = back_up(store.path)
        assert made is not None and examine(made).sound
    stop.set()
    writer.join()
    assert copying is making._copy and examine(store.path).sound


def test_a_copy_that_cannot_be_made_is_a_notice(store, told, monkeypatch):
    fill(store, presses=2)
    beside(store.path, ".backups").write_text("a file where the folder should be")
    store.keep_backups().thread.join()
    assert "no backup of" in told()
    make_set(store, "goes on")


def test_a_damaged_store_is_not_copied_over_its_good_backups(store, told):
    fill(store, presses=2)
    good = back_up(store.path)
    with store._write() as c:
        c.exec_driver_sql("drop trigger decisions_no_update")
        c.exec_driver_sql("update decisions set latent = 99 where id = 1")
    make_set(store, "more")
    store.keep_backups().thread.join()
    assert "the copy is damaged" in told() and backups(store.path) == [good]
    assert [f.name for f in beside(store.path, ".backups").iterdir()] == [good.name]


def test_a_store_that_was_deleted_says_what_its_backup_holds(store, told):
    fill(store, presses=2)
    made = back_up(store.path)
    store.close()
    store.path.unlink()
    assert Store(store.path).list_sets() == []
    assert "is new and empty; a backup holds more (4 decision sets, 1 set name" in told()
    assert f"saeeval store merge {made}" in told()


@pytest.mark.parametrize("name", ["a?b=1", "a#b", "100%41", "mit Leerzeichen", "Zoë 数据", "a\nb", "'q\"", "file:x"])
def test_a_store_may_lie_anywhere(tmp_path, name, told):
    path = tmp_path / name / f"{name}.sqlite"
    store = Store(path)
    fill(store, presses=2)
    made = back_up(path)
    assert path.stat().st_size and made is not None and {p.name for p in tmp_path.iterdir()} == {name}
    store.close()
    with closing(sqlite3.connect(path)) as c:
        assert c.execute("select count(*) from presses").fetchone() == (2,)
    path.write_bytes(path.read_bytes()[:5000])
    assert Store(path).list_sets() == []
    assert "\n" not in told() and "saeeval store merge" in told()
