"""Hooks of every family in the plain model: what is read there, what adds up, and where ablation is exact."""

import pytest
import torch
from families import BLOCKS, HEADS, SETTINGS, WIDTH, family_model

from saeeval_core.errors import ModelError
from saeeval_core.models.layouts import LAYOUTS, canonical, layout_of, probe_candidates
from saeeval_core.models.sites import TOLERANCE, exact_hooks, through_output_matrix, verify_site

IDS = torch.tensor([[0, 5, 9, 12, 7], [0, 8, 6, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
FAMILIES = list(SETTINGS)


def read(model, *hooks: str) -> list[torch.Tensor]:
    found = model.activations(IDS, MASK, hooks)
    return [found[h][MASK > 0] for h in hooks]


def attached(model) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.hf.modules())


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))


def test_every_family_of_the_table_is_tried():
    assert {kind for kind, _ in SETTINGS.values()} == set(LAYOUTS)


@pytest.mark.parametrize("layer", range(BLOCKS))
@pytest.mark.parametrize("name", FAMILIES)
def test_what_attention_and_mlp_add_is_the_difference_of_residuals(name, layer):
    model, at = family_model(name), f"blocks.{layer}."
    pre, post, attention, mlp = read(
        model, *(at + h for h in ("hook_resid_pre", "hook_resid_post", "hook_attn_out", "hook_mlp_out"))
    )
    assert attention.norm() > 1e-3 and mlp.norm() > 1e-3
    if model.layout.parallel:
        close(pre + attention + mlp, post)
        with pytest.raises(ModelError, match="hook_resid_mid' does not exist"):
            read(model, at + "hook_resid_mid")
        return
    (middle,) = read(model, at + "hook_resid_mid")
    close(pre + attention, middle)
    close(middle + mlp, post)


@pytest.mark.parametrize("name", FAMILIES)
def test_residuals_are_the_model_s_own_hidden_states(name):
    model = family_model(name)
    hidden = model.hf(input_ids=IDS, attention_mask=MASK, output_hidden_states=True).hidden_states
    for layer in range(BLOCKS - 1):
        pre, post = read(model, f"blocks.{layer}.hook_resid_pre", f"blocks.{layer}.hook_resid_post")
        close(pre, hidden[layer][MASK > 0])
        close(post, hidden[layer + 1][MASK > 0])


@pytest.mark.parametrize("name", FAMILIES)
def test_the_output_matrix_makes_of_z_what_attention_returns(name):
    model = family_model(name)
    z, attention = read(model, "blocks.1.attn.hook_z", "blocks.1.hook_attn_out")
    assert z.shape[-1] % HEADS == 0
    if model.layout.norm_after_attention:
        return
    out = through_output_matrix(model, "blocks.1.attn.hook_z", z)
    difference = out - attention  # the bias of W_O, the same everywhere
    close(difference, difference[:1].expand_as(difference))


@pytest.mark.parametrize("name", FAMILIES)
def test_the_mlp_makes_of_what_it_reads_what_is_added(name):
    model = family_model(name)
    block, layout = model._blocks[1], model.layout
    found = model.activations(IDS, MASK, ["blocks.1.mlp.hook_in", "blocks.1.hook_mlp_out"])
    x = found["blocks.1.mlp.hook_in"]
    if model.hf.config.model_type == "opt":
        own = block.fc2(block.activation_fn(block.fc1(x)))
    elif model.hf.config.model_type == "bloom":
        own = block.mlp(x, torch.zeros_like(x))
    else:
        own = block.mlp(x)
        own = own[0] if isinstance(own, tuple) else own
        own = own if layout.mlp_out in ("mlp", "mlp.dense_4h_to_h") else block.get_submodule(layout.mlp_out)(own)
    close(found["blocks.1.hook_mlp_out"][MASK > 0], own[MASK > 0])


@pytest.mark.parametrize(
    "name", [n for n in FAMILIES if layout_of({"model_type": SETTINGS[n][0]} | SETTINGS[n][1]).ln2]
)
def test_the_norm_before_the_mlp(name):
    model = family_model(name)
    before, scaled, after = read(
        model, *(f"blocks.1.{h}" for h in ("hook_mlp_in", "ln2.hook_normalized", "ln2.hook_out"))
    )
    norm = model._blocks[1].get_submodule(model.layout.ln2)
    close(norm(before), after)
    centred = "LayerNorm" in type(norm).__name__
    x = before - before.mean(-1, keepdim=True) if centred else before
    close(scaled, x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt())
    weight, bias = getattr(norm, "weight", torch.tensor(1.0)), getattr(norm, "bias", torch.tensor(0.0))
    # Gemma's norms multiply by 1 + weight, OLMo's have none.
    close(scaled * (1 + weight if "gemma" in name else weight) + bias, after)


@pytest.mark.parametrize("write", ["hook_resid_post", "hook_mlp_out", "hook_attn_out", "attn.hook_z"])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_row_of_the_table_holds_in_every_family(name, write):
    model = family_model(name)
    found = exact_hooks(model, f"blocks.1.{write}")
    assert found.probes == probe_candidates(f"blocks.1.{write}", model.layout) and not found.refused
    assert all(error <= TOLERANCE for error in found.errors.values())
    expected = {"hook_resid_post": 1, "hook_mlp_out": 2, "hook_attn_out": 2, "attn.hook_z": 3}[write]
    assert len(found.probes) == (1 if write == "attn.hook_z" and model.layout.norm_after_attention else expected)


def test_a_row_that_does_not_hold_is_refused_with_the_reason_and_what_remains():
    scaled = exact_hooks(family_model("scaled residuals"), "blocks.1.hook_mlp_out")
    assert scaled.probes == ("blocks.1.hook_mlp_out",)
    assert "does not arrive unchanged at blocks.1.hook_resid_post" in scaled.refused["blocks.1.hook_resid_post"]
    after = exact_hooks(family_model("norms after the residual"), "blocks.1.hook_mlp_out")
    assert after.probes == ("blocks.1.hook_mlp_out",)
    z = exact_hooks(family_model("scaled residuals"), "blocks.1.attn.hook_z")
    assert z.probes == ("blocks.1.hook_attn_out", "blocks.1.attn.hook_z")


@pytest.mark.parametrize("name", ["llama", "gemma3", "opt", "gpt2", "mixtral"])
def test_verification_is_in_float32_and_leaves_half_precision_as_it_was(name):
    model = family_model(name, "bfloat16")
    before = {k: v.clone() for k, v in model.hf.state_dict().items()}
    (first,) = read(model, "blocks.1.hook_resid_post")
    assert verify_site(model, "blocks.1.hook_mlp_out", "blocks.1.hook_resid_post") < TOLERANCE
    after = model.hf.state_dict()
    assert all(after[k].dtype == v.dtype and torch.equal(after[k], v) for k, v in before.items())
    assert torch.equal(read(model, "blocks.1.hook_resid_post")[0], first)


def test_what_cannot_be_verified_is_not_used(monkeypatch):
    model = family_model("mistral")
    model.verified.clear()

    def broken(*_: object) -> None:
        raise RuntimeError("no kernel for this type\nwith a long tail")

    monkeypatch.setattr("saeeval_core.models.sites._random_like", broken)
    found = exact_hooks(model, "blocks.1.hook_mlp_out")
    model.verified.clear()
    assert found.probes == ("blocks.1.hook_mlp_out",)
    assert found.refused["blocks.1.hook_resid_post"].endswith("could not be verified: no kernel for this type")


def test_nothing_is_exact_across_a_norm_or_a_block():
    model = family_model("llama")
    for write, probe in (("0.hook_resid_post", "1.hook_resid_post"), ("1.hook_resid_mid", "1.hook_mlp_out")):
        with pytest.raises(ModelError, match="does not arrive unchanged"):
            verify_site(model, f"blocks.{write}", f"blocks.{probe}")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("model.layers.5.output", "blocks.5.hook_resid_post"),
        ("model.layers.5", "blocks.5.hook_resid_post"),
        ("transformer.h.11", "blocks.11.hook_resid_post"),
        ("gpt_neox.layers.3.input", "blocks.3.hook_resid_pre"),
        ("model.layers.2.self_attn.o_proj.input", "blocks.2.attn.hook_z"),
        ("model.layers.2.pre_feedforward_layernorm.output", "blocks.2.mlp.hook_in"),
        ("model.language_model.layers.2.post_feedforward_layernorm.output", "blocks.2.hook_mlp_out"),
        ("blocks.4.hook_z", "blocks.4.attn.hook_z"),
        ("blocks.4.hook_out", "blocks.4.hook_resid_post"),
        ("model.layers.2.mlp.output", "model.layers.2.mlp.output"),
        ("blocks.4.hook_mlp_in", "blocks.4.hook_mlp_in"),
    ],
)
def test_one_hook_has_one_name(said, meant):
    assert canonical(said) == meant


def test_a_path_of_a_module_is_a_hook():
    llama, gemma = family_model("llama"), family_model("gemma3")
    assert llama.hook_name("model.layers.1.mlp.output") == "blocks.1.hook_mlp_out"
    assert llama.hook_name("model.layers.1.post_attention_layernorm") == "blocks.1.ln2.hook_out"
    assert gemma.hook_name("model.layers.1.post_attention_layernorm") == "blocks.1.hook_attn_out"
    raw = gemma.hook_name("model.layers.1.mlp.output")  # before the norm that follows: no hook has a name for it
    assert raw == "model.layers.1.mlp.output" and exact_hooks(gemma, raw).probes == (raw,)
    (value,), (added,) = read(gemma, raw), read(gemma, "blocks.1.hook_mlp_out")
    close(gemma._blocks[1].post_feedforward_layernorm(value), added)
    for hook in ("model.layers.9.mlp", "model.nothing", "hook_embed", "", "model.layers"):
        with pytest.raises(ModelError, match="does not exist in"):
            gemma.check_hook(hook)


def test_gemma_s_transcoders_read_what_the_mlp_reads():
    model = family_model("gemma3")
    hook = canonical("model.layers.1.pre_feedforward_layernorm.output")
    own, before = read(model, hook, "blocks.1.hook_mlp_in")
    close(own, model._blocks[1].pre_feedforward_layernorm(before))
    assert not torch.allclose(own, before, atol=1e-2) and own.shape[-1] == WIDTH


def test_several_hooks_of_one_block_fire_in_any_order():
    model = family_model("bloom")
    before = attached(model)
    hooks = ["hook_resid_post", "hook_mlp_out", "mlp.hook_in", "attn.hook_z", "hook_resid_mid", "hook_resid_pre"]
    together = read(model, *(f"blocks.1.{h}" for h in hooks))
    for hook, value in zip(hooks, together, strict=True):
        assert torch.equal(value, read(model, f"blocks.1.{hook}")[0])
    assert attached(model) == before
