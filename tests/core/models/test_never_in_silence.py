"""Models that would give wrong numbers without a word: refused, or said in what is recorded."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from toys import FILLER, HOOK, save_tiny_model, tiny_tokenizer

from saeeval_core.config import MAX_TOKENS
from saeeval_core.errors import ModelError
from saeeval_core.models.identity import model_name, model_stamp
from saeeval_core.models.language_model import load_model
from saeeval_core.recordings.recorder import record


@pytest.fixture
def folder(tiny_model_dir, tmp_path) -> Path:
    """A copy that may be changed."""
    shutil.copytree(tiny_model_dir, tmp_path / "model")
    return tmp_path / "model"


def edit(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_weights_that_are_not_in_the_files_are_never_drawn_at_random(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file({f"_orig_mod.{k}": v for k, v in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks \d+ of the model's weights .*_orig_mod"):
        load_model(str(folder), device="cpu")
    some = {k: v for k, v in tensors.items() if "layers.1.mlp.up_proj" not in k}
    save_file(some, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        ModelError, match=r"lacks 1 of the model's weights \(such as model.layers.1.mlp.up_proj.weight\)"
    ):
        load_model(str(folder), device="cpu")
    wide = tensors | {"model.layers.0.mlp.up_proj.weight": torch.zeros(64, 16)}
    save_file(wide, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError) as caught:
        load_model(str(folder), device="cpu")
    assert "\n" not in str(caught.value)


def test_an_output_embedding_that_is_missing_is_said_because_no_hook_needs_it(tiny_model, folder):
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {k: v for k, v in tensors.items() if k != "lm_head.weight"}, folder / "model.safetensors", {"format": "pt"}
    )
    model = load_model(str(folder), device="cpu")
    assert "no output embedding" in model.note
    own, plain = (record(m, HOOK, ["river stone"], "print", [])[0].residuals for m in (model, tiny_model))
    np.testing.assert_array_equal(own, plain)


def test_tied_weights_are_not_missing(tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    hf = LlamaForCausalLM(LlamaConfig(vocab_size=512, tie_word_embeddings=True, **settings))
    hf.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    assert load_model(str(tmp_path), device="cpu").n_layers == 2


def test_long_texts_are_cut_at_the_end_whatever_the_tokenizer_says(tiny_model, folder):
    tokenizer = tiny_tokenizer(truncation_side="left")
    tokenizer.save_pretrained(folder)
    model = load_model(str(folder), device="cpu")
    text = " ".join(np.random.default_rng(0).choice(FILLER, 300))
    own, plain = model.tokenize([text]), tiny_model.tokenize([text])
    np.testing.assert_array_equal(own.ids[0], plain.ids[0])
    np.testing.assert_array_equal(own.ends[0], plain.ends[0])
    assert len(own.ids[0]) == MAX_TOKENS


def test_texts_are_cut_at_the_context_of_a_short_model_which_is_said(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    hf = GPT2LMHeadModel(GPT2Config(vocab_size=512, n_positions=24, n_embd=16, n_layer=2, n_head=2))
    hf.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    model = load_model(str(tmp_path), device="cpu")
    residuals, _ = record(model, HOOK, [" ".join(FILLER * 3), "river"], "print", [])
    assert residuals.n_valid.tolist() == [23, 1] and "24 positions" in residuals.note
    assert all(len(p.split()) <= 23 for p in model.windows([" ".join(FILLER)]))


def test_a_vocabulary_larger_than_the_embedding_is_refused(tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=20, **settings)).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    model = load_model(str(tmp_path), device="cpu")
    with pytest.raises(ModelError, match="has token .* but the model's embedding has 20 rows"):
        model.tokenize([" ".join(FILLER)])


def test_a_model_without_a_bos_says_which_token_stands_first(folder):
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in settings.items() if k != "bos_token"}))
    for name in ("special_tokens_map.json",):
        (folder / name).unlink(missing_ok=True)
    model = load_model(str(folder), device="cpu")
    assert model.bos_id == 1 and "declares no beginning-of-sequence token; '</s>' stands first" in model.note


def test_one_folder_is_one_model_however_it_is_written(folder, monkeypatch, cache):
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("HOME", str(folder.parent))
    (folder.parent / "link").symlink_to(folder)
    names = [
        str(folder),
        f"{folder}/",
        "./model",
        "model/",
        "~/model",
        "link",
        str(folder.parent / "x" / ".." / "model"),
    ]
    (folder.parent / "x").mkdir()
    assert {model_name(n) for n in names} == {str(folder.resolve())}
    assert len({model_stamp(n) for n in names}) == 1
    assert {load_model(n, device="cpu").name for n in names[:3]} == {str(folder.resolve())}


def test_the_identity_of_a_folder_is_what_is_in_it(folder, tmp_path, cache):
    other = tmp_path / "copied"
    shutil.copytree(folder, other)
    first = model_stamp(str(folder))
    assert model_stamp(str(other)) == first, "not its times"
    (folder / "model.safetensors").touch()
    assert model_stamp(str(folder)) == first
    save_tiny_model(other, seed=1)
    assert model_stamp(str(other)) != first


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("gpt2-small", "openai-community/gpt2"),
        ("gemma-2-2b", "google/gemma-2-2b"),
        ("pythia-70m-deduped", "EleutherAI/pythia-70m-deduped"),
        ("mistral-7b", "mistralai/Mistral-7B-v0.1"),
        ("qwen3-4b", "Qwen/Qwen3-4B"),
        ("google/gemma-3-270m", "google/gemma-3-270m"),
        ("smollm2-135m-instruct", "smollm2-135m-instruct"),
        ("gpt2", "gpt2"),
    ],
)
def test_names_of_the_list_of_models_are_hub_ids(said, meant):
    assert model_name(said) == meant


def test_every_name_of_the_list_of_models_is_accepted():
    from saeeval_core.saes.releases import list_registry

    assert all("/" in model_name(row.model) for row in list_registry())


def test_folders_that_are_no_whole_model_say_what_they_are(folder, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    with pytest.raises(ModelError, match="an adapter for org/base; merge it into the model"):
        load_model(str(adapter), device="cpu")
    edit(folder / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(ModelError, match=r"its weights are quantised \(gptq\)"):
        load_model(str(folder), device="cpu")
