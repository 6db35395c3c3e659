"""A Ray cluster of two nodes on this machine: every bit as from one process, whatever is lost on the way.

Both nodes have caches of their own, so that what is recorded comes back as bytes, except where a folder is shared.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import faulty
import pandas as pd
import pytest
from disks import Disk
from toys import labelled_texts, save_tiny_model, save_tiny_sae

from saeeval_core.config import RunConfig
from saeeval_core.errors import ConfigError
from saeeval_core.storage import notices
from saeeval_core.sweep import cluster as executor
from saeeval_core.sweep.config import SweepConfig
from saeeval_core.sweep.executors import Where
from saeeval_core.sweep.sweep import sweep

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.ray
ROOT = Path(__file__).resolve().parents[2]
SAES = ("topk", "standard", "jumprelu")
VARIES = ("created", "made_by", "versions", "config")


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> SweepConfig:
    folder = tmp_path_factory.mktemp("world")
    save_tiny_model(folder / "tiny-llama")
    saes = tuple(str(save_tiny_sae(folder / name, name)) for name in SAES)
    texts = labelled_texts()
    pd.DataFrame({"text": texts.texts, **texts.columns}).to_csv(folder / "toys.csv", index=False)
    labels = {"target": "profession=nurse,surgeon", "spurious": "gender=female,male", "classes": "meal=tea,soup,bread"}
    own = RunConfig(task="", texts=str(folder / "toys.csv"), resamples=60, **labels)
    few = {"ns": (1, 2), "controls": False, "by_direction": False, "saes_per_unit": 1, "threads": 1}
    how = {"device": "cpu", "kernel": "default", "own_texts": own, "model": str(folder / "tiny-llama")}
    return SweepConfig(saes, tasks=("toys",), **few, **how)


@pytest.fixture(scope="module")
def expected(config, tmp_path_factory) -> dict[str, Any]:
    """What one process gives."""
    folder = tmp_path_factory.mktemp("local")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAEEVAL_CACHE", str(folder / "cache"))
        return timeless(sweep(config))


def timeless(result: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps({k: v for k, v in result.items() if k not in VARIES}))


class Nodes:
    """The cluster, to which nodes can be added."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.folder, self.faults = folder, folder / "faults"
        self.faults.mkdir()
        self.cluster = Cluster(initialize_head=True, head_node_args=self._node("a"))
        self.cluster.add_node(**self._node("b"))

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self, name: str, first: str = "") -> Any:
        """A node; ``first``: folder that its Python looks into first."""
        return self.cluster.add_node(**self._node(name, first))

    def _node(self, name: str, first: str = "") -> dict[str, Any]:
        path = os.pathsep.join(filter(None, (first, str(ROOT), str(Path(__file__).parent))))
        own = {"SAEEVAL_CACHE": str(self.folder / name), "PYTHONPATH": path, faulty.NODE: name}
        own[faulty.FOLDER] = str(self.faults)
        return {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False, "env_vars": own}

    def fresh(self) -> None:
        """As if nothing had been done here."""
        for path in self.folder.iterdir():
            shutil.rmtree(path, ignore_errors=True)
        self.faults.mkdir()

    def performed(self, kind: str) -> int:
        """How often a unit of that kind was begun."""
        log = self.faults / "performed"
        return log.read_text().split().count(kind) if log.exists() else 0


@pytest.fixture(scope="module")
def started(tmp_path_factory) -> Iterator[Nodes]:
    found = Nodes(tmp_path_factory.mktemp("nodes"))
    yield found
    found.cluster.shutdown()


@pytest.fixture
def nodes(started, cache, monkeypatch) -> Nodes:
    started.fresh()
    monkeypatch.setattr(executor, "Slot", faulty.FaultySlot)
    monkeypatch.setattr(notices, "_said", {})
    return started


Swept = Callable[..., dict[str, Any]]


@pytest.fixture
def swept(nodes, config) -> Swept:
    """The sweep on the cluster."""

    def call(on_progress: Any = None, shared: Path | None = None, **more: Any) -> dict[str, Any]:
        where = Where("ray", nodes.address, shared)
        return timeless(sweep(replace(config, **more), on_progress=on_progress, where=where))

    return call


def test_the_result_is_that_of_one_process(swept, nodes, expected, cache):
    assert swept() == expected
    assert (nodes.performed("RecordUnit"), nodes.performed("ScoreUnit")) == (3, 3)
    assert len(list((cache / "recordings").glob("latents-*.json"))) == 3, "what is recorded is the driver's too"
    assert swept() == expected and nodes.performed("ScoreUnit") == 3, "nothing is done twice"


def test_shards_of_several_nodes_merge_to_the_same(swept, nodes, expected):
    assert swept(saes_per_unit=2, texts_per_shard=110) == expected
    assert (nodes.performed("RecordUnit"), nodes.performed("MergeUnit")) == (6, 2)


@pytest.mark.parametrize("kind", ["RecordUnit", "ScoreUnit"])
def test_a_killed_worker_costs_one_unit(swept, nodes, expected, kind, capsys):
    (nodes.faults / f"kill-{kind}").touch()
    assert swept() == expected
    assert nodes.performed(kind) == 4 and nodes.performed("RecordUnit") + nodes.performed("ScoreUnit") == 7
    assert "was lost with" in capsys.readouterr().err


def test_a_node_that_goes_costs_its_unit(swept, nodes, expected, capsys):
    third, gone = nodes.add("c"), []

    def remove(what: str, _done: int, _total: int) -> None:
        if not gone:
            gone.append(nodes.cluster.remove_node(third, allow_graceful=False))

    assert swept(remove, texts_per_shard=60) == expected and gone


def test_a_dictionary_that_fails_on_one_node_is_done_on_another(swept, nodes, expected, capsys):
    (nodes.faults / "broken-on-a").touch()
    (nodes.faults / "broken-on-c").touch()
    assert swept(saes_per_unit=3) == expected
    err = capsys.readouterr().err
    assert faulty.BROKEN in err or nodes.performed("RecordUnit") == 1


def test_a_dictionary_that_fails_everywhere_is_a_row(swept, nodes, expected, config, capsys):
    for name in "ab":
        (nodes.faults / f"broken-on-{name}").touch()
    rows = swept()["rows"]
    (failed,) = [r for r in rows if r["status"] == "failed"]
    assert failed["sae"] == "topk" and failed["error"] == faulty.BROKEN
    assert len(set(failed["node"].split(", "))) == 2, "both nodes are named"
    assert {r["sae"] for r in rows if r["status"] == "ok"} >= {"standard", "jumprelu"}
    assert capsys.readouterr().err.count(faulty.BROKEN) == 2, "each node is named"


KILLED = """
import os, signal, sys
from saeeval_core.sweep import cluster
from saeeval_core.sweep.config import SweepConfig
from saeeval_core.sweep.executors import Where
from saeeval_core.sweep.sweep import sweep
import faulty
cluster.Slot = faulty.FaultySlot
def stop(what, done, total):
    if what.startswith(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
sweep(SweepConfig.from_json(sys.argv[1]), on_progress=stop, where=Where("ray", sys.argv[2]))
"""


def test_a_killed_driver_goes_on_where_it_was(swept, nodes, expected, config, cache):
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, config.to_json(), nodes.address, "toys, robust"],
        env=os.environ | {"PYTHONPATH": path, "SAEEVAL_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == -9, done.stderr
    stored = len(list((cache / "sweep").glob("unit-*.json")))
    (nodes.faults / "performed").unlink()
    assert swept() == expected and stored >= 1
    assert (nodes.performed("RecordUnit"), nodes.performed("ScoreUnit")) == (0, 3 - stored)


def test_a_full_shared_folder_is_named_and_nothing_is_lost(swept, nodes, expected, tmp_path):
    disk = Disk(tmp_path / "disk", 4096)
    try:
        disk.fill(40_000)
        with pytest.raises(ConfigError, match="No space left on device"):
            swept(shared=disk.path)
        disk.free()
        assert swept(shared=disk.path) == expected
        assert len(list((disk.path / "recordings").glob("latents-*.json"))) == 3
        begun = nodes.performed("RecordUnit")
        assert swept(shared=disk.path) == expected and nodes.performed("RecordUnit") == begun
    finally:
        disk.gone()


def test_a_worker_of_another_version_is_refused_and_named(swept, nodes, expected, tmp_path, capsys):
    # Not of saeeval itself: the checkout that this process runs in may hold metadata of its own.
    about = tmp_path / "other" / "sae_lens-9.9.9.dist-info" / "METADATA"
    about.parent.mkdir(parents=True)
    about.write_text("Metadata-Version: 2.1\nName: sae-lens\nVersion: 9.9.9\n")
    other = nodes.add("other", str(tmp_path / "other"))
    try:
        assert swept() == expected
    finally:
        nodes.cluster.remove_node(other)
    assert "refused: it has sae-lens 9.9.9, here" in capsys.readouterr().err
