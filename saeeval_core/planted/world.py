"""Worlds whose features are known, made with SAELens's synthetic module, and SAEs of known quality in them.

A planted text is a bag of 8-120 samples of the generator, padded to 128 positions like a real one. Its labels say which
*concepts* are frequent in it; a concept is a group of features, in hierarchical worlds the children of one parent. The
recordings are the ordinary ones, so every score and protocol is the product's own code.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csc_array, csr_array, hstack

from saeeval_core.config import MAX_TOKENS, cache_dir, derive_rng, fingerprint
from saeeval_core.recordings.recording import WINDOW, Contexts, LatentRecording, RecordingKey, ResidualRecording
from saeeval_core.texts.parts import DEV, TEST, TRAIN
from saeeval_core.texts.tasks import Contrast, ShiftTask, TppTask

LENGTHS = (8, 120)
"""Valid tokens of a planted text, from and to."""
_TOKENS = {TRAIN: 60_000, DEV: 20_000, TEST: 20_000}
"""Distinct tokens texts of each part are drawn from; parts share none."""
_CHUNK = 20_000


@dataclass(frozen=True)
class WorldConfig:
    """Settings of one generator and of the texts drawn from it."""

    name: str
    seed: int
    n_features: int = 256
    d_model: int = 64
    zipf: float = 0.6
    max_prob: float = 0.15
    correlation: float = 0.2
    """Scale of the low-rank correlations between features; 0 for none."""
    hierarchy: bool = False
    """Concepts are children of one parent that fire only with it."""
    magnitude_std: float = 0.3
    gain: float = 4.0
    """Length of a feature at magnitude 1, as a language model's residuals are much longer than 1."""
    concept_size: int = 3
    """Features per concept."""
    two_sided: bool = False
    """A SHIFT label that is off brings a concept of its own (as "male" does for "not female") instead of nothing."""
    target_rate: float = 0.18
    """Mean extra share of a text's tokens that carry the target concept when its label is on."""
    spurious_rate: float = 0.30
    pairs: int = 3
    classes: int = 5
    per_quadrant: int = 500
    per_class: int = 400


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
    """Feature ids of each concept: per pair target and spurious (two-sided: each followed by its opposite), then classes."""

    @cached_property
    def dictionary(self) -> np.ndarray:
        """float32[features, d_model]: true directions, unit length."""
        return self.model.feature_dict.feature_vectors.detach().numpy()

    def batches(self, size: int, seed: int) -> Iterator[Any]:
        """Endless fresh tokens for training SAEs, float32 [size, d_model]."""
        import torch

        state = torch.Generator().manual_seed(seed).get_state()
        while True:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                torch.set_rng_state(state)
                batch = self.model.sample(size) * self.config.gain
                state = torch.get_rng_state()
            yield batch

    def record(
        self, name: str, codes: csr_array, decoder: np.ndarray, zero_code: np.ndarray, about: Mapping[str, Any]
    ) -> LatentRecording:
        """Pool token codes [tokens, latents] into an ordinary recording."""
        n = codes.shape[1]
        active = np.asarray((codes != 0).sum(axis=0)).ravel()
        pooled = csc_array(self.pooling @ codes.astype(np.float64))
        nothing = Contexts(
            np.zeros(n + 1, np.int64),
            np.zeros(0, np.int32),
            np.zeros(0, np.int16),
            np.zeros((0, WINDOW), np.float16),
            np.zeros(0, np.uint8),
        )
        return LatentRecording(
            name,
            fingerprint([name, self.residuals.fingerprint]),
            self.residuals.fingerprint,
            pooled.astype(np.float32),
            zero_code.astype(np.float32),
            (active / codes.shape[0]).astype(np.float32),
            decoder.astype(np.float32),
            nothing,
            {
                "l0": float(active.sum() / codes.shape[0]),
                "explained_variance": None,
                "dead": float((active == 0).mean()),
                "tokens": codes.shape[0],
            },
            about=dict(about),
        )

    def truth(self, codes: csr_array, decoder: np.ndarray) -> dict[str, float]:
        """How well the latents match the true features, whatever the scores say.

        mcc: mean |cosine| of features and latents under the best one-to-one matching; f1: mean over features of the F1
        of "the latent is active" for "the feature is active", for its best latent (SynthSAEBench's two measures).
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


DEVELOPMENT = (
    WorldConfig("dev one-sided", 1),
    WorldConfig("dev two-sided families", 2, two_sided=True, hierarchy=True, correlation=0.1),
)
"""Worlds on which variants of the scores may be chosen."""
HELD_OUT = (
    WorldConfig("one-sided", 11, zipf=0.5, concept_size=2),
    WorldConfig("two-sided", 12, two_sided=True, correlation=0.3),
    WorldConfig("one-sided families", 13, hierarchy=True, magnitude_std=0.5, max_prob=0.2),
    WorldConfig("two-sided crowded", 14, two_sided=True, d_model=48, gain=8.0, spurious_rate=0.25),
    WorldConfig("two-sided families", 15, two_sided=True, hierarchy=True, correlation=0.0, zipf=0.4, concept_size=2),
)
"""Worlds on which the chosen ones are reported: other seeds and other generator settings."""


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
    draw = _TextDraw(config, on, derive_rng(config.seed, "planted texts", text_seed))
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


@dataclass(frozen=True)
class PlantedSAE:
    """An SAE in a world, encoded only when asked: the codes of an untrained one fill hundreds of megabytes."""

    name: str
    role: str
    """trained, untrained, oracle, merged, split, absorbed, random or permuted."""
    encode: Callable[[], tuple[csr_array, np.ndarray]] = field(repr=False)
    """() -> (token codes [tokens, latents], f(0) [latents])."""
    decoder: np.ndarray = field(repr=False)
    """float32[latents, d_model]"""
    about: Mapping[str, Any] = field(default_factory=dict)

    def record(self, world: World) -> tuple[LatentRecording, dict[str, float]]:
        """Its recording on the world's texts, and how true its latents are."""
        codes, zero = self.encode()
        return world.record(self.name, codes, self.decoder, zero, self.about), world.truth(codes, self.decoder)


def known_saes(world: World) -> list[PlantedSAE]:
    """The perfect oracle and three damaged ones; concepts are damaged like every other feature."""
    rng = derive_rng(world.config.seed, "damage")
    codes, rows, n = world.features, world.dictionary, world.config.n_features
    order = rng.permutation(n)
    first, second = order[0::2], order[1::2]
    # Merged: one latent for two features, along their mean direction, with the length of the projection.
    merged_rows = rows[first] + rows[second]
    lengths = np.linalg.norm(merged_rows, axis=1)
    merged = csr_array((codes[:, first] + codes[:, second]) * (lengths / 2)[None, :])
    # Split: each activation goes to one of four latents with the same row.
    shard = rng.integers(0, 4, codes.nnz)
    split = csr_array((codes.data, codes.indices * 4 + shard, codes.indptr), shape=(codes.shape[0], 4 * n))
    split.sort_indices()
    # Absorbed: where a feature's partner fires, its latent stays silent and the partner's row carries it.
    parent, child = _absorption_pairs(world, rng)
    absorbed_rows = rows.copy()
    dense_child = codes[:, child].toarray()
    dense_parent = codes[:, parent].toarray()
    with_child = dense_child != 0
    share = (dense_parent * with_child).sum(0) / np.maximum(dense_child.sum(0), 1e-12)
    kept = csr_array(dense_parent * ~with_child)
    absorbed = _with_columns(codes, parent, kept)
    absorbed_rows[child] += share[:, None].astype(np.float32) * rows[parent]
    made = [
        ("oracle", codes, rows),
        ("merged", merged, merged_rows / lengths[:, None]),
        ("split", split, np.repeat(rows, 4, axis=0)),
        ("absorbed", absorbed, absorbed_rows),
    ]
    return [_fixed(name, name, c, d, {"architecture": name}) for name, c, d in made]


def controls_of(sae: PlantedSAE, seed: int) -> list[PlantedSAE]:
    """The same codes with random and with permuted decoder rows."""
    rng = derive_rng(seed, "planted controls", sae.name)
    noise = rng.standard_normal(sae.decoder.shape)
    noise *= np.linalg.norm(sae.decoder, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    rows = {"random": noise.astype(np.float32), "permuted": sae.decoder[rng.permutation(len(sae.decoder))]}
    return [PlantedSAE(f"{sae.name} {role}", role, sae.encode, d, sae.about) for role, d in rows.items()]


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

    Weights are kept in the cache folder, so a world is trained once.
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
    folder = cache_dir() / "planted" / fingerprint([_generator_settings(world.config), settings, 1])
    if not (folder / "complete").exists():
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


def _fixed(name: str, role: str, codes: csr_array, decoder: np.ndarray, about: Mapping[str, Any]) -> PlantedSAE:
    codes = csr_array(codes, dtype=np.float32)
    return PlantedSAE(name, role, lambda: (codes, np.zeros(codes.shape[1])), decoder.astype(np.float32), about)


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


_TEXT_SETTINGS = (
    "name",
    "concept_size",
    "two_sided",
    "target_rate",
    "spurious_rate",
    "pairs",
    "classes",
    "per_quadrant",
    "per_class",
)


def _generator_settings(config: WorldConfig) -> dict[str, Any]:
    """What trained SAEs depend on (the branching of a hierarchy follows the concept size)."""
    return {
        k: v for k, v in vars(config).items() if k not in _TEXT_SETTINGS or (config.hierarchy and k == "concept_size")
    }


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
    # The generator prints how many correlation rows it capped; that is no concern of the reader's.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        return SyntheticModel(settings)


def _concepts(config: WorldConfig, model: Any, features: csr_array) -> tuple[np.ndarray, ...]:
    """Disjoint groups of features that fire on 1-12 % of tokens; the first pair's two groups are the most correlated."""
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


class _TextDraw:
    """Draws texts as bags of tokens of one part."""

    def __init__(self, config: WorldConfig, on: np.ndarray, rng: np.random.Generator) -> None:
        self.config, self.on, self.rng = config, on, rng
        self.texts: list[np.ndarray] = []
        edges = np.cumsum([0, *_TOKENS.values()])
        self.part_tokens = {part: (edges[i], edges[i + 1]) for i, part in enumerate(_TOKENS)}
        self._pools: dict[Any, np.ndarray] = {}

    def shift(self, pair: int) -> ShiftTask:
        width = 2 if self.config.two_sided else 1
        t, a = 2 * width * pair, 2 * width * pair + width
        each = self.config.per_quadrant
        quadrant = np.repeat(np.arange(4), each)
        part = np.tile(self._parts(each), 4)
        first = len(self.texts)
        for q, p in zip(quadrant, part, strict=True):
            labels = {}
            sides = (t, bool(q // 2), self.config.target_rate), (a, bool(q % 2), self.config.spurious_rate)
            for concept, yes, rate in sides:
                labels[concept] = (yes, rate)
                if self.config.two_sided:
                    labels[concept + 1] = (not yes, rate)
            self._text(int(p), labels)
        rows = np.arange(first, len(self.texts))
        target, spurious = Contrast(f"concept {t}", "on", "off"), Contrast(f"concept {a}", "on", "off")
        return ShiftTask(target, spurious, rows, quadrant // 2 == 1, quadrant % 2 == 1, part)

    def tpp(self, start: int) -> TppTask:
        m, each = self.config.classes, self.config.per_class
        label, part = np.repeat(np.arange(m), each), np.tile(self._parts(each), m)
        first = len(self.texts)
        for c, p in zip(label, part, strict=True):
            self._text(int(p), {start + k: (k == c, self.config.target_rate) for k in range(m)})
        names = tuple(f"concept {start + k}" for k in range(m))
        return TppTask("concept", names, np.arange(first, len(self.texts)), label, part)

    def _parts(self, n: int) -> np.ndarray:
        part = np.full(n, TRAIN, dtype=np.uint8)
        part[: n // 5], part[n // 5 : 2 * (n // 5)] = DEV, TEST
        return part

    def _text(self, part: int, labels: Mapping[int, tuple[bool, float]]) -> None:
        """Tokens with each concept that is on, the rest as the generator makes them.

        A token drawn for one concept carries no concept whose label is off. The share of a concept varies from text to
        text, and a tenth of its rate is there even when it is off, so that no probe is perfect. Two random other groups
        get a tenth of the tokens each: a text's topic.
        """
        n = int(self.rng.integers(LENGTHS[0], LENGTHS[1] + 1))
        off = tuple(k for k, (yes, _) in labels.items() if not yes)
        kept, left = [], n
        for concept, (yes, rate) in labels.items():
            share = self.rng.beta(2, 2 / rate - 2) if yes else 0.0
            count = min(left, int(self.rng.binomial(n, min(1.0, share + rate / 10))))
            kept.append(self._tokens(part, concept, tuple(k for k in off if k != concept), count))
            left -= count
        for topic in self.rng.choice(self.on.shape[1], 2):
            if topic not in labels:
                count = min(left, n // 10)
                kept.append(self._tokens(part, int(topic), off, count))
                left -= count
        low, high = self.part_tokens[part]
        kept.append(self.rng.integers(low, high, left))
        self.texts.append(np.concatenate(kept))

    def _tokens(self, part: int, concept: int, without: tuple[int, ...], count: int) -> np.ndarray:
        key = (part, concept, without)
        if key not in self._pools:
            low, high = self.part_tokens[part]
            on = self.on[low:high]
            self._pools[key] = low + np.flatnonzero(on[:, concept] & ~on[:, list(without)].any(axis=1))
        pool = self._pools[key]
        return self.rng.choice(pool, count) if len(pool) else np.zeros(0, dtype=int)


assert LENGTHS[1] < MAX_TOKENS
