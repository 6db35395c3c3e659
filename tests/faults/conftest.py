"""Commands that are killed, and files that are damaged: a small world to run in, and forks of this process to die in."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from forks import Ended, forked, own_folders, saeeval


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "faults" in item.path.parts and not item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.faults)


@dataclass(frozen=True)
class World:
    """A folder with a tiny model, two SAEs and labelled texts."""

    folder: Path

    @property
    def labels(self) -> list[str]:
        """What the texts are scored for."""
        return ["--target", "profession=nurse,surgeon", "--spurious", "gender=female,male"]

    def run(self, out: Path, *more: str, sae: str = "topk") -> list[str]:
        """``saeeval run`` on it."""
        texts = ["--texts", f"{self.folder / 'toys.csv'}", *self.labels, "--classes", "meal=tea,soup,bread"]
        how = ["--n", "1,2", "--device", "cpu", "--json", f"{out}"]
        return ["run", "--model", f"{self.folder / 'tiny-llama'}", "--sae", f"{self.folder / sae}", *texts, *how, *more]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    from toys import labelled_texts, save_tiny_model, save_tiny_sae

    folder = tmp_path_factory.mktemp("world")
    save_tiny_model(folder / "tiny-llama")
    for name in ("topk", "standard"):
        save_tiny_sae(folder / name, name)
    texts = labelled_texts()
    pd.DataFrame({"text": texts.texts, **texts.columns}).to_csv(folder / "toys.csv", index=False)
    return World(folder)


Command = Callable[..., Ended]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """``command(arguments, cache, before)``: ``saeeval`` in a fork, with that cache; ``before`` runs in the fork first."""

    def call(arguments: list[str], cache: Path, before: Callable[[], object] = lambda: None) -> Ended:
        return forked(lambda: (before(), saeeval(arguments, cache)), tmp_path)

    return call


@pytest.fixture(scope="session")
def finished(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache after one run of each SAE and a sweep, with the results "topk.json", "standard.json" and "sweep.json"."""
    folder = tmp_path_factory.mktemp("finished")
    for sae in ("topk", "standard"):
        forked(lambda sae=sae: saeeval(world.run(folder / f"{sae}.json", sae=sae), folder / "cache"), folder).fine()
    forked(lambda: (own_folders(folder / "cache"), sweep(world, folder)), folder).fine()
    return folder


@pytest.fixture
def own_copy(finished: Path, tmp_path: Path) -> Path:
    """The same to be damaged."""
    return shutil.copytree(finished / "cache", tmp_path / "cache")


def sweep(world: World, out: Path) -> None:
    """A sweep of both SAEs over the same texts, into "sweep.json" and "sweep.csv"; to be called in a fork."""
    from saeeval_core.config import RunConfig
    from saeeval_core.sweep.sweep import SweepConfig
    from saeeval_core.sweep.sweep import sweep as run_sweep

    own = RunConfig(
        task="",
        texts=str(world.folder / "toys.csv"),
        target="profession=nurse,surgeon",
        spurious="gender=female,male",
        classes="meal=tea,soup,bread",
    )
    saes = tuple(str(world.folder / name) for name in ("topk", "standard"))
    model = str(world.folder / "tiny-llama")
    config = SweepConfig(saes, tasks=("toys",), ns=(1, 2), model=model, device="cpu", own_texts=own)
    run_sweep(config, out / "sweep.json", out / "sweep.csv")
