"""Time and memory against SAEBench 0.6.0's own functions, from text to the same SHIFT accuracies.

Each side runs in its own fresh process with two threads, the sides alternating; medians are reported. Both compute in
float32; ours is also run with the language model in bfloat16, against our own accuracies in float32.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from saeeval_core.bench.rescore import Extra
from saeeval_core.bench.sides import BenchConfig, SideRun
from saeeval_core.errors import ConfigError, DataError

THREADS = 2
HALF = "bfloat16"
SIDES = ("theirs", "ours", HALF)
"""SAEBench, ours, and ours with the language model in half precision."""


@dataclass(frozen=True)
class BenchResult:
    """Every run of both sides, and the summary."""

    config: BenchConfig
    summary: Mapping[str, float]
    """Ratios (theirs over ours, memory ours over theirs), largest accuracy differences, medians, tokens; with
    bfloat16_ those of ours in half precision."""
    runs: Mapping[str, list[SideRun]]
    """Of SIDES -> one run per repeat."""
    extra: Extra

    def to_dict(self) -> dict[str, object]:
        """JSON values, as ``saeeval bench --json`` writes them."""
        runs = {side: [r.to_dict() for r in own] for side, own in self.runs.items()}
        return {"config": asdict(self.config), "summary": dict(self.summary), "runs": runs, "extra": asdict(self.extra)}


def run_bench(config: BenchConfig, *, say: Callable[[str], None]) -> BenchResult:
    """Alternate both sides and summarise. ConfigError if SAEBench is not installed or a side fails."""
    if find_spec("sae_bench") is None:
        raise ConfigError("SAEBench is not installed; run: make bench-setup")
    runs: dict[str, list[SideRun]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(config.repeats):
            for side in runs:
                say(f"run {repeat + 1} of {config.repeats}: {side}")
                runs[side].append(SideRun(**_in_process(side, config, Path(folder))))
        say("recorder and rescoring")
        extra = Extra(**_in_process("extra", config, Path(folder)))
    return BenchResult(config, _summary(runs, extra), runs, extra)


def _summary(runs: Mapping[str, list[SideRun]], extra: Extra) -> dict[str, float]:
    def median(side: str, figure: str) -> float:
        return statistics.median(getattr(run, figure) for run in runs[side])

    first, mine, half = (runs[side][0] for side in SIDES)
    figures = {f"{s}_{f}": median(s, f) for f in ("total", "sae_part", "peak_mb") for s in runs}
    return {
        "sae_part_ratio": figures["theirs_sae_part"] / figures["ours_sae_part"],
        "whole_run_ratio": figures["theirs_total"] / figures["ours_total"],
        "memory_ratio": figures["ours_peak_mb"] / figures["theirs_peak_mb"],
        "max_abs_accuracy_difference": _largest(first.accuracies, mine.accuracies),
        "max_abs_accuracy_difference_masked": _largest(first.accuracies, mine.accuracies_masked or {}),
        "recorder_efficiency": extra.recorder_efficiency,
        "rescore_ms": extra.rescore_ms,
        "theirs_total_s": figures["theirs_total"],
        "ours_total_s": figures["ours_total"],
        "theirs_sae_part_s": figures["theirs_sae_part"],
        "ours_sae_part_s": figures["ours_sae_part"],
        "theirs_peak_mb": figures["theirs_peak_mb"],
        "ours_peak_mb": figures["ours_peak_mb"],
        "theirs_tokens": first.tokens,
        "ours_tokens": mine.tokens,
        "repeats": len(runs["ours"]),
        f"{HALF}_whole_run_ratio": figures["theirs_total"] / figures[f"{HALF}_total"],
        f"{HALF}_sae_part_ratio": figures["theirs_sae_part"] / figures[f"{HALF}_sae_part"],
        f"{HALF}_memory_ratio": figures[f"{HALF}_peak_mb"] / figures["theirs_peak_mb"],
        f"{HALF}_max_abs_accuracy_difference": _largest(mine.accuracies, half.accuracies),
    }


def _in_process(side: str, config: BenchConfig, folder: Path) -> dict[str, object]:
    """Run one side by ``python -m saeeval_core.bench`` and read its result."""
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


def _largest(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    if a.keys() != b.keys():
        raise DataError(f"the two sides scored different things: {sorted(a.keys() ^ b.keys())[:3]}")
    return max(abs(a[k] - b[k]) for k in a)
