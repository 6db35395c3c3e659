"""``saeeval store``: check changes nothing and fails on damage, export and merge, bad input in one line."""

import json
from pathlib import Path

import pytest
from stores import fill, flip_in, make_set, state

from saeeval_core.ledger.backups import back_up
from saeeval_core.ledger.files import default_path
from saeeval_core.ledger.store import Store


@pytest.fixture
def path(cache) -> Path:
    """A closed store of this test's own."""
    store = Store()
    fill(store, presses=3)
    store.close()
    return default_path()


def files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and "cache" not in p.parts}


def test_check_counts_and_changes_nothing(call, path, tmp_path):
    before = files(path.parent)
    code, out, err = call("store", "check")
    assert code == 0 and "is sound" in out and "backups: none" in out, err
    assert files(path.parent) == before
    made = back_up(path)
    code, out, _ = call("store", "check", "--json", tmp_path / "out" / "check.json")
    found = json.loads((tmp_path / "out" / "check.json").read_text())
    assert code == 0 and str(made) in out.replace("\n", "") and found["rows"]["presses"] == 3 and found["sound"]
    assert call("store", "check", made)[0] == 0


def test_check_of_a_damaged_store_fails_and_changes_nothing(call, path, tmp_path):
    flip_in(path, b"pronouns")
    before = files(path.parent)
    out_file = tmp_path / "cache" / "check.json"
    call.refuses(r"damaged: 1 row of decisions not fitting the checksum", "store", "check", "--json", out_file)
    assert files(path.parent) == before
    assert json.loads(out_file.read_text())["damaged"] == {"decisions": 1}


def test_export_and_merge(call, path, tmp_path, monkeypatch):
    held = state(Store())
    out_file = tmp_path / "ann.jsonl"
    code, out, err = call("store", "export", out_file, "--json", tmp_path / "export.json")
    assert code == 0 and "4 decision sets" in out, err
    monkeypatch.setenv("SAEEVAL_STORE", str(tmp_path / "other.sqlite"))
    make_set(Store(), "mine", "ann")
    code, out, err = call("store", "merge", out_file, path, "--json", tmp_path / "merge.json")
    assert code == 0 and f"{len(held['decisions'])} decisions" in out and "nothing added" in out, err
    merged = json.loads((tmp_path / "merge.json").read_text())["merged"]
    assert merged[0]["added"]["decisions"] == len(held["decisions"]) and merged[1]["added"] == {}
    assert len(Store().list_sets()) == 5


def test_bad_input_is_one_line_and_changes_nothing(call, path, tmp_path, monkeypatch):
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text("{}\n")
    before = state(Store())
    call.refuses("is no exported store", "store", "merge", wrong)
    call.refuses("is no file", "store", "merge", path.with_name("none"))
    call.refuses("is the store itself", "store", "merge", path)
    call.refuses("is a folder or the store itself", "store", "export", path)
    call.refuses("is a folder or the store itself", "store", "export", tmp_path)
    assert state(Store()) == before
    monkeypatch.setenv("SAEEVAL_STORE", str(tmp_path / "none.sqlite"))
    call.refuses("there is no store at", "store", "check")
    assert not (tmp_path / "none.sqlite").exists()
