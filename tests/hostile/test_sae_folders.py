"""Folders of SAEs: settings and weights of every odd kind, and names that are no SAE."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from refusals import Canary, refused, refused_or, shown
from safetensors.numpy import load_file, save_file
from toys import save_tiny_sae

from saeeval_core.saes.loaded import load_sae
from saeeval_core.saes.local import inspect_sae
from saeeval_core.saes.registry import list_bundled

pytestmark = pytest.mark.hostile

ODD = [
    None,
    True,
    -1,
    0,
    3.7,
    10**9,
    10**30,
    "",
    "x" * 5000,
    "\ud800",
    "../../etc/passwd",
    [],
    [1],
    {},
    {"a": 1},
    float("nan"),
]
KEYS = [
    *("architecture", "d_in", "d_sae", "k", "dtype", "device", "normalize_activations", "apply_b_dec_to_input"),
    *(
        "reshape_activations",
        "metadata",
        "hook_name",
        "model_name",
        "prepend_bos",
        "neuronpedia_id",
        "sae_lens_version",
    ),
    *("rescale_acts_by_decoder_norm", "activation_fn", "d_out"),
]
UNDER = ("hook_name", "model_name", "prepend_bos", "neuronpedia_id", "sae_lens_version", "hook_name_out")


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return save_tiny_sae(tmp_path_factory.mktemp("plain") / "sae", "topk")


@pytest.fixture
def folder(plain, held) -> Path:
    return Path(shutil.copytree(plain, held / "sae"))


def load(folder: Path) -> object:
    sae = load_sae(str(folder))
    assert sae.decoder.shape == (32, 16)
    return sae


def put(folder: Path, content: str | bytes) -> None:
    raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    (folder / "cfg.json").write_bytes(raw)


@pytest.mark.parametrize("odd", ODD, ids=shown)
@pytest.mark.parametrize("key", KEYS)
def test_an_odd_value_in_the_settings(folder, key, odd):
    cfg = json.loads((folder / "cfg.json").read_text())
    place = cfg["metadata"] if key in UNDER else cfg
    place[key] = odd
    put(folder, json.dumps(cfg))
    info = refused_or(lambda: inspect_sae(str(folder)))
    refused_or(lambda: load(folder))
    for word in (info.hook, info.model, info.neuronpedia_id) if info else ():
        assert word is None or isinstance(word, str) and word.encode("utf-8") is not None


@pytest.mark.parametrize("key", ["architecture", "d_in", "d_sae", "k", "metadata", "dtype", "normalize_activations"])
def test_a_setting_that_is_missing(folder, key):
    cfg = json.loads((folder / "cfg.json").read_text())
    cfg.pop(key, None)
    put(folder, json.dumps(cfg))
    refused_or(lambda: load(folder))


CONTENT = {
    "empty": "",
    "blank": "\n",
    "half": '{"d_in": 16',
    "list": "[]",
    "text": '"x"',
    "number": "1",
    "null": "null",
    "empty object": "{}",
    "deep": "[" * 100_000,
    "deep object": '{"a":' * 100_000,
    "huge number": '{"d_in": ' + "9" * 5000 + "}",
    "surrogate": '{"architecture": "\\ud800"}',
    "latin-1": b'{"architecture": "caf\xe9"}',
    "utf-16": '{"d_in": 16}'.encode("utf-16"),
    "nul": b"\0" * 100,
    "pickle": pickle.dumps({"d_in": 16}),
    "twice": '{"d_in": 16}{"d_in": 16}',
    "python": "{'d_in': 16}",
    "yaml": "!!python/object/apply:os.system ['touch canary']",
    "list of metadata": '{"architecture": "topk", "d_in": 16, "d_sae": 32, "metadata": [1]}',
    "training": '{"architecture": "batchtopk", "d_in": 16, "d_sae": 32}',
    "unknown": '{"architecture": "<script>alert(1)</script>", "d_in": 16, "d_sae": 32}',
    "a class": '{"architecture": "__class__", "d_in": 16, "d_sae": 32}',
}


@pytest.mark.parametrize("name", CONTENT)
def test_settings_that_are_none(folder, name):
    put(folder, CONTENT[name])
    refused(lambda: inspect_sae(str(folder)))
    refused(lambda: load(folder))


def tensors(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        found = load_file(path)
        save_file({k: np.ascontiguousarray(v) for k, v in (change(found) or found).items()}, path)

    return write


def header(text: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(len(text).to_bytes(8, "little") + text)


WEIGHTS: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda p: p.write_bytes(b""),
    "zeros": lambda p: p.write_bytes(bytes(500)),
    "cut": lambda p: p.write_bytes(p.read_bytes()[:-50]),
    "longer": lambda p: p.write_bytes(p.read_bytes() + b"x" * 50),
    "pickle": lambda p: p.write_bytes(pickle.dumps(Canary())),
    "a folder": lambda p: (p.unlink(), p.mkdir()),
    "a link to nowhere": lambda p: (p.unlink(), p.symlink_to("nowhere")),
    "a header of the largest length": lambda p: p.write_bytes(b"\xff" * 8 + p.read_bytes()[8:]),
    "no json header": header(b"this is not json"),
    "deep header": header(b"[" * 10_000),
    "huge shape": header(b'{"W_dec":{"dtype":"F32","shape":[1000000000,1000000000],"data_offsets":[0,4]}}'),
    "offsets outside": header(b'{"W_dec":{"dtype":"F32","shape":[1],"data_offsets":[0,4000000000000]}}'),
    "negative shape": header(b'{"W_dec":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}'),
    "unknown dtype": header(b'{"W_dec":{"dtype":"object","shape":[1],"data_offsets":[0,4]}}'),
    "no tensors": lambda p: save_file({}, p),
    "another width": tensors(lambda t: t | {"W_dec": np.zeros((32, 8), np.float32)}),
    "another number": tensors(lambda t: t | {"W_dec": np.zeros((31, 16), np.float32)}),
    "another encoder": tensors(lambda t: t | {"W_enc": np.zeros((3, 3), np.float32)}),
    "another bias": tensors(lambda t: t | {"b_dec": np.zeros(15, np.float32)}),
    "a flat decoder": tensors(lambda t: t | {"W_dec": np.zeros(512, np.float32)}),
    "no decoder": tensors(lambda t: t.pop("W_dec") is None or t),
    "no encoder": tensors(lambda t: t.pop("W_enc") is None or t),
    "NaN": tensors(lambda t: t | {"W_dec": np.full((32, 16), np.nan, np.float32)}),
    "infinity": tensors(lambda t: t | {"b_enc": np.full(32, np.inf, np.float32)}),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(folder, name):
    WEIGHTS[name](folder / "sae_weights.safetensors")
    refused(lambda: load(folder))


@pytest.mark.parametrize("at", range(24))
def test_damaged_bytes_of_weights(folder, at):
    path = folder / "sae_weights.safetensors"
    content = bytearray(path.read_bytes())
    content[at * 13] ^= 255
    path.write_bytes(bytes(content))
    refused_or(lambda: load(folder))


@pytest.mark.parametrize("name", ["sae_weights.pt", "ae.pt", "sae.pkl", "pytorch_model.bin", "cfg.pkl", "params.npz"])
def test_a_pickle_beside_or_in_place_of_the_weights_is_never_opened(folder, name):
    (folder / "sae_weights.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Canary()))
    refused(lambda: load(folder))


SCALERS = [
    "",
    "[]",
    "{}",
    '{"scaling_factor": null}',
    '{"scaling_factor": "1"}',
    '{"scaling_factor": -1}',
    '{"scaling_factor": 0}',
]
SCALERS += [
    '{"scaling_factor": 1e999}',
    '{"scaling_factor": NaN}',
    "[" * 100_000,
    '{"scaling_factor": ' + "9" * 5000 + "}",
    "\ud800",
]


@pytest.mark.parametrize("content", SCALERS, ids=shown)
def test_the_file_of_a_normalisation(folder, content):
    cfg = json.loads((folder / "cfg.json").read_text()) | {"normalize_activations": "expected_average_only_in"}
    put(folder, json.dumps(cfg))
    (folder / "activation_scaler.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    refused(lambda: load(folder))


NAMES = [
    *(
        "",
        " ",
        ".",
        "..",
        "/",
        "//",
        "~",
        "~nobody/x",
        "./nowhere",
        "../../../etc",
        "/etc/passwd",
        "/dev/zero",
        "C:\\x",
    ),
    *("a/b", "a/b/c/d/e", "hub:", "hub:/", "hub:a", "hub:a/b", "hub:../../x", "hub:a b/c", "hub:-/-", "hub:a/..b"),
    *("hub:https://example.org/x", "hub:" + "x" * 200 + "/y", "hub:a/b/../../c", "file:///etc/passwd", "http://x/y"),
    *(
        "x" * 300,
        "x" * 20_000,
        "a\0b",
        "\ud800",
        "hub:\ud800/x",
        "a\nb",
        "\u202e",
        "<script>alert(1)</script>",
        "{}",
        "*",
    ),
    *("gpt2-small-res-jb", "gpt2-small-res-jb/", "gpt2-small-res-jb/nowhere", "gpt2-small-res-jb:../x", "%00", "$(id)"),
]


@pytest.mark.parametrize("name", NAMES, ids=shown)
def test_names_of_saes(held, name):
    refused(lambda: load_sae(name))
    refused_or(lambda: inspect_sae(name))


def test_a_damaged_one_among_bundled_ones_is_left_out(held, plain):
    shutil.copytree(plain, held / "saes" / "good")
    for name in ("settings", "list", "deep"):
        shutil.copytree(plain, held / "saes" / name)
        put(held / "saes" / name, {"settings": "", "list": "[]", "deep": "[" * 100_000}[name])
    assert [i.id for i in list_bundled([held / "saes"])] == ["good"]
