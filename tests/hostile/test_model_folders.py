"""Folders of language models: settings, weights and tokenizers of every odd kind, and code that would be run."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from refusals import Canary, refused, refused_or, shown

from saeeval_core.models.language_model import load_model

pytestmark = pytest.mark.hostile

ODD = [None, True, -1, 0, 3.7, 10**9, 10**30, "", "\ud800", "../../etc/passwd", [], {"a": 1}]
KEYS = [
    *("model_type", "architectures", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"),
    *("intermediate_size", "max_position_embeddings", "bos_token_id", "eos_token_id", "num_key_value_heads"),
    *("dtype", "hidden_act", "rope_parameters", "quantization_config", "auto_map", "tie_word_embeddings"),
]


@pytest.fixture
def folder(tiny_model_dir, held) -> Path:
    return Path(shutil.copytree(tiny_model_dir, held / "model"))


def load(folder: Path) -> object:
    model = load_model(str(folder), device="cpu")
    assert model.d_model > 0 and model.tokenize(["the river"]).ids[0].size
    return model


def change(path: Path, key: str, value: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))


@pytest.mark.parametrize("odd", ODD, ids=shown)
@pytest.mark.parametrize("key", KEYS)
def test_an_odd_value_in_the_settings(folder, key, odd):
    change(folder / "config.json", key, odd)
    refused_or(lambda: load(folder))


CONTENT = {
    "empty": b"",
    "half": b'{"hidden_size": 16',
    "list": b"[]",
    "text": b'"x"',
    "number": b"1",
    "null": b"null",
    "deep": b"[" * 100_000,
    "huge number": b'{"hidden_size": ' + b"9" * 5000 + b"}",
    "surrogate": b'{"model_type": "\\ud800"}',
    "latin-1": b'{"model_type": "caf\xe9"}',
    "utf-16": '{"model_type": "llama"}'.encode("utf-16"),
    "nul": bytes(100),
    "pickle": pickle.dumps([1]),
    "python": b"{'model_type': 'llama'}",
    "unknown model": b'{"model_type": "<script>alert(1)</script>"}',
    "an encoder": b'{"model_type": "bert", "architectures": ["BertModel"]}',
    "a vision model": b'{"model_type": "vit", "architectures": ["ViTModel"]}',
    "empty object": b"{}",
}


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"])
def test_files_that_hold_something_else(folder, file, name):
    (folder / file).write_bytes(CONTENT[name])
    (refused if file == "config.json" else refused_or)(lambda: load(folder))


WEIGHTS: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda p: p.write_bytes(b""),
    "zeros": lambda p: p.write_bytes(bytes(500)),
    "cut": lambda p: p.write_bytes(p.read_bytes()[:-60]),
    "pickle": lambda p: p.write_bytes(pickle.dumps(Canary())),
    "a folder": lambda p: (p.unlink(), p.mkdir()),
    "a link to nowhere": lambda p: (p.unlink(), p.symlink_to("nowhere")),
    "a header of the largest length": lambda p: p.write_bytes(b"\xff" * 8 + p.read_bytes()[8:]),
    "huge shape": lambda p: p.write_bytes(
        (66).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4]}}   '
    ),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(folder, name):
    WEIGHTS[name](folder / "model.safetensors")
    refused(lambda: load(folder))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pkl", "tf_model.h5", "flax_model.msgpack"])
def test_a_pickle_in_place_of_the_weights_is_never_opened(folder, name):
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Canary()))
    refused(lambda: load(folder))


INDEXES = [
    '{"weight_map": {"a": "../../private/kept.txt"}}',
    '{"weight_map": 3}',
    "[]",
    "",
    '{"weight_map": {}}',
    "[" * 100_000,
]


@pytest.mark.parametrize("content", INDEXES, ids=shown)
def test_an_index_of_weights(folder, content):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(content)
    refused(lambda: load(folder))


CODE = "import os\nopen(os.environ['SAEEVAL_CANARY'], 'w').close()\n"
MAPS = {
    "config.json": {"auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}},
    "tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}},
}


@pytest.mark.parametrize("model_type", ["llama", "evil"])
@pytest.mark.parametrize("file", MAPS)
@pytest.mark.parametrize("remote", ["", "someone/else--"])
def test_code_in_the_folder_is_never_run(folder, file, model_type, remote, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    (folder / "evil.py").write_text(CODE)
    (folder / "__init__.py").write_text(CODE)
    (folder / "modeling_llama.py").write_text(CODE)
    words = json.dumps(MAPS[file]).replace("evil.", f"{remote}evil.")
    for key, value in json.loads(words).items():
        change(folder / file, key, value)
    change(folder / "config.json", "model_type", model_type)
    refused_or(lambda: load(folder))


TEMPLATES = ["{{ ''.__class__.__mro__ }}", "{% for i in range(10**9) %}{% endfor %}", "{{", "\ud800"]


@pytest.mark.parametrize("template", TEMPLATES, ids=shown)
def test_a_chat_template_is_never_rendered(folder, template):
    change(folder / "tokenizer_config.json", "chat_template", template)
    refused_or(lambda: load(folder))


@pytest.mark.parametrize("odd", ODD, ids=shown)
@pytest.mark.parametrize(
    "key", ["bos_token", "eos_token", "tokenizer_class", "model_max_length", "added_tokens_decoder"]
)
def test_an_odd_value_in_the_settings_of_the_tokenizer(folder, key, odd):
    change(folder / "tokenizer_config.json", key, odd)
    refused_or(lambda: load(folder))


NAMES = [
    *(
        "",
        " ",
        ".",
        "..",
        "/",
        "~",
        "~nobody/x",
        "./nowhere",
        "../../../etc",
        "/etc/passwd",
        "/dev/zero",
        "C:\\x",
        "a/b/c",
    ),
    *("a b/c", "-/-", "a/..b", "x" * 300, "x/" + "y" * 300, "x" * 20_000, "a\0b", "\ud800", "a\nb", "\u202e", "$(id)"),
    *("<script>alert(1)</script>", "http://x/y", "file:///etc/passwd", "hub:a/b", "%00", "{}", "*"),
]


@pytest.mark.parametrize("name", NAMES, ids=shown)
def test_names_of_models(held, name):
    refused(lambda: load_model(name, device="cpu"))


@pytest.mark.parametrize("device", ["", "tpu", "cuda:99", "cpu:x", "\0", "\ud800", "meta", "../cpu"], ids=shown)
def test_devices(tiny_model_dir, device):
    refused_or(lambda: load_model(str(tiny_model_dir), device=device))


@pytest.mark.parametrize("dtype", ["", "float8", "int8", "object", "\ud800"], ids=shown)
def test_dtypes(tiny_model_dir, dtype):
    refused(lambda: load_model(str(tiny_model_dir), device="cpu", dtype=dtype))
