"""Probes, and a control for every score: what is planted is found, what is permuted or random is not."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csc_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from toys import planted_world, residual_recording

from saeeval_core.config import PROTOCOLS
from saeeval_core.errors import DataError
from saeeval_core.scores.probes import (
    C_GRID,
    FOLDS,
    fit_adamw,
    fit_logistic,
    fit_probe,
    log_losses,
    logistic_path,
    refit_logistic,
    stratified_folds,
)
from saeeval_core.scores.shift import shift_board, shift_latents
from saeeval_core.scores.shift_probes import fit_shift_probes
from saeeval_core.scores.tpp import fit_tpp_probes, tpp_board, tpp_latents
from saeeval_core.texts.parts import DEV, TEST
from saeeval_core.texts.tasks import drawn_pair

ROBUST = PROTOCOLS["robust"]


def blobs(n: int = 160, d: int = 6, seed: int = 0, shift: float = 1.0):
    """Two Gaussian classes whose coordinates have very different sizes, and a stratum per text."""
    rng = np.random.default_rng(seed)
    labels, strata = np.arange(n) % 2 == 1, np.arange(n) % 4
    x = rng.normal(size=(n, d)) + np.where(labels[:, None], shift, -shift) * np.eye(d)[0]
    return (x * np.logspace(-2, 2, d) + 5).astype(np.float32), labels, strata


def test_c_has_the_smallest_mean_held_out_log_loss():
    x, y, strata = blobs(shift=0.6)
    fold = stratified_folds(strata, 3)
    losses = np.zeros(len(C_GRID))
    for i, c in enumerate(C_GRID):
        for k in range(FOLDS):
            scaler = StandardScaler().fit(x[fold != k])
            model = LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit(scaler.transform(x[fold != k]), y[fold != k])
            losses[i] += log_loss(y[fold == k], model.predict_proba(scaler.transform(x[fold == k])))
    probe = fit_logistic(x, y, strata, seed=3)
    assert probe.c == pytest.approx(C_GRID[losses.argmin()]) and C_GRID[0] < probe.c < C_GRID[-1]
    np.testing.assert_allclose(C_GRID, np.logspace(-4, 1, 11))


@pytest.mark.parametrize("n, d, shift, weighted", [(160, 6, 0.6, False), (120, 200, 0.4, True), (400, 40, 2.0, True)])
def test_the_path_is_the_one_of_scikit_learn(n, d, shift, weighted):
    x, y, _ = blobs(n, d, shift=shift)
    x, w = StandardScaler().fit_transform(x.astype(np.float64)), np.where(y & weighted, 3.0, 1.0)
    path, model = logistic_path(x, y, w), LogisticRegression(tol=1e-6, max_iter=2000, warm_start=True)
    for c, own in zip(C_GRID, path, strict=True):
        model.set_params(C=c).fit(x, y, sample_weight=w)
        theirs = np.append(model.coef_[0], model.intercept_)
        assert np.linalg.norm(own - theirs) < 1e-4 * np.linalg.norm(theirs)
    losses = log_losses(x @ path[:, :-1].T + path[:, -1], y, w)
    assert losses[-1] == pytest.approx(log_loss(y, model.predict_proba(x), sample_weight=w), rel=1e-4)


def test_ties_go_to_the_smaller_c(monkeypatch):
    x, y, strata = blobs()
    monkeypatch.setattr("saeeval_core.scores.probes.log_losses", lambda *a: np.full(len(C_GRID), 0.5))
    assert fit_logistic(x, y, strata, seed=0).c == C_GRID[0]


def test_weights_are_in_units_of_the_raw_residual():
    x, y, _ = blobs()
    probe = refit_logistic(x, y, 0.1)
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=0.1, tol=1e-6, max_iter=2000).fit(scaler.transform(x), y)
    np.testing.assert_allclose(probe.logits(x), model.decision_function(scaler.transform(x)), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(probe.logits(x) > 0, model.predict(scaler.transform(x)))


def test_the_largest_weights_sum_to_the_texts_whatever_their_unit():
    x, y, strata = blobs(shift=0.6)
    w = np.where(y, 3.0, 1.0)
    one, other = fit_logistic(x, y, strata, seed=0, weights=w), fit_logistic(x, y, strata, seed=0, weights=w / 1000)
    assert one.c == other.c
    np.testing.assert_allclose(one.weight, other.weight, rtol=1e-5)


def test_weighting_positives_moves_the_bias_up():
    x, y, strata = blobs(shift=0.3)
    plain = fit_logistic(x, y, strata, seed=0)
    heavy = fit_logistic(x, y, strata, seed=0, weights=np.where(y, 5.0, 1.0))
    assert (heavy.logits(x) > 0).mean() > (plain.logits(x) > 0).mean() + 0.1


def test_the_same_seed_gives_the_same_probe_to_the_last_bit():
    x, y, strata = blobs()
    for protocol in PROTOCOLS.values():
        one, two = (fit_probe(x, y, strata, protocol, seed=5, test=(x, y)) for _ in range(2))
        np.testing.assert_array_equal(one.weight, two.weight)
        assert (one.bias, one.c, one.epoch) == (two.bias, two.c, two.epoch)
    other = fit_probe(x, y, strata, PROTOCOLS["paper"], seed=6)
    assert not np.array_equal(other.weight, fit_probe(x, y, strata, PROTOCOLS["paper"], seed=5).weight)


def test_training_leaves_the_global_generators_alone():
    x, y, strata = blobs()
    torch_before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    for protocol in PROTOCOLS.values():
        fit_probe(x, y, strata, protocol, seed=5, test=(x, y))
    assert torch.equal(torch_before, torch.random.get_rng_state())
    np.testing.assert_array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002


def test_the_final_fit_converges():
    x, y, strata = blobs(shift=3.0)  # separable: the hardest case for a small penalty
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        probe = fit_logistic(x, y, strata, seed=0)
    z = (x - x.mean(0)) / x.std(0)
    p = 1 / (1 + np.exp(-probe.logits(x)))
    # At the optimum the gradient of the penalised loss vanishes: w = C * sum (y - p) z in standardised units.
    gradient = probe.weight * x.std(0) - probe.c * ((y - p) @ z)
    assert np.abs(gradient).max() < 1e-2 * np.abs(probe.weight * x.std(0)).max()


def test_folds_are_even_in_every_stratum():
    strata = np.repeat([0, 1, 2, 3], [50, 25, 20, 10])
    fold = stratified_folds(strata, 0)
    for s, size in enumerate([10, 5, 4, 2]):
        assert np.bincount(fold[strata == s], minlength=FOLDS).tolist() == [size] * FOLDS
    np.testing.assert_array_equal(fold, stratified_folds(strata, 0))
    assert (fold != stratified_folds(strata, 1)).any()


def test_adamw_keeps_the_first_best_epoch_or_the_last():
    x, y, _ = blobs(shift=0.2)
    last = fit_adamw(x, y, PROTOCOLS["paper"], seed=0, test=None)
    assert last.epoch == 5 == PROTOCOLS["paper"].epochs
    everything_right = (np.zeros((4, 6), np.float32), np.zeros(4, bool))

    class AlwaysBest(np.ndarray):
        """A test set on which every epoch is as good as any other."""

    test = (everything_right[0].view(AlwaysBest) * np.nan, everything_right[1])  # nan > 0 is False: always right
    assert fit_adamw(x, y, PROTOCOLS["saebench"], seed=0, test=test).epoch == 1


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_bad_training_sets_are_refused(protocol):
    x, y, strata = blobs()
    with pytest.raises(DataError, match="all 160 training texts of a probe have the same label"):
        fit_probe(x, np.ones_like(y), strata, protocol, seed=0, test=(x, y))
    x[3] = np.nan
    with pytest.raises(DataError, match="no pooled residual"):
        fit_probe(x, y, strata, protocol, seed=0, test=(x, y))


# Controls: labels.


@pytest.mark.parametrize("protocol", ["robust", "paper"])
def test_a_probe_learns_what_is_there_and_nothing_from_permuted_labels(protocol):
    rng, n = np.random.default_rng(0), 200 if protocol == "robust" else 4000  # AdamW needs its number of steps
    x = rng.normal(size=(2 * n, 8)).astype(np.float32)
    y, strata = x[:, 0] + 0.3 * rng.normal(size=2 * n) > 0, np.zeros(2 * n, int)

    def held_out(labels: np.ndarray) -> float:
        probe = fit_probe(x[:n], labels[:n], strata[:n], PROTOCOLS[protocol], seed=0)
        return float(((probe.logits(x[n:]) > 0) == labels[n:]).mean())

    assert held_out(y) > 0.85
    assert abs(np.mean([held_out(np.random.default_rng(s).permutation(y)) for s in range(5)]) - 0.5) < 0.06


# Controls: scores. Planted truth is found; decoders that no longer say where latents act score nothing.


def shift_view(world, latents, probes, part=TEST):
    board = shift_board(world.residuals, world.shift, probes, ROBUST, part=part, seed=0, resamples=200)
    return shift_latents(world.residuals, latents, board, ROBUST)


def test_shift_finds_the_planted_latents(planted, planted_probes):
    view = shift_view(planted, planted.latents, planted_probes)
    assert view.board.reason is None and view.board.oracle.value - view.board.base.value > 0.15
    assert set(view.attribute_ranking[:4].tolist()) == set(planted.spurious)
    truth = view.score(planted.spurious)
    assert truth.score.value > 0.3 and truth.score.ci[0] > 0
    assert truth.leakage.value < view.score([]).leakage.value - 0.1
    assert truth.worst_group.value > view.score([]).worst_group.value
    wrong = view.score(planted.target)
    assert wrong.score.value < 0, "ablating what the probe should use hurts"
    chance = [view.score(np.random.default_rng(s).choice(np.arange(11, 64), 4)).score.value for s in range(10)]
    assert abs(np.mean(chance)) < 0.1


def test_the_c_b_ranking_mixes_target_and_spurious(planted, planted_probes):
    view = shift_view(planted, planted.latents, planted_probes)
    assert set(view.base_ranking[:8].tolist()) == {*planted.spurious, *planted.target}


def test_a_permuted_decoder_scores_nothing(planted, planted_probes):
    from dataclasses import replace

    right = shift_view(planted, planted.latents, planted_probes).score(planted.spurious).score.value
    rng, wrong = np.random.default_rng(0), []
    for _ in range(10):
        broken = replace(planted.latents, decoder=planted.latents.decoder[rng.permutation(64)])
        wrong.append(shift_view(planted, broken, planted_probes).score(planted.spurious).score.value)
    assert abs(np.mean(wrong)) < 0.15 < right


def test_retraining_on_ablated_residuals_cannot_find_the_cue_again(planted, planted_probes):
    view = shift_view(planted, planted.latents, planted_probes)
    plain = view.board.retrain_score(planted.residuals, planted.latents, [])
    assert plain.value == pytest.approx(0, abs=0.02), "nothing ablated: the probe is C_b again"
    assert view.board.retrain_score(planted.residuals, planted.latents, planted.spurious).value > 0.3


def test_both_directions_share_texts_and_draws(planted, planted_probes):
    board, other = (
        shift_board(planted.residuals, task, probes, ROBUST, part=DEV, seed=0, resamples=100)
        for task, probes in ((planted.shift, planted_probes), (planted.shift.swapped(), planted_probes.swapped()))
    )
    np.testing.assert_array_equal(board.resamples.counts, other.resamples.counts)
    np.testing.assert_array_equal(board.base_logits, other.base_logits)
    assert board.oracle.value == other.attribute.value
    assert other.base.value > board.base.value, "C_b follows the cue"


def test_tpp_finds_each_class_s_own_latent(planted):
    probes = fit_tpp_probes(planted.residuals, planted.tpp, ROBUST, seed=0)
    board = tpp_board(planted.residuals, planted.tpp, probes, part=TEST, seed=0, resamples=200)
    assert all(c.value > 0.9 for c in board.clean)
    view = tpp_latents(planted.latents, board)
    assert [r[0] for r in view.rankings] == [8, 9, 10]
    score = view.at(1)
    # One latent off: its class looks like "no class" to every probe.
    assert score.intended.value > 0.3 and abs(score.unintended.value) < 0.15
    assert score.score.ci[0] > 0.2
    rng = np.random.default_rng(0)
    chance = [view.score([rng.choice(np.arange(11, 64), 1) for _ in range(3)]).score.value for _ in range(10)]
    assert abs(np.mean(chance)) < 0.05


def test_tpp_without_signal_is_undefined():
    world = planted_world(per_quadrant=50)
    noise = residual_recording(np.random.default_rng(0).normal(size=world.residuals.residuals.shape))
    probes = fit_tpp_probes(noise, world.tpp, ROBUST, seed=0)
    board = tpp_board(noise, world.tpp, probes, part=TEST, seed=0, resamples=200)
    undefined = [r for r in board.reasons if r]
    assert len(undefined) >= 2 and all("not better than chance" in r for r in undefined)


def test_scores_of_the_same_seed_are_the_same(planted, planted_probes):
    again = fit_shift_probes(planted.residuals, drawn_pair(planted.shift, seed=0, protocol=ROBUST), ROBUST, seed=0)
    one = shift_view(planted, planted.latents, planted_probes).score([0, 1])
    two = shift_view(planted, planted.latents, again).score([0, 1])
    assert one.score == two.score
    np.testing.assert_array_equal(one.samples, two.samples)


def test_the_interval_covers_the_score_and_shrinks_with_more_texts():
    widths = []
    for size in (80, 320):
        world = planted_world(per_quadrant=size)
        probes = fit_shift_probes(world.residuals, drawn_pair(world.shift, seed=0, protocol=ROBUST), ROBUST, seed=0)
        score = shift_view(world, world.latents, probes).score(range(4))
        assert score.accuracy.ci[0] <= score.accuracy.value <= score.accuracy.ci[1]
        widths.append(score.accuracy.ci[1] - score.accuracy.ci[0])
    assert widths[1] < 0.7 * widths[0]


def test_signed_codes_keep_latents_that_argue_by_being_negative():
    from saeeval_core.scores.attribution import mean_difference, rank_positive

    latents = csc_array(np.array([[-1.0, 0.5], [-2, 0.5], [0, 0.4], [0, 0.4]]))
    difference = mean_difference(latents, np.array([True, True, False, False]))
    dot = np.array([-1.0, 1.0])
    assert rank_positive(difference, dot, non_negative=False).tolist() == [0, 1]
    assert rank_positive(difference, dot, non_negative=True).tolist() == [1]


@pytest.mark.parametrize("name", ["saebench", "paper"])
def test_one_vs_rest_probes_are_trained_under_every_protocol(planted, name):
    """SAEBench chooses an epoch on the probe's own test texts, so these must be there."""
    quick = replace(PROTOCOLS[name], epochs=2)
    probes = fit_tpp_probes(planted.residuals, planted.tpp, quick, seed=0)
    assert len(probes) == len(planted.tpp.classes) and all(p.epoch in (1, 2) for p in probes)
