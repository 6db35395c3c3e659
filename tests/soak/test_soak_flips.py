"""Thousands of flipped bits in files as they are stored: each is noticed, or changes nothing."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from saeeval_core.config import PROTOCOLS
from saeeval_core.errors import ArtifactError
from saeeval_core.evaluation.kept_probes import KeptProbes
from saeeval_core.recordings.recording import load_latents, load_residuals, save_latents, save_residuals
from saeeval_core.scores.probes import Probe
from saeeval_core.storage.artifacts import load_arrays
from saeeval_core.storage.kept import RECORDINGS, KeptJson

pytestmark = pytest.mark.soak
FLIPS = 4000


def numbers(value: object) -> bytes:
    """Everything in a recording that a score can depend on."""
    found = b""
    for name, part in sorted(vars(value).items()):
        if hasattr(part, "tocsc"):
            part = np.concatenate([part.indptr, part.indices, part.data])
        found += name.encode() + (part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return found


def arrays(path: Path) -> bytes:
    found, meta = load_arrays(path)
    return (
        b"".join(k.encode() + v.tobytes() for k, v in sorted(found.items())) + json.dumps(meta, sort_keys=True).encode()
    )


@pytest.fixture
def stored(tiny_recording, cache) -> dict[str, tuple[Path, Callable[[Path], bytes]]]:
    """Kind -> (path without suffix, what reads it)."""
    residuals, (latents, _) = tiny_recording
    probes = KeptProbes(RECORDINGS, residuals, ["shift", "toys"], PROTOCOLS["robust"], 0)
    first = Probe(np.ones(residuals.residuals.shape[1]), 0.5, 10, c=1.0)
    probes.get(lambda: [first, replace(first, bias=0.25)])
    return {
        "residuals": (save_residuals(residuals, RECORDINGS.own), lambda p: numbers(load_residuals(p))),
        "latents": (save_latents(latents, RECORDINGS.own, storage="float32"), lambda p: numbers(load_latents(p))),
        "probes": (RECORDINGS.own / probes.name, arrays),
    }


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
@pytest.mark.parametrize("kind", ["residuals", "latents", "probes"])
def test_flips_in_arrays_and_sidecars(stored, record_property, kind, suffix):
    path, read = stored[kind]
    file, rng = path.with_name(path.name + suffix), random.Random(kind + suffix)
    good, expected = file.read_bytes(), read(path)
    for _ in range(FLIPS):
        at = rng.randrange(len(good))
        file.write_bytes(good[:at] + bytes([good[at] ^ (1 << rng.randrange(8))]) + good[at + 1 :])
        try:
            assert read(path) == expected
        except ArtifactError as error:
            assert "\n" not in str(error)
    record_property("tried", FLIPS)


def test_flips_in_kept_json(cache, record_property):
    kept, rng = KeptJson(RECORDINGS, "controls", 1), random.Random(0)
    value = [{"name": f"latent {i}", "value": rng.random(), "ci": [rng.random(), None]} for i in range(200)]
    kept.keep(["toys"], value)
    path = RECORDINGS.own / f"{kept.name(['toys'])}.json"
    good = path.read_bytes()
    for _ in range(FLIPS):
        at = rng.randrange(len(good))
        path.write_bytes(good[:at] + bytes([good[at] ^ (1 << rng.randrange(8))]) + good[at + 1 :])
        try:
            assert kept.find(["toys"]) == value
        except LookupError:
            assert not path.exists(), "moved aside"
    record_property("tried", FLIPS)
