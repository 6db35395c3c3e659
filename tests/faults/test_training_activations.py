"""Damage to the activations that ``saeeval train-sae`` keeps: a shard is named and made again, or it changes no value."""

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from damage import DAMAGES, swap
from test_damaged_files import differs

from saeeval_core.config import cache_dir
from saeeval_core.training import cache as module
from saeeval_core.training.cache import ActivationCache, cache_activations

TEXTS = [f"the {thing} of text {i} is old" for i in range(10) for thing in ("river", "stone", "town")]
SHARDS = ("shard-*.json", "shard-*.safetensors")


@pytest.fixture(autouse=True)
def small(tmp_path, monkeypatch):
    monkeypatch.setenv("SAEEVAL_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "_SHARD_TEXTS", 8)


def made(model, texts=TEXTS, seed=0) -> ActivationCache:
    return cache_activations(
        model, "blocks.1.hook_resid_post", texts, cache_dir() / "activations", max_tokens=400, seed=seed
    )


@pytest.fixture
def stored(tiny_model) -> ActivationCache:
    return made(tiny_model)


def read_again(model, monkeypatch) -> tuple[ActivationCache, int]:
    """(the same activations, texts that the model read for them)"""
    read, original = [], module._valid_activations
    monkeypatch.setattr(module, "_valid_activations", lambda m, h, texts: read.append(texts) or original(m, h, texts))
    return made(model), len(read)


def same(a: ActivationCache, b: ActivationCache) -> None:
    np.testing.assert_array_equal(a.train, b.train)
    np.testing.assert_array_equal(a.held_out, b.held_out)


def test_what_is_whole_is_not_read_again(stored, tiny_model, monkeypatch):
    again, shards = read_again(tiny_model, monkeypatch)
    same(stored, again)
    assert shards == 0 and len(list(stored.folder.glob("shard-*.safetensors"))) >= 3


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("kind", SHARDS)
def test_a_damaged_shard_is_named_moved_aside_and_made_again(stored, tiny_model, monkeypatch, capsys, kind, name):
    rng = random.Random(f"{kind} {name}")
    path = rng.choice(sorted(stored.folder.glob(kind)))
    before = path.read_bytes()
    DAMAGES[name](path, rng)
    changed = differs(path, before)
    again, shards = read_again(tiny_model, monkeypatch)
    same(stored, again)
    said = capsys.readouterr().err
    assert shards == int(changed) and (path.name in said or path.stem in said) == changed, said
    assert path.read_bytes() == before or not changed
    assert (stored.folder / "aside" / path.name).exists() == changed


@pytest.mark.parametrize("kind", SHARDS)
def test_two_shards_in_each_others_place(stored, tiny_model, monkeypatch, capsys, kind):
    swap(*sorted(stored.folder.glob(kind))[:2])
    again, shards = read_again(tiny_model, monkeypatch)
    same(stored, again)
    assert shards == 2 and "made again" in capsys.readouterr().err


def test_a_shard_of_another_seed_is_not_taken(stored, tiny_model, monkeypatch, capsys):
    other = made(tiny_model, seed=1)
    for file in other.folder.glob("shard-00000.*"):
        shutil.copy(file, stored.folder / file.name)
    again, shards = read_again(tiny_model, monkeypatch)
    same(stored, again)
    assert shards == 1 and "stored for other texts or settings" in capsys.readouterr().err


def test_a_shard_of_an_older_version_is_named_and_made_again(stored, tiny_model, monkeypatch, capsys):
    for file in stored.folder.glob("shard-00001.*"):
        file.unlink()
    older: Path = stored.folder / "shard-00001.npy"
    np.save(older, np.zeros((5, 16), np.float16))
    again, shards = read_again(tiny_model, monkeypatch)
    same(stored, again)
    assert shards == 1 and not older.exists() and "without a checksum" in capsys.readouterr().err
