"""Dictionaries in other people's files: pickles, bombs, claims that the file does not hold, and odd settings."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_files import HOOK, D, N, learned, plain, plain_arrays, save_arrays, sparsified
from refusals import Canary, refused, refused_or

from saeeval_core.saes.loaded import load_sae
from saeeval_core.saes.local import inspect_sae

pytestmark = pytest.mark.hostile


def torch_file(content: object) -> Callable[[Path], object]:
    return lambda path: torch.save(content, path)


def weights(**changes: object) -> Callable[[Path], object]:
    """The tensors that belong there, with changes."""

    def write(path: Path) -> None:
        state = torch.load(path, weights_only=True) | changes
        torch.save({k: v for k, v in state.items() if v is not None}, path)

    return write


def squeezed(path: Path) -> None:
    """The same file with its entries compressed."""
    with zipfile.ZipFile(path) as source:
        entries = {e: source.read(e) for e in source.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in entries.items():
            target.writestr(name, content)


class Tricky(dict):
    """A dictionary of a class of its own."""


LEARNED: dict[str, Callable[[Path], object]] = {
    "a pickle with a function": torch_file(Canary()),
    "a function among tensors": weights(extra=Canary()),
    "a bare pickle": lambda p: p.write_bytes(pickle.dumps(Canary())),
    "a bare pickle of tensors": lambda p: p.write_bytes(pickle.dumps({"bias": [1.0]})),
    "the whole object": torch_file(torch.nn.Linear(2, 2)),
    "a list": torch_file([torch.zeros(2)]),
    "numbers": torch_file({"bias": 1.0}),
    "another class of dictionary": torch_file(Tricky(bias=torch.zeros(2))),
    "empty": lambda p: p.write_bytes(b""),
    "text": lambda p: p.write_text("hello"),
    "cut": lambda p: p.write_bytes(p.read_bytes()[:-200]),
    "compressed": squeezed,
    "one value for all": weights(**{"encoder.weight": torch.zeros(1).expand(N, D)}),
    "a thousand terabytes": weights(**{"encoder.weight": torch.zeros(1).expand(10**8, 10**7)}),
    "sparse": weights(**{"encoder.weight": torch.eye(N, D).to_sparse()}),
    "on no device": weights(**{"encoder.weight": torch.zeros(N, D, device="meta")}),
    "complex": weights(**{"encoder.weight": torch.zeros(N, D, dtype=torch.complex64)}),
    "NaN": weights(**{"decoder.weight": torch.full((D, N), torch.nan)}),
    "infinity": weights(bias=torch.full((D,), torch.inf)),
    "no decoder": weights(**{"decoder.weight": None}),
    "another width": weights(**{"decoder.weight": torch.zeros(D + 1, N)}),
    "a number as weights": weights(**{"decoder.weight": torch.tensor(1.0)}),
    "an array too many": weights(other=torch.zeros(2)),
    "a folder": lambda p: (p.unlink(), p.mkdir()),
}


@pytest.mark.parametrize("name", LEARNED)
def test_weights_of_dictionary_learning(held, name):
    made = learned(held / "mine", "AutoEncoder")
    LEARNED[name](made.path / "ae.pt")
    line = refused(lambda: load_sae(str(made.path)))
    assert "function" not in name or "nothing in it was executed" in line


ODD = [None, True, -1, 0, 3.7, 10**9, 10**30, "", "x" * 5000, "\ud800", [], [1], {}, {"a": 1}, float("nan")]


@pytest.mark.parametrize("odd", ODD, ids=lambda v: ascii(v)[:24])
@pytest.mark.parametrize(
    "key", ["dict_class", "activation_dim", "dict_size", "k", "lm_name", "layer", "submodule_name"]
)
def test_an_odd_setting_of_dictionary_learning(held, key, odd):
    made = learned(held / "mine", "AutoEncoderTopK")
    config = json.loads((made.path / "config.json").read_text())
    config["trainer"][key] = odd
    (made.path / "config.json").write_text(json.dumps(config))
    info = refused_or(lambda: inspect_sae(str(made.path)))
    refused_or(lambda: load_sae(str(made.path)))
    assert info is None or all(isinstance(v, str | None) for v in (info.hook, info.model))


KEYS = ("d_in", "k", "num_latents", "expansion_factor", "transcode", "skip_connection", "signed", "activation")


@pytest.mark.parametrize("odd", ODD, ids=lambda v: ascii(v)[:24])
@pytest.mark.parametrize("key", KEYS)
def test_an_odd_setting_of_sparsify(held, key, odd):
    made = sparsified(held / "layers.3")
    config = json.loads((made.path / "cfg.json").read_text()) | {key: odd}
    (made.path / "cfg.json").write_text(json.dumps(config))
    refused_or(lambda: inspect_sae(str(made.path)))
    refused_or(lambda: load_sae(str(made.path)))


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"trainer": 1}', '{"trainer": {}}', "[" * 100_000, "\ud800"], ids=len
)
def test_settings_that_are_none(held, content):
    made = learned(held / "mine", "AutoEncoder")
    (made.path / "config.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    refused(lambda: inspect_sae(str(made.path)))
    refused(lambda: load_sae(str(made.path)))


def member(name: str, content: bytes | Callable[[], bytes], *, compressed: bool = False) -> Callable[[Path], object]:
    """The arrays that belong there, and one entry in place of its own."""

    def write(path: Path) -> None:
        kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
        there = content() if callable(content) else content
        with zipfile.ZipFile(path, "w", kind) as archive:
            for own, array in plain_arrays().items():
                blob = io.BytesIO()
                np.save(blob, array)
                archive.writestr(f"{own}.npy", there if own == name else blob.getvalue())

    return write


def header(shape: str, dtype: str = "<f4") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def objects() -> bytes:
    blob = io.BytesIO()
    np.save(blob, np.array([Canary()], dtype=object), allow_pickle=True)
    return blob.getvalue()


def arrays(**changes: object) -> Callable[[Path], object]:
    return lambda path: save_arrays(path, {k: v for k, v in (plain_arrays() | changes).items() if v is not None})


PLAIN: dict[str, Callable[[Path], object]] = {
    "a pickle": lambda p: p.write_bytes(pickle.dumps(Canary())),
    "objects": member("b_dec", objects),
    "a pickle in the zip": member("b_dec", lambda: pickle.dumps(Canary())),
    "a huge shape": member("W_enc", header("(1000000000, 1000000000)")),
    "a negative shape": member("W_enc", header("(-1, -1)")),
    "code as a header": member("W_enc", header("__import__('os').system('touch canary')")),
    "a bomb": member("W_enc", lambda: header("(5000, 20000)") + bytes(400_000_000), compressed=True),
    "text": arrays(b_dec=np.array(["a"] * D)),
    "complex": arrays(b_dec=np.zeros(D, complex)),
    "structured": arrays(b_dec=np.zeros(D, [("a", "f4")])),
    "NaN": arrays(W_dec=np.full((N, D), np.nan, np.float32)),
    "infinity": arrays(b_enc=np.full(N, np.inf, np.float32)),
    "a number": arrays(b_enc=np.array(1.0)),
    "no values": arrays(b_enc=np.zeros(0, np.float32), W_enc=np.zeros((D, 0), np.float32)),
    "k in words": arrays(k=np.array("five")),
    "many k": arrays(k=np.array([1, 2])),
    "k of NaN": arrays(k=np.array(np.nan)),
    "a switch of 2": arrays(apply_b_dec_to_input=np.array(2)),
    "a threshold of another length": arrays(threshold=np.zeros(N - 1, np.float32)),
    "another array": arrays(W_gate=np.zeros((D, N), np.float32)),
    "empty": lambda p: p.write_bytes(b""),
    "cut": lambda p: p.write_bytes(p.read_bytes()[:-300]),
    "a zip of nothing": lambda p: zipfile.ZipFile(p, "w").close(),
    "a zip with a way out": lambda p: zipfile.ZipFile(p, "w").writestr("../../private/kept.txt", b"x"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_files_of_the_plain_form(held, name):
    path = plain(held / "mine.npz").path
    PLAIN[name](path)
    refused(lambda: load_sae(f"{path}@{HOOK}"))
    refused(lambda: load_sae(str(path)))


SUFFIXES = [
    "@",
    "@@",
    "@x",
    "@blocks.3",
    "@blocks.3.hook_resid_post:",
    "@:blocks.3.x",
    "@blocks.x.hook",
    f"@{HOOK}@{HOOK}",
]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_hooks_in_a_name_that_are_none(held, suffix):
    refused_or(lambda: load_sae(f"{plain(held / 'mine.npz').path}{suffix}"))


@pytest.mark.parametrize("name", ["/etc/passwd", "mine.txt", "mine.pt", "mine.npz", ".npz", "mine.npz/"])
def test_names_of_files(held, name):
    (held / "mine.txt").write_text("x")
    (held / "mine.pt").write_bytes(pickle.dumps(Canary()))
    refused(lambda: load_sae(name))


def test_two_forms_in_one_folder(held):
    made = learned(held / "mine", "AutoEncoder")
    for other in ("params.npz", "sae.safetensors", "sae_weights.safetensors"):
        (made.path / other).write_bytes(b"x")
        assert "ae.pt" in refused(lambda: load_sae(str(made.path)))
        (made.path / other).unlink()


def test_the_command_says_it_in_one_line(held, call):
    path = plain(held / "mine.npz").path
    assert "give --hook" in call("run", "--sae", str(path))
    assert "--hook is" in call("run", "--sae", str(path), "--hook", "nowhere")
    assert "goes with --hook" in call("run", "--sae", str(path), "--read-hook", HOOK)
    np.savez(path, W_enc=np.zeros(3))
    assert "lacks b_enc" in call("run", "--sae", str(path), "--hook", HOOK)
