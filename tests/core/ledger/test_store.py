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
from saeeval_core.ledger.store import PressId, Store


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
    assert store.decisions(s.id) == {3: "keep", 4: "ablate"}
    assert store.ablated(s.id) == [4]
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
    assert store.decisions(s.id) == {1: "ablate"}
    store.undo(s.id, "ann")
    assert store.decisions(s.id) == {}
    assert store.undo(s.id, "ann") == []
    assert len(store.history(s.id)) == 8


def test_undo_after_a_new_decision_takes_that_one_back(store: Store) -> None:
    s = make_set(store)
    store.decide(s.id, "ann", {1: "ablate"})
    store.undo(s.id, "ann")
    store.decide(s.id, "ann", {1: "unsure"})
    store.undo(s.id, "ann")
    assert store.decisions(s.id) == {}


def test_undo_touches_only_ones_own_decisions(store: Store) -> None:
    s = make_set(store)
    store.decide(s.id, "ann", {1: "ablate"})
    store.decide(s.id, "bob", {2: "ablate"})
    undone = store.undo(s.id, "ann")
    assert [(d.latent, d.new, d.who) for d in undone] == [(1, "none", "ann")]
    assert store.decisions(s.id) == {2: "ablate"}


def test_sets_are_listed_renamed_and_duplicated(store: Store) -> None:
    s = make_set(store)
    make_set(store, "other", direction="swapped")
    store.decide(s.id, "ann", {1: "ablate", 2: "keep"})
    assert store.rename_set(s.id, "final", "bob").name == "final"
    copy = store.duplicate_set(s.id, "bob's", "bob")
    assert (copy.copied_from, copy.who, store.decisions(copy.id)) == (s.id, "bob", {1: "ablate", 2: "keep"})
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
    assert store.decisions(1) == {4: "keep", 5: "ablate"}
    store.undo(1, "ann")
    assert store.decisions(1) == {4: "keep"}
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
    for use in (lambda: store.decide(s.id, "ann", {3: "ablate"}), lambda: store.decisions(s.id)):
        with pytest.raises(StoreError, match="moved or deleted"):
            use()
    assert not store.path.exists()
    shutil.copy(away, store.path)  # another file with the same content
    store.decide(s.id, "ann", {4: "ablate"})
    assert Store(store.path).decisions(s.id) == {4: "ablate"}


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
    store.decide(int(sys.argv[3]), sys.argv[2], {latent: "ablate" if latent % 2 else "keep"})
    store.decide(int(sys.argv[3]), sys.argv[2], {latent: "none"})
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
    writers = [start(f"p{i}", set_id) for i in range(10)]
    assert [p.wait(120) for p in writers] == [0] * 10
    state: dict[int, str] = {}
    for d in store.history(set_id):
        assert d.old == state.get(d.latent, "none")
        state[d.latent] = d.new
    assert len(store.history(set_id)) > 200
