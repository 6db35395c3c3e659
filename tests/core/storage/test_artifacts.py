"""Artifacts: what was saved comes back, and nothing else does."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from saeeval_core.errors import ArtifactError
from saeeval_core.storage import artifacts, notices
from saeeval_core.storage.artifacts import exists, load_arrays, load_meta, save_arrays, sealed, set_aside, write_atomic
from saeeval_core.storage.kept import KeptJson, Shelves
from saeeval_core.storage.manifest import MANIFEST, build_manifest, is_as_shipped

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3)}
META = {"kind": "toys", "sizes": {2: 0.1, 10: None}, "words": ["ä", "\ud800"]}


@pytest.fixture(autouse=True)
def folders(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAEEVAL_ASSETS", str(tmp_path / "assets"))
    (tmp_path / "assets" / "recordings").mkdir(parents=True)


@pytest.fixture
def path(cache: Path) -> Path:
    save_arrays(cache / "recordings" / "toys-1", ARRAYS, META)
    return cache / "recordings" / "toys-1"


def test_arrays_and_sidecar_come_back(path):
    arrays, meta = load_arrays(path)
    np.testing.assert_array_equal(arrays["a"], ARRAYS["a"])
    assert (meta["kind"], meta["sizes"], meta["words"]) == ("toys", {"2": 0.1, "10": None}, META["words"])


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_every_flipped_bit_and_every_cut_is_noticed_or_harmless(path, suffix):
    file = path.with_name(path.name + suffix)
    good, expected = file.read_bytes(), load_arrays(path)
    for at in range(len(good)):
        for damaged in (good[:at], good[:at] + bytes([good[at] ^ (1 << at % 8)]) + good[at + 1 :]):
            file.write_bytes(damaged)
            try:
                arrays, meta = load_arrays(path)
            except ArtifactError as error:
                assert "\n" not in str(error)
            else:
                assert meta == expected[1] and arrays["a"].tobytes() == ARRAYS["a"].tobytes()
    file.write_bytes(good)
    load_arrays(path)


@pytest.mark.parametrize(
    "content",
    ["", "[", "[]", "3", "null", '"x"', "{}", "[" * 200_000, '{"a":' * 200_000, "1" * 5000, '{"seal": []}', "\x00"],
)
def test_an_odd_sidecar_is_an_artifact_error(path, content):
    path.with_name("toys-1.json").write_text(content)
    with pytest.raises(ArtifactError) as caught:
        load_meta(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_bytes_that_are_no_text_and_a_folder_in_place_of_a_file_are_artifact_errors(path):
    file = path.with_name("toys-1.json")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ArtifactError):
        load_meta(path)
    file.unlink()
    file.mkdir()
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_meta(path)


def test_an_artifact_under_another_name_is_refused(path):
    for suffix in (".json", ".safetensors"):
        path.with_name(f"toys-1{suffix}").rename(path.with_name(f"toys-2{suffix}"))
    with pytest.raises(ArtifactError, match="saved as 'toys-1', not under this name"):
        load_arrays(path.with_name("toys-2"))


def test_a_sidecar_without_a_seal_is_of_an_older_version(path):
    file = path.with_name("toys-1.json")
    meta = json.loads(file.read_text())
    file.write_text(json.dumps({k: v for k, v in meta.items() if k != "seal"}))
    with pytest.raises(ArtifactError, match="written by an older version"):
        load_meta(path)


def test_what_is_set_aside_is_named_once_moved_and_made_again(path, capsys):
    error = ArtifactError(f"{path} is damaged")
    set_aside(path, error, "toys")
    set_aside(path, error, "toys")
    assert capsys.readouterr().err.count("stored toys ignored and made again") == 1
    assert any(str(path) in line for line in notices.notices())
    assert not exists(path) and exists(path.parent / "aside" / "toys-1")
    save_arrays(path, ARRAYS, META)
    load_arrays(path)


def test_a_shipped_file_is_skipped_and_never_moved(tmp_path, capsys):
    path = tmp_path / "assets" / "recordings" / "toys-1"
    save_arrays(path, ARRAYS, META)
    set_aside(path, ArtifactError(f"{path} is damaged"), "toys")
    assert exists(path) and str(path) in capsys.readouterr().err


def test_the_manifest_stands_for_the_seal_of_a_shipped_file(tmp_path):
    path = tmp_path / "assets" / "recordings" / "toys-1"
    save_arrays(path, ARRAYS, META)
    sidecar = path.with_name("toys-1.json")
    old = {k: v for k, v in json.loads(sidecar.read_text()).items() if k not in ("seal", "name")}
    sidecar.write_text(json.dumps(old))
    with pytest.raises(ArtifactError):
        load_arrays(path)
    build_manifest()
    load_arrays(path)
    sidecar.write_text(json.dumps(sealed(old | {"kind": "other"})))
    with pytest.raises(ArtifactError, match=r"not what manifest\.json says; restore it"):
        load_arrays(path)


@pytest.mark.parametrize("content", ["", "[]", '{"recordings/toys-1.json": "' + "0" * 64 + '"}'])
def test_a_damaged_manifest_lets_nothing_through_that_has_no_seal(tmp_path, content):
    path = tmp_path / "assets" / "recordings" / "toys-1"
    path.with_name("toys-1.json").write_text(json.dumps({"kind": "toys"}))
    (tmp_path / "assets" / MANIFEST).write_text(content)
    with pytest.raises(ArtifactError):
        load_meta(path)


def test_shipped_files_without_a_sidecar_are_compared_by_their_bytes(tmp_path, capsys):
    file = tmp_path / "assets" / "verdicts" / "sae.jsonl"
    file.parent.mkdir()
    file.write_text("{}\n")
    build_manifest()
    assert is_as_shipped(file) and is_as_shipped(tmp_path / "elsewhere.jsonl")
    file.write_text("{ }\n")
    assert not is_as_shipped(file) and "restore it from the repository" in capsys.readouterr().err


def test_a_file_reaches_the_disk_before_its_name_and_the_folder_after(tmp_path, monkeypatch):
    done: list[str] = []
    for name in ("fsync", "replace"):
        plain = getattr(os, name)
        monkeypatch.setattr(artifacts.os, name, lambda *a, plain=plain, name=name: (done.append(name), plain(*a)))
    write_atomic(tmp_path / "file", b"x")
    assert done == ["fsync", "replace", "fsync"] and (tmp_path / "file").read_bytes() == b"x"


KEPT = KeptJson(Shelves("toys"), "toys", version=1)
KEY = ["a", 1]


def of(cache: Path, key: list) -> Path:
    return cache / "toys" / f"{KEPT.name(key)}.json"


def test_a_kept_value_comes_back_for_its_own_key_only(cache):
    assert KEPT.get(KEY, lambda: {2: (1, None)}) == {2: (1, None)}
    assert KEPT.find(KEY) == {"2": [1, None]}
    of(cache, KEY).rename(of(cache, ["b"]))
    with pytest.raises(LookupError):
        KEPT.find(["b"])
    assert not of(cache, ["b"]).exists(), "moved aside"


@pytest.mark.parametrize(
    "content", ["", "[1]", '{"value": 1}', '{"seal": 3}', "[" * 200_000, "null", '{"key": 1, "seal": {}}']
)
def test_what_does_not_fit_is_named_moved_and_made_again(cache, capsys, content):
    KEPT.keep(KEY, [1])
    of(cache, KEY).write_text(content)
    assert KEPT.get(KEY, lambda: [2]) == [2] == KEPT.find(KEY)
    assert "stored toys ignored and made again" in capsys.readouterr().err
    assert (cache / "toys" / "aside").is_dir()


def test_every_flipped_bit_of_a_kept_value_is_noticed_or_harmless(cache):
    KEPT.keep(KEY, [{"value": 0.25, "name": "a"}, 3])
    good = of(cache, KEY).read_bytes()
    for at in range(len(good)):
        of(cache, KEY).write_bytes(good[:at] + bytes([good[at] ^ (1 << at % 8)]) + good[at + 1 :])
        try:
            assert KEPT.find(KEY) == [{"value": 0.25, "name": "a"}, 3]
        except LookupError:
            pass


def test_a_value_that_the_reader_refuses_is_made_again(cache):
    KEPT.keep(KEY, {"rows": 3})
    assert KEPT.get(KEY, lambda: "new", lambda value: value["rows"]["x"]) == "new"


def test_a_cache_that_cannot_be_written_costs_a_notice(cache, monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SAEEVAL_CACHE", str(tmp_path / "file" / "cache"))
    assert KEPT.get(KEY, lambda: [1]) == [1] == KEPT.get(KEY, lambda: [1])
    assert capsys.readouterr().err.count("not stored (Not a directory); used all the same") == 1
