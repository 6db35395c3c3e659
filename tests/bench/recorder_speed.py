"""The recorder against the least that a pass must do: one forward of the model to the hook and one encode of its tokens.

    python tests/bench/recorder_speed.py                         # a 135M-sized model, 4,096 latents, CPU
    python tests/bench/recorder_speed.py --preset 2b --device cuda --dtype bfloat16
    python tests/bench/recorder_speed.py --host                  # operations and waits per batch, too

Models and dictionary are random, built from a config: only their shapes decide what this measures. Both sides run the
same batches, alternating; medians. A pass with three dictionaries on three hooks is compared with the deepest alone.
Waits are operations at which the host waits for a GPU, counted on whatever device this runs.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from saeeval_core.models.batches import padded_batches
from saeeval_core.models.language_model import LanguageModel
from saeeval_core.recordings.recorder import codes_at_once, record_pass
from saeeval_core.saes.loaded import LoadedSAE
from saeeval_core.saes.registry import SaeInfo


@dataclass(frozen=True)
class Preset:
    """Shapes of a model and a dictionary."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    mlp: int
    vocabulary: int
    latents: int
    texts: int
    hook: str


PRESETS = {
    "135m": Preset(16, 576, 9, 3, 1536, 49_152, 4_096, 240, "blocks.15.hook_resid_post"),
    "2b": Preset(26, 2304, 8, 4, 9216, 256_000, 65_536, 4_000, "blocks.20.hook_resid_post"),
}
WAITS = ("aten::nonzero", "aten::item", "aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal")
"""Operations whose result the host needs; copies to the host are counted beside them on a GPU only."""
ACTIVE = 100
"""Latents active on a token, about."""
LOG_SPREAD = 1.7
"""Standard deviation of the log of how often a latent is active: 1.4 to 2.5 in the bundled SAEs on their texts."""


def random_model(preset: Preset, device: str, dtype: str) -> LanguageModel:
    """A Llama-shaped model with random weights, and a tokenizer of one word a token."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {"<s>": 0, "<unk>": 1} | {f"w{i}": i + 2 for i in range(5_000)}
    raw = Tokenizer(WordLevel(words, unk_token="<unk>"))
    raw.pre_tokenizer = Whitespace()
    config = LlamaConfig(
        vocab_size=preset.vocabulary,
        hidden_size=preset.hidden,
        intermediate_size=preset.mlp,
        num_hidden_layers=preset.layers,
        num_attention_heads=preset.heads,
        num_key_value_heads=preset.kv_heads,
    )
    with torch.device(device):
        model = LlamaForCausalLM(config).to(getattr(torch, dtype)).eval()
    return LanguageModel(
        "random", model, PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>"), 0, device, dtype
    )


def random_sae(preset: Preset, device: str, x: torch.Tensor) -> LoadedSAE:
    """A JumpReLU dictionary of which about ``ACTIVE`` latents are active on a token of x float32[tokens, hidden].

    Some latents are frequent and most are rare, as in trained ones: how many texts a latent is active on decides what
    is pooled and stored.
    """
    rng = torch.Generator(device=device).manual_seed(0)
    decoder = torch.randn(preset.latents, preset.hidden, generator=rng, device=device)
    decoder /= decoder.norm(dim=1, keepdim=True)
    encoder = decoder.T.contiguous()
    weight = torch.exp(LOG_SPREAD * torch.randn(preset.latents, generator=rng, device=device))
    frequency = (ACTIVE * weight / weight.sum()).clamp(max=0.5)
    found = x[:2048] @ encoder
    threshold = (found.mean(0) - found.std(0) * torch.special.ndtri(frequency)).clamp(min=0)

    def encode(values: torch.Tensor) -> torch.Tensor:
        before = values @ encoder
        return before * (before > threshold)

    info = SaeInfo(
        "random", "", "JumpReLUSAE", preset.hidden, preset.latents, preset.hook, preset.hook, preset.hidden, None
    )
    return LoadedSAE(
        info=info, decoder=decoder, encoder=encode, bias=torch.zeros(preset.hidden, device=device), fingerprint="random"
    )


def main() -> None:
    """Measure, print and write."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--preset", choices=PRESETS, default="135m")
    options.add_argument("--device", default="cpu")
    options.add_argument("--dtype", default="float32")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--texts", type=int, help="default: the preset's")
    options.add_argument("--host", action="store_true", help="count operations and waits per batch")
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    preset = PRESETS[given.preset]
    model = random_model(preset, given.device, given.dtype)
    texts = _texts(given.texts or preset.texts)
    ids = model.tokenize(texts).ids
    sae = random_sae(preset, given.device, next(_tokens(model, preset.hook, ids)))
    cells = np.arange(len(texts)) % 4
    _bare(model, preset.hook, ids[:40], sae)
    record_pass(model, [], texts[:40], "warm", [sae], cells=cells[:40])
    three = [sae, *(_moved(sae, preset.hook.replace(preset.hook.split(".")[1], str(layer))) for layer in (1, 5))]
    bare, ours, together = [], [], []
    for _ in range(given.repeats):
        bare.append(_timed(given.device, lambda: _bare(model, preset.hook, ids, sae)))
        ours.append(_timed(given.device, lambda: record_pass(model, [], texts, "texts", [sae], cells=cells)))
        together.append(_timed(given.device, lambda: record_pass(model, [], texts, "texts", three, cells=cells)))
    last = record_pass(model, [], texts, "texts", [sae], cells=cells)
    tokens = sum(len(i) - 1 for i in ids)
    found = {
        "preset": given.preset,
        "device": torch.cuda.get_device_name() if given.device == "cuda" else given.device,
        "dtype": given.dtype,
        "torch": torch.__version__,
        "tokens": tokens,
        "bare_seconds": median(bare),
        "recorder_seconds": median(ours),
        "recorder_of_bare": median(bare) / median(ours),
        "tokens_per_second": tokens / median(ours),
        "three_hooks_of_deepest": median(together) / median(ours),
        "pass_seconds": last.seconds.to_dict(),
        "l0": last.latents[0].unsupervised["l0"],
        "latents_per_text": last.latents[0].latents.nnz / len(texts),
    }
    if given.host:
        found["per_batch"] = _on_the_host(lambda: record_pass(model, [], texts, "texts", [sae], cells=cells), ids)
    print(json.dumps(found, indent=1))
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


def _moved(sae: LoadedSAE, hook: str) -> LoadedSAE:
    """The same dictionary as one of another hook."""
    return replace(sae, info=replace(sae.info, id=hook, hook=hook, hook_out=hook), fingerprint=hook)


def _on_the_host(work: Callable[[], object], ids: list[np.ndarray]) -> dict[str, float]:
    """Operations started and waits of the host, per batch of a pass; what is done once per pass is in it."""
    from torch.profiler import ProfilerActivity, profile

    batches = sum(1 for _ in padded_batches(ids))
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        work()
    counts = Counter({e.key: e.count for e in profiled.key_averages() if e.key.startswith("aten::")})
    return {"batches": batches, "operations": counts.total() / batches} | {k: counts[k] / batches for k in WAITS}


def _texts(count: int) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(f"w{k}" for k in rng.integers(0, 5_000, rng.integers(40, 140))) for _ in range(count)]


@torch.inference_mode()
def _tokens(model: LanguageModel, hook: str, ids: list[np.ndarray]) -> Iterator[torch.Tensor]:
    """The valid tokens float32[tokens, hidden] of one batch after another."""
    for rows, batch, mask in padded_batches(ids):
        values = model.activations(batch.to(model.device), mask.to(model.device), [hook])[hook]
        yield torch.cat([values[i, 1 : len(ids[row])] for i, row in enumerate(rows)]).float()


@torch.inference_mode()
def _bare(model: LanguageModel, hook: str, ids: list[np.ndarray], sae: LoadedSAE) -> None:
    at_once = max(1, codes_at_once(model.device) // sae.info.n_latents)
    for x in _tokens(model, hook, ids):
        for start in range(0, len(x), at_once):
            sae.encode(x[start : start + at_once])


def _timed(device: str, work: Callable[[], object]) -> float:
    """Seconds; on a CPU the processor's own, which other work on the machine does not lengthen."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    begun = clock()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - begun


if __name__ == "__main__":
    main()
