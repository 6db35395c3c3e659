"""Choose, during the pass, the windows of tokens that are kept as contexts of each latent.

Per latent: the texts where it is strongest, a sample over lower activation intervals, and the strongest of each label
cell. One window per text. The texts of a batch are merged by one partial sort of each table, on the device of the
pass, and the host waits for it once a batch. Windows stay where they were written.

Memory is fixed: ``context_windows.collecting_bytes``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from saeeval_core.recordings.context_windows import PER_CELL, POOL, TOP, WINDOW, Contexts
from saeeval_core.recordings.pooling import PooledCodes
from saeeval_core.recordings.segments import Segments

SAMPLED = 10
_MIN_TEXTS = 3  # latents firing on fewer texts get no contexts
_BEFORE = 10  # tokens shown before the strongest one: a causal model sees nothing after it
_LAST_TEXT = 2**32 - 1
_NONE = -(2**62)  # key of what is not offered: below those of empty slots
_AT_ONCE = 4096  # latents whose contexts are chosen together


@dataclass(frozen=True, eq=False)
class _Found:
    """The strongest token of every text of a batch, for every latent."""

    scaled: torch.Tensor
    """float32[tokens, latents]: s*f, text after text."""
    segments: Segments
    peak: torch.Tensor
    """float32[texts, latents]: |s*f| there."""
    start: torch.Tensor
    """int64[texts, latents]: where the window around it begins."""

    @classmethod
    def of(cls, scaled: torch.Tensor, found: PooledCodes, segments: Segments) -> "_Found":
        last = (segments.sizes - WINDOW).clamp(min=0)[:, None]
        return cls(scaled, segments, found.peak, torch.minimum((found.where - _BEFORE).clamp(min=0), last))

    def windows(self, text: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
        """float16[chosen, WINDOW] of text int64[chosen], latent int64[chosen]; 0 past the end of the text."""
        place = self.start[text, latent][:, None] + torch.arange(WINDOW, device=text.device)
        inside = place < self.segments.sizes[text][:, None]
        token = torch.where(inside, self.segments.starts[text][:, None] + place, 0)
        return torch.where(inside, self.scaled[token, latent[:, None]].abs().clamp(max=65504), 0).half()


class _Best:
    """For each of many rows, the k candidates with the highest key, each with the slot where its window is kept."""

    def __init__(self, rows: int, k: int, first: int, device: torch.device) -> None:
        """``first``: where the slots of the first row begin in the arrays of all windows."""
        self.k, self.first = k, first
        self.key = (-1 - torch.arange(k, device=device)).expand(rows, k).clone()
        """What candidates are chosen by, in the upper half; the lower half is ``_LAST_TEXT`` minus the text. So no two
        candidates of a row are equal, and what is chosen does not depend on batches. Below 0: no candidate yet."""
        self.slot = torch.arange(k, dtype=torch.uint8, device=device).expand(rows, k).clone()
        """Which of the row's k slots the candidate of this column is kept in; no two columns share one."""

    def offer(self, row: int, key: torch.Tensor, texts: torch.Tensor) -> "_Offer":
        """Take the best of these texts into the rows from ``row`` on: key int64[rows, texts], ``_NONE`` for none."""
        rows = slice(row, row + len(key))
        keys, order = torch.cat([self.key[rows], key], 1).topk(self.k, 1)
        fresh = order >= self.k
        # Keys differ and fall along a row, so those that leave are its last columns: the new ones get their slots.
        # (Summed over columns that lie together: a GPU is ten times slower along short rows.)
        count = fresh.T.contiguous().cumsum(0, dtype=torch.int8).T
        slots = self.slot[rows].gather(1, torch.where(fresh, self.k - count, order))
        self.key[rows], self.slot[rows] = keys, slots
        places = torch.arange(row, row + len(key), device=key.device)[:, None] * self.k + self.first + slots.long()
        return _Offer(fresh, places, texts[(order - self.k).clamp(min=0)])

    def places(self, rows: torch.Tensor) -> torch.Tensor:
        """int64[chosen, k]: where the window of each candidate of rows int64[chosen] stands in the arrays of all windows."""
        return (self.first + self.k * rows)[:, None] + self.slot[rows].long()


@dataclass(frozen=True, eq=False)
class _Offer:
    """What became of the texts offered to one table, for all latents."""

    fresh: torch.Tensor
    """bool[latents, k]: whether this candidate came with the offer."""
    places: torch.Tensor
    """int64[latents, k]: where its window goes."""
    texts: torch.Tensor
    """int64[latents, k]: its number in the batch."""


class ContextCollector:
    """Takes the scaled codes of one batch of texts after another; ``finish`` returns the chosen Contexts."""

    def __init__(self, n_latents: int, cells: np.ndarray | None, device: torch.device, seed: int = 0) -> None:
        """``cells``: int[texts], label cell of each text, -1 for none; None keeps no contexts by cell."""
        self.n_latents, self.cells, self.seed = n_latents, cells, seed
        self.n_cells = 0 if cells is None else int(cells.max(initial=-1)) + 1
        self.top = _Best(n_latents, TOP, 0, device)
        self.sample = _Best(n_latents, POOL, n_latents * TOP, device)
        self.per_cell = _Best(self.n_cells * n_latents, PER_CELL, n_latents * (TOP + POOL), device)
        """Row cell * latents + latent."""
        slots = n_latents * (TOP + POOL + PER_CELL * self.n_cells)
        self.value = torch.zeros(slots, device=device)
        self.start = torch.zeros(slots, dtype=torch.int16, device=device)
        self.window = torch.zeros((slots, WINDOW), dtype=torch.float16, device=device)
        """Of every slot of every table: the highest |s*f| of its text, and the window around it."""
        self.n_texts = torch.zeros(n_latents, dtype=torch.int64, device=device)

    def add(self, texts: np.ndarray, scaled: torch.Tensor, pooled: PooledCodes, segments: Segments) -> None:
        """Take the texts int[batch]; ``scaled``: s*f float32[tokens, latents] of them, which ``pooled`` sums up."""
        found = _Found.of(scaled, pooled, segments)
        firing = found.peak > 0
        self.n_texts += firing.sum(0)
        numbers = torch.from_numpy(texts.astype(np.int64)).to(scaled.device)[:, None]
        strength = found.peak.view(torch.int32)  # the bits of floats above 0 order as the floats do
        by_strength = _keys(strength, numbers, firing)
        drawn = _keys(_draws(numbers, self.n_latents, self.seed), numbers, firing)
        every = torch.arange(len(texts), device=scaled.device)
        offers = [self.top.offer(0, by_strength, every), self.sample.offer(0, drawn, every)]
        own = self.cells[texts] if self.cells is not None else np.full(len(texts), -1)
        for cell in np.unique(own[own >= 0]).tolist():
            inside = torch.from_numpy(np.flatnonzero(own == cell)).to(scaled.device)
            offers.append(self.per_cell.offer(cell * self.n_latents, by_strength.index_select(1, inside), inside))
        self._keep(offers, found)

    def _keep(self, offers: Sequence[_Offer], found: _Found) -> None:
        """Write what is new into its slots; the only place where the host waits for the device."""
        (at,) = torch.cat([o.fresh.view(-1) for o in offers]).nonzero(as_tuple=True)
        latents = torch.arange(self.n_latents, device=at.device)[:, None]
        of = torch.cat([latents.expand_as(o.fresh).reshape(-1) for o in offers])[at]
        text = torch.cat([o.texts.view(-1) for o in offers])[at]
        place = torch.cat([o.places.view(-1) for o in offers])[at]
        self.value[place] = found.peak[text, of]
        self.start[place] = found.start[text, of].short()
        self.window[place] = found.windows(text, of)

    def finish(self, first_row: np.ndarray) -> Contexts:
        """The chosen contexts. ``first_row`` int[texts]: text number as given to ``add`` -> row of the recording."""
        enough = self.n_texts >= _MIN_TEXTS
        parts = []
        for latents in torch.arange(self.n_latents, device=enough.device).split(_AT_ONCE):
            own, pool = self._table(self.top, latents), self._table(self.sample, latents)
            drawn = pool.take(_spread(pool, own))
            cells = [self._table(self.per_cell, cell * self.n_latents + latents) for cell in range(self.n_cells)]
            parts.append(_chosen(own, drawn, cells, enough[latents]))
        # Chosen where the tables are: what is not chosen, nine tenths of them, never leaves the device.
        counts, text, start, window, kind = (torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True))
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return Contexts(indptr, first_row[text].astype(np.int32), start, window, kind)

    def state(self) -> dict[str, np.ndarray]:
        """Everything collected so far: n_texts int64[latents], tables [rows, kept], and value, start, window [slots, ...]."""
        tables = {f"{name}.{key}": getattr(best, key) for name, best in self._tables() for key in _TABLE}
        own = {name: getattr(self, name) for name in _SLOTS}
        return {name: value.cpu().numpy() for name, value in (tables | own).items()}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Inverse of ``state``: takes its arrays [...] back."""
        device = self.n_texts.device
        for name in _SLOTS:
            setattr(self, name, torch.from_numpy(arrays[name]).to(device))
        for name, best in self._tables():
            for key in _TABLE:
                setattr(best, key, torch.from_numpy(arrays[f"{name}.{key}"]).to(device))

    def absorb(self, arrays: dict[str, np.ndarray]) -> None:
        """Take in the ``state`` (arrays [...]) of a collector that was given other texts, as if they were given here."""
        other = ContextCollector(self.n_latents, self.cells, self.n_texts.device, self.seed)
        other.restore(arrays)
        self.n_texts += other.n_texts
        for (_, own), (_, theirs) in zip(self._tables(), other._tables(), strict=True):
            columns, every = (torch.arange(n, device=own.key.device) for n in (own.k, len(own.key)))
            offer = own.offer(0, theirs.key.masked_fill(theirs.key < 0, _NONE), columns)
            at = offer.fresh.nonzero(as_tuple=True)
            place, source = offer.places[at], theirs.places(every)[at[0], offer.texts[at]]
            for name in _SLOTS[1:]:
                getattr(self, name)[place] = getattr(other, name)[source]

    def _tables(self) -> tuple[tuple[str, _Best], ...]:
        return ("top", self.top), ("sample", self.sample), ("cell", self.per_cell)

    def _table(self, best: _Best, rows: torch.Tensor) -> "_Table":
        """What some rows int64[chosen] of a table hold; each row by falling activation, the sample too."""
        key, places = best.key[rows], best.places(rows)
        value = self.value[places].masked_fill_(key < 0, -torch.inf)
        order = value.sort(dim=1, descending=True, stable=True).indices
        key, places = key.gather(1, order), places.gather(1, order)
        return _Table(
            torch.where(key < 0, -1, _LAST_TEXT - (key & _LAST_TEXT)), self.start[places], self.window[places]
        )


_TABLE, _SLOTS = ("key", "slot"), ("n_texts", "value", "start", "window")


def _keys(score: torch.Tensor, texts: torch.Tensor, offered: torch.Tensor) -> torch.Tensor:
    """int64[latents, texts] of score int[texts, latents] from 0 to 2^31 - 1, texts int64[texts, 1]; _NONE if not offered."""
    return torch.where(offered, (score.long() << 32) + (_LAST_TEXT - texts), _NONE).T


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
    """Candidates of many rows, each row by falling activation, empty slots last."""

    text: torch.Tensor
    """int64[rows, kept]; -1 for none."""
    start: torch.Tensor
    """int16[rows, kept]"""
    window: torch.Tensor
    """float16[rows, kept, WINDOW]"""

    def take(self, slots: torch.Tensor) -> "_Table":
        """The slots int64[rows, taken] of each row; a slot below 0 is an empty one."""
        at = torch.arange(len(slots), device=slots.device)[:, None], slots.clamp(min=0)
        return _Table(torch.where(slots < 0, -1, self.text[at]), self.start[at], self.window[at])


def _spread(sample: _Table, top: _Table) -> torch.Tensor:
    """int64[rows, SAMPLED]: slots of the sample that spread over its lower activation intervals; -1 for none.

    Of what is not among the strongest, every j-th by falling activation. Some stand twice where there are few.
    """
    pool = (sample.text >= 0) & ~(sample.text[:, :, None] == top.text[:, None, :]).any(2)
    slots, size = (~pool).byte().argsort(dim=1, stable=True), pool.sum(1)
    steps = np.stack([np.linspace(0, max(n - 1, 0), SAMPLED).round().astype(np.int64) for n in range(POOL + 1)])
    return torch.where(size[:, None] > 0, slots.gather(1, torch.from_numpy(steps).to(size.device)[size]), -1)


def _chosen(
    top: _Table, sample: _Table, cells: Sequence[_Table], enough: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(contexts of each latent int64[latents], their text, start, window and kind), in the order shown.

    Top by value, sampled by falling value, top of each cell; a text stands once. ``enough`` bool[latents]: whether a
    latent gets contexts.
    """
    every = [(0, top), (1, sample), *((2, cell) for cell in cells)]
    text, start, window = (torch.cat([getattr(t, name) for _, t in every], 1) for name in ("text", "start", "window"))
    kinds = np.repeat([k for k, _ in every], [t.text.shape[1] for _, t in every]).astype(np.uint8)
    seen_before = (text[:, :, None] == text[:, None, :]).tril(-1).any(2)
    keep = (text >= 0) & ~seen_before & enough[:, None]
    kind = torch.from_numpy(kinds).to(text.device).expand_as(keep)
    return keep.sum(1), text[keep], start[keep], window[keep], kind[keep]
