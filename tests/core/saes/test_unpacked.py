"""Zips of SAE folders: one folder within bounds, nothing outside it, one line for everything else."""

import io
import stat
import zipfile
from pathlib import Path

import pytest
from foreign_files import learned, plain

from saeeval_core.errors import UnsupportedSAE
from saeeval_core.saes import unpacked
from saeeval_core.saes.local import inspect_sae
from saeeval_core.saes.unpacked import keep_sent, unpack_sae


def zipped(files: dict[str, bytes]) -> bytes:
    blob = io.BytesIO()
    with zipfile.ZipFile(blob, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return blob.getvalue()


def tree(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*")}


def test_a_zipped_folder_is_the_sae_it_was(tiny_sae_dirs, tmp_path):
    tiny_sae = next(iter(tiny_sae_dirs.values()))
    files = {f"my sae/{f.name}": f.read_bytes() for f in tiny_sae.iterdir()}
    blob = zipped(files | {"my sae/readme.md": b"#", "__MACOSX/my sae/._cfg.json": b"\0"})
    folder = unpack_sae("my sae.zip", blob, tmp_path / "saes")
    assert folder.name.startswith("my-sae-") and "readme.md" not in tree(folder)
    assert inspect_sae(str(folder)).n_latents == inspect_sae(str(tiny_sae)).n_latents
    assert unpack_sae("my sae.zip", blob, tmp_path / "saes") == folder
    assert tree(tmp_path / "saes") == {folder.name, *(f"{folder.name}/{n}" for n in tree(folder))}


def link() -> bytes:
    blob, entry = io.BytesIO(), zipfile.ZipInfo("cfg.json")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(blob, "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    return blob.getvalue()


@pytest.mark.parametrize(
    ("blob", "says"),
    [
        (b"not a zip", "cannot be unpacked"),
        (zipped({"cfg.json": b"{}"})[:-9], "cannot be unpacked"),
        (zipped({"../cfg.json": b"{}"}), "leads outside"),
        (zipped({"/etc/cfg.json": b"{}"}), "leads outside"),
        (zipped({"a\\..\\..\\cfg.json": b"{}"}), "leads outside"),
        (zipped({"c:cfg.json": b"{}"}), "leads outside"),
        (link(), "leads outside"),
        (zipped({"readme.md": b"#"}), "no cfg.json"),
        (zipped({}), "no cfg.json"),
        (zipped({"a/cfg.json": b"{}", "b/cfg.json": b"{}"}), "2 folders"),
        (zipped({f"{i}.json": b"" for i in range(1001)}), "1,001 files"),
    ],
)
def test_what_is_no_zipped_sae_is_one_line_and_leaves_nothing(blob, says, tmp_path):
    with pytest.raises(UnsupportedSAE, match=says) as error:
        unpack_sae("x.zip", blob, tmp_path / "saes")
    assert "\n" not in str(error.value) and tree(tmp_path) <= {"saes"}


def test_a_zip_that_says_less_than_it_holds_is_stopped(tmp_path, monkeypatch):
    blob = zipped({"cfg.json": b"0" * 5_000})
    monkeypatch.setattr(unpacked, "LARGEST", 4_000)
    with pytest.raises(UnsupportedSAE, match="when unpacked"):
        unpack_sae("x.zip", blob, tmp_path)
    monkeypatch.setattr(unpacked, "_members", lambda name, archive: archive.infolist())
    with pytest.raises(UnsupportedSAE, match="more than it says"):
        unpack_sae("x.zip", blob, tmp_path)
    assert tree(tmp_path) == set()


def test_a_file_of_arrays_is_kept_as_it_is(tmp_path):
    for ending in ("npz", "safetensors"):
        content = plain(tmp_path / f"a.{ending}").path.read_bytes()
        file = keep_sent(f"../My file.{ending}", content, tmp_path / "saes")
        assert file == keep_sent(f"../My file.{ending}", content, tmp_path / "saes")
        assert file.read_bytes() == content and file.name == f"My-file.{ending}"
        assert file.parent.parent == tmp_path / "saes" and inspect_sae(str(file)).n_latents


def test_zips_of_other_forms(tmp_path):
    made = learned(tmp_path / "mine", "BatchTopKSAE")
    files = {f"mine/{f.name}": f.read_bytes() for f in made.path.iterdir()}
    folder = keep_sent("mine.zip", zipped(files), tmp_path / "saes")
    assert inspect_sae(str(folder)).foreign.form == "dictionary_learning"
