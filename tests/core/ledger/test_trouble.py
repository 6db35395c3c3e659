"""A full disk, a locked file and several servers: what is not stored is said in one line and can be sent again."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from stores import WIDTH, fill, flip_in, make_set, state

from saeeval_core.ledger import connection
from saeeval_core.ledger import repair as repairing
from saeeval_core.ledger.backups import back_up, backups
from saeeval_core.ledger.examine import examine
from saeeval_core.ledger.files import StoreError
from saeeval_core.ledger.store import PressId, Store

pytestmark = pytest.mark.faults


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.sqlite")


def press(store: Store, set_id: int, seq: int, reason: str = "") -> None:
    with store.once(PressId("page", seq, "ann", "decide")) as fresh:
        if fresh:
            store.decide(set_id, "ann", {seq: "ablate"}, reason)


def test_a_full_disk_is_said_and_the_press_is_taken_when_there_is_space(store):
    made = make_set(store)
    with store._write() as c:
        c.exec_driver_sql("pragma max_page_count = 1")  # as many as there are
    with pytest.raises(StoreError, match=r"store.sqlite cannot be written: database or disk is full; check the disk"):
        press(store, made.id, 1, "x" * 100_000)
    assert store.decisions(made.id, WIDTH) == {} and not store.carried_out(PressId("page", 1, "ann", "decide"))
    with store._write() as c:
        c.exec_driver_sql("pragma max_page_count = 1000000")
    press(store, made.id, 1, "x" * 100_000)
    press(store, made.id, 1)
    assert store.decisions(made.id, WIDTH) == {1: "ablate"} and len(store.history(made.id)) == 1


def test_a_locked_store_is_said_and_the_press_is_taken_when_it_is_free(store, monkeypatch):
    made = make_set(store)
    store.close()
    monkeypatch.setattr(connection, "BUSY_MS", 50)
    store, other = Store(store.path), Store(store.path)
    with other._write():
        with pytest.raises(StoreError, match=r"store.sqlite cannot be written: database is locked"):
            press(store, made.id, 1)
        assert store.decisions(made.id, WIDTH) == {}  # reading goes on
    press(store, made.id, 1)
    assert store.decisions(made.id, WIDTH) == {1: "ablate"}


def test_a_repair_without_space_leaves_everything_and_comes_later(store, monkeypatch, told):
    fill(store, presses=3)
    held = state(store)
    store.close()
    flip_in(store.path, b"pronouns")
    damaged = store.path.read_bytes()
    for step in ("_copy", "_keep_aside", "_build", "_put_in_place"):
        with monkeypatch.context() as m:
            m.setattr(repairing, step, lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(StoreError, match=r"cannot be repaired now: .*No space left on device; free some space"):
                Store(store.path)
        assert store.path.read_bytes() == damaged
    opened = Store(store.path)
    assert len(state(opened)["decisions"]) == len(held["decisions"]) - 1 and examine(store.path).sound


def test_a_server_that_was_open_during_the_repair_goes_on_with_the_same_store(store):
    fill(store, presses=3)
    other = Store(store.path)
    with store._begin() as c:
        c.exec_driver_sql("drop trigger decisions_no_update")
        c.exec_driver_sql("update decisions set latent = 77 where id = 1")
    assert Store(store.path).decisions(1, WIDTH) == other.decisions(1, WIDTH) == store.decisions(1, WIDTH)
    assert 77 not in other.decisions(1, WIDTH) and len(other.history(1)) == len(store.history(1))
    first, second = make_set(store, "a"), make_set(other, "b")
    assert [s.id for s in Store(store.path).list_sets()[-2:]] == [first.id, second.id]


def test_readers_and_writers_of_one_server_share_the_store(store):
    made = make_set(store)
    errors: list[BaseException] = []

    def decide(who: int) -> None:
        try:
            for k in range(15):
                press(store, made.id, 100 * who + k)
                store.decisions(made.id, WIDTH)
        except BaseException as error:  # noqa: BLE001  # reported by the test
            errors.append(error)

    threads = [threading.Thread(target=decide, args=(k,)) for k in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert errors == [] and len(store.decisions(made.id, WIDTH)) == 60 and examine(store.path).sound


_SERVER = """
import sys, time
from pathlib import Path
from saeeval_core.ledger.files import StoreError
from saeeval_core.ledger.store import PressId, Store

store, name = Store(Path(sys.argv[1])), sys.argv[2]
for k in range(80):
    while True:
        try:
            with store.once(PressId(name, k, name, "decide")) as fresh:
                if fresh:
                    store.decide(1, "ann", {ord(name) * 1000 + k: "ablate"}, name)
            break
        except StoreError as error:
            assert chr(10) not in str(error)
            time.sleep(0.01)
    print(k, flush=True)
"""


def test_two_servers_write_while_a_third_repairs_and_copies(store):
    """Nothing that was acknowledged is missing."""
    fill(store, presses=3)
    with store._write() as c:
        c.exec_driver_sql("drop trigger verdicts_no_update")
        c.exec_driver_sql("update verdicts set raw = 'x' where id = 1")
    store.close()
    run = [sys.executable, "-c", _SERVER, str(store.path)]
    opened = Store(store.path)  # repairs
    servers = [subprocess.Popen([*run, name], stdout=subprocess.PIPE, text=True) for name in ("a", "b")]
    assert all(s.stdout and s.stdout.readline() for s in servers)
    for latent in range(3):
        with opened._write() as c:  # damage, while both write
            c.exec_driver_sql("drop trigger verdicts_no_update")
            c.exec_driver_sql(f"update verdicts set raw = 'x' where id = {2 + latent}")
        assert repairing.repair(store.path) is not None
        assert back_up(store.path) is not None
    assert [s.wait(120) for s in servers] == [0, 0]
    log = Store(store.path).history(1)
    assert [len([d for d in log if d.reason == name]) for name in ("a", "b")] == [80, 80]
    assert examine(store.path).sound and len(backups(store.path)) == 3
