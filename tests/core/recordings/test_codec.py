"""Row gaps: what is stored is what was recorded, whatever the sparsity."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csc_array

from saeeval_core.recordings.codec import from_gaps, to_gaps


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 1500), columns=st.integers(1, 5), share=st.floats(0, 0.2), seed=st.integers(0, 99))
def test_gaps_round_trip(rows, columns, share, seed):
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((rows, columns)) < share, rng.random((rows, columns)) + 0.1, 0).astype(np.float32)
    latents = csc_array(dense)
    data, gaps, indptr = to_gaps(latents)
    kept = indptr.copy()
    back = from_gaps(data, gaps, indptr, dense.shape)
    assert (back.toarray() == dense).all() and back.nnz == latents.nnz
    assert (indptr == kept).all(), "decoding must not change what it reads"
    assert gaps.dtype == np.uint8
