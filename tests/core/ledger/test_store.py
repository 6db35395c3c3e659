"""The store: append-only decisions with undo and history, looks, commits, verdicts; old schemas; many writers."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError
from stores import VERDICT

from saeeval_core.errors import ArtifactError, DataError
from saeeval_core.ledger.connection import StoreError
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.migrations import MIGRATIONS, migrate
from saeeval_core.ledger.places import reset
from saeeval_core.ledger.store import PressId, Store

WIDTH = 100_000
"""More latents than are decided on here."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.sqlite")


def make_set(store: Store, name: str = "mine", direction: str = "target profession / spurious gender") -> DecisionSet:
    return store.create_set(
        name, "ann", metric="shift", task="bios", direction=direction, sae_fingerprint="s", recording_fingerprint="r"
    )


def test_newest_decision_wins_and_nothing_is_lost(store: Store) -> None:
    s = make_set(store)
    store.decide(s.id, "ann", {3: "ablate"}, "pronouns")
    store.decide(s.id, "ann", {3: "keep", 4: "ablate"})
    assert store.decisions(s.id, WIDTH) == {3: "keep", 4: "ablate"}
    assert store.ablated(s.id, WIDTH) == [4]
    log = [(d.latent, d.old, d.new) for d in store.history(s.id)]
    assert log == [(3, "none", "ablate"), (3, "ablate", "keep"), (4, "none", "ablate")]
    assert store.history(s.id, 3)[0].reason == "pronouns"


def test_a_decision_that_changes_nothing_is_not_recorded(store: Store) -> None:
    s = make_set(store)
    store.decide(s.id, "ann", {3: "ablate"})
    assert store.decide(s.id, "ann", {3: "ablate"}) == []
    assert len(store.history(s.id)) == 1


def test_undo_walks_back_and_takes_a_bulk_decision_as_one(store: Store) -> None:
    s = make_set(store)
    store.decide(s.id, "ann", {1: "ablate"})
    store.decide(s.id, "ann", {1: "keep", 2: "ablate", 3: "ablate"})
    assert len(store.undo(s.id, "ann")) == 3
    assert store.decisions(s.id, WIDTH) == {1: "ablate"}
    store.undo(s.id, "ann")
    assert store.decisions(s.id, WIDTH) == {}
    assert store.undo(s.id, "ann") == []
    assert len(store.history(s.id)) == 8


def test_undo_after_a_new_decision_takes_that_one_back(store: Store) -> None:
    s = make_set(store)
    store.decide(s.id, "ann", {1: "ablate"})
    store.undo(s.id, "ann")
    store.decide(s.id, "ann", {1: "unsure"})
    store.undo(s.id, "ann")
    assert store.decisions(s.id, WIDTH) == {}


DOORS = {
    "decide": lambda store, s: store.decide(s.id, "bob", {2: "ablate"}),
    "undo": lambda store, s: store.undo(s.id, "bob"),
    "rename": lambda store, s: store.rename_set(s.id, "bob's now", "bob"),
    "commit": lambda store, s: store.commit(s.id, "bob", [1], {"score": 0.5}),
    "look": lambda store, s: store.note_look(s.id, "bob", [1]),
    "reset": lambda store, s: reset(store, s.id, "bob", [2], "reset", WIDTH),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_set_is_changed_by_its_owner_only(store: Store, door: str) -> None:
    s = make_set(store)
    store.decide(s.id, "ann", {1: "ablate"})
    with pytest.raises(DataError, match="set 'mine' belongs to ann; duplicate it") as error:
        DOORS[door](store, s)
    assert "\n" not in str(error.value)
    assert store.decisions(s.id, WIDTH) == {1: "ablate"} and len(store.history(s.id)) == 1
    assert store.list_sets() == [s] and store.commits() == [] and store.dev_looks(s.id) == 0


def test_a_copy_leaves_out_latents_beyond_the_width(store: Store) -> None:
    s = make_set(store)
    store.decide(s.id, "ann", {1: "ablate", 500: "ablate"})
    copy = store.duplicate_set(s.id, "copy", "bob", 100)
    assert [d.latent for d in store.history(copy.id)] == [1]
    reset(store, s.id, "ann", [2], "reset", 100)
    assert store.decisions(s.id, WIDTH) == {2: "ablate", 500: "ablate"} and store.ablated(s.id, 100) == [2]


def test_sets_are_listed_renamed_and_duplicated(store: Store) -> None:
    s = make_set(store)
    make_set(store, "other", direction="swapped")
    store.decide(s.id, "ann", {1: "ablate", 2: "keep"})
    assert store.rename_set(s.id, "final", "ann").name == "final"
    copy = store.duplicate_set(s.id, "bob's", "bob", WIDTH)
    assert (copy.copied_from, copy.who, store.decisions(copy.id, WIDTH)) == (s.id, "bob", {1: "ablate", 2: "keep"})
    found = store.list_sets(metric="shift", task="bios", direction=s.direction, sae_fingerprint="s")
    assert [x.name for x in found] == ["final", "bob's"]
    assert store.list_sets(sae_fingerprint="another SAE") == []


@pytest.mark.parametrize("wrong", [{1: "delete"}, {1: "Ablate"}])
def test_unknown_decisions_are_refused(store: Store, wrong: dict[int, str]) -> None:
    with pytest.raises(DataError, match="use one of ablate, keep, unsure, none"):
        store.decide(make_set(store).id, "ann", wrong)


def test_unknown_set_and_empty_name_are_refused(store: Store) -> None:
    with pytest.raises(DataError, match="decision set 99 does not exist"):
        store.decide(99, "ann", {1: "ablate"})
    with pytest.raises(DataError, match="needs a name"):
        make_set(store, "  ")


def test_dev_looks_count_different_sets_once(store: Store) -> None:
    s = make_set(store)
    assert [store.note_look(s.id, "ann", ids) for ids in ([1], [1, 2], [2, 1], [1])] == [1, 2, 2, 2]


def test_commit_freezes_ids_score_and_looks(store: Store) -> None:
    s = make_set(store)
    store.note_look(s.id, "ann", [1])
    store.commit(s.id, "ann", [5, 1], {"score": 0.5, "reason": None})
    store.decide(s.id, "ann", {9: "ablate"})
    (commit,) = store.commits(s.id)
    assert (commit.ids, commit.test, commit.dev_looks) == ((1, 5), {"score": 0.5, "reason": None}, 1)


@pytest.mark.parametrize("table", ["decision_sets", "decisions", "verdicts", "commits", "looks", "set_names"])
@pytest.mark.parametrize("verb", ["update {} set who = 'x'", "delete from {}"])
def test_rows_cannot_be_changed_or_removed(store: Store, table: str, verb: str) -> None:
    s = make_set(store)
    store.decide(s.id, "ann", {1: "ablate"})
    store.rename_set(s.id, "b", "ann")
    store.note_look(s.id, "ann", [1])
    store.commit(s.id, "ann", [1], {})
    store.add_verdicts([VERDICT])
    statement = verb.format(table).replace("who", "rater" if table == "verdicts" else "who")
    with pytest.raises(IntegrityError, match="append-only"), store._write() as c:
        c.execute(text(statement))


def test_verdict_round_trip_and_question_identity(store: Store) -> None:
    store.add_verdicts([VERDICT])
    found = store.find_verdict(VERDICT.key)
    assert found is not None
    assert replace(found, at="", id=None) == VERDICT
    for change in (
        {"model": "m2"},
        {"prompt": "p2"},
        {"evidence_hash": "e2"},
        {"latent": 8},
        {"sae_fingerprint": "s2"},
    ):
        assert store.find_verdict(replace(VERDICT, **change).key) is None


def test_a_failure_never_hides_a_usable_verdict(store: Store) -> None:
    failed = replace(VERDICT, ratings={}, status="refused", raw="I cannot")
    store.add_verdicts([failed])
    assert [v.status for v in store.verdicts("s")] == ["refused"]
    assert store.find_verdict(VERDICT.key) is None
    store.add_verdicts([VERDICT, failed])
    assert [v.status for v in store.verdicts("s")] == ["ok"]
    assert [v.status for v in store.verdict_history("s")] == ["refused", "ok", "refused"]
    assert store.raters("s") == [("judge", "llm", 1)]


@pytest.mark.parametrize("ratings", [{"nurse": 5}, {"nurse": 2.0}, {"nurse": "3"}, {"nurse": True}, {"nurse": -1}])
def test_only_whole_numbers_0_to_4_are_stored(store: Store, ratings: dict) -> None:
    with pytest.raises(DataError, match="not whole numbers from 0 to 4"):
        store.add_verdicts([replace(VERDICT, ratings=ratings)])


def test_open_batches_are_those_not_collected(store: Store) -> None:
    store.note_batch("b1", "created", {"a": [1]})
    store.note_batch("b2", "created", {"b": [2]})
    store.note_batch("b1", "collected", {})
    assert store.open_batches() == {"b2": {"b": [2]}}


def test_oldest_schema_is_brought_up_to_date_with_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as c:
        migrate(c, MIGRATIONS[:1])
        columns = "name, who, metric, task, direction, sae_fingerprint, recording_fingerprint"
        c.execute(text(f"insert into decision_sets ({columns}) values ('old', 'ann', 'shift', 'bios', 'd', 's', 'r')"))
        c.execute(text("insert into decisions (set_id, who, latent, old, new) values (1, 'ann', 4, 'none', 'keep')"))
        c.execute(text("insert into decisions (set_id, who, latent, old, new) values (1, 'ann', 5, 'none', 'ablate')"))
    engine.dispose()
    store = Store(path)
    assert store.decisions(1, WIDTH) == {4: "keep", 5: "ablate"}
    store.undo(1, "ann")
    assert store.decisions(1, WIDTH) == {4: "keep"}
    store.add_verdicts([VERDICT])
    store.close()
    assert Store(path).raters("s") == [("judge", "llm", 1)]


def test_a_store_from_before_presses_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as c:
        migrate(c, MIGRATIONS[:3])
    engine.dispose()
    store, press = Store(path), PressId("page", 1, "ann", "undo")
    with store.once(press) as fresh:
        assert fresh
    assert store.carried_out(press) and not store.carried_out(replace(press, seq=2))


def test_a_press_and_its_effect_are_stored_together_or_not_at_all(store: Store) -> None:
    press = PressId("page", 1, "ann", "decide")
    with pytest.raises(DataError), store.once(press):
        kept = make_set(store)
        store.decide(kept.id, "ann", {3: "ablate"})
        store.decide(999, "ann", {3: "ablate"})
    assert store.list_sets() == [] and not store.carried_out(press)
    for time in range(2):
        with store.once(press) as fresh:
            assert fresh == (time == 0)
            if fresh:
                store.decide(make_set(store).id, "ann", {3: "ablate"})
    assert len(store.list_sets()) == 1
    with Store(store.path).once(press) as fresh:  # another process
        assert not fresh


def test_a_moved_store_is_noticed_and_one_put_back_is_used(store: Store) -> None:
    s = make_set(store)
    away = store.path.rename(store.path.with_name("away"))
    for use in (lambda: store.decide(s.id, "ann", {3: "ablate"}), lambda: store.decisions(s.id, WIDTH)):
        with pytest.raises(StoreError, match="moved or deleted"):
            use()
    assert not store.path.exists()
    shutil.copy(away, store.path)  # another file with the same content
    store.decide(s.id, "ann", {4: "ablate"})
    assert Store(store.path).decisions(s.id, WIDTH) == {4: "ablate"}


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    with store._write() as c:
        c.execute(text("insert into migrations (name) values ('m999_future')"))
    with pytest.raises(ArtifactError, match="newer version"):
        Store(store.path)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    path.write_text("not a database, but long enough to look like one" * 30)
    with pytest.raises(ArtifactError, match=r"s.sqlite cannot be"):
        Store(path)


_WRITER = """
import sys
from pathlib import Path
from saeeval_core.ledger.store import Store
store = Store(Path(sys.argv[1]))
for latent in range(20 if len(sys.argv) > 2 else 0):
    store.decide(int(sys.argv[2]), "ann", {latent: "ablate" if latent % 2 else "keep"})
    store.decide(int(sys.argv[2]), "ann", {latent: "none"})
"""


def test_ten_processes_write_at_once(tmp_path: Path) -> None:
    """Every row's old value is the value left by the row before it, whoever wrote that."""
    path = tmp_path / "new" / "s.sqlite"

    def start(*args: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", _WRITER, str(path), *map(str, args)])

    openers = [start() for _ in range(3)]
    assert [p.wait(60) for p in openers] == [0] * 3
    store = Store(path)
    set_id = make_set(store).id
    writers = [start(set_id) for _ in range(10)]
    assert [p.wait(120) for p in writers] == [0] * 10
    state: dict[int, str] = {}
    for d in store.history(set_id):
        assert d.old == state.get(d.latent, "none")
        state[d.latent] = d.new
    assert len(store.history(set_id)) > 200


def test_a_copy_keeps_the_log_and_the_looks(store: Store) -> None:
    s = make_set(store)
    store.decide(s.id, "ann", {1: "ablate", 2: "keep"}, "pronouns")
    store.decide(s.id, "ann", {3: "ablate"})
    store.undo(s.id, "ann")
    for ids in ([], [1], [1, 3]):
        store.note_look(s.id, "ann", ids)
    copy = store.duplicate_set(s.id, "bob's", "bob", WIDTH)

    def log(set_id: int) -> list[tuple[object, ...]]:
        rows = store.history(set_id)
        at = {d.id: k for k, d in enumerate(rows)}
        return [(d.latent, d.old, d.new, d.who, d.at, d.reason, d.undoes and at[d.undoes]) for d in rows]

    assert log(copy.id) == log(s.id) and store.decisions(copy.id, WIDTH) == {1: "ablate", 2: "keep"}
    assert store.dev_looks(copy.id) == 3 and store.note_look(copy.id, "bob", [1]) == 3
    assert store.undo(copy.id, "bob") == []  # what ann decided is not bob's to undo
    store.decide(copy.id, "bob", {9: "ablate"})
    assert [d.latent for d in store.undo(copy.id, "bob")] == [9] and store.undo(copy.id, "bob") == []
    mine = store.duplicate_set(s.id, "again", "ann", WIDTH)
    store.undo(mine.id, "ann")
    assert store.decisions(mine.id, WIDTH) == {} and store.decisions(s.id, WIDTH) == {1: "ablate", 2: "keep"}


def test_looks_before_an_import_are_counted_or_unknown_in_every_copy(store: Store) -> None:
    known, unknown = make_set(store, "known"), make_set(store, "unknown")
    store.note_origin(known.id, 8)
    store.note_origin(unknown.id, None)
    for s, before, looks in ((known, 8, 9), (unknown, None, 1)):
        store.note_look(s.id, "ann", [1])
        copy = store.duplicate_set(s.id, "copy", "bob", WIDTH)
        assert [store.dev_looks(i) for i in (s.id, copy.id)] == [looks, looks]
        assert copy.looks_before == before
        assert store.commit(copy.id, "bob", [1], {}).dev_looks == looks
    assert make_set(store).looks_before == 0


def test_what_a_guest_decided_passes_to_the_name_given_later(store: Store) -> None:
    guests, own = make_set(store, "mine"), make_set(store, "other")
    assert [s.who for s in store.take_over("ann", "Ada")] == ["Ada", "Ada"]
    store.decide(guests.id, "Ada", {1: "ablate"})
    with pytest.raises(DataError, match="belongs to Ada"):
        store.decide(own.id, "ann", {1: "ablate"})
    assert store.take_over("ann", "Ada") == []


def test_taking_over_keeps_numbers_names_and_undo(store: Store) -> None:
    place = {"task": "bios", "sae_fingerprint": "s", "recording_fingerprint": "r"}

    def make(who: str, metric: str, direction: str) -> DecisionSet:
        return store.create_set("mine", who, metric=metric, direction=direction, **place)

    hers = [make("Ada", "shift", "d"), make("Ada", "tpp", "nurse")]
    guests = [make("guest 1", "shift", d) for d in ("d", "e")] + [make("guest 1", "tpp", c) for c in ("tea", "soup")]
    make("guest 2", "shift", "d")
    store.decide(guests[0].id, "guest 1", {1: "ablate"})
    taken = store.take_over("guest 1", "Ada")
    assert [s.id for s in taken] == [s.id for s in guests]
    assert [s.name for s in taken] == ["mine (as guest)", "mine", "mine (as guest)", "mine (as guest)"]
    assert [s.name for s in store.list_sets() if s.id in {h.id for h in hers}] == ["mine", "mine"]
    assert [(d.latent, d.who) for d in store.undo(guests[0].id, "Ada")] == [(1, "Ada")]
    assert [s.who for s in store.list_sets()].count("guest 2") == 1
