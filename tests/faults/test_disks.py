"""Disks that are full or read-only, for real: a small file system is mounted, filled and made read-only."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import Disk
from forks import forked, own_folders
from stores import WIDTH
from worlds import Command, sweep

from saeeval_core.ledger.connection import StoreError
from saeeval_core.ledger.store import Store


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    found = Disk(tmp_path / "disk", 4096)
    yield found
    found.gone()


@pytest.mark.parametrize("free", [0, 8_000, 60_000, 120_000])
def test_a_run_with_a_full_cache_gives_the_same_result(command: Command, world, finished, disk, tmp_path, free):
    disk.fill(free)
    done = command(world.run(tmp_path / "result.json"), disk.path / "cache").fine()
    assert (tmp_path / "result.json").read_bytes() == (finished / "topk.json").read_bytes()
    assert "No space left on device" in done.err and "used all the same" in done.err
    left = [p.name for p in disk.path.rglob(".*.*") if p.is_file()]
    assert not left, "no half-written file takes up the room"


def test_a_run_goes_on_when_there_is_room_again(command, world, finished, disk, tmp_path):
    disk.fill(60_000)
    command(world.run(tmp_path / "result.json"), disk.path / "cache").fine()
    disk.free()
    command(world.run(tmp_path / "again.json"), disk.path / "cache").fine()
    assert (tmp_path / "again.json").read_bytes() == (finished / "topk.json").read_bytes()
    assert len(list((disk.path / "cache" / "recordings").glob("*.safetensors"))) == 4


@pytest.mark.parametrize("kept", [False, True], ids=["empty", "finished"])
def test_a_run_with_a_read_only_cache_gives_the_same_result(command, world, finished, disk, tmp_path, kept):
    if kept:
        shutil.copytree(finished / "cache", disk.path / "cache")
    disk.writable(False)
    done = command(world.run(tmp_path / "result.json"), disk.path / "cache").fine()
    assert (tmp_path / "result.json").read_bytes() == (finished / "topk.json").read_bytes()
    assert ("not stored" in done.err) != kept


def test_a_damaged_file_on_a_read_only_disk_is_skipped_where_it_lies(command, world, finished, disk, tmp_path):
    shutil.copytree(finished / "cache", disk.path / "cache")
    path = next((disk.path / "cache" / "recordings").glob("residuals-*.safetensors"))
    path.write_bytes(b"")
    disk.writable(False)
    done = command(world.run(tmp_path / "result.json"), disk.path / "cache").fine()
    assert (tmp_path / "result.json").read_bytes() == (finished / "topk.json").read_bytes()
    assert path.name in done.err and path.read_bytes() == b""


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_a_result_that_cannot_be_written_costs_one_line_and_the_old_one_stays(command, world, own_copy, disk, how):
    out = disk.path / "result.json"
    out.write_text("of yesterday")
    disk.fill() if how == "full" else disk.writable(False)
    line = command(world.run(out), own_copy).one_line()
    assert out.read_text() == "of yesterday" and ("No space left" in line or "Read-only" in line)


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_a_report_that_cannot_be_written_costs_one_line(command, finished, disk, tmp_path, how):
    disk.fill() if how == "full" else disk.writable(False)
    arguments = ["report", str(finished / "topk.json"), "--out", str(disk.path / "report.html")]
    line = command(arguments, tmp_path / "cache").one_line()
    assert "No space left" in line or "Read-only" in line
    assert not (disk.path / "report.html").exists()


def test_a_sweep_with_a_full_cache_gives_the_same_rows(world, finished, disk, tmp_path):
    shutil.copytree(finished / "cache" / "recordings", disk.path / "cache" / "recordings")
    disk.fill()
    done = forked(lambda: (own_folders(disk.path / "cache"), sweep(world, tmp_path)), tmp_path).fine()
    assert "unit of" in done.err and "No space left" in done.err
    assert (tmp_path / "sweep.csv").read_bytes() == (finished / "sweep.csv").read_bytes()


PLACE = {"metric": "shift", "task": "t", "direction": "d", "sae_fingerprint": "s", "recording_fingerprint": "r"}


def test_a_store_on_a_full_disk_refuses_and_goes_on_when_there_is_room(disk):
    store = Store(disk.path / "store.sqlite")
    own, acknowledged = store.create_set("mine", "ann", **PLACE).id, {}
    disk.fill()
    with pytest.raises(StoreError, match="full|disk"):
        for latent in range(100_000):
            store.decide(own, "ann", {latent: "ablate"}, "because " * 100)
            acknowledged[latent] = "ablate"
    disk.free()
    assert store.decisions(own, WIDTH) == acknowledged
    store.decide(own, "ann", {7: "keep"})
    store.close()
    assert Store(disk.path / "store.sqlite").decisions(own, WIDTH) == acknowledged | {7: "keep"}


def test_a_store_on_a_disk_that_becomes_read_only_refuses_and_goes_on_afterwards(disk):
    store = Store(disk.path / "store.sqlite")
    own = store.create_set("mine", "ann", **PLACE).id
    store.decide(own, "ann", {1: "ablate"})
    store.close()
    disk.writable(False)
    with pytest.raises(StoreError) as caught:
        store.decide(own, "ann", {2: "ablate"})
    assert "\n" not in str(caught.value)
    disk.writable(True)
    store.decide(own, "ann", {3: "keep"})
    assert store.decisions(own, WIDTH) == {1: "ablate", 3: "keep"}


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_a_new_store_on_such_a_disk_is_refused_in_one_line(disk, how):
    disk.fill() if how == "full" else disk.writable(False)
    with pytest.raises(StoreError) as caught:
        Store(disk.path / "deep" / "store.sqlite")
    assert "\n" not in str(caught.value) and "SAEEVAL_STORE" in str(caught.value)
