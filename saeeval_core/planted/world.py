"""Planted worlds: data whose true features are known, made with SAELens's synthetic module.

A planted text is a bag of samples of the generator (``planted.texts``). Its labels say which *concepts* are frequent in
it; a concept is a group of features, in hierarchical worlds the children of one parent. The recordings are of the
ordinary type, so that planted SAEs are scored by the same code as real ones. ("Features" are the true ones; an SAE has
latents.)
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csc_array, csr_array

from saeeval_core.config import derive_rng, fingerprint
from saeeval_core.planted.settings import WorldConfig
from saeeval_core.planted.texts import TextDraw
from saeeval_core.recordings.context_windows import Contexts
from saeeval_core.recordings.recording import LatentRecording, RecordingKey, ResidualRecording
from saeeval_core.texts.parts import DEV, TEST, TRAIN
from saeeval_core.texts.tasks import ShiftTask, TppTask

_TOKENS = {TRAIN: 60_000, DEV: 20_000, TEST: 20_000}
"""Distinct tokens texts of each part are drawn from; parts share none."""
_CHUNK = 20_000
"""Tokens sampled at once."""


@dataclass(frozen=True)
class World:
    """A generator with its tokens and texts."""

    config: WorldConfig
    model: Any
    """SAELens SyntheticModel."""
    features: csr_array
    """float32[tokens, features]: true activations, times the gain."""
    tokens: np.ndarray
    """float32[tokens, d_model]"""
    pooling: csr_array
    """float64[texts, tokens]: mean over the tokens of each text."""
    residuals: ResidualRecording
    shift_tasks: tuple[ShiftTask, ...]
    tpp_task: TppTask
    concepts: tuple[np.ndarray, ...]
    """int[features] each: per pair target, spurious (two-sided: each followed by its opposite); then the classes."""

    @cached_property
    def dictionary(self) -> np.ndarray:
        """float32[features, d_model]: true directions, unit length."""
        return self.model.feature_dict.feature_vectors.detach().numpy()

    def batches(self, size: int, seed: int) -> Iterator[Any]:
        """Endless new tokens for training SAEs, float32[size, d_model]."""
        import torch

        state = torch.Generator().manual_seed(seed).get_state()
        while True:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.set_rng_state(state)
                batch = self.model.sample(size) * self.config.gain
                state = torch.get_rng_state()
            yield batch

    def record(
        self, name: str, codes: csr_array, decoder: np.ndarray, zero_code: np.ndarray, about: Mapping[str, object]
    ) -> LatentRecording:
        """Pool token codes into an ordinary recording.

        codes float32[tokens, latents], decoder float32[latents, d_model], zero_code float[latents]: code of a zero
        token.
        """
        n = codes.shape[1]
        active = np.asarray((codes != 0).sum(axis=0)).ravel()
        pooled = csc_array(self.pooling @ codes.astype(np.float64))
        return LatentRecording(
            name,
            fingerprint([name, self.residuals.fingerprint]),
            self.residuals.fingerprint,
            pooled.astype(np.float32),
            zero_code.astype(np.float32),
            (active / codes.shape[0]).astype(np.float32),
            decoder.astype(np.float32),
            Contexts.empty(n),
            {
                "l0": float(active.sum() / codes.shape[0]),
                "explained_variance": None,
                "dead": float((active == 0).mean()),
                "tokens": codes.shape[0],
            },
            about=dict(about),
        )

    def truth(self, codes: csr_array, decoder: np.ndarray) -> dict[str, float]:
        """How well the latents match the true features: "truth", the mean of "truth_mcc" and "truth_f1".

        codes float32[tokens, latents], decoder float32[latents, d_model]. mcc: mean |cosine| of features and latents
        under the best one-to-one matching; f1: mean over features of the F1 of "the latent is active" for "the feature
        is active", for its best latent (SynthSAEBench's two measures).
        """
        norms = np.linalg.norm(decoder, axis=1, keepdims=True)
        cosine = np.abs(self.dictionary @ (decoder / np.maximum(norms, 1e-12)).T)
        pairs = linear_sum_assignment(cosine, maximize=True)
        there, found = (self.features != 0).astype(np.float32), (codes != 0).astype(np.float32)
        both = (there.T @ found).toarray()
        sizes = np.asarray(there.sum(axis=0)).ravel()[:, None] + np.asarray(found.sum(axis=0)).ravel()
        f1 = (2 * both / np.maximum(sizes, 1)).max(axis=1)
        mcc, f1_mean = float(cosine[pairs].mean()), float(f1.mean())
        return {"truth_mcc": mcc, "truth_f1": f1_mean, "truth": (mcc + f1_mean) / 2}


def build_world(config: WorldConfig, *, text_seed: int = 0) -> World:
    """Generator, tokens and texts. ``text_seed`` draws other texts from the same tokens of the same generator."""
    import torch

    model = _generator(config)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(config.seed)
        chunks = [
            model.sample_with_features(min(_CHUNK, sum(_TOKENS.values()) - done))
            for done in range(0, sum(_TOKENS.values()), _CHUNK)
        ]
    tokens = torch.cat([x for x, _ in chunks]).numpy() * np.float32(config.gain)
    features = csr_array(np.concatenate([csr_array(a.numpy()).toarray() for _, a in chunks]) * np.float32(config.gain))
    concepts = _concepts(config, model, features)
    on = np.stack([np.asarray((features[:, c] != 0).sum(axis=1)).ravel() > 0 for c in concepts], axis=1)
    draw = TextDraw(config, on, _TOKENS, derive_rng(config.seed, "planted texts", text_seed))
    shift_tasks = tuple(draw.shift(k) for k in range(config.pairs))
    tpp = draw.tpp((4 if config.two_sided else 2) * config.pairs)
    lengths = np.array([len(t) for t in draw.texts])
    pooling = csr_array(
        (np.repeat(1.0 / lengths, lengths), np.concatenate(draw.texts), np.concatenate([[0], np.cumsum(lengths)])),
        shape=(len(lengths), len(tokens)),
    )
    key = RecordingKey(f"planted:{config.name}", fingerprint(vars(config)), "float32", "planted", str(text_seed))
    pooled = (pooling @ tokens.astype(np.float64)).astype(np.float32)
    residuals = ResidualRecording(key, -1, pooled, lengths.astype(np.int32), np.zeros(0, np.uint16))
    return World(config, model, features, tokens, pooling, residuals, shift_tasks, tpp, concepts)


def _generator(config: WorldConfig) -> Any:
    import contextlib
    import os

    from sae_lens.synthetic import SyntheticModel, SyntheticModelConfig, ZipfianFiringProbabilityConfig
    from sae_lens.synthetic.hierarchy import HierarchyConfig
    from sae_lens.synthetic.synthetic_model import LowRankCorrelationConfig

    hierarchy = None
    if config.hierarchy:
        hierarchy = HierarchyConfig(
            total_root_nodes=config.n_features // 8,
            branching_factor=config.concept_size + 1,
            max_depth=1,
            compensate_probabilities=True,
        )
    settings = SyntheticModelConfig(
        num_features=config.n_features,
        hidden_dim=config.d_model,
        seed=config.seed,
        hierarchy=hierarchy,
        firing_probability=ZipfianFiringProbabilityConfig(
            exponent=config.zipf, max_prob=config.max_prob, min_prob=0.01
        ),
        correlation=LowRankCorrelationConfig(rank=16, correlation_scale=config.correlation)
        if config.correlation
        else None,
        std_firing_magnitudes=config.magnitude_std,
    )
    # The generator prints how many correlation rows it capped; users need not see that.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        return SyntheticModel(settings)


def _concepts(config: WorldConfig, model: Any, features: csr_array) -> tuple[np.ndarray, ...]:
    """Disjoint groups of features that fire on 1-12 % of tokens; the first pair's two groups correlate most."""
    rng = derive_rng(config.seed, "concepts")
    needed = (4 if config.two_sided else 2) * config.pairs + config.classes
    rate = np.asarray((features != 0).mean(axis=0)).ravel()
    usable = (rate > 0.008) & (rate < 0.12)
    if config.hierarchy and model.hierarchy is not None:
        families = [np.array([c.feature_index for c in root.children]) for root in model.hierarchy.roots]
        groups = [f[usable[f]][: config.concept_size] for f in families]
        groups = [g for g in groups if len(g) == config.concept_size]
    else:
        ids = rng.permutation(np.flatnonzero(usable))
        size = config.concept_size
        groups = [ids[i : i + size] for i in range(0, len(ids) - size + 1, size)]
    assert len(groups) >= needed, f"world {config.name} has {len(groups)} groups of usable features, needs {needed}"
    groups = [groups[i] for i in rng.permutation(len(groups))[: max(needed, min(len(groups), 24))]]
    there = np.stack([np.asarray((features[:, g] != 0).sum(axis=1)).ravel() > 0 for g in groups], axis=1).astype(float)
    correlation = np.corrcoef(there.T)
    np.fill_diagonal(correlation, -1)
    a, b = np.unravel_index(int(np.argmax(correlation)), correlation.shape)
    rest = [i for i in range(len(groups)) if i not in (a, b)]
    order = [int(a), rest.pop(), int(b), *rest] if config.two_sided else [int(a), int(b), *rest]
    return tuple(np.sort(groups[i]) for i in order[:needed])
