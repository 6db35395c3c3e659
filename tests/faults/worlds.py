"""A small world to score, and the commands on it that are killed and run again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forks import Ended

Command = Callable[..., Ended]
"""``command(arguments, cache, before)``: see the fixture."""


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
