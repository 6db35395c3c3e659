"""Commands that are killed, and files that are damaged: a small world to run in, and forks of this process to die in."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from forks import Ended, forked, own_folders, saeeval
from worlds import Command, World, sweep


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "faults" in item.path.parts and not item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.faults)


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
