"""What a user can get wrong, at the command line: one line that says what to do, a non-zero exit, no traceback."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file
from toys import save_tiny_sae

from saeeval_core.errors import DataError, unknown_name
from saeeval_core.models.batches import padded_batches
from saeeval_core.recordings import recorder
from saeeval_core.storage import artifacts, kept
from saeeval_core.texts.sources import file_task_set, read_texts


def changed(args: list[str], **values: str) -> list[str]:
    out = list(args)
    for name, value in values.items():
        out[out.index(f"--{name.replace('_', '-')}") + 1] = str(value)
    return out


def test_a_control_the_run_works(call, args, tmp_path):
    code, out, err = call(*args, "--classes", "meal=tea,soup", "--json", tmp_path / "deep" / "out.json")
    assert code == 0, err
    assert "SHIFT score S" in out and all(len(line) <= 100 for line in out.splitlines())
    assert json.loads((tmp_path / "deep" / "out.json").read_text())["results"][0]["shift"]["directions"]


def test_saebench_files_need_a_folder(call, args, tmp_path):
    call.refuses("unknown format 'saebensh'; nearest: saebench", *args, "--format", "saebensh")
    call.refuses("writes a folder of files; name it with --json FOLDER", *args, "--format", "saebench")
    (tmp_path / "out.json").write_text("x")
    call.refuses(
        "'.*out.json' is a file; .* needs a folder", *args, "--format", "saebench", "--json", tmp_path / "out.json"
    )


def test_nothing_is_rebuilt_without_the_corpus_that_was_named(call, monkeypatch):
    monkeypatch.setattr("saeeval_core.bundle.build_texts", lambda say: pytest.fail("started"))
    call.refuses("no corpus at 'nofile'; give a Parquet", "build-bundle", "--corpus", "nofile")


# Names.


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        ({"model": "/no/such/model"}, "no config.json in '/no/such/model'"),
        (
            {"model": "smollm2-135m-instrukt"},
            "neither the bundled model .smollm2-135m-instruct. nor a folder.*local folder",
        ),
        ({"sae": "smollm2-135m-l15-topc"}, "unknown SAE 'smollm2-135m-l15-topc'"),
        ({"sae": "/no/such/sae"}, "no folder '/no/such/sae'"),
        ({"texts": "/no/such/file.csv"}, "file '/no/such/file.csv' does not exist"),
        ({"target": "proffession=nurse,surgeon"}, "unknown column 'proffession'; nearest: profession"),
        ({"target": "profession=nurse,sturgeon"}, "has no value 'sturgeon'; it has .*nurse \\(160\\)"),
        ({"target": "profession=nurse"}, "not COLUMN=POSITIVE,NEGATIVE"),
        ({"spurious": "profession=nurse,surgeon"}, "must be two columns"),
        ({"metrics": "shft"}, "unknown metric 'shft'; nearest: shift"),
        ({"n": "0"}, "each must be at least 1"),
        ({"n": "1,33"}, "N = 33 but .*has 32 latents; lower --n"),
        ({"n": "one"}, "give whole numbers"),
        ({"device": "tpu"}, "device 'tpu' is not available"),
    ],
)
def test_wrong_values(call, args, change, pattern):
    call.refuses(pattern, *changed(args, **change))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_broken_model_folders(call, args, tiny_model_dir, tmp_path, name):
    folder = tmp_path / "model-401"  # a number in the path is not an answer of the Hub
    shutil.copytree(tiny_model_dir, folder)
    (folder / name).write_bytes((folder / name).read_bytes()[:60])
    call.refuses("model-401", *changed(args, model=folder))


def test_without_a_network_hub_data_sets_are_refused_at_once(call):
    call.refuses(
        "'foo/bar' cannot be loaded.*save it as a Parquet file", "run", "--texts", "hub:foo/bar", "--classes", "a=b,c"
    )


def test_unknown_tasks_protocols_and_lists(call):
    call.refuses("unknown task 'boos'; nearest: bios", "run", "--task", "boos")
    call.refuses("unknown protocol 'robst'; nearest: robust", "run", "--protocol", "robst")
    call.refuses("cannot list 'models2'", "list", "models2")
    call.refuses("nothing found for --model no-such-model", "list", "saes", "--model", "no-such-model")


def test_options_that_do_not_exist_are_usage_errors(call):
    code, _, err = call("run", "--taskk", "bios")
    assert code == 2 and "No such option" in err and "Traceback" not in err


def test_nearest_names():
    assert unknown_name("task", "newz", ["bios", "news"]) == "unknown task 'newz'; nearest: news"
    assert unknown_name("task", "zzz", []) == "unknown task 'zzz'"


# SAEs that do not fit.


def test_saes_that_do_not_fit(call, args, tmp_path, monkeypatch):
    narrow = save_tiny_sae(tmp_path / "narrow", "standard", d_in=8)
    call.refuses("reads 8 values but the model has 16", *changed(args, sae=narrow))
    elsewhere = save_tiny_sae(tmp_path / "elsewhere", "standard", hook="blocks.7.hook_resid_post")
    call.refuses("reads blocks.7.hook_resid_post; this model has blocks 0 to 1", *changed(args, sae=elsewhere))
    misspelt = save_tiny_sae(tmp_path / "misspelt", "standard", hook="blocks.0.hook_resid_pots")
    call.refuses("hook 'blocks.0.hook_resid_pots' does not exist", *changed(args, sae=misspelt))
    nameless = save_tiny_sae(tmp_path / "nameless", "standard", hook=None)
    call.refuses("does not say which hook.*metadata.hook_name", *changed(args, sae=nameless))
    from sae_lens import StandardSAE

    monkeypatch.setattr(StandardSAE, "decode", lambda self, f: torch.relu(f @ self.W_dec + self.b_dec))
    curved = save_tiny_sae(tmp_path / "curved", "standard")
    call.refuses("does not decode each latent by adding f_i D_i.*choose another SAE", *changed(args, sae=curved))


@pytest.mark.parametrize("how", ["cut", "noise", "shape", "missing"])
def test_broken_weights(call, args, tmp_path, how):
    folder = save_tiny_sae(tmp_path / "sae", "topk")
    weights = folder / "sae_weights.safetensors"
    if how == "cut":
        weights.write_bytes(weights.read_bytes()[:-50])
    elif how == "noise":
        weights.write_bytes(b"\0" * 500)
    elif how == "shape":
        tensors = load_file(weights)
        save_file(tensors | {"W_enc": np.zeros((3, 3), np.float32)}, weights)
    else:
        weights.unlink()
    call.refuses("get it again|save it again|no sae_weights.safetensors", *changed(args, sae=folder))


# Texts.


def write(path: Path, **columns: list) -> Path:
    frame = pd.DataFrame(columns)
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
    return path


def test_files_that_cannot_be_read(call, args, tmp_path):
    latin = tmp_path / "latin.csv"
    latin.write_bytes("text,profession,gender\ncaf\xe9,nurse,female\n".encode("latin-1"))
    call.refuses("'latin.csv' is not UTF-8; save it again.*--encoding cp1252", *changed(args, texts=latin))
    wide = tmp_path / "wide.csv"
    wide.write_bytes("text,profession,gender\nriver,nurse,female\n".encode("utf-16-le"))
    call.refuses("holds NUL bytes.*--encoding utf-16-le", *changed(args, texts=wide))
    call.refuses("unknown encoding 'utf-99'", *changed(args, texts=wide), "--encoding", "utf-99")
    call.refuses("delimiter is '::'", *changed(args, texts=wide), "--encoding", "utf-16-le", "--delimiter", "::")
    either = tmp_path / "either.csv"
    either.write_text("text,a;b\nriver,1;2\n")
    call.refuses("comma or semicolon.*--delimiter ';'", *changed(args, texts=either))
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("text,profession\na,b\na,b,c,d\n")
    call.refuses("'ragged.csv' cannot be read as csv", *changed(args, texts=ragged))
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    call.refuses("'empty.csv' cannot be read as csv", *changed(args, texts=empty))
    for name in ("noise.parquet", "noise.jsonl"):
        (tmp_path / name).write_bytes(b"PAR1 this is not it PAR1")
        call.refuses(f"'{name}' cannot be read as", *changed(args, texts=tmp_path / name))
    (tmp_path / "texts.xlsx").write_text("x")
    call.refuses("give a .csv, .parquet or .jsonl", *changed(args, texts=tmp_path / "texts.xlsx"))
    call.refuses("", *changed(args, texts=tmp_path))  # a folder


def test_columns_and_classes_that_are_missing(call, args, tmp_path):
    other = write(tmp_path / "a.csv", words=["river"] * 3, profession=["nurse"] * 3, gender=["female"] * 3)
    call.refuses("unknown column 'text'; nearest: words.*has words, profession, gender", *changed(args, texts=other))
    one = write(tmp_path / "b.csv", text=["river", "stone"], profession=["nurse"] * 2, gender=["female", "male"])
    call.refuses("has no value 'surgeon'; it has nurse \\(2\\)", *changed(args, texts=one))
    blank = write(tmp_path / "c.csv", text=["", " "], profession=["nurse", "surgeon"], gender=["female", "male"])
    call.refuses("column 'text' of 'c' holds no text", *changed(args, texts=blank))
    few = write(
        tmp_path / "d.csv",
        text=[f"river {i}" for i in range(80)],
        profession=["nurse", "surgeon"] * 40,
        gender=["female"] * 40 + ["male"] * 40,
    )
    call.refuses("quadrant '.*' has 12 training texts; at least 40 are needed", *changed(args, texts=few))
    call.refuses("needs both --target", *[a for a in args if a not in ("--spurious", "gender=female,male")])


def test_nul_characters_and_empty_texts(tmp_path):
    with_nul = write(tmp_path / "nul.parquet", text=["a\0b", "c"], label=["x", "y"])
    with pytest.raises(DataError, match="holds NUL characters in column 'text'"):
        read_texts(with_nul, "text")
    texts = read_texts(write(tmp_path / "e.csv", text=["a", None, "  ", "b"], label=["x", "y", "x", None]), "text")
    assert texts.texts == ("a", "b") and texts.dropped == {"empty text": 2}
    assert texts.columns["label"].tolist() == ["x", ""]


def test_numbers_in_files_are_compared_as_numbers(tmp_path):
    path = write(tmp_path / "r.parquet", text=list("abcd"), rating=[5.0, 1.0, 5.0, np.nan], stars=[5, 1, 5, 1])
    for column in ("rating", "stars"):
        found = file_task_set(path, "text", classes=f"{column}=5.0,1")
        assert found.tpp == (column, ("5", "1"))
    assert found.texts.columns["rating"].tolist() == ["5", "1", "5", ""]


def test_texts_of_nothing_but_special_tokens_are_scored_as_the_characters_they_are(tiny_model):
    ids = tiny_model.tokenize(["<s></s>"]).ids[0]
    assert len(ids) > 1 and not {0, 1} & set(ids[1:].tolist())


# The machine.


def test_a_full_disk_costs_lines_on_stderr_and_not_the_run(call, args, cache, tmp_path, monkeypatch):
    plain = artifacts.write_atomic

    def full(path: Path, content: bytes) -> None:
        if path.is_relative_to(cache):
            raise OSError(28, "No space left on device")
        plain(path, content)

    with monkeypatch.context() as patch:
        for module in (artifacts, kept):
            patch.setattr(module, "write_atomic", full)
        code, _, err = call(*args, "--json", tmp_path / "full.json")
    assert code == 0, err
    lines = [line for line in err.splitlines() if "No space left on device" in line]
    # The identity of the model is hashed once in a process: its line may have been said by another test.
    assert {line.split()[0] for line in lines} - {"model"} == {
        "recording",
        "pace",
        "probes",
        "controls",
        "own-controls",
    }
    assert all("used all the same" in line for line in lines)
    monkeypatch.setenv("SAEEVAL_CACHE", str(tmp_path / "other"))
    code, _, err = call(*args, "--json", tmp_path / "whole.json")
    assert code == 0, err
    one, two = (json.loads((tmp_path / f"{n}.json").read_text())["results"] for n in ("full", "whole"))
    assert one == two, "the same numbers, from memory"


def test_a_result_that_cannot_be_written(call, args, tmp_path):
    (tmp_path / "file").write_text("x")
    call(*args)  # recordings are there now
    call.refuses("file|directory", *args, "--json", tmp_path / "file" / "out.json")


def test_ctrl_c_keeps_what_is_done_and_the_next_run_continues(call, args, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "padded_batches", lambda ids: padded_batches(ids, 256))
    code, _, err = call(*args, "--json", tmp_path / "whole.json")
    assert code == 0, err
    monkeypatch.setenv("SAEEVAL_CACHE", str(cache.parent / "second"))
    plain, batches = recorder._Pass._batch, []

    def interrupted(self, rows, ids, mask) -> None:
        if len(batches) == 5:
            raise KeyboardInterrupt
        batches.append(rows)
        plain(self, rows, ids, mask)

    monkeypatch.setattr(recorder._Pass, "_batch", interrupted)
    call.refuses("stopped; what was finished is kept", *args, code=130)
    assert list((cache.parent / "second").rglob("state.safetensors"))
    done = list(batches)

    def counting(self, rows, ids, mask) -> None:
        batches.append(rows)
        plain(self, rows, ids, mask)

    monkeypatch.setattr(recorder._Pass, "_batch", counting)
    code, _, err = call(*args, "--json", tmp_path / "resumed.json")
    assert code == 0, err
    assert sum(len(r) for r in batches) == len(np.unique(np.concatenate(batches))) == 320, "no batch is done twice"
    assert len(batches) > len(done) == 5
    one, two = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("whole", "resumed"))
    assert json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
