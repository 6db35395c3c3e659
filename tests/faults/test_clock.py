"""A clock that is wrong, or set back while something runs, changes no number, no order and loses nothing."""

import os
import random
import time
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from forks import forked, own_folders
from stores import WIDTH
from worlds import sweep

from saeeval_core.ledger.store import PressId, Store

PLACE = {"metric": "shift", "task": "t", "direction": "d", "sae_fingerprint": "s", "recording_fingerprint": "r"}


def clock_of(start: float, step: float) -> None:
    """From now on this process reads such a clock: every reading is ``step`` seconds later than the last."""
    read = [start]

    def now() -> float:
        read[0] += step
        return read[0]

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.fromtimestamp(now(), tz)

    import saeeval_core.cli.compare
    import saeeval_core.sweep.sweep as sweep_module

    time.time, time.time_ns, sweep_module.datetime = now, lambda: int(1e9 * now()), Clock
    assert saeeval_core.cli.compare


BACKWARDS = {"in 1970": (0.0, 1.0), "going back": (2e9, -3600.0), "standing still": (1.7e9, 0.0)}


@pytest.mark.parametrize("name", BACKWARDS)
def test_a_run_under_such_a_clock_gives_the_same_result(command, world, finished, tmp_path, name):
    command(world.run(tmp_path / "r.json"), tmp_path / "cache", lambda: clock_of(*BACKWARDS[name])).fine()
    assert (tmp_path / "r.json").read_bytes() == (finished / "topk.json").read_bytes()
    again = command(world.run(tmp_path / "again.json"), tmp_path / "cache").fine()
    assert (tmp_path / "again.json").read_bytes() == (finished / "topk.json").read_bytes()
    assert "made again" not in again.err


@pytest.mark.parametrize("years", [-30, 30])
def test_files_of_another_year_are_read_as_they_are(command, world, finished, own_copy, tmp_path, years):
    then = (datetime.now(UTC) + timedelta(days=365 * years)).timestamp()
    for path in own_copy.rglob("*.*"):
        os.utime(path, (then, then))
    done = command(world.run(tmp_path / "r.json"), own_copy).fine()
    assert (tmp_path / "r.json").read_bytes() == (finished / "topk.json").read_bytes() and not done.err.strip()


def test_a_sweep_under_a_clock_that_goes_back_gives_the_same_rows(world, finished, own_copy, tmp_path):
    work = lambda: (clock_of(*BACKWARDS["going back"]), own_folders(own_copy), sweep(world, tmp_path))  # noqa: E731
    forked(work, tmp_path).fine()
    assert (tmp_path / "sweep.csv").read_bytes() == (finished / "sweep.csv").read_bytes()


def decide(path: Path, first: int, start: float) -> None:
    """Twenty presses, each an hour before the last."""
    clock_of(start, -3600.0)
    store, rng = Store(path), random.Random(first)
    own = next(iter(store.list_sets()), None) or store.create_set("mine", "ann", **PLACE)
    for i in range(first, first + 20):
        with store.once(PressId("page", i, "ann", "decide")) as fresh:
            assert fresh
            if i % 5 == 4:
                assert store.undo(own.id, "ann")
            else:
                store.decide(own.id, "ann", {i: rng.choice(("ablate", "keep"))})
    store.commit(own.id, "ann", store.ablated(own.id, WIDTH), {"score": first})
    store.close()


def test_the_order_of_presses_is_the_order_in_which_they_came(tmp_path):
    path = tmp_path / "store.sqlite"
    for first, start in ((0, 2e9), (20, 1e9)):
        forked(lambda first=first, start=start: decide(path, first, start), tmp_path).fine()
    store = Store(path)
    (own,) = store.list_sets()
    log = store.history(own.id)
    assert [d.latent for d in log if d.undoes is None] == [i for i in range(40) if i % 5 != 4]
    assert [d.latent for d in log if d.undoes is not None] == [i for i in range(40) if i % 5 == 3]
    assert set(store.decisions(own.id, WIDTH)) == {i for i in range(40) if i % 5 < 3}
    assert [c.test["score"] for c in store.commits(own.id)] == [0, 20]
