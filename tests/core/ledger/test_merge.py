"""Merging and exporting stores: each row once, ids kept where a row comes home, and nothing overwritten."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from stores import VERDICT, WIDTH, fill, flip, make_set, state

from saeeval_core.errors import DataError
from saeeval_core.ledger.backups import back_up
from saeeval_core.ledger.exchange import export, read_contents
from saeeval_core.ledger.files import beside
from saeeval_core.ledger.merge import Merged, merge
from saeeval_core.ledger.places import Place, find_set
from saeeval_core.ledger.store import PressId, Store

NOTHING = Merged({}, (), 0)


@pytest.fixture
def mine(tmp_path: Path) -> Store:
    return Store(tmp_path / "mine.sqlite")


@pytest.fixture
def theirs(tmp_path: Path) -> Store:
    return Store(tmp_path / "lab.sqlite")


def take(store: Store, other: Store) -> Merged:
    return merge(store, read_contents(other.path))


def copy_of(store: Store, name: str) -> Store:
    """The same store on another machine."""
    path = store.path.with_name(name)
    for ending in ("", "-wal"):
        if beside(store.path, ending).exists():
            shutil.copy(beside(store.path, ending), beside(path, ending))
    return Store(path)


def logs(store: Store) -> dict[str, list[tuple]]:
    """What was decided, by name and person of the set, without ids."""
    return {
        f"{s.name}/{s.who}": [(d.who, d.at, d.latent, d.old, d.new, d.reason) for d in store.history(s.id)]
        for s in store.list_sets()
    }


def test_everything_comes_over_once_with_who_and_when(mine, theirs):
    fill(theirs)
    make_set(mine, "here before", "eve")
    done = take(mine, theirs)
    assert done.apart == () and done.added["decisions"] == len(state(theirs)["decisions"])
    assert logs(mine) == {"here before/eve": []} | logs(theirs)
    assert [c.ids for c in mine.commits()] == [(1, 2)] and mine.raters("s") == theirs.raters("s")
    assert mine.open_batches() == {"b1": {"a": [1]}} and mine.carried_out(PressId("page", 3, "ann", "decide"))
    assert mine.undo(2, "ann") and theirs.undo(1, "ann")
    assert mine.decisions(2, WIDTH) == theirs.decisions(1, WIDTH)
    with closing(sqlite3.connect(mine.path)) as c:
        assert c.execute("select distinct source from origins").fetchall() == [("lab",)]


def test_merging_again_or_back_adds_nothing(mine, theirs):
    fill(theirs)
    fill(mine, presses=3)
    take(mine, theirs)
    before = logs(mine)
    assert take(mine, theirs) == NOTHING and logs(mine) == before
    take(theirs, mine)
    assert take(theirs, mine) == NOTHING and take(mine, theirs) == NOTHING and logs(mine) == before


def test_what_was_added_there_since_is_appended(mine, theirs):
    fill(theirs, presses=2)
    make_set(mine, "here before", "eve")
    take(mine, theirs)
    theirs.decide(1, "ann", {1: "unsure"})
    theirs.rename_set(1, "later", "ann")
    assert take(mine, theirs).added == {"set_names": 1, "decisions": 1}
    assert logs(mine)["later/ann"] == logs(theirs)["later/ann"] and take(mine, theirs) == NOTHING


def test_a_set_that_went_on_in_both_stays_two(mine):
    first = make_set(mine)
    mine.decide(first.id, "ann", {1: "ablate", 2: "keep"})
    laptop = copy_of(mine, "laptop.sqlite")
    mine.decide(first.id, "ann", {1: "keep"})
    laptop.undo(first.id, "ann")
    laptop.decide(first.id, "ann", {9: "ablate"})
    here = mine.history(first.id)
    done = take(mine, laptop)
    assert done.apart == ("mine (from laptop)",) and mine.history(first.id) == here
    other = mine.list_sets()[-1]
    assert other.name == "mine (from laptop)" and mine.decisions(other.id, WIDTH) == laptop.decisions(
        first.id, WIDTH
    ) == {9: "ablate"}
    assert take(mine, laptop) == NOTHING
    laptop.decide(first.id, "ann", {10: "ablate"})  # goes on there: its copy here follows
    assert take(mine, laptop).apart == () and mine.decisions(other.id, WIDTH) == {9: "ablate", 10: "ablate"}
    assert mine.history(first.id) == here


def test_a_set_of_another_store_never_takes_the_place_of_ones_own(mine, theirs):
    for metric in ("shift", "tpp"):
        for store, latent in ((mine, 1), (theirs, 2)):
            for direction in ("a", "b"):
                made = make_set(store, metric=metric, direction=direction)
                store.decide(made.id, "ann", {latent: "ablate"})
    assert len(take(mine, theirs).apart) == 4
    for metric in ("shift", "tpp"):
        found = find_set(mine, Place(metric, "bios", "a", "s", "r"), "ann")
        assert found is not None and mine.ablated(found.id, WIDTH) == [1]
        other = find_set(mine, Place(metric, "bios", "a", "s", "r"), "ann", "mine (from lab)")
        assert other is not None and mine.ablated(other.id, WIDTH) == [2]


def test_classes_of_a_tpp_set_go_the_same_way(mine):
    tea, soup = (make_set(mine, metric="tpp", direction=d) for d in ("tea", "soup"))
    laptop = copy_of(mine, "laptop.sqlite")
    mine.decide(tea.id, "ann", {1: "ablate"})
    laptop.decide(tea.id, "ann", {2: "ablate"})
    laptop.decide(soup.id, "ann", {3: "ablate"})
    take(mine, laptop)
    named = {s.direction: mine.ablated(s.id, WIDTH) for s in mine.list_sets() if s.name == "mine (from laptop)"}
    assert (
        named == {"tea": [2], "soup": [3]} and mine.ablated(tea.id, WIDTH) == [1] and mine.ablated(soup.id, WIDTH) == []
    )


def test_lost_rows_come_home_from_a_backup_under_their_own_ids(tmp_path, told):
    path = tmp_path / "s.sqlite"
    store = Store(path)
    fill(store)
    held = state(store)
    backup = back_up(path)
    assert backup is not None
    store.decide(2, "bob", {8: "keep"})  # after the backup
    newest = state(store)
    store.close()
    content = bytearray(path.read_bytes())
    for page in range(1, len(content) // 4096):
        if content[page * 4096] == 13 and (b"pronouns" in content[page * 4096 : page * 4096 + 4096] or page == 1):
            content[page * 4096 : (page + 1) * 4096] = bytes(4096)
    path.write_bytes(content)
    store = Store(path)
    lost = [k for kind in held for k in held[kind] if k not in state(store)[kind]]
    assert len(lost) > 20 and f"saeeval store merge {backup}" in told()
    done = merge(store, read_contents(backup))
    assert done.apart == ()
    found = state(store)
    with closing(sqlite3.connect(path)) as c:
        assert c.execute("select count(*) from origins").fetchone() == (0,)
    assert all(found[kind][i] == row for kind in held for i, row in held[kind].items())
    assert all(newest[kind][i] == row for kind in found for i, row in found[kind].items())
    assert merge(store, read_contents(backup)) == NOTHING


def test_ratings_of_both_are_kept_and_ones_own_stay_current(mine, theirs):
    for store, rating in ((mine, 1), (theirs, 4)):
        store.add_verdicts([replace(VERDICT, rater="ann", rater_kind="human", ratings={"nurse": rating})])
        store.add_verdicts([VERDICT, replace(VERDICT, latent=9, rater=f"only {rating}")])
    assert take(mine, theirs).apart == ("ann (from lab)",)
    current = {v.rater: v for v in mine.verdicts("s", latent=7)}
    assert current["ann"].ratings == {"nurse": 1} and current["ann (from lab)"].ratings == {"nurse": 4}
    assert current["ann (from lab)"].at == theirs.verdicts("s", rater="ann")[0].at
    assert [r for r, _, _ in mine.raters("s")].count("judge") == 1  # the same answer to the same question
    assert len(mine.verdict_history("s")) == 5 and take(mine, theirs) == NOTHING


def test_an_exported_store_is_merged_as_the_store_is(mine, theirs, tmp_path):
    fill(theirs)
    out = tmp_path / "out" / "lab.jsonl"
    rows = export(theirs.path, out)
    assert (
        rows["decisions"] == len(state(theirs)["decisions"]) and out.read_text().count("\n") == sum(rows.values()) + 2
    )
    assert read_contents(out) == read_contents(theirs.path)
    merge(mine, read_contents(out))
    assert logs(mine) == logs(theirs) and take(mine, theirs) == NOTHING


def test_a_damaged_store_gives_what_can_be_read(mine, theirs):
    fill(theirs)
    theirs.close()
    content = theirs.path.read_bytes()
    flip(theirs.path, content.rfind(b"pronouns") * 8)
    before = theirs.path.read_bytes()
    added = take(mine, theirs).added
    assert added["decisions"] == len(state(mine)["decisions"]) > 50 and theirs.path.read_bytes() == before


def test_files_that_cannot_be_merged_are_one_line(theirs, tmp_path):
    fill(theirs, presses=2)
    out = tmp_path / "lab.jsonl"
    export(theirs.path, out)
    text = out.read_text()
    lines = text.splitlines(keepends=True)
    for content, pattern in (
        ("hello", "is no store; give a store or a file written by saeeval store export"),
        ("", "is no store"),
        ('{"format": "other"}\n', "is no exported store of this version"),
        ("{]\n", "line 1 is not JSON"),
        (lines[0] + "[1]\n", "line 2 is no object"),
        (lines[0] + '{"table": "sqlite_master", "row": {}, "seal": ""}\n', "line 2 is no row of a store"),
        (lines[0] + '{"table": ["x"], "row": 3}\n', "line 2 is no row of a store"),
        (text.replace('"ablate"', '"keep"', 1), r"line \d+ does not fit its checksum: it was changed"),
        (text.replace('"latent": 1,', '"latent": true,', 1), "does not fit its checksum"),
        ("".join(lines[:-3]), "was cut off after"),
        ("".join(lines[:3] + lines[4:]), r"says it has \d+ rows and has \d+"),
        (lines[0] + "[" * 100_000 + "\n", "line 2 is not JSON"),
    ):
        out.write_text(content)
        with pytest.raises(DataError, match=pattern) as refused:
            read_contents(out)
        assert "\n" not in str(refused.value)
    with pytest.raises(DataError, match="is no file"):
        read_contents(tmp_path)
