"""Files of texts that are too large, damaged or of an odd kind: one line each, before anything large is made."""

import csv
import json
import os
from pathlib import Path

import pandas as pd
import pytest

from saeeval_core.errors import DataError
from saeeval_core.texts import files
from saeeval_core.texts.files import Bounds, from_frame, read_frame
from saeeval_core.texts.sources import read_texts

TINY = Bounds(size=5_000, rows=50, columns=8)
KINDS = (".csv", ".jsonl", ".parquet")


def save(path: Path, frame: pd.DataFrame) -> Path:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("frame", "what"),
    [
        (pd.DataFrame({"text": ["a"] * 60}), "50 rows"),
        (pd.DataFrame({f"c{i}": ["a"] for i in range(9)}), "8 columns"),
        (pd.DataFrame({"text": [os.urandom(2500).hex() for _ in range(3)]}), "5,000 bytes"),
    ],
)
def test_too_large(tmp_path, kind, frame, what):
    with pytest.raises(DataError, match=f"has more than {what}.*split the file"):
        read_frame(save(tmp_path / f"t{kind}", frame), TINY)


@pytest.mark.parametrize("kind", KINDS)
def test_what_fits_is_read(tmp_path, kind):
    frame = pd.DataFrame({"text": ["a", "b"] * 20, "stars": [1, 5] * 20})
    found = read_frame(save(tmp_path / f"t{kind}", frame), TINY)
    assert found.astype(str).to_numpy().tolist() == frame.astype(str).to_numpy().tolist()


def test_keys_that_grow_from_line_to_line_are_columns_too(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"text": "a", f"c{i}": 1}) + "\n" for i in range(20)))
    with pytest.raises(DataError, match="8 columns"):
        read_frame(path, TINY)


def test_a_small_parquet_file_that_unpacks_to_much_is_refused_unread(tmp_path, monkeypatch):
    path = save(tmp_path / "t.parquet", pd.DataFrame({"text": ["river " * 2000] * 20_000}))  # 240 MB of text
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(files, "_parquet", lambda *_: pytest.fail("read"))
    with pytest.raises(DataError, match="100,000,000 bytes when unpacked"):
        read_frame(path, Bounds(size=100_000_000, rows=10**6))


@pytest.mark.parametrize("name", ["pipe.csv", "pipe.parquet", "folder.csv", "folder.parquet"])
def test_pipes_and_folders_are_refused_at_once(tmp_path, name):
    path = tmp_path / name
    os.mkfifo(path) if name.startswith("pipe") else path.mkdir()
    with pytest.raises(DataError, match="is a folder, pipe or device"):
        read_frame(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("deep.jsonl", '{"text":' + "[" * 100_000 + "]" * 100_000 + "}"),
        ("huge.jsonl", '{"text": "a", "n": ' + "9" * 5000 + "}"),
        ("list.jsonl", "[1, 2]\n[3]"),
        ("word.jsonl", "null"),
        ("half.jsonl", '{"text": "a'),
        ("empty.jsonl", ""),
        ("quote.csv", 'text,a\n"never closed,1\n'),
        ("half.parquet", "PAR1"),
    ],
)
def test_damaged_files_cost_one_line(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError) as said:
        read_texts(path, "text")
    assert "\n" not in str(said.value) and len(str(said.value)) < 400


def test_a_field_of_any_length_is_read(tmp_path):
    csv.field_size_limit(131_072)  # as in a process that has read nothing yet
    path = tmp_path / "t.csv"
    path.write_text(f"text,label\n{'river ' * 50_000},a\nstone,b\n")
    assert [len(t) > 200_000 for t in read_texts(path, "text").texts] == [True, False]


def test_categories_are_their_values(tmp_path):
    frame = pd.DataFrame({"text": ["a", "b", None], "stars": [5, 1, 5], "kind": ["x", "y", "x"]}).astype("category")
    found = read_texts(save(tmp_path / "t.parquet", frame), "text")
    assert found.texts == ("a", "b") and found.columns["kind"].tolist() == ["x", "y"]
    assert found.columns["stars"].tolist() == ["5", "1"] and found.canonical("stars", "5.0") == "5"


def test_half_characters_are_refused():
    with pytest.raises(DataError, match="holds half characters .lone surrogates. in column 'text'"):
        from_frame(pd.DataFrame({"text": ["a \ud800 b"]}, dtype=object), "t", "text", "", "")
