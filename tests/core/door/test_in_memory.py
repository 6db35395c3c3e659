"""Models in memory: what they are told apart by, and that they are left as they were."""

import copy

import pytest
import torch
from toys import HOOK

import saeeval_core as se
from saeeval_core.errors import ModelError
from saeeval_core.models.identity import model_name, model_stamp
from saeeval_core.models.language_model import load_model
from saeeval_core.models.memory_names import memory_label


def bridge_of(hf):
    from transformer_lens.model_bridge import TransformerBridge

    model, tokenizer = hf
    name = model.config.name_or_path
    return TransformerBridge.boot_transformers(
        name, hf_model=copy.deepcopy(model), tokenizer=copy.deepcopy(tokenizer), device="cpu"
    )


def wrapped(cls_name: str, module: str, **values):
    """An object of a class of that name from that library."""
    return type(cls_name, (), {"__module__": module, **values})()


def test_the_name_holds_the_weights_and_the_tokenizer(hf):
    model, tokenizer = hf
    own = se.language_model(model, tokenizer)
    assert own.name == se.language_model(copy.deepcopy(model), copy.deepcopy(tokenizer)).name
    assert memory_label(own.name) == "tiny-llama" and memory_label("tiny-llama") == ""
    assert (model_name(own.name), model_stamp(own.name)) == (own.name, "memory")
    trained, other = copy.deepcopy(model), copy.deepcopy(tokenizer)
    with torch.no_grad():
        trained.model.layers[1].mlp.down_proj.weight[0, 0] += 0.01
    other.add_tokens(["sunflower"])
    assert len({own.name, se.language_model(trained, tokenizer).name, se.language_model(model, other).name}) == 3


def test_a_use_of_the_tokenizer_is_no_other_model(hf):
    model, tokenizer = hf
    before = se.language_model(model, tokenizer).name
    tokenizer(["a the", "a"], truncation=True, max_length=1)
    assert se.language_model(model, tokenizer).name == before


def test_what_is_passed_in_stays_as_it_was(hf, frame, notebook):
    model, tokenizer = (copy.deepcopy(own) for own in hf)
    model.train()
    model.model.layers[0].eval()
    modes = [m.training for m in model.modules()]
    tokenizer.truncation_side, truncation = "left", tokenizer.backend_tokenizer.truncation
    sae = notebook["sae"].train()
    task = se.task(frame, classes={"meal": ["tea", "soup", "bread"]})
    se.score(task, model, sae, tokenizer=tokenizer, ns=[2], seed=1, controls=False, progress=False)
    assert [m.training for m in model.modules()] == modes and all(p.requires_grad for p in model.parameters())
    assert (tokenizer.truncation_side, tokenizer.backend_tokenizer.truncation) == ("left", truncation)
    assert sae.training and all(p.requires_grad for p in sae.parameters())


def test_a_bridge_is_the_model_inside_it(hf):
    model, tokenizer = hf
    bridge = bridge_of(hf)
    names = list(dict(bridge.original_model.named_modules()))
    own, plain = se.language_model(bridge, name="m"), se.language_model(model, tokenizer, name="m")
    assert own.name == plain.name
    ids = torch.tensor([[0, 5, 9, 12]])
    for hook in (HOOK, "blocks.1.hook_mlp_out", "blocks.1.attn.hook_z"):
        found = [m.activations(ids, torch.ones_like(ids), [hook])[hook] for m in (own, plain)]
        torch.testing.assert_close(*found)
    assert list(dict(bridge.original_model.named_modules())) == names


def test_a_bridge_with_other_activations_is_refused(hf):
    bridge = bridge_of(hf)
    bridge.blocks[0].hook_out.add_perma_hook(lambda value, hook: value * 1.5)
    with pytest.raises(ModelError, match="not that of the model inside"):
        se.language_model(bridge)


@pytest.mark.parametrize("attribute", ["_module", "_model"])
def test_the_model_inside_nnsight_is_found(hf, attribute):
    model, tokenizer = hf
    own = wrapped("LanguageModel", "nnsight.modeling.language", **{attribute: model, "tokenizer": tokenizer})
    assert se.language_model(own).name == se.language_model(model, tokenizer).name


def test_what_cannot_be_read_is_one_line(hf):
    model, tokenizer = hf
    lazy = type(model)(model.config).to("meta")
    cases = {
        "comes without its tokenizer": (model, None),
        "no fast tokenizer": (model, wrapped("Slow", "somewhere", is_fast=False)),
        "device meta": (wrapped("LanguageModel", "nnsight", _module=lazy, tokenizer=tokenizer), None),
        "a Linear of torch is no model": (torch.nn.Linear(2, 2), tokenizer),
        "merge_and_unload": (wrapped("PeftModel", "peft.peft_model"), tokenizer),
        "weights are float64": (copy.deepcopy(model).double(), tokenizer),
    }
    for says, given in cases.items():
        with pytest.raises(ModelError, match=says) as error:
            se.language_model(*given)
        assert "\n" not in str(error.value)


def test_a_model_that_was_in_memory_cannot_be_loaded_by_its_name(hf):
    name = se.language_model(*hf).name
    with pytest.raises(ModelError, match="was an object of a Python session"):
        load_model(name)
