"""Choose, during the pass, the windows of tokens that are kept as contexts of each latent.

Per latent: the texts where it is strongest, a sample over lower activation intervals, and the strongest of each label
cell. One window per text. Memory is fixed: latents x kept windows.
"""

import numpy as np
import torch

from saeeval_core.recordings.context_windows import WINDOW, Contexts

TOP, SAMPLED, PER_CELL = 10, 10, 2
_POOL = 30  # uniform sample of firing texts, from which the SAMPLED are spread over activation intervals
_MIN_TEXTS = 3  # latents firing on fewer texts get no contexts
_BEFORE = 10  # tokens shown before the strongest one: a causal model sees nothing after it


class _Best:
    """For each of many rows, the k candidates with the highest score, each with its window."""

    def __init__(self, rows: int, k: int) -> None:
        self.score = np.full((rows, k), -np.inf, dtype=np.float32)
        self.value = np.zeros((rows, k), dtype=np.float32)
        self.text = np.full((rows, k), -1, dtype=np.int32)
        self.start = np.zeros((rows, k), dtype=np.int16)
        self.window = np.zeros((rows, k, WINDOW), dtype=np.float16)
        self.bar = self.score.min(1)

    def wanted(self, rows: np.ndarray, score: np.ndarray) -> np.ndarray:
        """int64[entering]: positions of candidates that would enter; rows int[candidates], score float[candidates]."""
        return np.flatnonzero(score > self.bar[rows])

    def put(
        self, rows: np.ndarray, score: np.ndarray, value: np.ndarray, text: int, start: np.ndarray, window: np.ndarray
    ) -> None:
        """Replace each row's lowest entry by the candidate of one text.

        rows int[candidates], all different; score, value float[candidates]; start int16[candidates]; window
        float16[candidates, WINDOW].
        """
        slot = self.score[rows].argmin(1)
        self.score[rows, slot], self.value[rows, slot], self.text[rows, slot] = score, value, text
        self.start[rows, slot], self.window[rows, slot] = start, window
        self.bar[rows] = self.score[rows].min(1)


class ContextCollector:
    """Takes the scaled codes of one text after another; ``finish`` returns the chosen Contexts."""

    def __init__(self, n_latents: int, cells: np.ndarray | None, seed: int = 0) -> None:
        """``cells``: int[texts], label cell of each text, -1 for none; None keeps no contexts by cell."""
        self.n_latents, self.cells, self.seed = n_latents, cells, seed
        self.n_cells = 0 if cells is None else int(cells.max(initial=-1)) + 1
        self.top = _Best(n_latents, TOP)
        self.sample = _Best(n_latents, _POOL)
        self.per_cell = _Best(n_latents * self.n_cells, PER_CELL)
        self.n_texts = np.zeros(n_latents, dtype=np.int64)

    def add(self, text: int, scaled: torch.Tensor) -> None:
        """Take one text; ``scaled``: |s*f| of its valid tokens, float32[tokens, latents]."""
        peak, where = (t.cpu().numpy() for t in scaled.max(0))
        firing = np.flatnonzero(peak > 0)
        self.n_texts[firing] += 1
        value = peak[firing]
        # Seeded by the text alone: the sample does not depend on batch order, so a resumed pass gives the same.
        key = np.random.default_rng([self.seed, text]).random(self.n_latents, dtype=np.float32)[firing]
        offers = [(self.top, firing, value), (self.sample, firing, key)]
        if self.cells is not None and self.cells[text] >= 0:
            offers.append((self.per_cell, firing * self.n_cells + int(self.cells[text]), value))
        start = np.clip(where - _BEFORE, 0, max(0, len(scaled) - WINDOW)).astype(np.int16)
        for best, rows, score in offers:
            w = best.wanted(rows, score)
            if len(w):
                latents = firing[w]
                windows = _windows(scaled, latents, start[latents])
                best.put(rows[w], score[w], value[w], text, start[latents], windows)

    def finish(self, first_row: np.ndarray) -> Contexts:
        """The chosen contexts. ``first_row`` int[texts]: text number as given to ``add`` -> row of the recording."""
        indptr, text, start, window, kind = [0], [], [], [], []
        for latent in range(self.n_latents):
            taken: set[int] = set()
            if self.n_texts[latent] >= _MIN_TEXTS:
                for k, (best, row, slot) in self._choose(latent):
                    t = int(best.text[row, slot])
                    if t in taken:
                        continue
                    taken.add(t)
                    text.append(first_row[t])
                    start.append(best.start[row, slot])
                    window.append(best.window[row, slot])
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
        parts = {"top": self.top, "sample": self.sample, "cell": self.per_cell}
        return {"n_texts": self.n_texts} | {
            f"{name}.{key}": getattr(best, key) for name, best in parts.items() for key in _STATE
        }

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Inverse of ``state``: takes its arrays [...] back."""
        self.n_texts = arrays["n_texts"]
        for name, best in (("top", self.top), ("sample", self.sample), ("cell", self.per_cell)):
            for key in _STATE:
                setattr(best, key, arrays[f"{name}.{key}"])

    def _choose(self, latent: int) -> list[tuple[int, tuple[_Best, int, int]]]:
        """(kind, (table, row, slot)) in the order shown: top by value, sampled by falling value, top of each cell."""
        chosen = [(0, (self.top, latent, s)) for s in _ranked(self.top, latent)]
        top = set(self.top.text[latent].tolist())
        pool = [s for s in _ranked(self.sample, latent) if self.sample.text[latent, s] not in top]
        # Every j-th of the pool by falling value spreads the sample over the lower activation intervals.
        spread = np.unique(np.linspace(0, len(pool) - 1, SAMPLED).round().astype(int)) if pool else []
        chosen += [(1, (self.sample, latent, pool[i])) for i in spread]
        for cell in range(self.n_cells):
            row = latent * self.n_cells + cell
            chosen += [(2, (self.per_cell, row, s)) for s in _ranked(self.per_cell, row)]
        return chosen


_STATE = ("score", "value", "text", "start", "window", "bar")


def _ranked(best: _Best, row: int) -> list[int]:
    """Filled slots of one row by falling activation."""
    order = np.argsort(-best.value[row], kind="stable")
    return [int(s) for s in order if best.text[row, s] >= 0]


def _windows(scaled: torch.Tensor, latents: np.ndarray, start: np.ndarray) -> np.ndarray:
    """float16[len(latents), WINDOW]: the activations from ``start`` on, 0 past the end of the text."""
    positions = start[:, None].astype(np.int64) + np.arange(WINDOW)
    inside = positions < len(scaled)
    rows = torch.from_numpy(np.minimum(positions, len(scaled) - 1)).to(scaled.device)
    columns = torch.from_numpy(latents.astype(np.int64)).to(scaled.device)[:, None]
    values = scaled[rows, columns].cpu().numpy()
    return np.where(inside, np.minimum(values, 65504), 0).astype(np.float16)
