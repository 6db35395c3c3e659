"""Choose, during the pass, the windows of tokens that are kept as contexts of each latent.

Per latent: the texts where it is strongest, a sample over lower activation intervals, and the strongest of each label
cell. One window per text. The texts of a batch are merged by one partial sort, on the device of the pass.

Memory is fixed: ``context_windows.collecting_bytes``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from saeeval_core.recordings.context_windows import PER_CELL, POOL, TOP, WINDOW, Contexts
from saeeval_core.recordings.segments import Segments

SAMPLED = 10
_MIN_TEXTS = 3  # latents firing on fewer texts get no contexts
_BEFORE = 10  # tokens shown before the strongest one: a causal model sees nothing after it
_LAST_TEXT = 2**32 - 1
_AT_ONCE = 4096  # latents whose contexts are chosen together


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
        self.sample = _Best(n_latents, POOL, device)
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
        enough = (self.n_texts >= _MIN_TEXTS).cpu().numpy()
        top, sample, per_cell = (_Table.of(best) for _, best in self._tables())
        parts = []
        for latents in np.split(np.arange(self.n_latents), range(_AT_ONCE, self.n_latents, _AT_ONCE)):
            own = top.take(latents, np.tile(np.arange(TOP), (len(latents), 1)))
            drawn = sample.take(latents, np.tile(np.arange(POOL), (len(latents), 1)))
            drawn = drawn.take(np.arange(len(latents)), _spread(drawn, own))
            both = np.tile(np.arange(PER_CELL), (len(latents), 1))
            cells = [per_cell.take(cell * self.n_latents + latents, both) for cell in range(self.n_cells)]
            parts.append(_chosen(own, drawn, cells, enough[latents]))
        counts = np.concatenate([c for c, _ in parts])
        text, start, window, kind = (np.concatenate(column) for column in zip(*(p for _, p in parts), strict=True))
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return Contexts(indptr, first_row[text].astype(np.int32), start, window, kind)

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
    """What a ``_Best`` holds, off the device; each row by falling activation, empty slots last."""

    text: np.ndarray
    """int64[rows, kept]; -1 for none."""
    start: np.ndarray
    """int16[rows, kept]"""
    window: np.ndarray
    """float16[rows, kept, WINDOW]"""

    @classmethod
    def of(cls, best: _Best) -> "_Table":
        key, value = best.key.cpu().numpy(), best.value.cpu().numpy()
        order = np.argsort(np.where(key < 0, np.inf, -value), axis=1, kind="stable")
        key = np.take_along_axis(key, order, 1)
        text = np.where(key < 0, -1, _LAST_TEXT - (key & _LAST_TEXT))
        start = np.take_along_axis(best.start.cpu().numpy(), order, 1)
        return cls(text, start, np.take_along_axis(best.window.cpu().numpy(), order[..., None], 1))

    def take(self, rows: np.ndarray, slots: np.ndarray) -> "_Table":
        """The slots int[chosen rows, slots] of some rows int[chosen rows]; a slot below 0 is an empty one."""
        at = rows[:, None], np.maximum(slots, 0)
        return _Table(np.where(slots < 0, -1, self.text[at]), self.start[at], self.window[at])


def _spread(sample: _Table, top: _Table) -> np.ndarray:
    """int[rows, SAMPLED]: slots of the sample that spread over its lower activation intervals; -1 for none.

    Of what is not among the strongest, every j-th by falling activation. Some stand twice where there are few.
    """
    filled = sample.text >= 0
    pool = filled & ~(sample.text[:, :, None] == top.text[:, None, :]).any(2)
    slots, size = np.argsort(~pool, axis=1, kind="stable"), pool.sum(1)
    steps = np.stack([np.linspace(0, max(n - 1, 0), SAMPLED).round().astype(int) for n in range(POOL + 1)])
    return np.where(size[:, None] > 0, np.take_along_axis(slots, steps[size], 1), -1)


def _chosen(
    top: _Table, sample: _Table, cells: Sequence[_Table], enough: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """(contexts of each latent int64[latents], their text, start, window and kind), in the order shown.

    Top by value, sampled by falling value, top of each cell; a text stands once. ``enough`` bool[latents]: whether a
    latent gets contexts.
    """
    every = [(0, top), (1, sample), *((2, cell) for cell in cells)]
    text = np.concatenate([t.text for _, t in every], 1)
    kind = np.repeat([k for k, _ in every], [t.text.shape[1] for _, t in every]).astype(np.uint8)
    seen_before = np.tril(text[:, :, None] == text[:, None, :], -1).any(2)
    keep = (text >= 0) & ~seen_before & enough[:, None]
    start, window = (np.concatenate([getattr(t, name) for _, t in every], 1)[keep] for name in ("start", "window"))
    return keep.sum(1), [text[keep], start, window, np.broadcast_to(kind, keep.shape)[keep]]
