"""Several texts at once: where the valid tokens of each stand in one array of all of them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch


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
        """bool[tokens]: the tokens of the texts in chosen bool[texts]."""
        return torch.from_numpy(np.repeat(chosen, self.lengths)).to(self.device)
