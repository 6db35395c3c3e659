"""The two sides of the comparison: SAEBench's functions and ours, from the same texts to the same SHIFT accuracies.

Each side runs in its own process: peak memory is VmHWM - VmRSS after loading the model and the SAE.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saeeval_core.config import MAX_TOKENS, get_protocol
from saeeval_core.errors import ConfigError, DataError

if TYPE_CHECKING:
    import torch

    from saeeval_core.models.language_model import LanguageModel
    from saeeval_core.recordings.recording import LatentRecording, ResidualRecording
    from saeeval_core.saes.loaded import LoadedSAE
    from saeeval_core.scores.probes import Probe

NS = (2, 5, 10, 20, 50, 100, 500)
"""SAEBench's N values."""
SAE_BATCH = 125
"""SAEBench's default SAE batch size for its SCR and TPP."""
LLM_BATCH = 32
KEYS = {
    "male / female": "female_data_only",
    "professor / nurse": "nurse_data_only",
    "male_professor / female_nurse": "female_nurse_data_only",
}
"""SAEBench's fixed names for the attribute probe, the oracle and C_b, with those of their negatives."""
_PARTS = ("train", "test")


@dataclass(frozen=True)
class BenchConfig:
    """One comparison."""

    texts: str
    text_column: str
    target: str
    spurious: str
    model: str
    sae: str
    train_per_quadrant: int = 150
    test_per_quadrant: int = 75
    repeats: int = 3
    seed: int = 0


@dataclass(frozen=True)
class SideRun:
    """Time, memory and accuracies of one run of one side."""

    total: float
    """Seconds from text to accuracies."""
    sae_part: float
    """Seconds of ``total`` spent on the SAE: encoding, ranking latents, ablating."""
    peak_mb: float
    """Peak memory above the loaded model and SAE, in MB."""
    tokens: int
    """Tokens read by the model, padding included."""
    accuracies: Mapping[str, float]
    accuracies_masked: Mapping[str, float] | None = None
    """Ours without imitating SAEBench's padding leak."""
    pass_seconds: Mapping[str, float] | None = None
    """Ours: where the recorder's seconds went."""
    kernel: str | None = None
    """Ours: what multiplied float32 matrices."""

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return {k: v for k, v in asdict(self).items() if v is not None}


@dataclass(frozen=True)
class Start:
    """The common start of both sides: the loaded model and SAE, and the quadrants' texts."""

    config: BenchConfig
    model: "LanguageModel"
    sae: "LoadedSAE"
    quadrants: Mapping[str, list[list[str]]]
    """"train" and "test" -> texts of the quadrants (target, spurious) = 00, 01, 10, 11."""


def prepare(config: BenchConfig, kernel: str, dtype: str) -> Start:
    """Load the model in ``dtype`` and the SAE for a kernel of KERNELS, and draw the texts.

    DataError if a quadrant has too few.
    """
    from saeeval_core.models.language_model import load_model
    from saeeval_core.saes.loaded import load_sae
    from saeeval_core.texts.parts import TEST, TRAIN
    from saeeval_core.texts.sources import file_task_set

    task_set = file_task_set(Path(config.texts), config.text_column, target=config.target, spurious=config.spurious)
    task = task_set.shift_tasks(seed=config.seed, protocol=get_protocol("saebench"), per_cell=10**9)[0]
    quadrants = {}
    for name, part, size in (("train", TRAIN, config.train_per_quadrant), ("test", TEST, config.test_per_quadrant)):
        rows = [task.rows[(task.part == part) & (task.quadrant == q)][:size] for q in range(4)]
        if min(map(len, rows)) < size:
            raise DataError(
                f"a quadrant has {min(map(len, rows))} {name} texts; {size} are needed: lower --{name}-per-quadrant"
            )
        quadrants[name] = [[task_set.texts.texts[i] for i in own] for own in rows]
    model = load_model(config.model, device="cpu", dtype=dtype, kernel=kernel)
    return Start(config, model, load_sae(config.sae, kernel=model.kernel), quadrants)


def theirs(start: Start, probe_file: Path) -> SideRun:
    """SAEBench's own functions, in the order its ``run_eval_single_dataset`` calls them for SCR.

    Its probes are written to ``probe_file``, so that our side can score the same ones.
    """
    import torch
    from sae_bench.evals.scr_and_tpp import main as scr
    from sae_bench.sae_bench_utils import activation_collection

    model = _as_hooked_transformer(start.model)
    before = _memory("VmRSS")
    torch.manual_seed(start.config.seed)
    begun = time.perf_counter()
    acts = {part: _their_activations(start, part, model) for part in start.quadrants}
    pooled = {part: activation_collection.create_meaned_model_activations(a) for part, a in acts.items()}
    probes = _their_probes(pooled)
    chosen = list(KEYS)
    clean = scr.get_probe_test_accuracy(probes, chosen, pooled["test"], 500, True)
    sae_begun = time.perf_counter()
    module = start.sae.module
    effects = scr.get_all_node_effects_for_one_sae(module, probes, chosen, True, acts["train"], SAE_BATCH)
    ablated = scr.perform_feature_ablations(
        probes, module, SAE_BATCH, acts["test"], effects, list(NS), chosen, 500, True
    )
    ended = time.perf_counter()
    peak = _memory("VmHWM") - before
    accuracies = {f"clean|{k}": v for k, v in clean.items()}
    for a in ablated:
        for n in ablated[a]:
            accuracies |= {f"{a}|{n}|{k}": v for k, v in ablated[a][n].items()}
    weights = {k: [probes[k].net.weight[0].tolist(), float(probes[k].net.bias)] for k in chosen}
    probe_file.write_text(json.dumps(weights))
    tokens = sum(a.shape[0] * a.shape[1] for part in acts.values() for a in part.values())
    return SideRun(ended - begun, ended - sae_begun, peak, tokens, accuracies)


def ours(start: Start, probe_file: Path) -> SideRun:
    """One pass, then every ablation from the pooled arrays.

    The reported accuracies are those of SAEBench's probes, so that the sides differ in the SAE part alone.
    """
    from saeeval_core.recordings.recorder import record_pass
    from saeeval_core.scores.probes import Probe, fit_adamw

    protocol = get_protocol("saebench")
    before = _memory("VmRSS")
    begun = time.perf_counter()
    texts = [t for part in _PARTS for own in start.quadrants[part] for t in own]
    hook = start.sae.info.hook
    made = record_pass(start.model, [hook], texts, "bench", [start.sae])
    residuals, latents = made.residuals[hook], made.latents[0].at(hook)
    n_train = len(start.quadrants["train"][0]) * 4
    quadrant = np.concatenate([np.repeat(np.arange(4), len(start.quadrants[p][0])) for p in _PARTS])
    train = np.arange(len(texts)) < n_train
    x = residuals.residuals
    probes: dict[str, Probe] = {}
    for key in KEYS:
        rows, labels = _rows(key, quadrant, train)
        test_rows, test_labels = _rows(key, quadrant, ~train)
        probes[key] = fit_adamw(x[rows], labels, protocol, seed=start.config.seed, test=(x[test_rows], test_labels))
    scoring = time.perf_counter()
    _accuracies(residuals, latents, probes, quadrant, train, leak=True)
    ended = time.perf_counter()
    peak = _memory("VmHWM") - before
    their_probes = {k: Probe(np.array(w), b, 0) for k, (w, b) in json.loads(probe_file.read_text()).items()}
    return SideRun(
        total=ended - begun,
        sae_part=made.seconds.saes + ended - scoring,
        peak_mb=peak,
        tokens=int(residuals.n_valid.sum()) + len(texts),
        accuracies=_accuracies(residuals, latents, their_probes, quadrant, train, leak=True),
        accuracies_masked=_accuracies(residuals, latents, their_probes, quadrant, train, leak=False),
        pass_seconds=made.seconds.to_dict(),
        kernel=start.model.kernel,
    )


def _their_activations(start: Start, part: str, model: Any) -> dict[str, "torch.Tensor"]:
    """Activations of the texts of one part under SAEBench's six keys, each [texts, MAX_TOKENS, d_model]."""
    from sae_bench.sae_bench_utils import activation_collection

    hook = start.sae.info.hook
    tokens = {key: {"input_ids": _padded(start.model, texts)} for key, texts in _keyed(start.quadrants[part]).items()}
    return activation_collection.get_all_llm_activations(
        tokens, model, LLM_BATCH, int(hook.split(".")[1]), hook, mask_bos_pad_eos_tokens=True
    )


def _their_probes(pooled: Mapping[str, Mapping[str, "torch.Tensor"]]) -> dict[str, "torch.nn.Module"]:
    """SAEBench's probes, fitted on its pooled activations of each part."""
    import torch
    from sae_bench.evals.sparse_probing import probe_training

    protocol = get_protocol("saebench")
    torch.set_grad_enabled(True)
    probes, _ = probe_training.train_probe_on_activations(
        pooled["train"],
        pooled["test"],
        use_sklearn=False,
        batch_size=16,
        epochs=protocol.epochs,
        lr=1e-3,
        perform_scr=True,
        early_stopping_patience=protocol.epochs,
        l1_penalty=protocol.l1,
    )
    torch.set_grad_enabled(False)
    return probes


def _keyed(quadrants: Sequence[list[str]]) -> dict[str, list[str]]:
    """The quadrants' texts under SAEBench's six keys."""
    q00, q01, q10, q11 = quadrants
    half = len(q00)  # C_b's classes have one quadrant each; both its halves fit the size of the other classes
    return {
        "male / female": q01 + q11,
        "female_data_only": q00 + q10,
        "professor / nurse": q10 + q11,
        "nurse_data_only": q00 + q01,
        "male_professor / female_nurse": q11[:half],
        "female_nurse_data_only": q00[:half],
    }


def _accuracies(
    residuals: "ResidualRecording",
    latents: "LatentRecording",
    probes: Mapping[str, "Probe"],
    quadrant: np.ndarray,
    train: np.ndarray,
    *,
    leak: bool,
) -> dict[str, float]:
    """Every accuracy that SAEBench's SCR reports, from pooled arrays; quadrant int[texts], train bool[texts]."""
    from saeeval_core.scores import ablation, attribution

    dots = {k: ablation.dot(latents.decoder, p.weight) for k, p in probes.items()}
    logits = {k: p.logits(residuals.residuals) for k, p in probes.items()}
    pairs = [(probe, data) for probe in KEYS for data in KEYS]

    def named(probe: str, data: str) -> str:
        return data if probe == data else f"{probe} probe on {data} data"

    def accuracy(values: np.ndarray, data: str) -> float:
        rows, labels = _rows(data, quadrant, ~train)
        return float(((values[rows] > 0) == labels).mean())

    out = {f"clean|{named(p, d)}": accuracy(logits[p], d) for p, d in pairs}
    for key in KEYS:
        rows, labels = _rows(key, quadrant, train)
        effect = attribution.effects(attribution.mean_difference(latents.latents[rows], labels), dots[key])
        ranking = attribution.rank_by_magnitude(effect)
        for p, d in pairs:
            removed, counts = ablation.removed_by_n(latents.latents, ranking, dots[p], NS)
            for n, values, k in zip(NS, removed, counts, strict=True):
                extra = ablation.padding_leak(ranking[:k], latents.zero_code, dots[p], residuals.n_valid) if leak else 0
                out[f"{key}|{n}|{named(p, d)}"] = accuracy(logits[p] - values - extra, d)
    return out


def _rows(key: str, quadrant: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows int64[used], labels bool[used]) of the data set behind one of SAEBench's keys."""
    if key == "male / female":
        rows, positive = np.flatnonzero(inside), (1, 3)
    elif key == "professor / nurse":
        rows, positive = np.flatnonzero(inside), (2, 3)
    else:
        rows, positive = np.flatnonzero(inside & np.isin(quadrant, (0, 3))), (3,)
    return rows, np.isin(quadrant[rows], positive)


def _padded(model: "LanguageModel", texts: Sequence[str]) -> "torch.Tensor":
    """int64[texts, MAX_TOKENS], right-padded with the bos id, which the mask drops."""
    import torch

    out = np.full((len(texts), MAX_TOKENS), model.bos_id, dtype=np.int64)
    for row, ids in zip(out, model.tokenize(texts).ids, strict=True):
        row[: len(ids)] = ids
    return torch.from_numpy(out)


def _as_hooked_transformer(model: "LanguageModel") -> Any:
    """SAEBench checks for a HookedTransformer, which does not know every model; this one passes calls to the bridge."""
    from types import SimpleNamespace

    import torch
    from transformer_lens import HookedTransformer

    class Stand(HookedTransformer):
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            self.tokenizer = SimpleNamespace(
                pad_token_id=model.bos_id, eos_token_id=model.bos_id, bos_token_id=model.bos_id
            )

        def run_with_hooks(self, *args: Any, **kwargs: Any) -> Any:
            return model.bridge.run_with_hooks(*args, **kwargs)

    return Stand()


def _memory(field: str) -> float:
    """Megabytes of this process, from /proc."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise ConfigError(f"/proc/self/status has no {field}; the memory figures need Linux")
