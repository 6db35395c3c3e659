"""Recordings and probes that are no longer what was stored: named, moved aside and made again, never used."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from saeeval_core.config import PROTOCOLS
from saeeval_core.errors import ArtifactError
from saeeval_core.evaluation.kept_probes import KeptProbes
from saeeval_core.recordings.keep import keep_recordings, partial_state
from saeeval_core.recordings.recording import (
    find_latents,
    find_residuals,
    load_latents,
    load_residuals,
    recorded_latents,
    recorded_passes,
    save_latents,
    save_residuals,
)
from saeeval_core.scores.probes import Probe
from saeeval_core.storage.artifacts import load_arrays, save_arrays
from saeeval_core.storage.kept import RECORDINGS
from saeeval_core.storage.packing import pack, unpack

Edit = Callable[[dict, dict], object]


@pytest.fixture
def stored(tiny_recording, cache) -> tuple[Path, Path]:
    """Paths of the residuals and of the latents of one SAE in a cache of this test's own."""
    residuals, (latents, _) = tiny_recording
    folder = RECORDINGS.own
    return save_residuals(residuals, folder), save_latents(latents, folder, storage="float32")


def edit(path: Path, change: Edit) -> None:
    """Save the artifact again, sealed, after ``change(arrays, sidecar)``: what no checksum can notice."""
    packed, meta = load_arrays(path)
    arrays = unpack(packed, meta["packed"])
    change(arrays, meta)
    packed, layout = pack(arrays)
    save_arrays(path, packed, {"packed": layout} | {k: v for k, v in meta.items() if k not in ("packed", "seal")})


def edit_sidecar(path: Path, change: Callable[[dict], object]) -> None:
    packed, meta = load_arrays(path)
    change(meta)
    save_arrays(path, packed, {k: v for k, v in meta.items() if k != "seal"})


@pytest.mark.parametrize("content", ["", "[]", "{", "{}", "3", "[" * 200_000, '{"kind": "latents"}', "\x00" * 40])
@pytest.mark.parametrize("which", ["residuals", "latents"])
def test_an_odd_sidecar_leaves_the_others_listed(stored, tiny_recording, capsys, which, content):
    _, (_, other) = tiny_recording
    save_latents(other, RECORDINGS.own, storage="float32")
    path = stored[which == "latents"]
    path.with_name(path.name + ".json").write_text(content)
    for _ in range(2):
        passes, saes = recorded_passes(), [r.sae for r in recorded_latents()]
    assert capsys.readouterr().err.count(path.name) == 1, "named once"
    assert other.sae in saes
    assert (which == "residuals") == (tiny_recording[0].fingerprint not in passes)
    assert (path.parent / "aside" / f"{path.name}.json").exists() and not path.with_name(path.name + ".json").exists()


def test_a_sidecar_without_arrays_is_not_listed(stored, capsys):
    stored[1].with_name(stored[1].name + ".safetensors").unlink()
    found = [r.residual_fingerprint for r in recorded_latents()]
    assert stored[0].name.removeprefix("residuals-") not in found
    assert "its arrays are missing" in capsys.readouterr().err


def swap(meta: dict) -> None:
    meta["packed"]["data"]["dtype"] = ">f4"


SIDECARS: dict[str, Callable[[dict], object]] = {
    "byte order": swap,
    "unknown dtype": lambda m: m["packed"]["data"].update(dtype="object"),
    "dtype of another kind": lambda m: m["packed"]["data"].update(dtype=["<f4"]),
    "same size, other dtype": lambda m: m["packed"]["data"].update(dtype="<i4"),
    "huge shape": lambda m: m["packed"]["data"].update(shape=[10**12]),
    "shape no list": lambda m: m["packed"]["data"].update(shape="x"),
    "negative shape": lambda m: m["packed"]["data"].update(shape=[-1]),
    "layout a list": lambda m: m.update(packed=[]),
    "no layout": lambda m: m.pop("packed"),
    "layout lacks an array": lambda m: m["packed"].pop("indptr"),
    "one row short": lambda m: m.update(shape=[m["shape"][0] // 2, m["shape"][1]]),
    "one latent more": lambda m: m.update(shape=[m["shape"][0], m["shape"][1] + 1]),
    "shape of one": lambda m: m.update(shape=[3]),
    "shape of texts": lambda m: m.update(shape=["3", "4"]),
    "shape true": lambda m: m.update(shape=[True, True]),
    "sae a list": lambda m: m.update(sae=[]),
    "no sae": lambda m: m.pop("sae"),
    "another fingerprint": lambda m: m.update(sae_fingerprint="0" * 16),
    "another pass": lambda m: m.update(residual_fingerprint="0" * 16),
    "non_negative a text": lambda m: m.update(non_negative="no"),
    "figures a list": lambda m: m.update(unsupervised=[]),
    "a figure a text": lambda m: m.update(unsupervised={"l0": "x"}),
    "another kind": lambda m: m.update(kind="residuals"),
}


@pytest.mark.parametrize("name", SIDECARS)
def test_a_sidecar_that_does_not_fit_is_refused(stored, tiny_recording, capsys, name):
    residuals, (latents, _) = tiny_recording
    edit_sidecar(stored[1], SIDECARS[name])
    assert find_latents(residuals.key, latents.sae_fingerprint) is None
    assert capsys.readouterr().err.count("\n") == 1
    save_latents(latents, RECORDINGS.own, storage="float32")
    assert find_latents(residuals.key, latents.sae_fingerprint) is not None, "made again"


def test_the_decoder_of_an_sae_from_a_folder_is_stored_with_its_recording(stored):
    """The folder may hold other weights tomorrow, and the rows of the recording may be rescaled."""
    assert "decoder" in load_arrays(stored[1])[0]


def put(name: str, at: int, value: int) -> Edit:
    def change(arrays: dict, _: dict) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name][at] = value

    return change


ARRAYS: dict[str, Edit] = {
    "a row beyond the last": lambda a, _: a.update(gaps=np.full_like(a["gaps"], 255)),
    "a row twice": lambda a, _: a.update(gaps=np.zeros_like(a["gaps"])),
    "a column that begins beyond the end": put("indptr", 1, 10**9),
    "a column that begins below 0": put("indptr", 1, -5),
    "columns that end before the entries": put("indptr", -1, 3),
    "fewer gaps than values": lambda a, _: a.update(gaps=a["gaps"][:-1]),
    "values that are whole numbers": lambda a, _: a.update(data=a["data"].astype(np.int32)),
    "no decoder row for a latent": lambda a, _: a.update(decoder=a["decoder"][:-1]),
    "a flat decoder": lambda a, _: a.update(decoder=a["decoder"].ravel()),
    "too few densities": lambda a, _: a.update(density=a["density"][:-1]),
    "zero codes of another kind": lambda a, _: a.update(zero_code=a["zero_code"].astype(np.float64)),
    "a context in no text": put("context_text", 0, 10**6),
    "a context in text -1": put("context_text", 0, -1),
    "a context of an unknown kind": put("context_kind", 0, 9),
    "a context before its text": put("context_position", 0, -2),
    "contexts of no latent": put("context_indptr", 1, 10**9),
    "a shorter window": lambda a, _: a.update(context_activation=a["context_activation"][:, :-1]),
    "a context too few": lambda a, _: a.update(context_text=a["context_text"][:-1]),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_do_not_fit_are_refused(stored, name):
    edit(stored[1], ARRAYS[name])
    with pytest.raises(ArtifactError) as caught:
        load_latents(stored[1])
    assert "\n" not in str(caught.value) and stored[1].name in str(caught.value)


RESIDUALS: dict[str, Edit] = {
    "no key": lambda _, m: m.pop("key"),
    "a key with one value more": lambda _, m: m["key"].update(more=1),
    "a key that lacks a value": lambda _, m: m["key"].pop("hook"),
    "a hook that is a number": lambda _, m: m["key"].update(hook=3),
    "another precision": lambda _, m: m["key"].update(storage="float16"),
    "an unknown precision": lambda _, m: m["key"].update(storage="int8"),
    "bos no number": lambda _, m: m.update(bos_id="x"),
    "note a list": lambda _, m: m.update(note=[]),
    "a text more": lambda a, _: a.update(n_valid=np.append(a["n_valid"], np.int32(0))),
    "a token more": put("n_valid", 0, 10**6),
    "tokens below 0": put("n_valid", 0, -1),
    "flat residuals": lambda a, _: a.update(residuals=a["residuals"].ravel()),
    "no ends": lambda a, _: a.pop("token_ends"),
}


@pytest.mark.parametrize("name", RESIDUALS)
def test_residuals_that_do_not_fit_are_refused(stored, name):
    edit(stored[0], RESIDUALS[name])
    with pytest.raises(ArtifactError) as caught:
        load_residuals(stored[0])
    assert "\n" not in str(caught.value) and stored[0].name in str(caught.value)


def test_residuals_of_another_key_are_not_found(stored, tiny_recording):
    residuals = tiny_recording[0]
    edit(stored[0], lambda _, m: m["key"].update(texts="others"))
    assert find_residuals(residuals.key) is None


PROBES: dict[str, Edit] = {
    "another recording": lambda _, m: m.update(residuals="0" * 16),
    "a probe too few": lambda _, m: m["probes"].pop(),
    "probes a number": lambda _, m: m.update(probes=3),
    "a probe without its C": lambda _, m: m["probes"][0].pop("c"),
    "narrower weights": lambda a, _: a.update(weight=a["weight"][:, :-1]),
    "weights of another kind": lambda a, _: a.update(weight=a["weight"].astype(np.float32)),
    "no bias": lambda a, _: a.pop("bias"),
}


@pytest.mark.parametrize("name", PROBES)
def test_probes_that_do_not_fit_are_trained_again(tiny_recording, cache, name):
    residuals = tiny_recording[0]
    width = residuals.residuals.shape[1]
    kept = KeptProbes(RECORDINGS, residuals, ["shift", "toys"], PROTOCOLS["robust"], 0)
    first = [Probe(np.full(width, i, np.float64), 0.5, 10, c=1.0) for i in range(2)]
    kept.get(lambda: first)
    assert [p.bias for p in kept.get(list)] == [0.5, 0.5]
    arrays, meta = load_arrays(RECORDINGS.own / kept.name)
    PROBES[name](arrays, meta)
    save_arrays(RECORDINGS.own / kept.name, arrays, {k: v for k, v in meta.items() if k != "seal"})
    assert kept.get(lambda: [replace(p, bias=0.7) for p in first])[0].bias == 0.7


def test_probes_of_another_task_under_this_name_are_trained_again(tiny_recording, cache):
    residuals = tiny_recording[0]
    one, other = (KeptProbes(RECORDINGS, residuals, ["shift", t], PROTOCOLS["robust"], 0) for t in "ab")
    first = [Probe(np.zeros(residuals.residuals.shape[1]), 0.5, 10)]
    one.get(lambda: first)
    for suffix in (".json", ".safetensors"):
        (RECORDINGS.own / f"{one.name}{suffix}").rename(RECORDINGS.own / f"{other.name}{suffix}")
    assert other.get(lambda: [replace(first[0], bias=0.7)])[0].bias == 0.7


def test_what_cannot_be_stored_is_found_in_memory(tiny_recording, tmp_path, monkeypatch, capsys):
    residuals, latents = tiny_recording
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SAEEVAL_CACHE", str(tmp_path / "file" / "cache"))
    assert find_residuals(residuals.key) is None
    keep_recordings([residuals], latents, None)
    assert "used all the same" in capsys.readouterr().err
    assert find_residuals(residuals.key) is residuals
    assert find_latents(residuals.key, latents[0].sae_fingerprint) is latents[0]


def test_the_state_of_a_pass_goes_when_its_recordings_are_stored_and_not_before(tiny_recording, cache, monkeypatch):
    residuals, latents = tiny_recording
    with partial_state("toys") as partial:
        assert partial is not None
        save_arrays(partial / "state", {"a": np.zeros(1)}, {})
        with monkeypatch.context() as patch:
            patch.setattr("saeeval_core.recordings.keep.save_latents", refuse)
            keep_recordings([residuals], latents, partial)
        assert len(list(partial.glob("state*"))) == 2
        keep_recordings([residuals], latents, partial)
        assert not list(partial.glob("state*"))


def refuse(*_: object, **__: object) -> None:
    raise ArtifactError("cannot write")


def test_two_passes_share_no_state(cache):
    with partial_state("toys") as one, partial_state("toys") as two, partial_state("others") as three:
        assert one is not None and two is None and three not in (None, one)
    with partial_state("toys") as again:
        assert again == one


def test_the_sidecar_of_a_recording_says_what_it_is(stored):
    meta = json.loads(stored[1].with_name(stored[1].name + ".json").read_text())
    assert meta["name"] == stored[1].name and len(meta["seal"]) == 64
