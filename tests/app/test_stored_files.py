"""Pages on damaged, odd and unwritable files: each is alive, and says what was skipped."""

import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app.results import stored
from app.services import loading, uploads
from saeeval_core.config import RunConfig, cache_dir
from saeeval_core.errors import DataError, SaeEvalError
from saeeval_core.saes.registry import list_bundled
from saeeval_core.storage import artifacts, row_json
from saeeval_core.storage.manifest import build_manifest
from saeeval_core.texts.sources import load_task_set
from saeeval_core.training.about import read_about

pytestmark = pytest.mark.faults

ROOT = Path(__file__).resolve().parents[2]


def page(**url: str) -> AppTest:
    test = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=30)
    for name, value in url.items():
        test.query_params[name] = value
    return test.run()


@pytest.fixture
def own(planted_app, assets, cache, tmp_path, monkeypatch) -> Path:
    """A copy of the planted bundle that may be damaged, with an empty cache."""
    shutil.copytree(assets, tmp_path / "assets")
    monkeypatch.setenv("SAEEVAL_ASSETS", str(tmp_path / "assets"))
    return tmp_path / "assets"


def notes(test: AppTest) -> str:
    return " ".join(t.value for t in test.sidebar.get("text"))


def test_odd_files_in_the_cache_leave_the_page_as_it_was(own, record_property):
    folder = cache_dir() / "recordings"
    folder.mkdir(parents=True)
    contents = ("", "[]", "{}", "{", "[" * 100_000, '{"kind": "latents", "sae": []}', "\x00")
    for i, content in enumerate(contents):
        for kind in ("residuals", "latents"):
            (folder / f"{kind}-0123456789abcde{i}.json").write_text(content)
    test = page()
    assert not test.exception and not test.error
    assert test.sidebar.selectbox(key="w_model").value == "smollm2-135m-instruct"
    for i in range(len(contents)):
        assert f"latents-0123456789abcde{i}" in notes(test)
    assert "made again" in notes(test)
    record_property("tried", len(contents))


@pytest.mark.parametrize("kind", ["residuals", "latents"])
@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_a_damaged_shipped_recording_offers_a_run_and_stays_where_it_is(own, kind, suffix):
    file = next((own / "recordings").glob(f"{kind}-*.{suffix}"))
    content = file.read_bytes()
    file.write_bytes(content[:-40] + bytes([content[-40] ^ 1]) + content[-39:])
    test = page()
    assert not test.exception and not test.error
    assert test.button(key="w_run_main").label == "Run"
    assert file.exists() and file.stem in notes(test)


def test_damaged_probes_are_skipped(own):
    file = next((own / "recordings").glob("probes-*.safetensors"))
    file.write_bytes(b"")
    loaded = loading.load(RunConfig())
    assert loaded is not None and not page().exception


def no_space(monkeypatch: pytest.MonkeyPatch, below: Path) -> None:
    plain = artifacts.os.replace

    def full(old: str, new: Path) -> None:
        if Path(new).is_relative_to(below):
            raise OSError(28, "No space left on device")
        plain(old, new)

    monkeypatch.setattr(artifacts.os, "replace", full)


def test_general_texts_are_used_when_the_cache_is_full(own, monkeypatch):
    made = loading.general_texts()
    shutil.rmtree(cache_dir() / "texts")
    no_space(monkeypatch, cache_dir())
    assert loading.general_texts() == made
    assert not (cache_dir() / "texts" / "general.json").exists()


def test_an_upload_is_used_when_the_cache_is_full(own, tmp_path, monkeypatch):
    monkeypatch.setattr(uploads.tempfile, "tempdir", str(tmp_path))
    no_space(monkeypatch, cache_dir())
    path = uploads.keep_upload("texts.csv", b"text,label\na,b\n")
    found = uploads.facts_of(path)
    assert [c.name for c in found.columns] == ["text", "label"] and not path.is_relative_to(cache_dir())
    assert uploads.keep_upload("texts.csv", b"text,label\na,b\n") == path
    no_space(monkeypatch, tmp_path)
    with pytest.raises(DataError, match="the disk is full or read-only"):
        uploads.keep_upload("texts.csv", b"text,label\nc,d\n")


def test_a_damaged_upload_is_written_again(own):
    path = uploads.keep_upload("texts.csv", b"text\na\n")
    path.write_bytes(b"text\nb\n")
    assert uploads.keep_upload("texts.csv", b"text\na\n") == path and path.read_bytes() == b"text\na\n"


def test_a_cache_that_is_no_folder_leaves_the_page_alive(own, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SAEEVAL_CACHE", str(tmp_path / "file" / "cache"))
    try:
        assert loading.load(RunConfig()) is not None
    except SaeEvalError as error:
        pytest.fail(str(error))
    assert not page().exception


FLIPPED = ["texts/bios.parquet", "texts/bios.json", "saes/*/cfg.json", "saes/*/about.json", "results/own.json"]


@pytest.mark.parametrize("name", FLIPPED)
def test_a_damaged_shipped_file_is_named_and_left_where_it_is(own, name, capsys):
    (own / "results").mkdir(exist_ok=True)
    (own / "results" / "own.json").write_text('{"kind": "planted", "verdict": ["shown"]}')
    for folder in (own / "saes").iterdir():
        (folder / "about.json").write_text('{"l0": 48.0}')
    build_manifest()
    file = next(own.glob(name))
    content = file.read_bytes()
    at = content.find(b"s") + 1  # a letter inside a word: the file can still be read, and says something else
    file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    for view in ("", "compare", "overview"):
        assert not page(view=view).exception
    found = stored()
    if name.startswith("results"):
        assert not found.planted and "own.json is not what manifest.json says" in " ".join(found.problems)
    if name.startswith("texts"):
        with pytest.raises(DataError, match=r"bios.*is not what manifest\.json says; restore it from the repository"):
            load_task_set("bios")
    if name.endswith("about.json"):
        assert read_about(file.parent) is None and str(file) in capsys.readouterr().err
    if name.endswith("cfg.json"):
        assert file.parent.name not in [i.id for i in list_bundled()] and str(file) in capsys.readouterr().err
    assert file.exists()


def test_results_made_here_take_the_place_of_shipped_ones_and_are_checked_by_their_own_seal(own):
    (own / "results").mkdir(exist_ok=True)
    file = own / "results" / "own.json"
    file.write_text('{"kind": "planted", "verdict": ["shipped"]}')
    build_manifest()
    file.write_text(row_json.dumps({"kind": "planted", "verdict": ["made here"]}))
    assert stored().planted[0].verdict == ("made here",)
    file.write_text(file.read_text().replace("made here", "made hers"))
    found = stored()
    assert not found.planted and "its seal does not fit" in found.problems[0]
