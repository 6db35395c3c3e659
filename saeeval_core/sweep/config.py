"""The settings of a sweep. Everything that it computes, and how it is divided into units, follows from them alone."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from saeeval_core.config import AUTO_KERNEL, DEFAULT_MODEL, DEFAULT_NS, RunConfig, get_protocol
from saeeval_core.errors import ConfigError
from saeeval_core.recordings.obtain import task_set_of
from saeeval_core.sweep.rows import JudgedSelection
from saeeval_core.texts.tasks import TaskSet


@dataclass(frozen=True)
class SweepConfig:
    """The settings of a sweep."""

    saes: tuple[str, ...]
    tasks: tuple[str, ...] = ("bios",)
    protocols: tuple[str, ...] = ("robust",)
    metrics: tuple[str, ...] = ("shift", "tpp")
    ns: tuple[int, ...] = DEFAULT_NS
    model: str = DEFAULT_MODEL
    seed: int = 0
    controls: bool = True
    """Score controls too: random latents and other decoders per SAE; PCA, residual basis and LEACE once per task."""
    texts_per_cell: int = 1500
    device: str = "auto"
    own_texts: RunConfig | None = None
    """Settings with texts of the user's own; ``tasks`` is then one name for them."""
    selections: tuple[JudgedSelection, ...] = field(default=(), compare=False)
    by_direction: bool = True
    """Add rows of every direction of every pair."""
    deletion: bool = False
    """Add the word-deletion control: a second pass over the scored texts."""
    loss_recovered: bool = False
    """Measure loss recovered, on a few of the task's texts."""
    probe_hook: str = ""
    """As in ``RunConfig``, and the next two."""
    dtype: str = "float32"
    kernel: str = AUTO_KERNEL
    saes_per_unit: int = 0
    """Most SAEs that are recorded in one unit; 0: all in one."""
    texts_per_shard: int = 0
    """About so many texts are read in one unit; 0: all of them."""
    threads: int = 0
    """Of every unit; 0: those that torch takes on the machine where the sweep is started."""

    def __post_init__(self) -> None:
        for name in ("saes_per_unit", "texts_per_shard", "threads"):
            if getattr(self, name) < 0:
                raise ConfigError(f"--{name.replace('_', '-')} is {getattr(self, name)}; give a number from 0 on")

    def run_config(self, task: str, protocol: str, saes: Sequence[str]) -> RunConfig:
        """The settings of ``saeeval run`` for one unit."""
        if self.own_texts is not None:
            return replace(
                self.own_texts,
                model=self.model,
                saes=tuple(saes),
                metrics=self.metrics,
                protocol=protocol,
                ns=self.ns,
                seed=self.seed,
                device=self.device,
                dtype=self.dtype,
                kernel=self.kernel,
                probe_hook=self.probe_hook,
            )
        return RunConfig(
            model=self.model,
            saes=tuple(saes),
            task=task,
            metrics=self.metrics,
            protocol=protocol,
            ns=self.ns,
            seed=self.seed,
            texts_per_cell=self.texts_per_cell,
            device=self.device,
            dtype=self.dtype,
            kernel=self.kernel,
            probe_hook=self.probe_hook,
        )

    def to_json(self) -> str:
        """The settings for a worker in another process, but for ``selections``, which name a store of this machine."""
        return json.dumps(asdict(replace(self, selections=())), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "SweepConfig":
        """Inverse of ``to_json``."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(text).items()}
        own = values.pop("own_texts")
        return cls(**values, own_texts=None if own is None else RunConfig.from_json(json.dumps(own)))


def task_set_for(config: SweepConfig, task: str) -> TaskSet:
    """The texts of a task; bundled ones are reduced to ``texts_per_cell`` too, so that many SAEs need not read all."""
    run = config.run_config(task, config.protocols[0], config.saes)
    found = task_set_of(run)
    if config.texts_per_cell >= RunConfig.texts_per_cell:
        return found
    return found.drawn(seed=config.seed, protocol=get_protocol(config.protocols[0]), per_cell=config.texts_per_cell)
