"""The commands of docs/cluster.md: shells and programs know every word of them, as far as one machine can tell."""

import re
import subprocess
from pathlib import Path

import pytest
import typer.main

from saeeval_core.cli.main import app

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "cluster.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|sbatch|yaml)\n(.*?)```", TEXT, re.S)
SBATCH = {"nodes", "ntasks-per-node", "gpus-per-node", "gpus", "cpus-per-task", "time"}


@pytest.mark.parametrize("script", [body for kind, body in BLOCKS if kind != "yaml"])
def test_bash_can_read_it(script):
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"#SBATCH --([a-z-]+)", script)) <= SBATCH


def test_every_sweep_names_options_there_are():
    known = {o for p in typer.main.get_command(app).commands["sweep"].params for o in (*p.opts, *p.secondary_opts)}
    joined = [body.replace("\\\n", " ") for _, body in BLOCKS]
    commands = [match for body in joined for match in re.findall(r"saeeval sweep (.*)", body)]
    assert len(commands) == 4
    for command in commands:
        assert set(re.findall(r"(?<=\s)--[a-z-]+", f" {command}")) <= known
    assert set(re.findall(r"`(--[a-z-]+)", TEXT)) <= known


def test_yaml_is_yaml():
    import yaml

    (body,) = (body for kind, body in BLOCKS if kind == "yaml")
    assert set(yaml.safe_load(body)) == {"num_nodes", "resources", "setup", "run"}


@pytest.mark.ray
def test_ray_knows_its_options():
    scripts = pytest.importorskip("ray.scripts.scripts")
    started = {o for p in scripts.start.params for o in p.opts}
    for body in (body.replace("\\\n", " ") for _, body in BLOCKS):
        for words in re.findall(r"ray symmetric-run (.*?) -- ", body):
            own = set(re.findall(r"--[a-z-]+", words))
            assert {"--address", "--min-nodes"} <= own and own - {"--address", "--min-nodes"} <= started
