"""Time and memory against SAEBench 0.6.0's own functions, from text to the same SHIFT accuracies (DESIGN section 7).

Each side runs in its own fresh process with two threads in float32, the sides alternating; medians are reported. Peak
memory is VmHWM - VmRSS after loading model and SAE. ``python -m saeeval_core.bench SIDE CONFIG OUT`` is one side.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from saeeval_core.config import MAX_TOKENS, get_protocol
from saeeval_core.errors import ConfigError, DataError

NS = (2, 5, 10, 20, 50, 100, 500)
"""SAEBench's N values."""
THREADS = 2
SAE_BATCH = 125
"""SAEBench's default SAE batch size for its SCR and TPP."""
LLM_BATCH = 32
KEYS = {
    "male / female": "female_data_only",
    "professor / nurse": "nurse_data_only",
    "male_professor / female_nurse": "female_nurse_data_only",
}
"""SAEBench's fixed names for the attribute probe, the oracle and C_b, with those of their negatives."""


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


def run_bench(config: BenchConfig, *, say: Callable[[str], None]) -> dict[str, Any]:
    """Alternate both sides and summarise. ConfigError if SAEBench is not installed."""
    if find_spec("sae_bench") is None:
        raise ConfigError("SAEBench is not installed; run: make bench-setup")
    runs: dict[str, list[dict[str, Any]]] = {"theirs": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(config.repeats):
            for side in ("theirs", "ours"):
                say(f"run {repeat + 1} of {config.repeats}: {side}")
                runs[side].append(_in_process(side, config, Path(folder)))
        say("recorder and rescoring")
        extra = _in_process("extra", config, Path(folder))
    theirs, ours = (
        {k: statistics.median(r[k] for r in runs[s]) for k in ("total", "sae_part", "peak_mb")}
        for s in ("theirs", "ours")
    )
    first, mine = runs["theirs"][0]["accuracies"], runs["ours"][0]
    summary = {
        "sae_part_ratio": theirs["sae_part"] / ours["sae_part"],
        "whole_run_ratio": theirs["total"] / ours["total"],
        "memory_ratio": ours["peak_mb"] / theirs["peak_mb"],
        "max_abs_accuracy_difference": _largest(first, mine["accuracies"]),
        "max_abs_accuracy_difference_masked": _largest(first, mine["accuracies_masked"]),
        "recorder_efficiency": extra["recorder_efficiency"],
        "rescore_ms": extra["rescore_ms"],
        "theirs_total_s": theirs["total"],
        "ours_total_s": ours["total"],
        "theirs_sae_part_s": theirs["sae_part"],
        "ours_sae_part_s": ours["sae_part"],
        "theirs_peak_mb": theirs["peak_mb"],
        "ours_peak_mb": ours["peak_mb"],
        "theirs_tokens": runs["theirs"][0]["tokens"],
        "ours_tokens": mine["tokens"],
        "repeats": config.repeats,
    }
    return {"config": asdict(config), "summary": summary, "runs": runs, "extra": extra}


def _in_process(side: str, config: BenchConfig, folder: Path) -> dict[str, Any]:
    (folder / "config.json").write_text(json.dumps(asdict(config)))
    env = os.environ | {"OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS), "TQDM_DISABLE": "1"}
    out = folder / f"{side}.json"
    done = subprocess.run(
        [sys.executable, "-m", "saeeval_core.bench", side, str(folder / "config.json"), str(out)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ConfigError(f"the side '{side}' failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return json.loads(out.read_text())


def _largest(a: dict[str, float], b: dict[str, float]) -> float:
    if a.keys() != b.keys():
        raise DataError(f"the two sides scored different things: {sorted(a.keys() ^ b.keys())[:3]}")
    return max(abs(a[k] - b[k]) for k in a)


@dataclass(frozen=True)
class _Bench:
    """What both sides start from: loaded model and SAE, and the quadrants' texts."""

    config: BenchConfig
    model: Any
    sae: Any
    quadrants: dict[str, list[list[str]]]
    """"train" and "test" -> texts of the quadrants (target, spurious) = 00, 01, 10, 11."""


def _prepare(config: BenchConfig) -> _Bench:
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
    model = load_model(config.model, device="cpu")
    return _Bench(config, model, load_sae(config.sae), quadrants)


def _keyed(quadrants: list[list[str]]) -> dict[str, list[str]]:
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


def _theirs(bench: _Bench) -> dict[str, Any]:
    """SAEBench's own functions, in the order its ``run_eval_single_dataset`` calls them for SCR."""
    import torch
    from sae_bench.evals.scr_and_tpp import main as scr
    from sae_bench.evals.sparse_probing import probe_training
    from sae_bench.sae_bench_utils import activation_collection

    protocol = get_protocol("saebench")
    stand_in = _as_hooked_transformer(bench.model)
    layer, hook = int(bench.sae.info.hook.split(".")[1]), bench.sae.info.hook
    before = _memory("VmRSS")
    torch.manual_seed(bench.config.seed)
    start = time.perf_counter()
    acts = {}
    for part, quadrants in bench.quadrants.items():
        tokens = {key: {"input_ids": _padded(bench.model, texts)} for key, texts in _keyed(quadrants).items()}
        acts[part] = activation_collection.get_all_llm_activations(
            tokens, stand_in, LLM_BATCH, layer, hook, mask_bos_pad_eos_tokens=True
        )
    pooled = {part: activation_collection.create_meaned_model_activations(a) for part, a in acts.items()}
    chosen = list(KEYS)
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
    clean = scr.get_probe_test_accuracy(probes, chosen, pooled["test"], 500, True)
    sae_start = time.perf_counter()
    module = bench.sae.module
    effects = scr.get_all_node_effects_for_one_sae(module, probes, chosen, True, acts["train"], SAE_BATCH)
    ablated = scr.perform_feature_ablations(
        probes, module, SAE_BATCH, acts["test"], effects, list(NS), chosen, 500, True
    )
    end = time.perf_counter()
    peak = _memory("VmHWM") - before
    accuracies = {f"clean|{k}": v for k, v in clean.items()}
    for a in ablated:
        for n in ablated[a]:
            accuracies |= {f"{a}|{n}|{k}": v for k, v in ablated[a][n].items()}
    weights = {k: [probes[k].net.weight[0].tolist(), float(probes[k].net.bias)] for k in chosen}
    _probe_file().write_text(json.dumps(weights))
    tokens_seen = sum(a.shape[0] * a.shape[1] for part in acts.values() for a in part.values())
    return {
        "total": end - start,
        "sae_part": end - sae_start,
        "peak_mb": peak,
        "accuracies": accuracies,
        "tokens": tokens_seen,
    }


def _ours(bench: _Bench) -> dict[str, Any]:
    """One pass, then every ablation from the pooled arrays; accuracies with SAEBench's probes, so only the SAE part differs."""
    from saeeval_core.recordings import recorder
    from saeeval_core.scores.probes import Probe, fit_adamw

    protocol = get_protocol("saebench")
    before = _memory("VmRSS")
    spent = _time_sae_part(recorder)
    start = time.perf_counter()
    texts = [t for part in ("train", "test") for own in bench.quadrants[part] for t in own]
    residuals, (latents,) = recorder.record(bench.model, bench.sae.info.hook, texts, "bench", [bench.sae])
    n_train = len(bench.quadrants["train"][0]) * 4
    quadrant = np.concatenate([np.repeat(np.arange(4), len(bench.quadrants[p][0])) for p in ("train", "test")])
    train = np.arange(len(texts)) < n_train
    x = residuals.residuals
    probes: dict[str, Probe] = {}
    for key in KEYS:
        rows, labels = _rows(key, quadrant, train)
        test_rows, test_labels = _rows(key, quadrant, ~train)
        probes[key] = fit_adamw(x[rows], labels, protocol, seed=bench.config.seed, test=(x[test_rows], test_labels))
    scoring = time.perf_counter()
    _accuracies(residuals, latents, probes, quadrant, train, leak=True)
    end = time.perf_counter()
    peak = _memory("VmHWM") - before
    theirs = {k: Probe(np.array(w), b, 0) for k, (w, b) in json.loads(_probe_file().read_text()).items()}
    return {
        "total": end - start,
        "sae_part": spent[0] + end - scoring,
        "peak_mb": peak,
        "tokens": int(residuals.n_valid.sum()) + len(texts),
        "accuracies": _accuracies(residuals, latents, theirs, quadrant, train, leak=True),
        "accuracies_masked": _accuracies(residuals, latents, theirs, quadrant, train, leak=False),
    }


def _accuracies(
    residuals: Any, latents: Any, probes: dict[str, Any], quadrant: np.ndarray, train: np.ndarray, *, leak: bool
) -> dict[str, float]:
    """Every accuracy SAEBench's SCR reports, from pooled arrays."""
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
    """Rows and labels of the data set behind one of SAEBench's keys."""
    if key == "male / female":
        rows, positive = np.flatnonzero(inside), (1, 3)
    elif key == "professor / nurse":
        rows, positive = np.flatnonzero(inside), (2, 3)
    else:
        rows, positive = np.flatnonzero(inside & np.isin(quadrant, (0, 3))), (3,)
    return rows, np.isin(quadrant[rows], positive)


def _extra(bench: _Bench) -> dict[str, Any]:
    """Recorder against the bare forward passes it cannot do without, and one decision at 20,000 texts x 16,384 latents."""
    import torch

    from saeeval_core.models.language_model import padded_batches
    from saeeval_core.recordings.recorder import record

    texts = [t for own in bench.quadrants["train"] for t in own]
    hook = bench.sae.info.hook
    encoder = torch.randn(bench.sae.info.d_in, bench.sae.info.n_latents)

    def bare() -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            for _, ids, mask in padded_batches(bench.model.tokenize(sorted(set(texts))).ids):
                x = bench.model.activations(ids, mask, [hook])[hook]
                _ = x[mask.bool()] @ encoder
        return time.perf_counter() - start

    def ours() -> float:
        start = time.perf_counter()
        record(bench.model, hook, texts, "bench", [bench.sae])
        return time.perf_counter() - start

    pairs = [(bare(), ours()) for _ in range(bench.config.repeats)]
    return {
        "recorder_efficiency": statistics.median(b / o for b, o in pairs),
        "recorder_pairs_s": pairs,
        "rescore_ms": rescore_ms(),
    }


def rescore_ms(n_texts: int = 20_000, n_latents: int = 16_384, density: float = 0.01) -> float:
    """Median milliseconds from one toggled latent to the new score with its interval, on random arrays of that size."""
    from scipy.sparse import csc_array

    from saeeval_core.config import get_protocol
    from saeeval_core.recordings.recording import Contexts, LatentRecording, RecordingKey, ResidualRecording
    from saeeval_core.scores.probes import Probe
    from saeeval_core.scores.shift import ShiftProbes, shift_board, shift_latents
    from saeeval_core.texts.parts import TEST
    from saeeval_core.texts.tasks import Contrast, ShiftTask, ShiftTraining

    rng = np.random.default_rng(0)
    d = 64
    target, spurious = rng.random(n_texts) < 0.5, rng.random(n_texts) < 0.5
    axes = rng.normal(size=(2, d))
    x = (rng.normal(size=(n_texts, d)) + np.outer(target - 0.5, axes[0]) + np.outer(spurious - 0.5, axes[1])).astype(
        np.float32
    )
    part = np.full(n_texts, TEST, dtype=np.uint8)
    task = ShiftTask(Contrast("t", "1", "0"), Contrast("a", "1", "0"), np.arange(n_texts), target, spurious, part)
    per_column = int(n_texts * density)
    indices = np.concatenate([np.sort(rng.choice(n_texts, per_column, replace=False)) for _ in range(n_latents)])
    data = rng.random(len(indices), dtype=np.float32)
    indptr = np.arange(0, len(indices) + 1, per_column)
    residuals = ResidualRecording(
        RecordingKey("m", "s", "float32", "h", "t"), 0, x, np.full(n_texts, 50), np.zeros(0, np.uint16)
    )
    none = np.zeros(n_latents, np.float32)
    empty = Contexts(np.zeros(n_latents + 1, np.int64), *(np.zeros(0, np.int32) for _ in range(4)))
    latents = LatentRecording(
        "s",
        "f",
        residuals.fingerprint,
        csc_array((data, indices, indptr), shape=(n_texts, n_latents)),
        none,
        none,
        rng.normal(size=(n_latents, d)).astype(np.float32),
        empty,
        {},
    )
    rows = np.arange(400)
    probes = ShiftProbes(
        ShiftTraining(100, rows, rows),
        Probe(axes[0] + axes[1], 0.0, 400),
        Probe(axes[0], 0.0, 400),
        Probe(axes[1], 0.0, 400),
    )
    protocol = get_protocol("robust")
    view = shift_latents(
        residuals, latents, shift_board(residuals, task, probes, protocol, part=TEST, seed=0), protocol
    )
    chosen = view.attribute_ranking[:20].tolist()
    view.score(chosen)
    times = []
    for latent in view.attribute_ranking[20:120].tolist():
        start = time.perf_counter()
        view.score([*chosen, latent])
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def _time_sae_part(recorder: Any) -> list[float]:
    """Count the seconds our recorder spends on the SAE: encoding, pooling and collecting contexts."""
    spent, add = [0.0], recorder._PooledLatents.add

    def timed(self: Any, *args: Any) -> None:
        start = time.perf_counter()
        add(self, *args)
        spent[0] += time.perf_counter() - start

    recorder._PooledLatents.add = timed
    return spent


def _padded(model: Any, texts: list[str]) -> Any:
    """int64[texts, MAX_TOKENS], right-padded with the bos id, which the mask drops."""
    import torch

    out = np.full((len(texts), MAX_TOKENS), model.bos_id, dtype=np.int64)
    for row, ids in zip(out, model.tokenize(texts).ids, strict=True):
        row[: len(ids)] = ids
    return torch.from_numpy(out)


def _as_hooked_transformer(model: Any) -> Any:
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


def _probe_file() -> Path:
    return Path(sys.argv[2]).parent / "probes.json"


def _memory(field: str) -> float:
    """Megabytes of this process, from /proc."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise ConfigError(f"/proc/self/status has no {field}; the memory figures need Linux")


def main(side: str, config_path: str, out: str) -> None:
    """Run one side in this process."""
    import torch

    torch.set_num_threads(THREADS)
    bench = _prepare(BenchConfig(**json.loads(Path(config_path).read_text())))
    result = {"theirs": _theirs, "ours": _ours, "extra": _extra}[side](bench)
    Path(out).write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:4])
