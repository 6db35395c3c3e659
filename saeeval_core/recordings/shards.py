"""A pass in parts, which may be made in any order and place and merged: every bit is as in one go.

Rows stand beside each other, counts add up, of contexts the best of all parts stay, and explained variance is added up
in the order of the texts. The parts follow from the texts and their number alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from saeeval_core.models.language_model import LanguageModel
from saeeval_core.recordings.recorder import Arrays, OnProgress, Recorded, begin
from saeeval_core.saes.loaded import LoadedSAE


@dataclass(frozen=True)
class Shard:
    """One of ``of`` parts with equally many batches; batches go by the length of their texts."""

    number: int
    """From 0."""
    of: int


def record_shard(
    model: LanguageModel,
    texts: Sequence[str],
    texts_fingerprint: str,
    saes: Sequence[LoadedSAE],
    shard: Shard,
    *,
    storage: str = "float32",
    cells: np.ndarray | None = None,
    on_progress: OnProgress | None = None,
    partial: Path | None = None,
) -> Arrays:
    """What ``record_pass`` without hooks of its own collects of one part of the texts, for ``merge_shards``."""
    begun = begin(model, [], texts, texts_fingerprint, saes, storage=storage, cells=cells)
    begun.run.keep_only(shard.number, shard.of)
    begun.go(on_progress, partial)
    return begun.run.state()


def merge_shards(
    model: LanguageModel,
    texts: Sequence[str],
    texts_fingerprint: str,
    saes: Sequence[LoadedSAE],
    shards: Iterable[Arrays],
    *,
    storage: str = "float32",
    cells: np.ndarray | None = None,
) -> Recorded:
    """What ``record_pass`` gives, to the last bit, from all shards in their order; the model reads nothing again."""
    begun = begin(model, [], texts, texts_fingerprint, saes, storage=storage, cells=cells)
    for arrays in shards:
        begun.run.absorb(arrays)
    return begun.finish()
