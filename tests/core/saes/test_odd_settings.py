"""cfg.json with values of odd types or sizes: UnsupportedSAE with one line, before any memory is taken for them."""

import json

import pytest
from toys import save_tiny_sae

from saeeval_core.errors import UnsupportedSAE
from saeeval_core.saes.loaded import load_sae

TYPES = [["topk"], {"a": 1}, 7, 1.5, True]


@pytest.fixture
def folder(tmp_path):
    return save_tiny_sae(tmp_path / "sae", "topk")


def change(folder, **values) -> str:
    path = folder / "cfg.json"
    cfg = json.loads(path.read_text())
    inside = {k: values.pop(k) for k in list(values) if k.startswith(("hook", "model"))}
    path.write_text(json.dumps(cfg | values | {"metadata": {**cfg["metadata"], **inside}}))
    return str(folder)


@pytest.mark.parametrize("key", ["architecture", "hook_name", "hook_name_out", "model_name", "normalize_activations"])
@pytest.mark.parametrize("value", TYPES)
def test_names_that_are_no_text(folder, key, value):
    if (key, value) == ("normalize_activations", True):
        return
    with pytest.raises(UnsupportedSAE, match="expected a name in quotes"):
        load_sae(change(folder, **{key: value}))


@pytest.mark.parametrize("k", [-1, 0, 10**9, "8", [8], True])
def test_k(folder, k):
    with pytest.raises(UnsupportedSAE, match="has k = .*expected a number from 1 to 32"):
        load_sae(change(folder, k=k))


@pytest.mark.parametrize("value", ["32", [32], 0, -1, 3.5, True, 10**30])
@pytest.mark.parametrize("key", ["d_in", "d_sae"])
def test_sizes(folder, key, value):
    with pytest.raises(UnsupportedSAE) as said:
        load_sae(change(folder, **{key: value}))
    assert "\n" not in str(said.value)


def test_a_width_above_that_of_the_weights_takes_no_memory(folder):
    with pytest.raises(UnsupportedSAE, match=r"W_dec is \(32, 16\), cfg.json says \(1000000000000, 16\)"):
        load_sae(change(folder, d_sae=10**12))


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"d_in": ' + "9" * 5000 + "}", '{"architecture": "\\ud800"}', "[]"]
)
def test_odd_json(folder, content):
    (folder / "cfg.json").write_text(content)
    with pytest.raises(UnsupportedSAE, match="is not readable JSON|does not hold SAE settings"):
        load_sae(str(folder))
