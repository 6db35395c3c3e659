"""What a pass over texts will take, told before it begins: from the pace of earlier passes here, or of this machine.

The one place that foretells time and memory.
"""

import json
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from saeeval_core.config import MAX_TOKENS, RunConfig
from saeeval_core.models.identity import is_folder
from saeeval_core.models.packages import PACKAGED
from saeeval_core.storage.kept import KeptJson, Shelves

if TYPE_CHECKING:
    from saeeval_core.recordings.recorder import Progress

_PACES = KeptJson(Shelves("paces", shipped=False), "pace", version=1)
"""Tokens per second of the last pass of a model on this machine."""
_PIECE = re.compile(r"\w+|[^\w\s]")
_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}
_SAMPLE = 2_000
"""Texts whose tokens are counted; of more, every so-manieth."""
_SIDE = 768
"""Rows of the square matrices with which this machine's speed is measured."""


@dataclass(frozen=True)
class Plan:
    """What one pass will take; None: not known before it has run."""

    texts: int
    tokens: int
    """At least: words and signs, which a tokenizer divides further."""
    seconds: float | None
    measured: bool
    """True when an earlier pass of this model here gave the pace; else it is this machine's speed in plain products."""
    model_bytes: int | None
    """Of the model's weights in memory."""
    recording_bytes: int | None
    """Of the pooled latents, at most."""


def plan(config: RunConfig, texts: Sequence[str], n_latents: int | None) -> Plan:
    """What reading these texts with the model of ``config`` will take; nothing is loaded."""
    tokens = count_tokens(texts)
    parameters = _parameters(config.model)
    pace, measured = known_pace(config), True
    if pace is None:
        pace, measured = None if parameters is None else _speed() / (2 * parameters), False
    return Plan(
        len(texts),
        tokens,
        None if pace is None else tokens / pace,
        measured,
        None if parameters is None else parameters * _BYTES.get(config.dtype, 4),
        None if n_latents is None else 8 * len(texts) * n_latents,
    )


def count_tokens(texts: Sequence[str]) -> int:
    """Tokens that are read, at least: scaled from some of many texts."""
    step = max(1, len(texts) // _SAMPLE)
    some = texts[::step]
    counted = sum(min(MAX_TOKENS - 1, len(_PIECE.findall(t[: 64 * MAX_TOKENS]))) for t in some)
    return round(counted * len(texts) / max(1, len(some)))


def known_pace(config: RunConfig) -> float | None:
    """Tokens per second of the last pass of this model on this machine."""
    try:
        return float(_PACES.find(_key(config)))
    except (LookupError, TypeError, ValueError):
        return None


def noting_pace(config: RunConfig, on_progress: "Callable[[Progress], None] | None") -> "Callable[[Progress], None]":
    """The callback for a pass that also remembers its pace, once it is through."""
    first: list[Progress] = []  # without a batch before it, or what an interrupted pass had done

    def told(progress: "Progress") -> None:
        if not first:
            first.append(progress)
        if progress.done >= progress.total:
            tokens, seconds = progress.done - first[0].done, progress.seconds - first[0].seconds
            if tokens > 0 and seconds > 0:
                _PACES.keep(_key(config), tokens / seconds)
        if on_progress is not None:
            on_progress(progress)

    return told


def _key(config: RunConfig) -> list[str]:
    return [config.model, config.dtype, config.device]


@lru_cache(maxsize=1)
def _speed() -> float:
    """Multiplications and additions per second of float32 matrices here."""
    a = np.ones((_SIDE, _SIDE), dtype=np.float32)
    a @ a
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * _SIDE**3 / best


def _parameters(model: str) -> int | None:
    """Weights of a packaged or local model, from its files; None for one of the Hub."""
    if model in PACKAGED:
        return PACKAGED[model].parameters
    if not is_folder(model):
        return None
    folder, size = Path(model), 4
    with suppress(OSError, ValueError, AttributeError):
        about = json.loads((folder / "config.json").read_bytes())
        size = _BYTES.get(str(about.get("dtype") or about.get("torch_dtype")), 4)
    found = sum(p.stat().st_size for p in folder.glob("*.safetensors"))
    return found // size or None
