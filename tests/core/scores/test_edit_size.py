"""Edit size against the covariance of the ablated residuals themselves, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import ledoit_wolf

from saeeval_core.scores.edit_size import Whitening
from saeeval_core.scores.readers import Edit


def test_by_hand():
    """Sigma = diag(4, 1). Codes 0 and 2 (variance 1) along (2, 0): (4 / 4) / 2 = 1/2; along (0, 1): (1 / 1) / 2."""
    whitening = Whitening(np.diag([0.25, 1.0]))
    codes = np.array([[0.0, 5.0], [2.0, 5.0]])
    assert whitening.edit_size(Edit(codes[:, :1], np.array([[2.0, 0.0]]))) == pytest.approx(0.5)
    assert whitening.edit_size(Edit(codes[:, :1], np.array([[0.0, 1.0]]))) == pytest.approx(0.5)
    both = Edit(codes, np.array([[2.0, 0.0], [3.0, 3.0]]))  # the second latent is the same on every text: a mean shift
    assert whitening.edit_sizes(both, [0, 1, 2]) == pytest.approx([0, 0.5, 0.5])


@settings(max_examples=20, deadline=None)
@given(n=st.integers(12, 60), d=st.integers(1, 20), k=st.integers(1, 5), seed=st.integers(0, 1000))
def test_it_is_the_whitened_variance_of_what_was_removed(n, d, k, seed):
    rng = np.random.default_rng(seed)
    train, x = rng.normal(size=(2, n, d))
    edit = Edit(rng.random((n, k)), rng.normal(size=(k, d)))
    removed = np.cov((edit.of(x) - x).T, bias=True).reshape(d, d)
    expected = np.trace(np.linalg.solve(ledoit_wolf(train)[0], removed)) / d
    assert Whitening.of(train).edit_size(edit) == pytest.approx(expected)


def test_removing_everything_is_one():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 3)) * [1, 2, 3]
    assert Whitening.of(x).edit_size(Edit(x, np.eye(3))) == pytest.approx(1, abs=0.01)
