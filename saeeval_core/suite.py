"""Train several SAEs in one pass over the same activations, keeping each at several lengths of training.

Used on planted worlds (seconds) and, as ``train_suite``, on a language model's cached activations (hours). The SAEs are
SAELens's training classes and are stepped by its trainer; a snapshot is read back in SAELens's inference format, with the
threshold of a batch-TopK SAE set on held-out tokens first (DESIGN section 6).
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saeeval_core import training
from saeeval_core.artifacts import write_atomic
from saeeval_core.config import fingerprint
from saeeval_core.training import ActivationCache, TrainingConfig, measure

OnSnapshot = Callable[[str, int, Any], None]
"""Called with (name of the SAE, samples seen so far, SAELens inference SAE)."""

SUITE = {
    "topk": ((16.0, 0.0), (32.0, 0.0), (64.0, 0.0)),
    "batchtopk": ((16.0, 0.0), (32.0, 0.0), (64.0, 0.0)),
    "standard": ((0.0, 8.0), (0.0, 4.0), (0.0, 2.0)),
    "jumprelu": ((16.0, 0.0), (32.0, 0.0), (64.0, 0.0)),
    "matryoshka": ((16.0, 0.0), (32.0, 0.0), (64.0, 0.0)),
}
"""Architecture -> (target L0, L1 coefficient) of each of its three sparsities."""


def train_many(
    configs: dict[str, TrainingConfig], batches: Iterator[torch.Tensor], held_out: np.ndarray, *,
    steps: int, snapshots: Sequence[int], on_snapshot: OnSnapshot, meta: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Step every SAE on the same batches; ``on_snapshot`` gets each at every step count named (0 = untrained).

    batches yield float32 [batch, d]; held_out float32 or float16 [tokens, d] sets thresholds only. All ``configs`` must
    have the batch size of the batches.
    """
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    meta = meta or {"model": "planted", "hook": "planted"}
    trainers = {}
    for name, config in configs.items():
        with torch.random.fork_rng(devices=[]):  # SAELens draws the first weights from torch's global generator
            torch.manual_seed(config.seed)
            sae = training._training_sae(replace(config, samples=steps * config.batch), held_out.shape[1], meta)
        trainers[name] = SAETrainer(
            cfg=SAETrainerConfig(
                total_training_samples=steps * config.batch, train_batch_size_samples=config.batch, lr=config.lr,
                lr_end=config.lr / 10, lr_warm_up_steps=min(200, steps // 10), lr_decay_steps=steps // 4,
                dead_feature_window=min(300, max(20, steps // 5)), feature_sampling_window=200,
                n_checkpoints=0, logger=LoggingConfig(log_to_wandb=False),
            ),
            sae=sae, data_provider=iter(()),
        )  # fmt: skip
    scale = _norm_scale(held_out)
    for trainer in trainers.values():
        trainer.activation_scaler.scaling_factor = scale
    for step in range(steps + 1):
        if step in snapshots:
            for name, trainer in trainers.items():
                on_snapshot(name, step * configs[name].batch, snapshot(trainer.sae, configs[name], held_out, scale))
        if step < steps:
            batch = next(batches)
            for trainer in trainers.values():
                trainer.maybe_reset_sparsity()
                trainer.step(batch)
                trainer.n_training_steps += 1


@torch.no_grad()
def snapshot(sae: Any, config: TrainingConfig, held_out: np.ndarray, scale: float) -> Any:
    """The SAE as it would be saved now: inference class, input scaling folded in, threshold set."""
    from sae_lens import SAE

    before = {k: v.clone() for k, v in sae.state_dict().items()}
    kind = sae.cfg.normalize_activations
    sae.fold_activation_norm_scaling_factor(scale)
    with tempfile.TemporaryDirectory() as folder:
        sae.save_inference_model(folder)
        inference = SAE.load_from_disk(folder)
    # Folding changes the weights in place and marks the SAE as not normalised; training goes on from what it was.
    sae.load_state_dict(before)
    sae.cfg.normalize_activations = kind
    if config.architecture in ("batchtopk", "matryoshka"):
        training._set_threshold(inference, held_out, config.target_l0)
    inference.cfg.metadata.training_architecture = config.architecture
    return inference


def train_suite(
    cache: ActivationCache, out: Path, *, n_latents: int = 2048, samples: int = 3_000_000, checkpoints: int = 4,
    seeds: Sequence[int] = (0,), architectures: Sequence[str] = tuple(SUITE), batch: int = 2048,
    progress: training.Progress | None = None,
) -> list[Path]:  # fmt: skip
    """Architectures x sparsities x checkpoints (0 and 1 % to 100 % of training) x seeds; returns the SAE folders.

    One pass trains all SAEs of one seed together, so activations are read once. Each folder has SAELens's two files and
    an ``about.json`` with architecture, samples seen, seed and the L0 and explained variance measured on held-out tokens.
    A folder that is complete is not written again, and a seed whose folders are all complete is not trained again.
    """
    steps = samples // batch
    at = sorted({0, *(max(1, round(steps * 10.0 ** (-2 * i / max(1, checkpoints - 2)))) for i in range(checkpoints - 1))})
    written = []
    for seed in seeds:
        configs = {
            f"{a}-{i}": TrainingConfig(a, n_latents, l0 or 32.0, l1 or 2.0, samples, batch, seed=seed)
            for a in architectures for i, (l0, l1) in enumerate(SUITE[a])
        }  # fmt: skip
        folders = {(name, step * batch): out / f"{name}-seed{seed}-{step * batch}" for name in configs for step in at}
        written += folders.values()
        if all((f / "about.json").exists() for f in folders.values()):
            continue

        def keep(name: str, seen: int, sae: Any, folders: Any = folders, configs: Any = configs, seed: int = seed) -> None:
            folder = folders[name, seen]
            folder.mkdir(parents=True, exist_ok=True)
            figures = measure(sae, cache.held_out)
            sae.cfg.dtype = "bfloat16"
            sae.to(torch.bfloat16).save_model(str(folder))
            about = asdict(configs[name]) | figures | {
                "training_samples": seen, "seed": seed, "hook": cache.meta["hook"], "model": cache.meta["model"],
                "suite": fingerprint([asdict(c) for c in configs.values()]),
            }  # fmt: skip
            write_atomic(folder / "about.json", json.dumps(about, indent=1).encode())
            if progress:
                progress(f"seed {seed}: {name}", seen, samples)

        train_many(
            configs, cache.batches(batch, seed), cache.held_out, steps=steps, snapshots=at, on_snapshot=keep, meta=cache.meta
        )
    return list(written)


def _norm_scale(held_out: np.ndarray) -> float:
    """SAELens's ``expected_average_only_in``: mean norm of scaled inputs is sqrt(d)."""
    norms = np.linalg.norm(held_out.astype(np.float32), axis=1)
    return float(held_out.shape[1] ** 0.5 / norms.mean())
