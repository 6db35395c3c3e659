"""What Ray costs per unit on two local nodes of one CPU each, against two local processes; and what follows for GPUs.

``python tests/bench/cluster.py [--saes 8] [--texts 400] [--full-score]`` prints the tables of docs/cluster.md. Everything
measured is measured on a quiet machine or it is noise; everything assumed is printed with it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE.parent)]

from saeeval_core.config import RunConfig  # noqa: E402
from saeeval_core.sweep import cluster as executor  # noqa: E402
from saeeval_core.sweep.config import SweepConfig  # noqa: E402
from saeeval_core.sweep.executors import Where  # noqa: E402
from saeeval_core.sweep.sweep import sweep  # noqa: E402

GPUS = (1, 8, 64)
DICTIONARIES, TASKS = 1000, 4
PARAMETERS, WIDTH, LATENTS = 2.6e9, 2304, 16_384
"""Of the model, its activations and each dictionary."""
TOKENS, SAES_PER_UNIT = 500_000, 16
"""Of a task; dictionaries that one unit records in one pass of the model."""
FLOPS, PER_CODE, PER_LATENT = 3.6e14, 1.44e-10, 2e-5
"""Of one H100, from ``recorder_speed.py --preset 2b --device cuda --dtype bfloat16``: operations of the model per second
(multiply and add count as two), seconds that a dictionary takes per token and latent, and once per latent at the end."""
CORES_PER_GPU, LINK = 8, 1e9
"""CPU cores that score, per GPU; bytes per second to the driver."""
ENTRY, L0 = 5, 80
"""Bytes of a stored pooled latent; active latents per token."""


@dataclass(frozen=True)
class Measured:
    """Figures of this machine."""

    units: int
    local: float
    """Seconds of two processes, start included."""
    ray: float
    """Seconds of the sweep on two nodes, start of the cluster left out, of the workers included."""
    start: float
    """Seconds until both nodes are up."""
    overhead: float
    """Seconds per unit beyond its own work."""
    moved: float
    """Bytes per unit, to the driver and from it."""
    score: float
    """Seconds of one score unit."""


def world(folder: Path, saes: int, texts: int) -> SweepConfig:
    """A tiny model, so that what Ray costs is seen."""
    import pandas as pd
    from toys import labelled_texts, save_tiny_model, save_tiny_sae

    save_tiny_model(folder / "tiny-llama")
    names = tuple(str(save_tiny_sae(folder / f"topk-{i}", "topk", seed=i)) for i in range(saes))
    own = labelled_texts(per_quadrant=texts // 4)
    pd.DataFrame({"text": own.texts, **own.columns}).to_csv(folder / "toys.csv", index=False)
    labels = {"target": "profession=nurse,surgeon", "spurious": "gender=female,male", "classes": "meal=tea,soup,bread"}
    settings = RunConfig(task="", texts=str(folder / "toys.csv"), **labels)
    how = {"device": "cpu", "kernel": "default", "own_texts": settings, "threads": 1, "saes_per_unit": 1}
    return SweepConfig(names, tasks=("toys",), model=str(folder / "tiny-llama"), **how)


def two_processes(config: SweepConfig, folder: Path) -> float:
    """Seconds of two processes that share the SAEs."""
    code = (
        "import sys\nfrom saeeval_core.sweep.sweep import sweep\nfrom saeeval_core.sweep.config import SweepConfig\n"
        "sweep(SweepConfig.from_json(sys.argv[1]))"
    )
    begun = time.monotonic()
    running = []
    for i in range(2):
        own = replace(config, saes=config.saes[i::2]).to_json()
        env = os.environ | {"SAEEVAL_CACHE": str(folder / f"local{i}"), "PYTHONPATH": str(ROOT)}
        running.append(subprocess.Popen([sys.executable, "-c", code, own], env=env))
    assert [p.wait() for p in running] == [0, 0]
    return time.monotonic() - begun


def two_nodes(config: SweepConfig, folder: Path) -> tuple[float, float, float, float]:
    """(seconds until both nodes are up, of the sweep, of the units' own work, bytes moved)."""
    from ray.cluster_utils import Cluster

    os.environ["SAEEVAL_CACHE"] = str(folder / "driver")
    begun = time.monotonic()
    path = f"{ROOT}{os.pathsep}{HERE.parent}"
    nodes = [
        {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
        | {"env_vars": {"SAEEVAL_CACHE": str(folder / f"node{i}"), "PYTHONPATH": path}}
        for i in range(2)
    ]
    cluster = Cluster(initialize_head=True, head_node_args=nodes[0])
    cluster.add_node(**nodes[1])
    start = time.monotonic() - begun
    moved = [0]
    for name in ("read_files", "write_files"):
        plain = getattr(executor, name)

        def counting(given, plain=plain):
            found = plain(given)
            moved[0] += sum(map(len, (found or given).values())) if isinstance(found or given, dict) else 0
            return found

        setattr(executor, name, counting)
    try:
        begun = time.monotonic()
        sweep(config, where=Where("ray", str(cluster.address)))
        return start, time.monotonic() - begun, 0.0, float(moved[0])
    finally:
        cluster.shutdown()


def own_work(config: SweepConfig, folder: Path) -> tuple[float, float]:
    """(seconds of all units in one process that has loaded everything, of one score unit)."""
    os.environ["SAEEVAL_CACHE"] = str(folder / "warm")
    sweep(replace(config, saes=config.saes[:1]))
    os.environ["SAEEVAL_CACHE"] = str(folder / "one")
    times: list[tuple[str, float]] = []
    begun = time.monotonic()
    sweep(config, on_progress=lambda what, *_: times.append((what, time.monotonic() - begun)))
    scored = [t for what, t in times if not what.startswith("recording")]
    recorded = [t for what, t in times if what.startswith("recording")]
    return times[-1][1], (scored[-1] - recorded[-1]) / len(scored)


def bundled_score() -> float:
    """Seconds of a score unit of a bundled SAE on its shipped recording, with every control."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SAEEVAL_CACHE"] = folder
        begun: list[float] = [time.monotonic()]
        sweep(SweepConfig(("smollm2-135m-l15-topk-4k",), threads=1))
        return time.monotonic() - begun[0]


def measured(saes: int, texts: int, full_score: bool) -> Measured:
    """All of it, one after another."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = world(folder, saes, texts)
        work, score = own_work(config, folder)
        local = two_processes(config, folder)
        start, seconds, _, moved = two_nodes(config, folder)
    units = 2 * saes
    overhead = (2 * seconds - work) / units
    return Measured(units, local, seconds, start, overhead, moved / units, bundled_score() if full_score else score)


def table(m: Measured) -> list[str]:
    """Hours of 1,000 dictionaries x 4 tasks, by what they are spent on."""
    record_units = DICTIONARIES * TASKS / SAES_PER_UNIT
    per_unit = TOKENS * 2 * PARAMETERS / FLOPS + SAES_PER_UNIT * LATENTS * (TOKENS * PER_CODE + PER_LATENT)
    stored = DICTIONARIES * TASKS * (ENTRY * TOKENS * L0 + 4 * WIDTH * LATENTS)
    rows = [
        "| GPUs | recording | scoring | bytes to the driver | overhead of Ray | first bottleneck |",
        "|---|---|---|---|---|---|",
    ]
    for gpus in GPUS:
        hours = {
            "recording": record_units * per_unit / gpus / 3600,
            "scoring": DICTIONARIES * TASKS * m.score / (gpus * CORES_PER_GPU) / 3600,
            "bytes to the driver": stored / LINK / 3600,
            "overhead of Ray": (record_units / gpus + DICTIONARIES * TASKS / (gpus * CORES_PER_GPU))
            * m.overhead
            / 3600,
        }
        cells = " | ".join(f"{h:.2f} h" for h in hours.values())
        rows.append(f"| {gpus} | {cells} | {max(hours, key=lambda k: hours[k])} |")
    return rows


def main() -> None:
    """Measure, and print what docs/cluster.md shows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--saes", type=int, default=8)
    parser.add_argument("--texts", type=int, default=400)
    parser.add_argument("--full-score", action="store_true", help="time the score unit of a bundled SAE, a minute")
    asked = parser.parse_args()
    m = measured(asked.saes, asked.texts, asked.full_score)
    print(json.dumps(vars(m)))
    print("\n| two local nodes of 1 CPU, tiny model | |\n|---|---|")
    print(f"| units | {m.units} |\n| start of the cluster | {m.start:.1f} s |")
    print(f"| sweep on Ray | {m.ray:.1f} s |\n| sweep in two local processes | {m.local:.1f} s |")
    print(f"| efficiency | {m.local / m.ray:.2f} |\n| overhead per unit | {m.overhead:.2f} s |")
    print(f"| bytes moved per unit | {m.moved / 1e3:,.0f} kB |\n")
    print("\n".join(table(m)))


if __name__ == "__main__":
    main()
