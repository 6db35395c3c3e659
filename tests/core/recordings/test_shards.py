"""A pass in parts that are merged gives every bit of the pass in one go, however many parts there are."""

import numpy as np
import pytest
from test_recorder import same, some_texts
from toys import N_LATENTS

from saeeval_core.recordings import recorder
from saeeval_core.recordings.recorder import record_pass
from saeeval_core.recordings.shards import Shard, merge_shards, record_shard
from saeeval_core.saes.loaded import load_sae

TEXTS = [*some_texts(180), "ward syringe 0", "ward syringe 0", ""]
CELLS = np.arange(len(TEXTS)) % 5 - 1


@pytest.fixture
def small_batches(monkeypatch):
    plain = recorder.padded_batches
    monkeypatch.setattr(recorder, "padded_batches", lambda ids: plain(ids, tokens_per_batch=400))


@pytest.mark.parametrize("of", [1, 2, 7, 40])
def test_shards_merge_to_the_whole(tiny_model, tiny_sae_dirs, small_batches, of):
    saes = [load_sae(str(tiny_sae_dirs[name])) for name in ("topk", "jumprelu", "abstopk")]
    whole = record_pass(tiny_model, [], TEXTS, "print", saes, cells=CELLS)
    shards = [record_shard(tiny_model, TEXTS, "print", saes, Shard(i, of), cells=CELLS) for i in range(of)]
    merged = merge_shards(tiny_model, TEXTS, "print", saes, shards, cells=CELLS)
    assert len(merged.latents) == 3 and merged.latents[0].n_latents == N_LATENTS
    for one, other in zip(whole.latents, merged.latents, strict=True):
        same(one, other)
        assert one.unsupervised["explained_variance"] is not None
    assert whole.residuals.keys() == merged.residuals.keys()
    for hook, own in whole.residuals.items():
        np.testing.assert_array_equal(own.residuals, merged.residuals[hook].residuals)
        np.testing.assert_array_equal(own.token_ends, merged.residuals[hook].token_ends)


def test_the_shards_of_a_pass_hold_each_text_once(tiny_model, small_batches):
    rows = [record_shard(tiny_model, TEXTS, "print", [], Shard(i, 3))["rows"] for i in range(3)]
    assert all(len(r) for r in rows)
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(len(set(TEXTS))))
