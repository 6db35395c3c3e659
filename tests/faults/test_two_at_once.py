"""Two processes on one store and one cache: nothing is done twice, lost, mixed up or waited for without end."""

import itertools
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from forks import die, die_at, own_folders, together
from stores import WIDTH
from worlds import World, sweep

from saeeval_core.ledger.store import PressId, Store

PLACE = {"metric": "shift", "task": "t", "direction": "d", "sae_fingerprint": "s", "recording_fingerprint": "r"}
PRESSES = 60


def serving(path: Path, start: Path, work: Callable[[Store], object]) -> Callable[[], None]:
    """A process with a store of its own, which begins once ``start`` is there."""

    def run() -> None:
        store = Store(path)
        while not start.exists():
            time.sleep(0.001)
        work(store)
        store.close()

    return run


def go(start: Path, works: list[Callable[[], None]], folder: Path) -> list:
    return together([*works, lambda: (time.sleep(0.3), start.touch())], folder)[:-1]


def test_a_press_that_reaches_two_servers_is_done_once(tmp_path):
    path, rng = tmp_path / "store.sqlite", random.Random(0)
    with_set = Store(path)
    own = with_set.create_set("mine", "ann", **PLACE).id
    with_set.close()
    asked = [rng.choice((None, rng.randrange(20))) for _ in range(PRESSES)]

    def press(store: Store) -> None:
        for i, latent in enumerate(asked):
            with store.once(PressId("page", i, "ann", "decide")) as fresh:
                if fresh and latent is None:
                    store.undo(own, "ann")
                elif fresh:
                    store.decide(own, "ann", {latent: "ablate" if i % 2 else "keep"})

    for done in go(tmp_path / "go", [serving(path, tmp_path / "go", press) for _ in range(3)], tmp_path):
        done.fine()
    alone = Store(tmp_path / "alone.sqlite")
    assert alone.create_set("mine", "ann", **PLACE).id == own
    press(alone)
    found = Store(path)
    assert [(d.latent, d.old, d.new) for d in found.history(own)] == [
        (d.latent, d.old, d.new) for d in alone.history(own)
    ]


def test_people_on_two_servers_keep_their_own_presses(tmp_path):
    path = tmp_path / "store.sqlite"
    Store(path).close()

    def person(who: str) -> Callable[[Store], None]:
        def press(store: Store) -> None:
            own = store.create_set("mine", who, **PLACE).id
            for i in range(PRESSES):
                with store.once(PressId(who, i, who, "decide")):
                    store.decide(own, who, {i: "ablate"}, who)

        return press

    people = [serving(path, tmp_path / "go", person(who)) for who in ("ann", "bob")]
    for done in go(tmp_path / "go", people, tmp_path):
        done.fine()
    found = Store(path)
    for own in found.list_sets():
        log = found.history(own.id)
        assert [d.latent for d in log] == list(range(PRESSES))
        assert {(d.who, d.reason) for d in log} == {(own.who, own.who)}


@pytest.mark.parametrize("where", ["before its commit", "after its commit"])
def test_a_server_that_dies_while_writing_blocks_nobody(tmp_path, where):
    path = tmp_path / "store.sqlite"
    with_sets = Store(path)
    ids = {who: with_sets.create_set("mine", who, **PLACE).id for who in ("ann", "bob")}
    with_sets.close()

    def dying(store: Store) -> None:
        for i in itertools.count():
            with store.once(PressId("ann", i, "ann", "decide")):
                store.decide(ids["ann"], "ann", {i: "ablate"})
                if i == 20 and where == "before its commit":
                    die()
            if i == 20:
                die()

    def living(store: Store) -> None:
        for i in range(PRESSES):
            with store.once(PressId("bob", i, "bob", "decide")):
                store.decide(ids["bob"], "bob", {i: "keep"})

    works = [serving(path, tmp_path / "go", work) for work in (dying, living)]
    dead, alive = go(tmp_path / "go", works, tmp_path)
    assert dead.killed and alive.fine()
    found = Store(path)
    whole = 20 if where == "before its commit" else 21
    assert found.decisions(ids["ann"], WIDTH) == dict.fromkeys(range(whole), "ablate")
    assert [found.carried_out(PressId("ann", i, "ann", "decide")) for i in (whole - 1, whole)] == [True, False]
    assert found.decisions(ids["bob"], WIDTH) == dict.fromkeys(range(PRESSES), "keep")
    with sqlite3.connect(path) as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)


def running(world: World, out: Path, cache: Path) -> Callable[[], None]:
    from forks import saeeval

    return lambda: saeeval(world.run(out), cache)


def test_two_runs_on_one_cache_give_the_same_result(world, finished, tmp_path):
    outs = [tmp_path / f"{i}.json" for i in range(2)]
    for done in together([running(world, out, tmp_path / "cache") for out in outs], tmp_path):
        done.fine()
    assert all(out.read_bytes() == (finished / "topk.json").read_bytes() for out in outs)
    third = together([running(world, tmp_path / "third.json", tmp_path / "cache")], tmp_path)[0].fine()
    assert "made again" not in third.err, "what two wrote at once is whole"


def test_a_run_that_dies_leaves_the_one_beside_it_alone(world, finished, tmp_path):
    works = [running(world, tmp_path / f"{i}.json", tmp_path / "cache") for i in range(2)]
    dead, alive = together([lambda: (die_at(3, "written"), works[0]()), works[1]], tmp_path)
    assert dead.killed and alive.fine()
    assert (tmp_path / "1.json").read_bytes() == (finished / "topk.json").read_bytes()


def test_two_sweeps_on_one_cache_give_the_same_rows(world, finished, own_copy, tmp_path):
    shutil.rmtree(own_copy / "sweep")
    folders = [tmp_path / name for name in ("one", "two")]
    works = [lambda f=f: (os.mkdir(f), own_folders(own_copy), sweep(world, f)) for f in folders]
    for done in together(works, tmp_path):
        done.fine()
    assert all((f / "sweep.csv").read_bytes() == (finished / "sweep.csv").read_bytes() for f in folders)
