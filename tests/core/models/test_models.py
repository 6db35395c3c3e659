"""Language models: tokens, windows, hooks, precision and what is said when one cannot be used."""

import json
import shutil

import numpy as np
import pytest
import torch
from toys import FILLER, HOOK, tiny_tokenizer

from saeeval_core.config import MAX_TOKENS
from saeeval_core.errors import ModelError
from saeeval_core.models.identity import model_stamp
from saeeval_core.models.language_model import LanguageModel, load_model, resolve_device
from saeeval_core.recordings.recorder import record


def test_what_a_model_says_about_itself(tiny_model, tiny_model_dir):
    assert (tiny_model.d_model, tiny_model.n_layers) == (16, 2)
    assert tiny_model.name == str(tiny_model_dir) and tiny_model.note == ""
    assert tiny_model.unembedding().shape == (512, 16)


def test_tokens_are_bos_and_raw_tokens_with_their_ends(tiny_model):
    text = "The river, at night"
    tokens = tiny_model.tokenize([text, ""])
    assert tokens.ids[0][0] == tiny_model.bos_id and len(tokens.ids[0]) == 6
    assert tokens.ends[0].tolist() == [3, 9, 10, 13, 19]
    assert tokens.ids[1].tolist() == [tiny_model.bos_id] and tokens.ends[1].tolist() == []


@pytest.mark.parametrize("length", [1, 126, 127, 128, 300, 381])
def test_windows_cut_long_texts_without_losing_a_word(tiny_model, length):
    words = np.random.default_rng(length).choice(FILLER, length).tolist()
    pieces = tiny_model.windows([" ".join(words)])
    assert " ".join(" ".join(p.split()) for p in pieces) == " ".join(words)
    sizes = [len(p.split()) for p in pieces]
    assert all(n == MAX_TOKENS - 1 for n in sizes[:-1]) and 1 <= sizes[-1] <= MAX_TOKENS - 1
    assert tiny_model.windows(["", " "]) == []


def test_padding_changes_nothing(tiny_model):
    short, long = tiny_model.tokenize(["river stone", " ".join(FILLER)]).ids
    ids, mask = torch.zeros(2, len(long), dtype=torch.long), torch.zeros(2, len(long), dtype=torch.long)
    for row, own in enumerate((short, long)):
        ids[row, : len(own)], mask[row, : len(own)] = torch.from_numpy(own.astype(np.int64)), 1
    together = tiny_model.activations(ids, mask, [HOOK])[HOOK]
    alone = tiny_model.activations(ids[:1, : len(short)], mask[:1, : len(short)], [HOOK])[HOOK]
    torch.testing.assert_close(together[:1, : len(short)], alone, rtol=1e-4, atol=1e-4)


def test_several_hooks_in_one_pass_and_none_left_behind(tiny_model):
    ids = torch.tensor([[0, 5, 6]])
    hooks = ["blocks.1.hook_resid_post", "blocks.0.hook_resid_pre", "blocks.1.hook_resid_pre"]
    before = attached(tiny_model)
    found = tiny_model.activations(ids, torch.ones_like(ids), hooks)
    assert set(found) == set(hooks)
    more = tiny_model.activations(ids, torch.ones_like(ids), [*hooks, "blocks.1.hook_mlp_out"])
    for hook in hooks:
        assert torch.equal(found[hook], more[hook])
    assert attached(tiny_model) == before


def attached(model) -> int:
    """Number of hooks on the model's modules; transformers leaves some of its own for hidden states."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.hf.modules())


def test_plain_hooks_are_those_of_the_bridge_which_leaves_the_model_as_it_was(tiny_model):
    ids = torch.tensor([[0, 5, 6]])
    mask = torch.ones_like(ids)
    names = ("hook_resid_mid", "hook_attn_out", "hook_mlp_out", "attn.hook_z", "mlp.hook_in", "ln2.hook_normalized")
    hooks = [f"blocks.{layer}.{name}" for layer in (0, 1) for name in names]
    plain = tiny_model.activations(ids, mask, hooks)
    bridged = tiny_model._bridged_activations(ids, mask, hooks)
    query = tiny_model.activations(ids, mask, ["blocks.1.attn.hook_q"])  # known to the bridge alone
    again = tiny_model.activations(ids, mask, hooks)
    for hook in hooks:
        torch.testing.assert_close(plain[hook], bridged[hook], rtol=1e-4, atol=1e-4)
        assert torch.equal(plain[hook], again[hook])
    assert query["blocks.1.attn.hook_q"].shape == (1, 3, 16)


def test_a_model_that_sees_pictures_too_is_read_in_its_text_blocks():
    from families import SETTINGS
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config=SETTINGS["gemma3"][1] | {"vocab_size": 256},
        vision_config=vision | {"image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
    )
    hf = Gemma3ForConditionalGeneration(config).eval()
    model = LanguageModel("pictures", hf, tiny_tokenizer(), 0, "cpu", "float32")
    ids = torch.tensor([[0, 5, 6]])
    found = model.activations(ids, torch.ones_like(ids), ["blocks.2.hook_resid_pre", "blocks.1.hook_mlp_out"])
    hidden = hf(input_ids=ids, output_hidden_states=True).hidden_states
    torch.testing.assert_close(found["blocks.2.hook_resid_pre"], hidden[2])


def test_half_precision_gives_nearly_the_same(tiny_model, tiny_model_dir):
    half = load_model(str(tiny_model_dir), device="cpu", dtype="bfloat16")
    texts = ["river stone water", "the quiet town"]
    one, _ = record(tiny_model, HOOK, texts, "print", [])
    other, _ = record(half, HOOK, texts, "print", [])
    np.testing.assert_allclose(one.residuals, other.residuals, atol=0.05 * np.abs(one.residuals).max())
    assert one.fingerprint != other.fingerprint and other.residuals.dtype == np.float32


def test_the_stamp_follows_the_files_of_a_local_model(tiny_model_dir, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model_dir, copy)
    before = model_stamp(str(copy))
    assert before == model_stamp(str(copy))
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    assert model_stamp(str(copy)) != before
    assert model_stamp("org/somewhere") == "hub"


def test_models_that_cannot_be_used(tiny_model_dir, tmp_path):
    with pytest.raises(ModelError, match="dtype 'int4' is not supported"):
        load_model(str(tiny_model_dir), device="cpu", dtype="int4")
    with pytest.raises(ModelError, match="device 'cuda:9' is not available|device 'warp' is not available"):
        resolve_device("warp")
    assert resolve_device("auto") in ("cuda", "mps", "cpu")
    nameless = tmp_path / "nameless"
    shutil.copytree(tiny_model_dir, nameless)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (nameless / name).exists():
            settings = json.loads((nameless / name).read_text())
            (nameless / name).write_text(
                json.dumps({k: v for k, v in settings.items() if k not in ("bos_token", "eos_token")})
            )
    with pytest.raises(ModelError, match="declares neither a bos nor an eos token"):
        load_model(str(nameless), device="cpu")
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "config.json").write_text('{"model_type": "nothing-known"}')
    with pytest.raises(ModelError) as caught:
        load_model(str(strange), device="cpu")
    assert "\n" not in str(caught.value) and str(strange) in str(caught.value)
