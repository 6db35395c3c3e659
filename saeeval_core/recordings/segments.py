"""Several texts at once: where the valid tokens of each stand in one array of all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

HELD_VALUES = 2**26
"""Most float64 values that wait on a GPU, in two places of a pass per hook or SAE: 512 MB each."""


@dataclass(frozen=True, eq=False)
class Segments:
    """Texts whose tokens lie one after another in arrays [tokens, ...] on one device; none is empty."""

    lengths: np.ndarray
    """int64[texts]: valid tokens of each."""
    device: torch.device

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return int(self.lengths.max())

    @cached_property
    def starts(self) -> torch.Tensor:
        """int64[texts]: where each text begins."""
        return torch.from_numpy(np.cumsum(self.lengths) - self.lengths).to(self.device)

    @cached_property
    def sizes(self) -> torch.Tensor:
        """int64[texts]: ``lengths`` on the device."""
        return torch.from_numpy(self.lengths.astype(np.int64)).to(self.device)

    @cached_property
    def texts(self) -> torch.Tensor:
        """int64[tokens]: the text of each token."""
        return torch.from_numpy(np.repeat(np.arange(len(self)), self.lengths)).to(self.device)

    def padded(self, values: torch.Tensor) -> torch.Tensor:
        """[texts, longest, d] of values [tokens, d]: each text on its own, zeros past its end."""
        if int(self.lengths.min()) == self.longest:
            return values.view(len(self), self.longest, -1)
        place = torch.arange(self.longest, device=self.device)
        inside = place < self.sizes[:, None]
        rows = torch.where(inside, self.starts[:, None] + place, 0)
        found = values.index_select(0, rows.view(-1)).view(len(self), self.longest, -1)
        return found.masked_fill_(~inside[..., None], 0)

    def means(self, padded: torch.Tensor) -> torch.Tensor:
        """float64[texts, d]: mean over each text's tokens of what ``padded`` gave."""
        return padded.sum(1, dtype=torch.float64) / self.sizes[:, None]

    def tokens_of(self, chosen: np.ndarray) -> torch.Tensor:
        """int64[chosen tokens]: the tokens of the texts in chosen bool[texts]."""
        return torch.from_numpy(np.flatnonzero(np.repeat(chosen, self.lengths))).to(self.device)


def valid_positions(lengths: np.ndarray, width: int, device: torch.device) -> torch.Tensor:
    """int64[valid tokens]: where they stand in right-padded texts, lengths int[texts], laid one after another.

    Each text takes ``width`` positions, the first of which is bos.
    """
    place = np.arange(1, width)
    inside = place <= lengths[:, None]
    return torch.from_numpy((np.arange(len(lengths))[:, None] * width + place)[inside]).to(device)


class Held:
    """Values of texts that wait on a GPU, so that the host waits for it once in many batches; elsewhere none wait."""

    def __init__(self, take: Callable[[np.ndarray, torch.Tensor], None], device: torch.device) -> None:
        """``take``: what is done in the end with rows int[texts] and their values [texts, ...]."""
        self._take, self._most = take, HELD_VALUES if device.type == "cuda" else 0
        self._rows: list[np.ndarray] = []
        self._values: list[torch.Tensor] = []

    def add(self, rows: np.ndarray, values: torch.Tensor) -> None:
        """Keep values [texts, ...] of the texts rows int[texts]; past HELD_VALUES of them all are taken."""
        self._rows.append(rows)
        self._values.append(values)
        if sum(v.numel() for v in self._values) > self._most:
            self.take()

    def take(self) -> None:
        """Take all that wait."""
        if self._values:
            self._take(np.concatenate(self._rows), torch.cat(self._values))
            self._rows, self._values = [], []
