"""Train several SAEs in one pass over the same activations, keeping each at several lengths of training.

Used on planted worlds (seconds) and, by ``train_suite``, on a language model's cached activations (hours). The SAEs are
SAELens's training classes, stepped by its trainer; a snapshot is in SAELens's inference format, the threshold of a
batch-TopK SAE set on held-out tokens.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saeeval_core.errors import ConfigError, unknown_name
from saeeval_core.training.about import ABOUT_FILE, About, read_about, write_about
from saeeval_core.training.cache import ActivationCache, ActivationSource, Progress
from saeeval_core.training.trainer import (
    TrainingConfig,
    measure,
    sae_trainer,
    set_threshold,
    training_identity,
    training_sae,
    training_source,
)

OnSnapshot = Callable[[str, int, Any], None]
"""Called with (name of the SAE, samples seen so far, SAELens inference SAE)."""

SPARSITIES = {
    "topk": ((16.0, 0.0), (32.0, 0.0), (64.0, 0.0)),
    "batchtopk": ((16.0, 0.0), (32.0, 0.0), (64.0, 0.0)),
    "standard": ((0.0, 8.0), (0.0, 4.0), (0.0, 2.0)),
    "jumprelu-tanh": ((0.0, 0.6), (0.0, 0.25), (0.0, 0.1)),
    "matryoshka": ((16.0, 0.0), (32.0, 0.0), (64.0, 0.0)),
}
"""Architecture -> (target L0, sparsity coefficient) of each of its three sparsities."""
MEASURED = 16_384
"""Held-out tokens, about, on which the figures of a snapshot are measured."""


def train_many(
    configs: dict[str, TrainingConfig],
    batches: Iterator[torch.Tensor],
    held_out: np.ndarray,
    *,
    steps: int,
    snapshots: Sequence[int],
    on_snapshot: OnSnapshot,
    on_step: Callable[[int], None] | None = None,
    source: ActivationSource = ActivationSource("planted", "planted", ""),
) -> None:
    """Step every SAE on the same batches; ``on_snapshot`` gets each at the step counts ``snapshots`` (0: untrained).

    batches yield float32[batch, d]; held_out float32 or float16[tokens, d] decides the input scaling and thresholds.
    All ``configs`` must have the batch size of the batches. ``on_step`` is called with the number of steps done.
    ``source``, the model and hook that the SAEs are made for, is written into them.
    """
    trainers = {}
    for name, config in configs.items():
        with torch.random.fork_rng(devices=[]):  # SAELens draws the first weights from torch's global generator
            torch.manual_seed(config.seed)
            sae = training_sae(replace(config, samples=steps * config.batch), held_out.shape[1], source)
        trainers[name] = sae_trainer(sae, config, steps, n_checkpoints=0)
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
            if on_step:
                on_step(step + 1)


@torch.no_grad()
def snapshot(sae: Any, config: TrainingConfig, held_out: np.ndarray, scale: float) -> Any:
    """The SAE as it would be saved now: SAELens's inference class, input scaling folded in, threshold set.

    ``sae``: a training SAE, not changed; held_out float[tokens, d] sets the threshold; ``scale``: factor of the inputs.
    """
    from sae_lens import SAE

    before = {k: v.clone() for k, v in sae.state_dict().items()}
    kind = sae.cfg.normalize_activations
    sae.fold_activation_norm_scaling_factor(scale)
    with tempfile.TemporaryDirectory() as folder:
        sae.save_inference_model(folder)
        inference = SAE.load_from_disk(folder)
    # Folding changes the weights in place and marks the SAE as not normalised; training must go on from before.
    sae.load_state_dict(before)
    sae.cfg.normalize_activations = kind
    if config.architecture in ("batchtopk", "matryoshka"):
        set_threshold(inference, held_out, config.target_l0)
    inference.cfg.metadata.training_architecture = config.architecture
    return inference


@dataclass(frozen=True)
class SuiteConfig:
    """A suite: architectures x sparsities (``SPARSITIES``) x checkpoints, and the last checkpoint for further seeds."""

    architectures: tuple[str, ...] = tuple(SPARSITIES)
    n_latents: int = 2048
    samples: int = 3_000_000
    """Training samples of each run, with repetition where the cache holds fewer."""
    checkpoints: int = 4
    """Kept states of a run: untrained, then at equal ratios from 5 % (early steps are warm-up) to 100 % of training."""
    seeds: tuple[int, ...] = (0,)
    """The first seed keeps every checkpoint, the others the last one."""
    batch: int = 512
    lr: float = 1e-3
    autocast: bool = True
    """bfloat16 matrix products; about half the time on CPUs that have them."""
    frozen_decoder: bool = False
    """Every run is a trained null (``TrainingConfig.frozen_decoder``), and its folders' names begin with "null-"."""

    def __post_init__(self) -> None:
        for name in self.architectures:
            if name not in SPARSITIES:
                raise ConfigError(unknown_name("architecture", name, SPARSITIES))
        if not self.seeds or self.checkpoints < 2 or self.samples < 100 * self.batch:
            raise ConfigError(
                f"{self.checkpoints} checkpoints, {self.samples} samples in batches of {self.batch}, {len(self.seeds)} seeds; "
                "a suite needs at least 2 checkpoints, 100 batches and 1 seed"
            )

    @property
    def steps(self) -> int:
        """Batches of one run."""
        return self.samples // self.batch

    def kept_steps(self, seed: int) -> list[int]:
        """Step counts at which a run of this seed is kept."""
        if seed != self.seeds[0]:
            return [self.steps]
        trained = self.checkpoints - 1
        return [0, *(max(1, round(self.steps * 20.0 ** (i / max(1, trained - 1) - 1))) for i in range(trained))]

    def runs(self, architecture: str, seed: int) -> dict[str, TrainingConfig]:
        """Name -> settings of the runs of one architecture and seed, which differ in sparsity alone."""
        return {
            f"{'null-' * self.frozen_decoder}{architecture}-{f'k{l0:g}' if l0 else f'l1-{l1:g}'}": TrainingConfig(
                architecture,
                self.n_latents,
                l0 or 32.0,
                l1 or 2.0,
                self.samples,
                self.batch,
                self.lr,
                seed,
                self.autocast,
                frozen_decoder=self.frozen_decoder,
            )
            for l0, l1 in SPARSITIES[architecture]
        }


def train_suite(
    cache: ActivationCache, out: Path, config: SuiteConfig, *, progress: Progress | None = None
) -> list[Path]:
    """Train one SAE folder per architecture, sparsity, seed and checkpoint under ``out``; returns them all.

    The sparsities of one architecture and seed are trained together; those finished before are not trained again, so a
    suite can be made in pieces (``architectures``), and a killed one resumes. Every run of a seed sees the same
    batches. A folder has SAELens's two files and an ``about.json`` with architecture, samples seen, seed and figures on
    held-out tokens.
    """
    measured = cache.held_out[:: max(1, len(cache.held_out) // MEASURED)]
    written: list[Path] = []
    for seed in config.seeds:
        at = config.kept_steps(seed)
        for architecture in config.architectures:
            runs = config.runs(architecture, seed)
            folders = {
                (name, step * config.batch): out / f"{name}-seed{seed}-{step * config.batch}"
                for name in runs
                for step in at
            }
            written += folders.values()
            if all(_is_of(folder, runs[name], cache) for (name, _), folder in folders.items()):
                continue

            def keep(name: str, seen: int, sae: Any, folders: Any = folders, runs: Any = runs) -> None:
                _save(sae, folders[name, seen], runs[name], seen, cache, measured)

            def step_done(
                done: int, label: str = f"{architecture}, seed {seed}", last: int = config.steps * config.batch
            ) -> None:
                if progress:
                    progress(label, done * config.batch, last)

            train_many(
                runs,
                cache.batches(config.batch, seed),
                cache.held_out,
                steps=config.steps,
                snapshots=at,
                on_snapshot=keep,
                on_step=step_done,
                source=cache.source,
            )
    return written


def suite_folders(folder: Path) -> list[Path]:
    """The SAEs of a suite by architecture, sparsity, seed and training. ConfigError when there is none."""
    found = [p.parent for p in folder.glob(f"*/{ABOUT_FILE}") if (p.parent / "cfg.json").exists()]
    if not found:
        raise ConfigError(
            f"'{folder}' holds no SAE folder with {ABOUT_FILE}; make a suite with saeeval suite --out {folder}"
        )
    return sorted(found, key=_place)


def _place(folder: Path) -> tuple[str, float, float, int, int]:
    about = read_about(folder)
    if about is None:
        raise ConfigError(f"{folder / ABOUT_FILE} cannot be read; delete that folder and run saeeval suite again")
    sparsity = about.target_l0 or 0.0, -(about.l1 or 0.0)
    return about.architecture or "", *sparsity, about.seed or 0, about.training_samples or 0


def _save(
    sae: Any, folder: Path, config: TrainingConfig, seen: int, cache: ActivationCache, measured: np.ndarray
) -> None:
    """Weights in bfloat16 and, last, the about.json that marks the folder complete. ``sae`` is changed."""
    folder.mkdir(parents=True, exist_ok=True)
    sae.load_state_dict({k: v.to(torch.bfloat16).float() for k, v in sae.state_dict().items()})
    figures = measure(sae, measured)
    sae.cfg.dtype = "bfloat16"
    sae.to(torch.bfloat16).save_model(str(folder))
    about = About(
        **asdict(config) | {"frozen_decoder": config.frozen_decoder or None},
        **asdict(figures),
        **training_source(cache),
        training_samples=seen,
        suite=training_identity(config, cache),
    )
    write_about(folder, about)


def _is_of(folder: Path, config: TrainingConfig, cache: ActivationCache) -> bool:
    """Whether the folder is complete and came from these settings and activations."""
    about = read_about(folder)
    return about is not None and about.suite == training_identity(config, cache)


def _norm_scale(held_out: np.ndarray) -> float:
    """SAELens's ``expected_average_only_in``: mean norm of scaled inputs is sqrt(d)."""
    norms = np.linalg.norm(held_out.astype(np.float32), axis=1)
    return float(held_out.shape[1] ** 0.5 / norms.mean())
