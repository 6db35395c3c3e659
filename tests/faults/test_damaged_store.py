"""Damage to the store: what it gives is what was decided, or it says what is lost; it never gives anything else."""

import random
import shutil
import sqlite3
from pathlib import Path

import pytest
from damage import DAMAGES
from stores import WIDTH

from saeeval_core.errors import ArtifactError
from saeeval_core.ledger.store import PressId, Store
from saeeval_core.storage.notices import notices

PLACE = {"metric": "shift", "task": "t", "direction": "d", "sae_fingerprint": "s", "recording_fingerprint": "r"}
DECIDED = 400
TIMES = 5
"""Damages of each case."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A store with decisions of two people, undos and a commit, all in one file."""
    path = tmp_path_factory.mktemp("store") / "store.sqlite"
    store, rng = Store(path), random.Random(0)
    for who in ("ann", "bob"):
        own = store.create_set("mine", who, **PLACE).id
        for i in range(DECIDED):
            with store.once(PressId(who, i, who, "decide")):
                store.decide(own, who, {rng.randrange(1000): rng.choice(("ablate", "keep", "unsure"))}, f"because {i}")
        store.undo(own, who)
        store.commit(own, who, store.ablated(own, WIDTH), {"score": 0.25})
    store.keep_backups().thread.join()
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("pragma wal_checkpoint(truncate)")
    return path


def content(path: Path) -> dict[str, list]:
    """What people see of a store: "ann" and "bob" -> their decisions, latent by latent, and commits."""
    store = Store(path)
    try:
        own = {s.who: s.id for s in store.list_sets()}
        return {
            who: [*store.decisions(i, WIDTH).items(), *((c.ids, c.test["score"]) for c in store.commits(i))]
            for who, i in own.items()
        }
    finally:
        store.close()


def outcome(path: Path, expected: dict[str, list]) -> str:
    """ "same", "refused" in one line, or "told" that something is lost; fails for anything else."""
    before = notices()
    try:
        found = content(path)
    except ArtifactError as error:
        assert "\n" not in str(error) and path.name in str(error)
        return "refused"
    if found == expected:
        return "same"
    assert [n for n in notices() if n not in before], "something else is shown without a word"
    return "told"


def damaged(whole: Path, folder: Path, name: str, seed: int) -> Path:
    path = shutil.copytree(whole.parent, folder, dirs_exist_ok=True) / whole.name
    DAMAGES[name](path, random.Random(f"{name} {seed}"))
    return path


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", DAMAGES)
def test_a_store_is_the_same_or_says_what_is_lost(whole, tmp_path, record_property, name, seed):
    expected = content(whole)
    for i in range(TIMES):
        outcome(damaged(whole, tmp_path / str(i), name, TIMES * seed + i), expected)
    record_property("tried", TIMES)


def test_another_persons_store_in_its_place_is_read_as_what_it_is(whole, tmp_path):
    path = shutil.copy(whole, tmp_path / "store.sqlite")
    store = Store(path)
    own = {s.who: s.id for s in store.list_sets()}["ann"]
    Store(tmp_path / "other.sqlite").close()
    shutil.copy(tmp_path / "other.sqlite", tmp_path / "copy.sqlite")
    (tmp_path / "copy.sqlite").replace(path)
    assert store.list_sets() == [] and store.decisions(own, WIDTH) == {}


@pytest.mark.parametrize("bits", [b"not a database at all", b"SQLite format 3\0" + bytes(84), b"\xff" * 5000])
def test_what_is_no_store_is_refused_or_kept_aside(tmp_path, bits):
    path = tmp_path / "store.sqlite"
    path.write_bytes(bits)
    assert outcome(path, {}) in ("refused", "told", "same")
    assert any(bits in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()), "nothing is thrown away"
