"""SAEs of known quality in a planted world: perfect, damaged on purpose, with wrong decoders, and trained."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csc_array, csr_array, hstack

from saeeval_core.config import cache_dir, derive_rng, fingerprint
from saeeval_core.controls.rivals import shuffled_decoders
from saeeval_core.planted.world import World
from saeeval_core.recordings.recording import LatentRecording

_CHUNK = 20_000
"""Tokens encoded at once."""


@dataclass(frozen=True)
class PlantedSAE:
    """An SAE in a world, encoded only when needed: the codes of an untrained one fill hundreds of megabytes."""

    name: str
    role: str
    """trained, untrained, oracle, merged, split, absorbed, random or permuted."""
    encode: Callable[[], tuple[csr_array, np.ndarray]] = field(repr=False)
    """() -> (token codes float32[tokens, latents], f(0) float[latents])."""
    decoder: np.ndarray = field(repr=False)
    """float32[latents, d_model]"""
    about: Mapping[str, object] = field(default_factory=dict)

    def record(self, world: World) -> tuple[LatentRecording, dict[str, float]]:
        """Its recording on the world's texts, and how well its latents match the true features (``World.truth``)."""
        codes, zero = self.encode()
        return world.record(self.name, codes, self.decoder, zero, self.about), world.truth(codes, self.decoder)


def damaged_saes(world: World) -> list[PlantedSAE]:
    """The perfect SAE ("oracle") and three damaged ones; features of concepts are damaged like all others."""
    rng = derive_rng(world.config.seed, "damage")
    made = {
        "oracle": (world.features, world.dictionary),
        "merged": _merged(world, rng),
        "split": _split(world, rng),
        "absorbed": _absorbed(world, rng),
    }
    return [_fixed(name, codes, rows) for name, (codes, rows) in made.items()]


def shuffled_controls(sae: PlantedSAE, seed: int) -> list[PlantedSAE]:
    """The same codes with random and with permuted decoder rows."""
    rows = shuffled_decoders(sae.decoder, derive_rng(seed, "planted controls", sae.name))
    made = (("random", rows["random decoder"]), ("permuted", rows["permuted decoder"]))
    return [PlantedSAE(f"{sae.name} {role}", role, sae.encode, d, sae.about) for role, d in made]


_RUNS = (
    ("topk", 4.0, 0.0),
    ("topk", 12.0, 0.0),
    ("batchtopk", 4.0, 0.0),
    ("batchtopk", 12.0, 0.0),
    ("matryoshka", 6.0, 0.0),
    ("jumprelu", 6.0, 0.0),
    ("standard", 0.0, 1.0),
    ("standard", 0.0, 4.0),
)
"""(architecture, target L0, L1 coefficient) of each training run."""


def trained_saes(world: World, *, steps: int = 1200, batch: int = 256, latents: int = 384) -> list[PlantedSAE]:
    """Eight runs of five architectures, each kept untrained and after 5 %, 20 % and 100 % of the steps.

    Weights are stored in the cache folder, so that SAEs of a world are trained once.
    """
    from saeeval_core.training.suite import train_many
    from saeeval_core.training.trainer import TrainingConfig

    at = (0, steps // 20, steps // 5, steps)
    configs = {
        f"{a} {f'k={l0:g}' if l0 else f'l1={l1:g}'}": TrainingConfig(
            a, latents, l0 or 8.0, l1 or 1.0, steps * batch, batch, lr=3e-3, seed=world.config.seed
        )
        for a, l0, l1 in _RUNS
    }
    settings = [vars(c) for c in configs.values()]
    folder = cache_dir() / "planted" / fingerprint([world.config.generator_settings(), settings, 1])
    if not (folder / "complete").exists():
        with _one_thread():
            train_many(
                configs,
                world.batches(batch, world.config.seed),
                world.tokens[:8192],
                steps=steps,
                snapshots=at,
                on_snapshot=lambda name, seen, sae: sae.save_model(str(folder / f"{name} @{seen}")),
            )
        (folder / "complete").touch()
    return [
        _stored(folder / f"{name} @{step * batch}", world, name, step * batch, configs[name].architecture)
        for step in at
        for name in configs
    ]


@contextmanager
def _one_thread() -> Iterator[None]:
    """These products are too small to share out; and the weights do not depend on how many cores a machine has."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _merged(world: World, rng: np.random.Generator) -> tuple[csr_array, np.ndarray]:
    """One latent for two features, along their mean direction, with the length of the projection."""
    order = rng.permutation(world.config.n_features)
    first, second = order[0::2], order[1::2]
    rows = world.dictionary[first] + world.dictionary[second]
    lengths = np.linalg.norm(rows, axis=1)
    codes = csr_array((world.features[:, first] + world.features[:, second]) * (lengths / 2)[None, :])
    return codes, rows / lengths[:, None]


def _split(world: World, rng: np.random.Generator) -> tuple[csr_array, np.ndarray]:
    """Each activation goes to one of four latents with the same row."""
    codes = world.features
    shard = rng.integers(0, 4, codes.nnz)
    shape = codes.shape[0], 4 * world.config.n_features
    split = csr_array((codes.data, codes.indices * 4 + shard, codes.indptr), shape=shape)
    split.sort_indices()
    return split, np.repeat(world.dictionary, 4, axis=0)


def _absorbed(world: World, rng: np.random.Generator) -> tuple[csr_array, np.ndarray]:
    """Where a feature's partner fires, the feature's latent is silent and the partner's row includes its direction."""
    parent, child = _absorption_pairs(world, rng)
    dense_child = world.features[:, child].toarray()
    dense_parent = world.features[:, parent].toarray()
    with_child = dense_child != 0
    share = (dense_parent * with_child).sum(0) / np.maximum(dense_child.sum(0), 1e-12)
    codes = _with_columns(world.features, parent, csr_array(dense_parent * ~with_child))
    rows = world.dictionary.copy()
    rows[child] += share[:, None].astype(np.float32) * world.dictionary[parent]
    return codes, rows


def _fixed(name: str, codes: csr_array, decoder: np.ndarray) -> PlantedSAE:
    codes = csr_array(codes, dtype=np.float32)
    zero = np.zeros(codes.shape[1])
    return PlantedSAE(name, name, lambda: (codes, zero), decoder.astype(np.float32), {"architecture": name})


def _stored(folder: Path, world: World, run: str, seen: int, architecture: str) -> PlantedSAE:
    from sae_lens import SAE

    sae = SAE.load_from_disk(folder)
    about = {"architecture": architecture, "training_tokens": seen, "run": run, "n_latents": sae.cfg.d_sae}
    decoder = sae.W_dec.detach().numpy()
    role = "trained" if seen else "untrained"
    return PlantedSAE(f"{run} @{seen}", role, lambda: _encode(sae, world.tokens), decoder, about)


def _encode(sae: Any, tokens: np.ndarray) -> tuple[csr_array, np.ndarray]:
    import torch
    from scipy.sparse import vstack

    parts = []
    with torch.no_grad():
        for start in range(0, len(tokens), _CHUNK):
            parts.append(csr_array(sae.encode(torch.from_numpy(tokens[start : start + _CHUNK])).float().numpy()))
        zero = sae.encode(torch.zeros(1, tokens.shape[1])).float()[0].numpy()
    return vstack(parts, format="csr"), zero


def _with_columns(codes: csr_array, columns: np.ndarray, values: csr_array) -> csr_array:
    others = np.setdiff1d(np.arange(codes.shape[1]), columns)
    joined = csc_array(hstack([codes[:, others], values], format="csc"))
    return csr_array(joined[:, np.argsort(np.concatenate([others, columns]), kind="stable")])


def _absorption_pairs(world: World, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """For each of half the features (parents), the other feature that fires most often together with it."""
    n = world.config.n_features
    there = (world.features != 0).astype(np.float32)
    together = (there.T @ there).toarray()
    order = rng.permutation(n)
    parents, children = order[: n // 2], order[n // 2 :]
    rows, cols = linear_sum_assignment(together[np.ix_(parents, children)], maximize=True)
    return parents[rows], children[cols]
