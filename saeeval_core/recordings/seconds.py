"""Where the time of a pass goes, measured by the pass itself."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

_HELD = 1000


@dataclass(frozen=True)
class PassSeconds:
    """Seconds of one process by what they were spent on; a resumed pass counts only its own. On a GPU, of its clock."""

    model: float
    """The language model, to the deepest hook."""
    residuals: float
    """Means of the activations over the tokens of each text."""
    encode: float
    """Codes of all SAEs."""
    pooling: float
    """Means of the codes over the tokens of each text, density and explained variance."""
    contexts: float
    """Choosing the windows of tokens that are kept for each latent."""

    @property
    def saes(self) -> float:
        """Seconds spent on the SAEs."""
        return self.encode + self.pooling + self.contexts

    def to_dict(self) -> dict[str, float]:
        """Plain JSON values."""
        return asdict(self)


class Stopwatch:
    """Adds up the seconds of the parts of a pass on one device, without making the host wait for a GPU."""

    def __init__(self, device: str | torch.device) -> None:
        """``device``: where the work is done."""
        self._cuda = torch.device(device).type == "cuda"
        self._sums = dict.fromkeys(PassSeconds.__annotations__, 0.0)
        self._laps: list[tuple[str, Any, Any]] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What is done inside counts as ``name``, a field of PassSeconds."""
        begun = self._now()
        yield
        self._laps.append((name, begun, self._now()))
        if len(self._laps) >= _HELD:
            self._add_up()

    def total(self) -> PassSeconds:
        """The seconds so far."""
        self._add_up()
        return PassSeconds(**self._sums)

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _add_up(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()
        for name, begun, ended in self._laps:
            self._sums[name] += begun.elapsed_time(ended) / 1000 if self._cuda else ended - begun
        self._laps.clear()
