"""The sbatch file of docs/cluster.md as it stands, on one node: what SLURM gives is put in its place, Ray is the real one.

``ray symmetric-run`` ends with ``ray stop``, which stops every Ray process that it sees: so it is given processes of its own.
"""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from toys import labelled_texts, save_tiny_model, save_tiny_sae

pytest.importorskip("ray")
pytestmark = pytest.mark.ray
ROOT = Path(__file__).resolve().parents[2]
APART = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
SCRIPT = next(
    body
    for body in re.findall(r"```sbatch\n(.*?)```", (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8"), re.S)
    if "symmetric-run" in body
)
LABELS = "--target profession=nurse,surgeon --spurious gender=female,male --metrics shift --n 1,2 --no-controls"
STUBS = {
    "scontrol": '#!/bin/sh\n[ "$1 $2 $3" = "show hostnames one" ] && echo 127.0.0.1\n',
    "srun": '#!/bin/sh\nwhile case "$1" in --*) true;; *) false;; esac; do shift; done\nexec "$@"\n',
}


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Short, because paths of sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def here(script: str, world: Path, port: int) -> str:
    """The script with a tiny model, SAEs and texts, and what one machine has."""
    given = {
        ":6379": f":{port}",
        " --num-gpus 1": "",
        "--num-cpus 16": "--num-cpus 2",
        "--threads 4": "--threads 1",
        "google/gemma-2-2b": str(world / "model"),
        "'gemma-scope-2b-pt-res-canonical/*'": shlex.quote(str(world / "saes" / "*")),
        "--task bias_in_bios": f"--texts {world / 'toys.csv'} {LABELS}",
    }
    for word, own in given.items():
        assert word in script, word
        script = script.replace(word, own)
    return script


def test_the_sbatch_file_starts_ray_does_the_sweep_and_stops_ray(cache, tmp_path, ray_folder):
    if subprocess.run([*APART, "true"], capture_output=True).returncode:
        pytest.skip("processes of its own need root")
    save_tiny_model(tmp_path / "model")
    for name in ("topk", "standard"):
        save_tiny_sae(tmp_path / "saes" / name, name)
    texts = labelled_texts()
    pd.DataFrame({"text": texts.texts, **texts.columns}).to_csv(tmp_path / "toys.csv", index=False)
    (tmp_path / "bin").mkdir()
    for name, body in STUBS.items():
        (tmp_path / "bin" / name).write_text(body)
        (tmp_path / "bin" / name).chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        script = here(SCRIPT, tmp_path, free.getsockname()[1])
    path = os.pathsep.join((str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]))
    slurm = {"SLURM_NNODES": "1", "SLURM_JOB_NODELIST": "one", "SCRATCH": str(tmp_path), "RAY_TMPDIR": str(ray_folder)}
    done = subprocess.run(
        [*APART, "bash", "-c", script],
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"} | slurm,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "sweep.json").read_text())
    assert {row["sae"] for row in found["rows"]} == {"topk", "standard"}
    assert "failed" not in {row.get("status") for row in found["rows"]} and found["shared"].get("status", "ok") == "ok"
    recorded = [p.name.partition("-")[0] for p in (tmp_path / "saeeval" / "recordings").glob("*.json")]
    assert recorded.count("latents") == 2, "the shared folder has what was recorded"
