"""Train an SAE with SAELens on activations cached on disk, for models that have none. A killed training resumes."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saeeval_core.config import MAX_TOKENS, fingerprint
from saeeval_core.errors import ConfigError, unknown_name
from saeeval_core.training.about import About, Figures, write_about
from saeeval_core.training.cache import ActivationCache, ActivationSource

ARCHITECTURES = ("topk", "standard", "jumprelu", "jumprelu-tanh", "gated", "batchtopk", "matryoshka")
_NORM_BATCHES = 50
"""Batches read first to estimate the scaling of the inputs."""


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a trained SAE, besides the cached activations."""

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
    frozen_decoder: bool = False
    """The decoder keeps its first, random rows; the rest is trained (a control: the trained null)."""

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise ConfigError(unknown_name("architecture", self.architecture, ARCHITECTURES))


def train_sae(cache: ActivationCache, config: TrainingConfig, out: Path, *, corpus: str | None = None) -> About:
    """Train, fold the input scaling into the weights, set a batch-TopK threshold, save bfloat16 weights to ``out``.

    ``out`` gets SAELens's ``cfg.json`` and ``sae_weights.safetensors`` and an ``about.json`` with the figures measured
    on held-out tokens, which is also returned; ``corpus`` names the texts in it. A killed run of the same settings
    resumes from its last checkpoint, in a hidden folder beside ``out``.
    """
    d_in = cache.held_out.shape[1]
    with torch.random.fork_rng(devices=[]):  # SAELens draws the first weights from torch's global generator
        torch.manual_seed(config.seed)
        sae = training_sae(config, d_in, cache.source)
    state = out.parent / f".{out.name}.{training_identity(config, cache)}"
    steps = config.samples // config.batch
    trainer = sae_trainer(
        sae,
        config,
        steps,
        n_batches_for_norm_estimate=_NORM_BATCHES,
        n_checkpoints=config.checkpoints,
        checkpoint_path=str(state),
    )
    started = time.monotonic()
    resumed = _resume(trainer, state)
    # A fresh run reads the first batches for the input scaling; a resumed one has it and must not see those again.
    start = trainer.n_training_steps + (_NORM_BATCHES if resumed else 0)
    trainer.data_provider = cache.batches(config.batch, config.seed, start=start)
    sae = trainer.fit()
    seconds = time.monotonic() - started
    figures = _save(sae, cache, config, out)
    about = About(
        architecture=config.architecture,
        n_latents=config.n_latents,
        training_samples=steps * config.batch,
        seed=config.seed,
        seconds=round(seconds),
        resumed=resumed,
        batch=config.batch,
        lr=config.lr,
        target_l0=config.target_l0,
        l1=config.l1,
        frozen_decoder=config.frozen_decoder or None,
        corpus=corpus,
        **training_source(cache),
        **asdict(figures),
    )
    write_about(out, about)
    return about


def sae_trainer(sae: Any, config: TrainingConfig, steps: int, **more: int | str) -> Any:
    """SAELens's trainer for ``steps`` steps, without data; ``more``: further settings of the trainer."""
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    settings = SAETrainerConfig(
        total_training_samples=steps * config.batch,
        train_batch_size_samples=config.batch,
        lr=config.lr,
        lr_end=config.lr / 10,
        lr_warm_up_steps=min(200, steps // 10),
        lr_decay_steps=steps // 4,
        dead_feature_window=min(300, max(20, steps // 5)),
        feature_sampling_window=200,
        autocast=config.autocast,
        logger=LoggingConfig(log_to_wandb=False),
        **more,
    )
    return SAETrainer(cfg=settings, sae=sae, data_provider=iter(()))


def training_identity(config: TrainingConfig, cache: ActivationCache) -> str:
    """Fingerprint of settings and activations; a run resumes only from a state with the same one."""
    settings = asdict(config)
    if not config.frozen_decoder:
        del settings["frozen_decoder"]  # SAEs made before it could be frozen are of the same settings
    return fingerprint([settings, training_source(cache)])


def training_source(cache: ActivationCache) -> dict[str, str | int]:
    """Where the activations come from, under the field names of ``About``."""
    source = cache.source
    names = {"hook": source.hook, "model": source.model, "corpus_fingerprint": source.corpus}
    return names | {"distinct_tokens": cache.n_tokens}


@torch.no_grad()
def measure(sae: Any, held_out: np.ndarray) -> Figures:
    """Figures of a SAELens SAE on held_out float16 or float32[tokens, d] (docs/method.md, "Reconstruction figures")."""
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

    return Figures(
        l0=active / len(x),
        explained_variance=explained(torch.ones(len(x), dtype=torch.bool)),
        explained_variance_typical=explained(typical),
        massive_tokens=int((~typical).sum()),
        dead=float((fired == 0).float().mean()),
        held_out_tokens=len(x),
    )


def training_sae(config: TrainingConfig, d_in: int, source: ActivationSource) -> Any:
    """SAELens's training SAE of that architecture, with fresh weights from torch's global generator.

    A frozen decoder takes no gradient, so the optimiser leaves it; the SAE's settings say that it was frozen.
    """
    import sae_lens
    from sae_lens.saes.sae import SAEMetadata

    common = {
        "d_in": d_in,
        "d_sae": config.n_latents,
        "normalize_activations": "expected_average_only_in",
        "metadata": SAEMetadata(model_name=source.model, hook_name=source.hook, context_size=MAX_TOKENS),
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
    sae = getattr(sae_lens, f"{name}TrainingSAE")(settings)
    if config.frozen_decoder:
        sae.W_dec.requires_grad_(False)
        settings.metadata.frozen_decoder = True
    return sae


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


def _save(sae: Any, cache: ActivationCache, config: TrainingConfig, out: Path) -> Figures:
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
    """Set one threshold for all latents, so that the mean L0 on held-out tokens is the k of training.

    ``sae``: a SAELens SAE with a ``threshold``, which is changed; held_out float[tokens, d].
    """
    x = torch.from_numpy(held_out[:: max(1, len(held_out) // 8192)].astype(np.float32))
    sae.threshold.zero_()
    positive = sae.encode(x).flatten()
    sae.threshold.fill_(float(positive.topk(int(target_l0 * len(x))).values[-1]))
