"""Texts side by side: right-padded batches of token ids."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch


def padded_batches(
    ids: Sequence[np.ndarray], tokens_per_batch: int = 4096
) -> Iterator[tuple[np.ndarray, torch.Tensor, torch.Tensor]]:
    """Yield (rows int64[batch], right-padded ids int64[batch, longest], mask int64[batch, longest]).

    ids: int[positions] per text. Batches go by length, so that little is padded, and hold at most ``tokens_per_batch``
    positions (or one text).
    """
    order = np.argsort([len(row) for row in ids], kind="stable")
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * len(ids[order[stop]]) <= tokens_per_batch:
            stop += 1
        rows = order[start:stop]
        width = len(ids[rows[-1]])
        padded = np.zeros((len(rows), width), dtype=np.int64)
        mask = np.zeros((len(rows), width), dtype=np.int64)
        for i, row in enumerate(rows):
            padded[i, : len(ids[row])] = ids[row]
            mask[i, : len(ids[row])] = 1
        yield rows, torch.from_numpy(padded), torch.from_numpy(mask)
        start = stop
