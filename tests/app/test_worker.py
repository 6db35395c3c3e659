"""Files that people send: read by another process within limits, kept within a quota."""

import json
import os
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from app import results
from app.services import uploads, worker
from saeeval_core.errors import ArtifactError, DataError
from saeeval_core.texts.files import SMALL
from saeeval_core.texts.sources import read_texts

pytestmark = pytest.mark.hostile


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAEEVAL_CACHE", str(tmp_path / "cache"))


def test_texts_come_back_as_they_would_be_read_here(tmp_path):
    file = tmp_path / "a.csv"
    rows = {
        "text": ["a", "ü\u2028", " ", "d"],
        "n": [1, 2, 3, 4],
        "l": ["x", None, "y", "x"],
        "split": ["train", "test", "dev", "train"],
    }
    pd.DataFrame(rows).to_csv(file, index=False)
    path = uploads.keep_upload("a.csv", file.read_bytes())
    here, there = read_texts(path, "text", bounds=SMALL), uploads.read_upload(path, "text")
    assert [c.name for c in uploads.facts_of(path).columns] == ["text", "n", "l", "split"]
    assert there.texts == here.texts
    assert there.fingerprint == here.fingerprint
    assert {c: v.tolist() for c, v in there.columns.items()} == {c: v.tolist() for c, v in here.columns.items()}
    assert there.split.tolist() == here.split.tolist()
    assert (there.unusable, there.dropped, there.source) == (here.unusable, here.dropped, here.source)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"a\xff\xfe", "encoding"),
        ("a.csv", b"a\0b", "NUL"),
        ("a.parquet", b"PAR1", "cannot be read as parquet"),
        ("a.jsonl", b"{", "cannot be read as jsonl"),
        ("a.exe", b"MZ", "give a .csv"),
        ("a.csv", b"x," * 1000, "more than 500 columns"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(name, content, said):
    with pytest.raises(DataError, match=said) as refused:
        uploads.facts_of(uploads.keep_upload(name, content))
    assert "\n" not in str(refused.value)


def test_a_file_that_takes_too_long_costs_one_line_and_the_next_one_is_read(tmp_path, monkeypatch):
    slow = tmp_path / "labels.json"
    slow.write_text(json.dumps([{"id": 1, "human_a": {}, "latent": 1, "sae": "s", "contexts": "<<a>>(1)" * 2_000_000}]))
    with pytest.raises(DataError, match="took longer than 0.5 s"):
        worker.call(uploads.read_ratings, str(slow), seconds=0.5)
    assert [c.name for c in uploads.facts_of(uploads.keep_upload("b.csv", b"text,l\na,b\n")).columns] == ["text", "l"]


def test_the_server_goes_on_while_a_file_is_read(tmp_path):
    slow = tmp_path / "labels.json"
    slow.write_text(json.dumps([{"id": 1, "human_a": {}, "latent": 1, "sae": "s", "contexts": "<<a>>(1)" * 2_000_000}]))
    ended = threading.Event()

    def read() -> None:
        with pytest.raises(DataError):
            worker.call(uploads.read_ratings, str(slow), seconds=1.5)
        ended.set()

    threading.Thread(target=read).start()
    steps = 0
    while not ended.is_set():
        time.sleep(0.01)
        steps += 1
    assert steps > 20  # of 150; a thread that held the interpreter would leave a handful


def test_a_process_that_dies_is_replaced(tmp_path):
    worker.warm()
    for process in worker._idle:
        process._process.kill()
        process._process.wait()
    assert uploads.facts_of(uploads.keep_upload("c.csv", b"text\na\n")).rows == 1


def test_keys_of_the_environment_do_not_reach_the_process(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-0123456789")
    process = worker._Process()
    try:
        environment = Path(f"/proc/{process._process.pid}/environ")
        assert not environment.is_file() or "sk-ant" not in environment.read_text()
    finally:
        process.end()


@pytest.mark.parametrize("module", ["os", "subprocess", "app.services.worker"])
def test_only_functions_that_read_files_are_called(module):
    from app.services import worker_process

    with pytest.raises(AssertionError):
        worker_process.answer(json.dumps([module, "system", ["true"]]).encode())


def test_a_set_ratings_and_results_are_read_there_too():
    with pytest.raises(ArtifactError, match="not UTF-8"):
        uploads.read_set(b"\xff", 10, ("a", "b"))
    with pytest.raises(DataError, match="not a list of labelled latents"):
        uploads.ratings_of(b"{}")
    with pytest.raises(DataError, match=r"'r\.json' is not JSON"):
        results.uploaded(b"{", "r.json")


def test_uploads_keep_to_a_quota_and_the_longest_unused_goes_first(monkeypatch):
    monkeypatch.setattr(uploads, "MOST_FILES", 3)
    paths = [uploads.keep_upload("a.csv", b"text\n%d\n" % i) for i in range(3)]
    with pytest.raises(DataError, match="at most 3 files") as refused:
        uploads.keep_upload("a.csv", b"text\nnew\n")
    assert "\n" not in str(refused.value)
    assert uploads.keep_upload("a.csv", b"text\n0\n") == paths[0]  # the same file again is no other file
    for k, path in enumerate(paths):
        os.utime(path, (k, k))
        uploads._last.pop(path, None)
    uploads.in_use(paths[0])
    new = uploads.keep_upload("a.csv", b"text\nnew\n")
    assert [p.is_file() for p in (*paths, new)] == [True, False, True, True]  # the oldest is being made into a task


def test_uploads_keep_to_a_number_of_bytes(monkeypatch):
    monkeypatch.setattr(uploads, "MOST_BYTES", 100)
    uploads.keep_upload("a.csv", b"x" * 60)
    with pytest.raises(DataError, match="all are in use"):
        uploads.keep_upload("a.csv", b"y" * 60)
