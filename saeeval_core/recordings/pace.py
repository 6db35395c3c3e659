"""How fast this machine reads: the pace of earlier passes, or a short measurement of products of the same shapes."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from saeeval_core.config import RunConfig
from saeeval_core.models.shapes import Matrix
from saeeval_core.storage.kept import KeptJson, Shelves

if TYPE_CHECKING:
    from saeeval_core.recordings.recorder import Progress

_PACES = KeptJson(Shelves("paces", shipped=False), "pace", version=2)
"""Tokens per second of the last pass of a model with SAEs of the same sizes on this machine."""
SECONDS = 2.0
"""Of a measurement."""
_ROWS = 1024
"""Tokens multiplied at once."""
_WIDEST = 16_384
"""Columns of a matrix that is measured; a wider one takes as much longer as it is wider."""


def known_pace(config: RunConfig, work: Sequence[Matrix]) -> float | None:
    """Tokens per second of the last pass that made these products on this machine."""
    try:
        return float(_PACES.find(_key(config, work)))
    except (LookupError, TypeError, ValueError):
        return None


def noting_pace(
    config: RunConfig, work: Sequence[Matrix], on_progress: "Callable[[Progress], None] | None"
) -> "Callable[[Progress], None]":
    """The callback for a pass that also remembers its pace, once it is through."""
    first: list[Progress] = []  # without a batch before it, or what an interrupted pass had done

    def told(progress: "Progress") -> None:
        if not first:
            first.append(progress)
        if progress.done >= progress.total:
            tokens, seconds = progress.done - first[0].done, progress.seconds - first[0].seconds
            if tokens > 0 and seconds > 0:
                _PACES.keep(_key(config, work), tokens / seconds)
        if on_progress is not None:
            on_progress(progress)

    return told


def measured_pace(config: RunConfig, work: Sequence[Matrix]) -> float:
    """Tokens per second of these products alone, on random matrices of their shapes; takes about two seconds.

    ModelError for a device that is not here.
    """
    import torch

    from saeeval_core.models.language_model import resolve_device

    device, dtype = resolve_device(config.device), getattr(torch, config.dtype, torch.float32)
    shapes = {(m.wide, min(m.out, _WIDEST)) for m in work}
    seconds = {shape: _seconds(*shape, SECONDS / len(shapes), device, dtype) for shape in shapes}
    per_token = sum(seconds[m.wide, min(m.out, _WIDEST)] * max(1.0, m.out / _WIDEST) * m.times for m in work)
    return _ROWS / per_token


def _seconds(wide: int, out: int, budget: float, device: str, dtype: object) -> float:
    """Median seconds of one product [_ROWS, wide] x [wide, out], over as many as fit into the budget, at least three."""
    import torch

    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(n, wide, generator=generator).to(device, dtype) for n in (_ROWS, out))  # type: ignore[call-overload]

    def once() -> float:
        begun = time.perf_counter()
        torch.nn.functional.linear(x, weight)
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        return time.perf_counter() - begun

    end = time.perf_counter() + budget
    once()
    taken = [once() for _ in range(3)]
    while time.perf_counter() < end:
        taken.append(once())
    return sorted(taken)[len(taken) // 2]


def _key(config: RunConfig, work: Sequence[Matrix]) -> list[object]:
    return [config.model, config.dtype, config.device, config.kernel, [[m.wide, m.out, m.times] for m in work]]
