"""Fresh probes: the closed form against fits of the ablated residuals themselves, and honesty on shuffled labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saeeval_core.errors import ConfigError
from saeeval_core.scores.probes import refit_logistic
from saeeval_core.scores.readers import LOGISTIC, RBF, READERS, RIDGE, STRENGTHS, Edit, Ground, nothing

SHAPES = st.sampled_from([(60, 8), (30, 30), (25, 40), (40, 12)])


def texts(n: int, d: int, k: int, seed: int):
    """(ground with unequal shares, edit): residuals that hold k latents, the first of which follows the first label."""
    rng = np.random.default_rng(seed)
    labels = np.stack([np.arange(n) % 2 == 0, rng.permutation(np.arange(n) % 3 == 0)], axis=1)
    codes = np.maximum(rng.normal(size=(n, k)), 0)
    codes[:, 0] += labels[:, 0]
    rows = rng.normal(size=(k, d))
    share = rng.random(n) + 0.5
    residuals = codes @ rows + rng.normal(size=(n, d))
    return Ground.of(residuals, labels, share * n / share.sum(), (1.0, 0.1)), Edit(codes, rows)


def slow_ridge(ground: Ground, edit: Edit) -> np.ndarray:
    """float64[texts, labels]: predictions of weighted ridge with a free bias, from the normal equations."""
    x = (edit.of(ground.residuals) - ground.axes.mean) / ground.axes.scale
    one = np.hstack([x, np.ones((len(x), 1))])
    out = []
    for j, strength in enumerate(ground.strength):
        penalty = np.diag([strength * len(x)] * x.shape[1] + [0.0])
        y = np.where(ground.labels[:, j], 1.0, -1.0)
        out.append(one @ np.linalg.solve(one.T @ (one * ground.share[:, None]) + penalty, one.T @ (ground.share * y)))
    return np.stack(out, axis=1)


@settings(max_examples=20, deadline=None)
@given(shape=SHAPES, k=st.integers(1, 6), seed=st.integers(0, 1000))
def test_the_closed_form_is_the_fit_of_the_ablated_residuals(shape, k, seed):
    ground, edit = texts(*shape, k, seed)
    found, expected = ground.fit(edit).logits(ground.residuals, edit), slow_ridge(ground, edit)
    assert found - found.mean(0) == pytest.approx(expected - expected.mean(0), abs=1e-7)
    for j in range(2):  # 0 lies halfway between the two sides' weighted means
        z, up, w = found[:, j], ground.labels[:, j], ground.weights(j)
        assert np.average(z[up], weights=w[up]) == pytest.approx(-np.average(z[~up], weights=w[~up]))


@settings(max_examples=20, deadline=None)
@given(shape=SHAPES, k=st.integers(1, 6), seed=st.integers(0, 1000))
def test_zero_and_mean_ablation_give_the_same_fresh_probe(shape, k, seed):
    ground, edit = texts(*shape, k, seed)
    mean = Edit(edit.codes - edit.codes.mean(0), edit.rows)
    a, b = ground.fit(edit), ground.fit(mean)
    assert a.logits(ground.residuals, edit) == pytest.approx(b.logits(ground.residuals, mean), abs=1e-8)


@settings(max_examples=10, deadline=None)
@given(shape=SHAPES, strength=st.sampled_from(STRENGTHS[2:].tolist()), seed=st.integers(0, 1000))
def test_left_out_predictions_are_those_of_fits_without_the_text(shape, strength, seed):
    ground, _ = texts(*shape, 2, seed)
    x = (ground.residuals - ground.axes.mean) / ground.axes.scale
    n = len(x)
    one, y = np.hstack([x, np.ones((n, 1))]), np.where(ground.labels, 1.0, -1.0)
    penalty = np.diag([strength * n] * x.shape[1] + [0.0])
    found = ground.left_out(strength)
    for i in (0, 1, n - 1):
        w = np.where(np.arange(n) == i, 0, ground.share)
        weight = np.linalg.solve(one.T @ (one * w[:, None]) + penalty, one.T @ (w[:, None] * y))
        assert found[i] == pytest.approx(one[i] @ weight, abs=1e-7)


def test_the_logistic_reader_is_the_ordinary_probe_on_ablated_residuals():
    ground, edit = texts(60, 8, 3, 0)
    found = ground.fit(edit, LOGISTIC).logits(ground.residuals, edit)
    for j, c in enumerate(ground.c):
        own = refit_logistic(edit.of(ground.residuals), ground.labels[:, j], c, ground.weights(j))
        assert found[:, j] == pytest.approx(own.logits(edit.of(ground.residuals)))


@pytest.mark.parametrize("reader", READERS)
def test_nothing_is_read_of_shuffled_labels(reader):
    rng = np.random.default_rng(0)
    n, d, k = 200, 12, 4
    found = []
    for _ in range(25):
        ground, edit = texts(n, d, k, int(rng.integers(1e6)))
        labels = rng.permutation(ground.labels[:, :1])  # half of them true
        probes = Ground.of(ground.residuals, labels, np.ones(n), (1.0,)).fit(edit, reader)
        fresh, held = texts(400, d, k, int(rng.integers(1e6)))
        truth = fresh.labels[rng.permutation(400), :1]
        found.append(((probes.logits(fresh.residuals, held) > 0) == truth).mean())
    assert np.mean(found) == pytest.approx(0.5, abs=0.02)


def test_an_unsplit_pair_of_sides_leaves_nothing_to_read():
    """The difference of means is one direction: without it, every linear probe is at chance on the training texts."""
    ground, _ = texts(60, 8, 3, 1)
    even = Ground.of(ground.residuals, ground.labels[:, :1], np.ones(60), (1.0,))
    own = ground.labels[:, 0]
    direction = even.residuals[own].mean(0) - even.residuals[~own].mean(0)
    row = (direction / np.linalg.norm(direction)).astype(np.float32)
    edit = Edit((even.residuals @ row[:, None]).astype(np.float32).astype(float), row[None].astype(float))
    assert not even.fit(edit).logits(even.residuals, edit).any()
    assert even.fit(even.nothing).logits(even.residuals, nothing(even.residuals)).any()


def test_the_other_kernel_reads_what_no_line_can():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 2))
    ground = Ground.of(x, (x[:, :1] * x[:, 1:] > 0), np.ones(600), (1.0,))

    def right(reader: str) -> float:
        probes = ground.fit(ground.nothing, reader)
        return float(((probes.logits(x, ground.nothing) > 0) == ground.labels).mean())

    assert right(RBF) > 0.9 and right(RIDGE) < 0.65


def test_an_unknown_reader_and_one_without_c_are_refused():
    ground, edit = texts(30, 30, 1, 0)
    with pytest.raises(ConfigError, match="reader"):
        ground.fit(edit, "guess")
    without = Ground.of(ground.residuals, ground.labels, ground.share, (None, None))
    with pytest.raises(ConfigError, match="protocol robust"):
        without.fit(edit, LOGISTIC)
