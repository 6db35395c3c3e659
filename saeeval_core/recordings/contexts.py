"""Choose, during the pass, the windows of tokens that are kept as contexts of each latent.

Per latent: the texts where it is strongest, a sample over lower activation intervals, and the strongest of each label
cell. One window per text. The texts of a batch are merged by one partial sort, on the device of the pass.

Memory is fixed: latents x (TOP + 30 + PER_CELL x cells) x (14 + 2 x WINDOW) bytes, 338 MB for 131,072 latents and 8
cells.
"""

from dataclasses import dataclass

import numpy as np
import torch

from saeeval_core.recordings.recording import WINDOW, Contexts
from saeeval_core.recordings.segments import Segments

TOP, SAMPLED, PER_CELL = 10, 10, 2
_POOL = 30  # uniform sample of firing texts, from which the SAMPLED are spread over activation intervals
_MIN_TEXTS = 3  # latents firing on fewer texts get no contexts
_BEFORE = 10  # tokens shown before the strongest one: a causal model sees nothing after it
_LAST_TEXT = 2**32 - 1


@dataclass(frozen=True, eq=False)
class _Found:
    """The strongest token of every text of a batch, for every latent."""

    scaled: torch.Tensor
    """float32[texts, longest, latents]: |s*f|, 0 past the end of a text."""
    peak: torch.Tensor
    """float32[texts, latents]"""
    start: torch.Tensor
    """int64[texts, latents]: where the window around it begins."""

    @classmethod
    def of(cls, scaled: torch.Tensor, segments: Segments) -> "_Found":
        peak, where = scaled.max(1)
        last = (segments.sizes - WINDOW).clamp(min=0)[:, None]
        return cls(scaled, peak, torch.minimum((where - _BEFORE).clamp(min=0), last))

    def windows(self, text: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        """float16[chosen, WINDOW] of text int64[chosen], latent int64[chosen]; 0 past the end of the text."""
        place = self.start[text, latent][:, None] + torch.arange(WINDOW, device=text.device)
        inside, longest = place < self.scaled.shape[1], self.scaled.shape[1]
        values = self.scaled[text[:, None], place.clamp(max=longest - 1), latent[:, None]]
        return torch.where(inside, values.clamp(max=65504), 0).half()


class _Best:
    """For each of many rows, the k candidates with the highest key, each with its window."""

    def __init__(self, rows: int, k: int, device: torch.device) -> None:
        self.key = torch.full((rows, k), -1, dtype=torch.int64, device=device)
        """What candidates are chosen by, in the upper half; the lower half is ``_LAST_TEXT`` minus the text. So no two
        candidates of a row are equal, and what is chosen does not depend on batches. -1: no candidate yet."""
        self.value = torch.zeros((rows, k), device=device)
        self.start = torch.zeros((rows, k), dtype=torch.int16, device=device)
        self.window = torch.zeros((rows, k, WINDOW), dtype=torch.float16, device=device)

    def merge(self, first: int, key: torch.Tensor, found: _Found) -> None:
        """Offer every text of a batch to the rows from ``first`` on: key int64[rows, texts], -1 for none."""
        k, rows = self.key.shape[1], slice(first, first + len(key))
        keys, order = torch.cat([self.key[rows], key], 1).topk(k, 1)
        (changed,) = ((order >= k) & (keys >= 0)).any(1).nonzero(as_tuple=True)
        keys, order, at = keys[changed], order[changed], changed + first
        kept = order.clamp(max=k - 1)
        self.key[at] = keys
        self.value[at] = self.value[at].gather(1, kept)
        self.start[at] = self.start[at].gather(1, kept)
        self.window[at] = self.window[at].gather(1, kept[..., None].expand(-1, -1, WINDOW))
        row, slot = ((order >= k) & (keys >= 0)).nonzero(as_tuple=True)
        latent, text = changed[row], order[row, slot] - k
        self.value[at[row], slot] = found.peak[text, latent]
        self.start[at[row], slot] = found.start[text, latent].short()
        self.window[at[row], slot] = found.windows(text, latent)


class ContextCollector:
    """Takes the scaled codes of one batch of texts after another; ``finish`` returns the chosen Contexts."""

    def __init__(self, n_latents: int, cells: np.ndarray | None, device: torch.device, seed: int = 0) -> None:
        """``cells``: int[texts], label cell of each text, -1 for none; None keeps no contexts by cell."""
        self.n_latents, self.cells, self.seed = n_latents, cells, seed
        self.n_cells = 0 if cells is None else int(cells.max(initial=-1)) + 1
        self.top = _Best(n_latents, TOP, device)
        self.sample = _Best(n_latents, _POOL, device)
        self.per_cell = _Best(self.n_cells * n_latents, PER_CELL, device)
        """Row cell * latents + latent."""
        self.n_texts = torch.zeros(n_latents, dtype=torch.int64, device=device)

    def add(self, texts: np.ndarray, scaled: torch.Tensor, segments: Segments) -> None:
        """Take the texts int[batch]; ``scaled``: |s*f| float32[batch, longest, latents], as ``segments`` pads it."""
        found = _Found.of(scaled, segments)
        firing = found.peak > 0
        self.n_texts += firing.sum(0)
        numbers = torch.from_numpy(texts.astype(np.int64)).to(scaled.device)[:, None]
        strength = found.peak.view(torch.int32)  # the bits of floats above 0 order as the floats do
        self.top.merge(0, _keys(strength, numbers, firing), found)
        self.sample.merge(0, _keys(_draws(numbers, self.n_latents, self.seed), numbers, firing), found)
        own = self.cells[texts] if self.cells is not None else np.full(len(texts), -1)
        for cell in np.unique(own[own >= 0]).tolist():
            inside = torch.from_numpy(own == cell).to(scaled.device)[:, None]
            self.per_cell.merge(cell * self.n_latents, _keys(strength, numbers, firing & inside), found)

    def finish(self, first_row: np.ndarray) -> Contexts:
        """The chosen contexts. ``first_row`` int[texts]: text number as given to ``add`` -> row of the recording."""
        indptr, text, start, window, kind = [0], [], [], [], []
        n_texts = self.n_texts.cpu().numpy()
        top, sample, per_cell = (_Table.of(best) for best in (self.top, self.sample, self.per_cell))
        for latent in range(self.n_latents):
            taken: set[int] = set()
            if n_texts[latent] >= _MIN_TEXTS:
                cells = [(per_cell, cell * self.n_latents + latent) for cell in range(self.n_cells)]
                for k, (table, row, slot) in _choose(top, sample, latent, cells):
                    t = int(table.text[row, slot])
                    if t in taken:
                        continue
                    taken.add(t)
                    text.append(first_row[t])
                    start.append(table.start[row, slot])
                    window.append(table.window[row, slot])
                    kind.append(k)
            indptr.append(len(text))
        return Contexts(
            np.array(indptr, dtype=np.int64),
            np.array(text, dtype=np.int32),
            np.array(start, dtype=np.int16),
            np.array(window, dtype=np.float16).reshape(-1, WINDOW),
            np.array(kind, dtype=np.uint8),
        )

    def state(self) -> dict[str, np.ndarray]:
        """Everything collected so far: "n_texts" int64[latents], and the tables of the kept windows by name.

        The tables are [rows, kept] (windows [rows, kept, WINDOW]); a row is a latent, or a latent in one cell.
        """
        found = {f"{name}.{key}": getattr(best, key).cpu().numpy() for name, best in self._tables() for key in _STATE}
        return {"n_texts": self.n_texts.cpu().numpy()} | found

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Inverse of ``state``: takes its arrays [...] back."""
        device = self.n_texts.device
        self.n_texts = torch.from_numpy(arrays["n_texts"]).to(device)
        for name, best in self._tables():
            for key in _STATE:
                setattr(best, key, torch.from_numpy(arrays[f"{name}.{key}"]).to(device))

    def _tables(self) -> tuple[tuple[str, _Best], ...]:
        return ("top", self.top), ("sample", self.sample), ("cell", self.per_cell)


_STATE = ("key", "value", "start", "window")


def _keys(score: torch.Tensor, texts: torch.Tensor, offered: torch.Tensor) -> torch.Tensor:
    """int64[latents, texts] of score int[texts, latents] from 0 to 2^31 - 1, texts int64[texts, 1]; -1 if not offered."""
    return torch.where(offered, (score.long() << 32) + (_LAST_TEXT - texts), -1).T


def _draws(texts: torch.Tensor, n_latents: int, seed: int) -> torch.Tensor:
    """int64[texts, latents] from 0 to 2^31 - 1, uniform: splitmix64 of (seed, text, latent).

    A function of these alone: the sample does not depend on batches or the device, and a resumed pass gives the same.
    """
    z = (texts + (seed << 40)) * n_latents + torch.arange(n_latents, device=texts.device)
    z = z * -7046029254386353131  # 64-bit products wrap around, as they should
    z = (z ^ ((z >> 30) & (2**34 - 1))) * -4658895280553007687
    z = (z ^ ((z >> 27) & (2**37 - 1))) * -7723592293110705685
    return ((z ^ ((z >> 31) & (2**33 - 1))) >> 33) & (2**31 - 1)


@dataclass(frozen=True, eq=False)
class _Table:
    """What a ``_Best`` holds, off the device."""

    text: np.ndarray
    """int64[rows, kept]; -1 for none."""
    start: np.ndarray
    window: np.ndarray
    order: np.ndarray
    """int64[rows, kept]: slots by falling activation."""

    @classmethod
    def of(cls, best: _Best) -> "_Table":
        key = best.key.cpu().numpy()
        text = np.where(key < 0, -1, _LAST_TEXT - (key & _LAST_TEXT))
        order = np.argsort(-best.value.cpu().numpy(), axis=1, kind="stable")
        return cls(text, best.start.cpu().numpy(), best.window.cpu().numpy(), order)

    def ranked(self, row: int) -> list[int]:
        """Filled slots of one row by falling activation."""
        return [int(s) for s in self.order[row] if self.text[row, s] >= 0]


def _choose(
    top: _Table, sample: _Table, latent: int, cells: list[tuple[_Table, int]]
) -> list[tuple[int, tuple[_Table, int, int]]]:
    """(kind, (table, row, slot)) in the order shown: top by value, sampled by falling value, top of each cell."""
    chosen = [(0, (top, latent, s)) for s in top.ranked(latent)]
    strongest = set(top.text[latent].tolist())
    pool = [s for s in sample.ranked(latent) if sample.text[latent, s] not in strongest]
    # Every j-th of the pool by falling value spreads the sample over the lower activation intervals.
    spread = np.unique(np.linspace(0, len(pool) - 1, SAMPLED).round().astype(int)) if pool else []
    chosen += [(1, (sample, latent, pool[i])) for i in spread]
    return chosen + [(2, (table, row, s)) for table, row in cells for s in table.ranked(row)]
