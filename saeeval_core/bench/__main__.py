"""``python -m saeeval_core.bench SIDE CONFIG OUT``: one side (of SIDES, or "extra") in this process."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from saeeval_core.bench.compare import HALF, THREADS
from saeeval_core.bench.rescore import extra
from saeeval_core.bench.sides import BenchConfig, ours, prepare, theirs
from saeeval_core.config import AUTO_KERNEL, DEFAULT_KERNEL


def main(side: str, config_path: str, out: str) -> None:
    """Run one side and write its result. Ours scores the probes that "theirs" wrote into the folder of OUT."""
    import torch

    torch.set_num_threads(THREADS)
    # SAEBench runs the model as it is.
    kernel = DEFAULT_KERNEL if side == "theirs" else AUTO_KERNEL
    start = prepare(
        BenchConfig(**json.loads(Path(config_path).read_text())), kernel, HALF if side == HALF else "float32"
    )
    probes = Path(out).parent / "probes.json"
    sides = {
        "theirs": lambda: theirs(start, probes),
        "ours": lambda: ours(start, probes),
        HALF: lambda: ours(start, probes),
        "extra": lambda: extra(start),
    }
    Path(out).write_text(json.dumps(asdict(sides[side]())))


if __name__ == "__main__":
    main(*sys.argv[1:4])
