"""The pass on a GPU: the numbers of the processor to rounding, and the same bits however it is cut. Skipped without one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import FILLER, tiny_tokenizer

from saeeval_core.models.language_model import LanguageModel
from saeeval_core.recordings import recorder
from saeeval_core.recordings.recorder import Recorded, record_pass
from saeeval_core.recordings.shards import Shard, merge_shards, record_shard
from saeeval_core.saes.loaded import LoadedSAE
from saeeval_core.saes.registry import SaeInfo

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")

WIDTH, LATENTS, LAYERS = 256, 4_096, 3
HOOKS = [f"blocks.{layer}.hook_resid_post" for layer in range(LAYERS)]
CELLS = np.arange(300) % 5 - 1


def some_texts() -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(FILLER, rng.integers(1, 60))) + f" {i}" for i in range(len(CELLS))]


TEXTS = some_texts()


@pytest.fixture(scope="module")
def weights():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def model(weights):
    """device, dtype -> the same model there."""

    def there(device: str, dtype: str = "float32") -> LanguageModel:
        from copy import deepcopy

        hf = deepcopy(weights).to(device, getattr(torch, dtype))
        return LanguageModel("random", hf, tiny_tokenizer(), 0, device, dtype)

    return there


def sae(device: str, hook: str) -> LoadedSAE:
    """Random JumpReLU codes of which about one in fifty is active."""
    rng = torch.Generator().manual_seed(1)
    decoder = torch.nn.functional.normalize(torch.randn(LATENTS, WIDTH, generator=rng), dim=1).to(device)
    encoder = decoder.T.contiguous()

    def encode(x: torch.Tensor) -> torch.Tensor:
        before = x @ encoder
        return before * (before > 2 * before.std(1, keepdim=True))

    info = SaeInfo(hook, "", "JumpReLUSAE", WIDTH, LATENTS, hook, hook, WIDTH, None)
    return LoadedSAE(info, decoder=decoder, encoder=encode, bias=torch.zeros(WIDTH, device=device), fingerprint=hook)


def recorded(model: LanguageModel, hooks: list[str]) -> Recorded:
    return record_pass(model, [], TEXTS, "print", [sae(model.device, hook) for hook in hooks], cells=CELLS)


def same(one: Recorded, other: Recorded) -> None:
    """Bit for bit."""
    assert one.residuals.keys() == other.residuals.keys()
    for hook, own in one.residuals.items():
        np.testing.assert_array_equal(own.residuals, other.residuals[hook].residuals)
    for a, b in zip(one.latents, other.latents, strict=True):
        for name in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(a.latents, name), getattr(b.latents, name))
        np.testing.assert_array_equal(a.density, b.density)
        for name in ("indptr", "text", "position", "activation", "kind"):
            np.testing.assert_array_equal(getattr(a.contexts, name), getattr(b.contexts, name))
        assert dict(a.unsupervised) == dict(b.unsupervised)


def test_the_numbers_are_the_processor_s(model):
    gpu, cpu = recorded(model("cuda"), HOOKS), recorded(model("cpu"), HOOKS)
    for hook in HOOKS:
        np.testing.assert_allclose(gpu.residuals[hook].residuals, cpu.residuals[hook].residuals, rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(gpu.latents, cpu.latents, strict=True):
        # A code beside its threshold may be active on one device only, so sums over all of them are compared.
        a, b = ours.latents.toarray(), theirs.latents.toarray()
        assert np.linalg.norm(a - b) <= 0.02 * np.linalg.norm(b)
        np.testing.assert_allclose(ours.density, theirs.density, atol=0.003)
        assert ours.unsupervised["l0"] == pytest.approx(theirs.unsupervised["l0"], rel=1e-2)


def test_the_same_bits_twice(model):
    same(recorded(model("cuda"), HOOKS), recorded(model("cuda"), HOOKS))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("of", [2, 7])
def test_shards_merge_to_the_whole(model, monkeypatch, of, dtype):
    plain = recorder.padded_batches
    monkeypatch.setattr(recorder, "padded_batches", lambda ids: plain(ids, tokens_per_batch=1_000))
    there = model("cuda", dtype)
    saes = [sae("cuda", hook) for hook in HOOKS]
    shards = [record_shard(there, TEXTS, "print", saes, Shard(i, of), cells=CELLS) for i in range(of)]
    same(recorded(there, HOOKS), merge_shards(there, TEXTS, "print", saes, shards, cells=CELLS))


def test_memory_that_others_take_changes_no_bit(model):
    empty = recorded(model("cuda"), HOOKS)
    taken = torch.empty(int(0.9 * torch.cuda.mem_get_info()[0]), dtype=torch.uint8, device="cuda")
    same(empty, recorded(model("cuda"), HOOKS))
    assert taken.numel()


def test_a_pass_over_many_hooks_gives_what_one_pass_each_gives(model):
    there = model("cuda")
    together = recorded(there, HOOKS)
    for hook, latents in zip(HOOKS, together.latents, strict=True):
        alone = recorded(there, [hook])
        same(alone, replace(together, residuals={h: together.residuals[h] for h in alone.residuals}, latents=[latents]))
