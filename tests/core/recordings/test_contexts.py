"""Contexts against plain loops over everything: the strongest, the sample, the strongest of each cell, whatever the batches."""

import numpy as np
import pytest
import torch

from saeeval_core.recordings import pooling
from saeeval_core.recordings.contexts import PER_CELL, SAMPLED, TOP, ContextCollector
from saeeval_core.recordings.pooling import pooled_codes
from saeeval_core.recordings.recording import WINDOW
from saeeval_core.recordings.segments import Segments

LATENTS, TEXTS, CELLS = 7, 90, 3


@pytest.fixture(scope="module")
def codes() -> list[torch.Tensor]:
    """|s*f| of every text, [tokens, latents]: the last latent never fires, the one before on two texts only."""
    rng = torch.Generator().manual_seed(1)
    found = []
    for i in range(TEXTS):
        own = torch.rand((5 + i % 40, LATENTS), generator=rng)
        own = own * (torch.rand(own.shape, generator=rng) > 0.9)
        own[:, -1] = 0
        own[:, -2] *= i < 2
        found.append(own)
    found[30] = found[31] = found[32]  # equal activations
    return found


def collected(codes: list[torch.Tensor], size: int, order: np.ndarray | None = None):
    """Contexts when ``size`` texts come at a time, in some order."""
    cells = np.arange(TEXTS) % (CELLS + 1) - 1
    collector = ContextCollector(LATENTS, cells, torch.device("cpu"))
    order = np.arange(TEXTS) if order is None else order
    for start in range(0, TEXTS, size):
        rows = order[start : start + size]
        segments = Segments(np.array([len(codes[r]) for r in rows]), torch.device("cpu"))
        own = torch.cat([codes[r] for r in rows])
        collector.add(rows, own, pooled_codes(own, own, segments), segments)
        state = collector.state()
        collector = ContextCollector(LATENTS, cells, torch.device("cpu"))  # as a resumed pass does
        collector.restore(state)
    return cells, collector.finish(np.arange(TEXTS))


def test_the_strongest_texts_and_those_of_each_cell_are_kept(codes):
    cells, found = collected(codes, 8)
    for latent in range(LATENTS):
        own = slice(found.indptr[latent], found.indptr[latent + 1])
        text, kind = found.text[own], found.kind[own]
        peaks = np.array([float(c[:, latent].max()) for c in codes])
        firing = [int(t) for t in np.lexsort((np.arange(TEXTS), -peaks)) if peaks[t] > 0]
        if len(firing) < 3:
            assert len(text) == 0
            continue
        assert text[kind == 0].tolist() == firing[:TOP] and len(set(text)) == len(text)
        assert (kind == 1).sum() == min(SAMPLED, max(len(firing) - TOP, 0))
        for cell in range(CELLS):
            wanted = [t for t in firing if cells[t] == cell][:PER_CELL]
            assert set(wanted) <= set(text.tolist())


def test_windows_are_the_activations_around_the_peak(codes):
    _, found = collected(codes, 8)
    for latent in range(LATENTS):
        for i in range(found.indptr[latent], found.indptr[latent + 1]):
            own = codes[found.text[i]][:, latent]
            start = int(found.position[i])
            expected = np.zeros(WINDOW, dtype=np.float16)
            part = own[start : start + WINDOW].half().numpy()
            expected[: len(part)] = part
            np.testing.assert_array_equal(found.activation[i], expected)
            assert float(own.half().max()) == found.activation[i].max()


@pytest.mark.parametrize("size", [1, 3, TEXTS])
def test_batches_and_their_order_change_nothing(codes, size):
    order = np.random.default_rng(0).permutation(TEXTS)
    (_, one), (_, other) = collected(codes, 8), collected(codes, size, order)
    for name in ("indptr", "text", "position", "activation", "kind"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("signed", [False, True])
def test_sparse_and_dense_codes_are_pooled_alike(codes, signed, monkeypatch):
    own = torch.cat(codes)
    if signed:
        own = own * torch.sign(torch.rand(own.shape, generator=torch.Generator().manual_seed(2)) - 0.5)
    scaled = own * (1 + torch.arange(len(own))[:, None] % 3)
    segments = Segments(np.array([len(c) for c in codes]), torch.device("cpu"))
    found = []
    for share in (0, 1):
        monkeypatch.setattr(pooling, "SPARSE", share)
        found.append(pooled_codes(own, scaled, segments))
    dense, sparse = found
    for name in ("active", "peak", "where"):
        assert torch.equal(getattr(dense, name), getattr(sparse, name))
    torch.testing.assert_close(dense.means, sparse.means, rtol=1e-12, atol=1e-15)
    for i, rows in enumerate(scaled.split([len(c) for c in codes])):
        torch.testing.assert_close(sparse.means[i], rows.double().mean(0), rtol=1e-12, atol=1e-15)
        assert torch.equal(sparse.peak[i], rows.abs().max(0).values)
