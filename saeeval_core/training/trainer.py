"""Train an SAE with SAELens on activations cached on disk, so that a model that has none gets one.

Cached activations are those an evaluation reads: valid positions only (never the beginning-of-sequence position, whose
norm would dominate), windows of MAX_TOKENS. Both caching and training resume after a kill.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saeeval_core.config import derive_rng, fingerprint
from saeeval_core.errors import ConfigError, DataError, unknown_name
from saeeval_core.models.language_model import LanguageModel, padded_batches
from saeeval_core.storage.artifacts import write_atomic

ARCHITECTURES = ("topk", "standard", "jumprelu", "jumprelu-tanh", "gated", "batchtopk", "matryoshka")
_SHARD_TEXTS = 512
_NORM_BATCHES = 50
"""Batches read first to estimate the scaling of the inputs."""

Progress = Callable[[str, int, int], None]
"""Called with (what is done, units done, units in all)."""


@dataclass(frozen=True)
class TrainingConfig:
    """What decides a trained SAE besides the cached activations."""

    architecture: str
    n_latents: int = 4096
    target_l0: float = 50.0
    """k of the TopK family and target of "jumprelu", whose loss is quadratic in L0; the others use ``l1``."""
    l1: float = 2.0
    """Sparsity coefficient of "standard" and "gated" (L1) and of "jumprelu-tanh"."""
    samples: int = 4_000_000
    """Training samples, counted with repetition when the cache holds fewer."""
    batch: int = 2048
    lr: float = 1e-3
    seed: int = 0
    autocast: bool = False
    """bfloat16 matrix products in training."""
    checkpoints: int = 4
    """Resumable states written during training."""

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise ConfigError(unknown_name("architecture", self.architecture, ARCHITECTURES))


@dataclass(frozen=True)
class ActivationCache:
    """Residual activations on disk: float16 [tokens, d_model], read through a memory map."""

    folder: Path
    meta: dict[str, Any]
    train: list[np.ndarray]
    held_out: np.ndarray
    """Valid tokens of texts never used in training, float16 [tokens, d_model]."""

    @property
    def n_tokens(self) -> int:
        """Training tokens."""
        return sum(len(shard) for shard in self.train)

    def batches(self, size: int, seed: int, start: int = 0) -> Iterator[torch.Tensor]:
        """Endless float32 batches [size, d_model] in shuffled order; ``start`` skips that many batches."""
        data = np.concatenate(self.train)
        per_epoch = len(data) // size
        if per_epoch == 0:
            raise DataError(f"the cache holds {len(data)} tokens, fewer than one batch of {size}: use more text")
        epoch, position = divmod(start, per_epoch)
        while True:
            order = derive_rng(seed, "epoch", epoch).permutation(len(data))
            for i in range(position, per_epoch):
                yield torch.from_numpy(data[np.sort(order[i * size : (i + 1) * size])].astype(np.float32))
            epoch, position = epoch + 1, 0


def cache_activations(
    model: LanguageModel,
    hook: str,
    texts: Sequence[str],
    folder: Path,
    *,
    max_tokens: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> ActivationCache:
    """Run ``model`` over shuffled ``texts`` until ``max_tokens`` valid tokens are on disk, then 1/16 more held out.

    Shards are written by rename, so a killed run continues where it stopped. DataError if the texts are too few.
    """
    model.check_hook(hook)
    identity = {
        "model": model.name,
        "dtype": model.dtype,
        "hook": hook,
        "corpus": corpus_fingerprint(texts),
        "seed": seed,
    }
    folder = folder / fingerprint(identity)
    folder.mkdir(parents=True, exist_ok=True)
    order = derive_rng(seed, "corpus").permutation(len(texts))
    goal, done, shards, cursor = max_tokens + max_tokens // 16, 0, [], 0
    while done < goal and cursor < len(order):
        path = folder / f"shard-{len(shards):05d}.npy"
        chunk = [texts[i] for i in order[cursor : cursor + _SHARD_TEXTS]]
        if not path.exists():
            rows = _valid_activations(model, hook, model.windows(chunk))
            _save_npy(path, rows)
        shards.append(path)
        cursor += _SHARD_TEXTS
        done += np.load(path, mmap_mode="r").shape[0]
        if progress:
            progress("caching activations", min(done, goal), goal)
    return _open_cache(folder, shards, identity | {"tokens": done})


def train_sae(
    cache: ActivationCache, config: TrainingConfig, out: Path, *, note: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Train, fold the input scaling into the weights, set a batch-TopK threshold, save bfloat16 weights to ``out``.

    ``out`` gets SAELens's ``cfg.json`` and ``sae_weights.safetensors`` and an ``about.json`` with the figures measured on
    held-out tokens, which is also returned. A killed run of the same settings resumes from its last checkpoint, in a hidden
    folder beside ``out``.
    """
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    d_in = cache.held_out.shape[1]
    with torch.random.fork_rng(devices=[]):  # SAELens draws the first weights from torch's global generator
        torch.manual_seed(config.seed)
        sae = training_sae(config, d_in, cache.meta)
    state = out.parent / f".{out.name}.{training_identity(config, cache)}"
    steps = config.samples // config.batch
    trainer = SAETrainer(
        cfg=SAETrainerConfig(
            total_training_samples=steps * config.batch,
            train_batch_size_samples=config.batch,
            lr=config.lr,
            lr_end=config.lr / 10,
            lr_warm_up_steps=min(200, steps // 10),
            lr_decay_steps=steps // 4,
            dead_feature_window=min(300, max(20, steps // 5)),
            feature_sampling_window=200,
            n_batches_for_norm_estimate=_NORM_BATCHES,
            n_checkpoints=config.checkpoints,
            checkpoint_path=str(state),
            autocast=config.autocast,
            logger=LoggingConfig(log_to_wandb=False),
        ),
        sae=sae,
        data_provider=iter(()),
    )
    started = time.monotonic()
    resumed = _resume(trainer, state)
    # A fresh run reads the first batches for the input scaling; a resumed one has it and must not see those again.
    start = trainer.n_training_steps + (_NORM_BATCHES if resumed else 0)
    trainer.data_provider = cache.batches(config.batch, config.seed, start=start)
    sae = trainer.fit()
    seconds = time.monotonic() - started
    figures = _save(sae, cache, config, out)
    about = (
        {
            "architecture": config.architecture,
            "n_latents": config.n_latents,
            "training_samples": steps * config.batch,
            "seed": config.seed,
            "seconds": round(seconds),
            "resumed": resumed,
            "batch": config.batch,
            "lr": config.lr,
            "target_l0": config.target_l0,
            "l1": config.l1,
        }
        | training_source(cache)
        | figures
        | (note or {})
    )
    write_atomic(out / "about.json", json.dumps(about, indent=1).encode())
    return about


def training_identity(config: TrainingConfig, cache: ActivationCache) -> str:
    """Changes with every setting and with the activations: what may resume what."""
    return fingerprint([asdict(config), training_source(cache)])


def training_source(cache: ActivationCache) -> dict[str, Any]:
    """What the activations came from, for an ``about.json``."""
    names = {"hook": "hook", "model": "model", "corpus_fingerprint": "corpus"}
    return {name: cache.meta[key] for name, key in names.items()} | {"distinct_tokens": cache.n_tokens}


@torch.no_grad()
def measure(sae: Any, held_out: np.ndarray) -> dict[str, float]:
    """L0, explained variance 1 - sum|x - x_hat|^2 / sum|x - mean|^2, and the share of latents that never fire.

    A few tokens have norms a hundred times the rest and make up most of the variance; ``explained_variance_typical``
    leaves out tokens beyond ten times the median norm and is the figure to compare SAEs by.
    """
    x = torch.from_numpy(held_out.astype(np.float32))
    fired = torch.zeros(sae.cfg.d_sae)
    active = 0.0
    errors = []
    for part in x.split(4096):
        codes = sae.encode(part)
        fired += (codes != 0).sum(0)
        active += float((codes != 0).sum())
        errors.append((sae.decode(codes) - part).double().pow(2).sum(1))
    error, norm = torch.cat(errors), x.norm(dim=1)
    typical = norm < 10 * norm.median()

    def explained(rows: torch.Tensor) -> float:
        kept = x[rows].double()
        return float(1 - error[rows].sum() / (kept - kept.mean(0)).pow(2).sum())

    return {
        "l0": active / len(x),
        "explained_variance": explained(torch.ones(len(x), dtype=torch.bool)),
        "explained_variance_typical": explained(typical),
        "massive_tokens": int((~typical).sum()),
        "dead": float((fired == 0).float().mean()),
        "held_out_tokens": len(x),
    }


def corpus_fingerprint(texts: Sequence[str]) -> str:
    """First 16 hex digits of the SHA-256 over all texts in order."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:16]


def read_corpus(path: Path) -> list[str]:
    """Passages of a Parquet or JSONL file with a ``text`` column, or the paragraphs of a plain text file."""
    import pandas as pd

    if not path.exists():
        raise DataError(f"corpus file '{path}' does not exist; give a .parquet or .jsonl with a text column, or a .txt")
    if path.suffix == ".txt":
        texts = path.read_text(encoding="utf-8", errors="replace").split("\n\n")
    else:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_json(path, lines=True)
        if "text" not in frame:
            raise DataError(f"'{path}' has columns {list(frame.columns)}; a corpus needs a column named text")
        texts = frame["text"].tolist()
    texts = [t for t in texts if isinstance(t, str) and t.strip()]
    if not texts:
        raise DataError(f"'{path}' holds no text; a corpus needs at least a few thousand passages")
    return texts


def _valid_activations(model: LanguageModel, hook: str, texts: Sequence[str]) -> np.ndarray:
    kept = []
    for _, ids, mask in padded_batches(model.tokenize(texts).ids):
        values = model.activations(ids.to(model.device), mask.to(model.device), [hook])[hook]
        kept.append(values[:, 1:][mask[:, 1:].bool()].to(torch.float16).cpu().numpy())
    rows = np.concatenate(kept)
    if not np.isfinite(rows).all():
        raise DataError(f"activations at {hook} exceed float16; choose an earlier layer")
    return rows


def _save_npy(path: Path, rows: np.ndarray) -> None:
    temporary = path.with_suffix(".tmp.npy")
    np.save(temporary, rows)
    temporary.rename(path)


def _open_cache(folder: Path, shards: Sequence[Path], meta: dict[str, Any]) -> ActivationCache:
    """The last sixteenth of the shards (at least one) is held out."""
    if len(shards) < 2:
        raise DataError(f"the corpus fills {len(shards)} shard(s) of {_SHARD_TEXTS} passages; at least 2 are needed")
    n_held = max(1, len(shards) // 16)
    opened = [np.load(p, mmap_mode="r") for p in shards]
    return ActivationCache(folder, meta, opened[:-n_held], np.concatenate(opened[-n_held:])[:50_000])


def training_sae(config: TrainingConfig, d_in: int, meta: dict[str, Any]) -> Any:
    """SAELens's training SAE of that architecture, with fresh weights from torch's global generator."""
    import sae_lens
    from sae_lens.saes.sae import SAEMetadata

    common: dict[str, Any] = {
        "d_in": d_in,
        "d_sae": config.n_latents,
        "normalize_activations": "expected_average_only_in",
        "metadata": SAEMetadata(model_name=meta["model"], hook_name=meta["hook"], context_size=128),
    }
    steps = config.samples // config.batch
    warm_up = steps // 10
    widths = [config.n_latents // 16, config.n_latents // 4, config.n_latents // 2, config.n_latents]
    choices = {
        "topk": ("TopK", {"k": int(config.target_l0)}),
        "batchtopk": ("BatchTopK", {"k": config.target_l0}),
        "matryoshka": ("MatryoshkaBatchTopK", {"k": config.target_l0, "matryoshka_widths": widths}),
        "standard": ("Standard", {"l1_coefficient": config.l1, "l1_warm_up_steps": warm_up}),
        "gated": ("Gated", {"l1_coefficient": config.l1, "l1_warm_up_steps": warm_up}),
        "jumprelu": (
            "JumpReLU",
            {"jumprelu_sparsity_loss_mode": "quadratic", "target_l0": config.target_l0, "l0_warm_up_steps": warm_up},
        ),
        # Thresholds move by at most the learning rate (in log) per step, too slowly to reach a target L0 within a
        # thousand steps; a loss on the activations themselves gets there through the encoder. Its weight rises over all
        # of training: at full weight from the start it silences half the latents before they have learnt anything.
        "jumprelu-tanh": (
            "JumpReLU",
            {
                "jumprelu_sparsity_loss_mode": "tanh",
                "l0_coefficient": config.l1,
                "l0_warm_up_steps": steps,
                "jumprelu_init_threshold": 0.1,
                "jumprelu_bandwidth": 2.0,
                "pre_act_loss_coefficient": 3e-3,
            },
        ),
    }
    name, extra = choices[config.architecture]
    settings = getattr(sae_lens, f"{name}TrainingSAEConfig")(**common, **extra)
    return getattr(sae_lens, f"{name}TrainingSAE")(settings)


def _resume(trainer: Any, state: Path) -> bool:
    """Load the newest checkpoint under ``state`` into the trainer, if there is one."""
    from safetensors.torch import load_file

    found = sorted(
        (p for p in state.glob("*") if (p / "trainer_state.pt").exists()), key=lambda p: int(p.name.split("_")[-1])
    )
    if not found:
        return False
    trainer.load_trainer_state(found[-1])
    weights = load_file(found[-1] / "sae_weights.safetensors")
    trainer.sae.load_state_dict(weights, strict=False)
    return True


def _save(sae: Any, cache: ActivationCache, config: TrainingConfig, out: Path) -> dict[str, float]:
    """Save in SAELens's inference format; figures are measured on what was saved, read back."""
    from sae_lens import SAE

    out.mkdir(parents=True, exist_ok=True)
    sae.save_inference_model(str(out))
    inference = SAE.load_from_disk(str(out))
    if config.architecture in ("batchtopk", "matryoshka"):
        set_threshold(inference, cache.held_out, config.target_l0)
    rounded = {k: v.to(torch.bfloat16).float() for k, v in inference.state_dict().items()}
    inference.load_state_dict(rounded)
    figures = measure(inference, cache.held_out)
    inference.cfg.metadata.training_architecture = config.architecture
    inference.cfg.dtype = "bfloat16"
    inference.to(torch.bfloat16).save_model(str(out))
    return figures


@torch.no_grad()
def set_threshold(sae: Any, held_out: np.ndarray, target_l0: float) -> None:
    """One global threshold such that mean L0 on held-out tokens is the k the SAE was trained with (DESIGN section 6)."""
    x = torch.from_numpy(held_out[:: max(1, len(held_out) // 8192)].astype(np.float32))
    sae.threshold.zero_()
    positive = sae.encode(x).flatten()
    sae.threshold.fill_(float(positive.topk(int(target_l0 * len(x))).values[-1]))
