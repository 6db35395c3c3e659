"""Scores on arrays small enough to work out on paper; every expected number is derived in a comment."""

import numpy as np
import pytest
from scipy.sparse import csc_array
from toys import GENDER, PROFESSION, latent_recording, residual_recording

from saeeval_core.config import PROTOCOLS
from saeeval_core.evaluation import result_json
from saeeval_core.scores import ablation, attribution, saebench_tpp
from saeeval_core.scores.probes import Probe
from saeeval_core.scores.shift import shift_board, shift_latents
from saeeval_core.scores.shift_probes import ShiftProbes
from saeeval_core.scores.tpp import balance_weights, tpp_board, tpp_latents
from saeeval_core.scores.uncertainty import (
    Resamples,
    difference,
    estimate,
    interval,
    mean_of,
    paired_difference,
    separable,
    undefined,
)
from saeeval_core.texts.parts import TEST, TRAIN
from saeeval_core.texts.tasks import MIRRORED, ShiftTask, ShiftTraining, TppTask

ROBUST = PROTOCOLS["robust"]

# SHIFT. A residual is (target signal, spurious signal). C_b reads the second coordinate, the oracle the first.
#
#   quadrant (target, spurious)   residuals                            latent 0
#   3 nurse, female               (1,1) (1,1) (1,1) (1,-1)             0 0 2 0
#   2 nurse, male                 (1,-1) (1,1)                         0 0
#   1 surgeon, female             (-1,1) (-1,1)                        2 2
#   0 surgeon, male               (-1,-1) (1,-1)                       0 0
#
# A_base   = (3/4 + 1/2 + 0 + 1) / 4 = .5625      C_b says "nurse" where the second coordinate is positive
# A_oracle = (1 + 1 + 1 + 1/2) / 4   = .875
# Latent 0 writes (0, 1). Without it C_b reads 1 1 -1 -1 | -1 1 | -1 -1 | -1 -1:
# A_abl    = (1/2 + 1/2 + 1 + 1) / 4 = .75        S = (.75 - .5625) / (.875 - .5625) = .6
X = [(1, 1), (1, 1), (1, 1), (1, -1), (1, -1), (1, 1), (-1, 1), (-1, 1), (-1, -1), (1, -1)]
QUADRANT = [3, 3, 3, 3, 2, 2, 1, 1, 0, 0]
LATENT = [0, 0, 2, 0, 0, 0, 2, 2, 0, 0]
TRAIN_LATENT = [3, 3, 0, 0]  # on the four training texts; mean 1.5


def hand_shift(oracle=(1.0, 0.0), protocol=ROBUST):
    quadrant = np.array([*QUADRANT, 3, 3, 0, 0])
    task = ShiftTask(
        PROFESSION,
        GENDER,
        np.arange(14),
        quadrant >= 2,
        quadrant % 2 == 1,
        np.array([TEST] * 10 + [TRAIN] * 4, np.uint8),
    )
    residuals = residual_recording(np.array([*X, (1, 1), (1, 1), (-1, -1), (-1, -1)], dtype=float))
    latents = np.zeros((14, 2))
    latents[:, 0] = [*LATENT, *TRAIN_LATENT]
    probe = Probe(np.array([0.0, 1.0]), 0.0, 4)
    probes = ShiftProbes(
        ShiftTraining(1, np.arange(10, 14), np.arange(10, 14)), probe, Probe(np.array(oracle), 0.0, 4), probe
    )
    board = shift_board(residuals, task, probes, protocol, part=TEST, seed=0, resamples=200)
    return shift_latents(residuals, latent_recording(latents, np.array([[0.0, 1.0], [1.0, 0.0]])), board, protocol)


def test_shift_score():
    view = hand_shift(protocol=PROTOCOLS["paper"])  # so few texts leave no gap in some resamples: see the next test
    assert view.board.base.value == pytest.approx(0.5625)
    assert view.board.oracle.value == pytest.approx(0.875)
    score = view.score([0])
    assert score.accuracy.value == pytest.approx(0.75)
    assert score.score.value == pytest.approx(0.6)
    assert score.n_ablated == 1 and len(score.samples) == 200
    assert view.score([]).score.value == pytest.approx(0.0)


def test_a_gap_that_resampling_can_close_is_undefined_under_the_robust_protocol():
    score = hand_shift().score([0])
    assert score.score.value is None and score.score.ci is None
    assert "gap too small" in score.score.reason and "resamples" in score.score.reason
    assert score.accuracy.value == pytest.approx(0.75), "accuracies stay"


def test_an_oracle_no_better_than_the_biased_probe_is_undefined_under_every_protocol():
    for protocol in PROTOCOLS.values():
        view = hand_shift(oracle=(0.0, 1.0), protocol=protocol)
        score = view.score([0]).score
        assert score.value is None and "already follows this label" in score.reason


def test_worst_group_and_leakage():
    view = hand_shift()
    score = view.score([0])
    # Quadrants 3 and 2 are right half of the time, 1 and 0 always; the first of the two worst is 2 = nurse, male.
    assert (score.worst_group.value, score.worst_group_name) == (0.5, "nurse, male")
    # Agreement with the spurious label, quadrants 3 2 1 0: 1/2, 1/2, 0, 1 -> .5, at distance 0 from chance.
    assert score.leakage.value == pytest.approx(0.0)
    # Before: 3/4, 1/2, 1, 1 -> .8125.
    assert view.score([]).leakage.value == pytest.approx(0.3125)


def test_mean_ablation_gives_the_training_mean_back():
    view = hand_shift(protocol=PROTOCOLS["paper"])
    assert view.train_mean[0] == pytest.approx(1.5)
    # 1.5 more than with zero ablation: 2.5 2.5 .5 .5 | .5 2.5 | .5 .5 | .5 .5, always "nurse": accuracy 1/2.
    score = view.mean_ablated.score([0])
    assert score.accuracy.value == pytest.approx(0.5)
    assert score.score.value == pytest.approx((0.5 - 0.5625) / 0.3125)


def test_auc_counts_ties_half():
    view = hand_shift()
    # With quadrants weighing a quarter each, mass at logit (1, -1):
    # base    positives 5/16, 3/16   negatives 1/4, 1/4   AUC = (5/16 * 3/8 + 3/16 * 1/8) / (1/4) = .5625
    # oracle  positives 1/2, 0       negatives 1/8, 3/8   AUC = 1/2 * (3/8 + 1/16) / (1/4)        = .875
    # ablated positives 1/4, 1/4     negatives 0, 1/2     AUC = (1/4 * 1/2 + 1/4 * 1/4) / (1/4)   = .75
    assert view.board.auc_score(view.removed([0])).score.value == pytest.approx((0.75 - 0.5625) / (0.875 - 0.5625))


def test_a_set_s_score_does_not_depend_on_its_order():
    view = hand_shift(protocol=PROTOCOLS["paper"])
    assert view.score([0, 1]).score == view.score([1, 0]).score


def test_paired_difference_of_a_set_with_itself_is_exactly_zero():
    view = hand_shift(protocol=PROTOCOLS["paper"])
    same = difference(view.score([0]), view.score([0]))
    assert (same.value, same.ci) == (0.0, (0.0, 0.0)) and not separable(same)
    more = difference(view.score([0]), view.score([]))
    assert more.value == pytest.approx(0.6)


# TPP. One-hot residuals, probe j = x_j - .5: every clean accuracy is 1.
#   latent 0 writes (1, 0, -1): without it class 0 loses its own probe and lights up probe 2
#   latents 1 and 2 write their own class only
# Ablating class i's own latent: TPR of probe i is 0, so A_ii = (0 + 1) / 2 and Delta_ii = 1/2.
# Ablating class 0: probe 2 is wrong on class 0 but right on class 1, mean TNR 1/2, A_02 = 3/4, Delta_02 = 1/4.
MATRIX = [[0.5, 0, 0.25], [0, 0.5, 0], [0, 0, 0.5]]


def hand_tpp(weights=np.eye(3)):
    label = np.array([0, 0, 0, 0, 1, 1, 2, 2] * 2)
    part = np.array([TEST] * 8 + [TRAIN] * 8, np.uint8)
    task = TppTask("meal", ("tea", "soup", "bread"), np.arange(16), label, part)
    decoder = np.array([[1.0, 0, -1], [0, 1, 0], [0, 0, 1]])
    probes = [Probe(w, -0.5, 8) for w in weights]
    residuals = residual_recording(np.eye(3)[label])
    board = tpp_board(residuals, task, probes, part=TEST, seed=0, resamples=100)
    return tpp_latents(latent_recording(np.eye(3)[label], decoder), board)


def test_tpp_matrix_and_score():
    view = hand_tpp()
    assert [c.value for c in view.board.clean] == [1, 1, 1]
    score = view.score([[0], [1], [2]])
    assert np.allclose([[e.value for e in row] for row in score.matrix], MATRIX)
    assert score.intended.value == pytest.approx(0.5)
    assert score.unintended.value == pytest.approx(0.25 / 6)
    assert score.score.value == pytest.approx(0.5 - 0.25 / 6)
    # All texts of a class behave alike, so resampling within classes changes nothing.
    assert score.score.ci == pytest.approx((0.5 - 0.25 / 6,) * 2, abs=1e-6)


def test_tpp_takes_each_class_s_own_latent_and_says_how_many_there_were():
    view = hand_tpp()
    # Class 2's difference for latent 0 is -1/2 and its D.w is -1; clamped, it does not count for class 2.
    assert [r.tolist() for r in view.rankings] == [[0], [1], [2]]
    assert view.at(1).n_ablated == view.at(3).n_ablated == (1, 1, 1)
    assert view.at(3).score == view.at(1).score


def test_a_probe_at_chance_makes_its_column_undefined():
    weights = np.eye(3)
    weights[1] = 0  # probe 1 always says no: balanced accuracy 1/2
    score = hand_tpp(weights).score([[0], [1], [2]])
    assert [[e.value is None for e in row] for row in score.matrix] == [[False, True, False]] * 3
    assert "soup" in score.matrix[0][1].reason and "chance" in score.matrix[0][1].reason
    assert score.intended.value == pytest.approx(0.5) and score.unintended.value == pytest.approx(0.25 / 4)
    nothing = hand_tpp(np.zeros((3, 3))).score([[0], [1], [2]])
    assert nothing.score.value is None and nothing.score.reason


def test_two_classes_mirror_each_other_so_their_score_is_undefined_and_not_zero():
    label = np.array([0, 0, 1, 1] * 2)
    part = np.array([TEST] * 4 + [TRAIN] * 4, np.uint8)
    task = TppTask("meal", ("tea", "soup"), np.arange(8), label, part)
    probes = [Probe(np.array(w), 0.0, 8) for w in ([1.0, -1.0], [-1.0, 1.0])]
    x = np.eye(2)[label]
    board = tpp_board(residual_recording(x), task, probes, part=TEST, seed=0, resamples=100)
    score = tpp_latents(latent_recording(x, 2 * np.eye(2)), board).score([[0], []])
    assert [[e.value for e in row] for row in score.matrix] == [[0.5, 0.5], [0.0, 0.0]], (
        "what one loses the other loses"
    )
    assert score.score.value is None and "3 classes or more" in score.score.reason and not len(score.samples)


def test_two_classes_are_undefined_under_redrawn_negatives_and_in_files_of_earlier_versions():
    two = np.array([[0.2, 0.0], [0.0, 0.1]])
    assert saebench_tpp._score(two, np.ones(2, int)).score == undefined(MIRRORED)
    assert saebench_tpp._score(np.eye(3), np.ones(3, int)).score.value == 1
    old = {"matrix": two.tolist(), "score": 0.0, "ci": [0.0, 0.0], "reason": None}
    assert result_json._tpp_cell(old).score == undefined(MIRRORED)
    tpp = {"classes": ["tea", "soup"], "by_n": [], "small_n_area": {"test": old}}
    assert result_json._tpp(tpp).area == {"test": undefined(MIRRORED)}


def test_balance_weights():
    label = np.array([0, 0, 1, 2, 2, 2, 2])
    # Half on class 1; a quarter each on class 0 (two texts) and class 2 (four texts).
    assert balance_weights(label, 1, 3).tolist() == [0.125, 0.125, 0.5, 0.0625, 0.0625, 0.0625, 0.0625]


# Attribution: pooled latents of four texts, the first two positive.
LATENTS = csc_array(np.array([[1.0, 0], [3, 0], [0, 2], [0, 4]]))
POSITIVE = np.array([True, True, False, False])


def test_attribution():
    difference = attribution.mean_difference(LATENTS, POSITIVE)
    assert difference.tolist() == [2, -3]
    # Weights 3 and 1 on the positives: (3 * 1 + 1 * 3) / 4 = 1.5.
    assert attribution.mean_difference(LATENTS, POSITIVE, np.array([3.0, 1, 1, 1])).tolist() == [1.5, -3]
    dot = np.array([1.0, -1.0])
    assert attribution.effects(difference, dot).tolist() == [2, 3]
    assert attribution.rank_by_magnitude(np.array([2.0, 3.0])).tolist() == [1, 0]
    # Clamped, latent 1 (stronger on the negatives) has no effect; signed codes keep it.
    assert attribution.rank_positive(difference, dot, non_negative=True).tolist() == [0]
    assert attribution.rank_positive(difference, dot, non_negative=False).tolist() == [1, 0]


def test_equal_effects_rank_by_id_and_none_is_left_out():
    assert attribution.rank_by_magnitude(np.array([1.0, -1, 0, 1, 2])).tolist() == [4, 0, 1, 3]
    ones = np.ones(5)
    assert attribution.rank_positive(np.array([1.0, 1, 0, -1, 1]), ones, non_negative=True).tolist() == [0, 1, 4]


def test_ablation_by_hand():
    dot = np.array([10.0, 100.0])
    assert ablation.removed(LATENTS, [0, 1], dot).tolist() == [10, 30, 200, 400]
    by_n, counts = ablation.removed_by_n(LATENTS, np.array([1, 0]), dot, [2, 1, 0])
    assert by_n.tolist() == [[10, 30, 200, 400], [0, 0, 200, 400], [0, 0, 0, 0]] and counts == [2, 1, 0]
    assert ablation.mean_offset([0, 1], np.array([0.5, 2.0]), dot) == 205
    # 128 positions: with 32 valid ones, 96 masked ones leak 3 f(0) D.w each; with 64, 1.
    leak = ablation.padding_leak([1], np.array([9.0, 0.5]), dot, np.array([32, 64]))
    assert leak.tolist() == [150, 50]
    x = ablation.ablate_residuals(np.ones((4, 2)), LATENTS, [1], np.array([[1.0, 0], [0.5, -1]]))
    assert x.tolist() == [[1, 1], [1, 1], [0, 3], [-1, 5]]


# Intervals.


def test_the_bootstrap_of_a_constant_is_that_constant():
    strata = np.array([0] * 7 + [1] * 3)
    draws = Resamples.stratified(strata, 300, np.random.default_rng(0))
    for stratum, size in ((0, 7), (1, 3)):
        assert (draws.counts[strata == stratum].sum(0) == size).all(), "every stratum keeps its size"
    samples = draws.sums(np.full(10, 0.025))
    assert estimate(0.25, samples).ci == pytest.approx((0.25, 0.25), abs=1e-6)


def test_percentile_interval():
    assert interval(np.arange(101.0)) == (2.5, 97.5)


def test_resampling_has_the_spread_theory_gives():
    values = np.array([0.0, 1.0] * 50)
    draws = Resamples.stratified(np.zeros(100, int), 4000, np.random.default_rng(1))
    samples = draws.sums(values / 100)
    assert samples.mean() == pytest.approx(0.5, abs=0.005)
    assert samples.std() == pytest.approx(0.05, rel=0.06)  # sqrt(p (1 - p) / n)


def test_means_leave_undefined_parts_out_and_count_them():
    one, two = np.array([0.1, 0.3]), np.array([0.5, 0.7])
    total, out = mean_of([estimate(0.2, one), undefined("why"), estimate(0.6, two)], [one, np.empty(0), two])
    assert total.value == pytest.approx(0.4) and out == 1
    assert total.ci == pytest.approx(interval(np.array([0.3, 0.5])))
    nothing, out = mean_of([undefined("why")], [np.empty(0)])
    assert nothing.value is None and nothing.reason and out == 1


def test_paired_differences_keep_the_pairing():
    a, b = np.array([0.1, 0.5, 0.9]), np.array([0.0, 0.4, 0.8])
    found = paired_difference(0.1, a, b)
    assert found.ci == pytest.approx((0.1, 0.1)) and separable(found)


def test_auc_is_the_weighted_area_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    view = hand_shift()
    logits = np.random.default_rng(0).integers(-2, 3, 10).astype(float)  # many ties
    ours = view.board._auc(logits)
    weights = view.board.weights
    assert ours[0] == pytest.approx(roc_auc_score(view.board.target, logits, sample_weight=weights))
    for k in (0, 17):
        drawn = weights * view.board.resamples.counts[:, k]
        assert ours[1 + k] == pytest.approx(roc_auc_score(view.board.target, logits, sample_weight=drawn), abs=1e-5)


# SAEBench's ways.


def test_saebench_s_selection_takes_zero_effects_before_negative_ones():
    import torch

    from saeeval_core.scores.saebench_tpp import top_n

    effects = torch.tensor([0.5, 0.3, -0.2, -0.1, 0, 0, 0, 0])
    chosen = top_n(effects, 4).tolist()
    assert set(chosen[:2]) == {0, 1} and len(chosen) == 4 and set(chosen[2:]) <= {4, 5, 6, 7}
    assert top_n(torch.zeros(4), 2).tolist() == []


def test_one_vs_rest_negatives_are_one_to_one_and_spread_over_the_others():
    import torch

    from saeeval_core.scores.saebench_tpp import draw_one_vs_rest

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classes, places, labels = draw_one_vs_rest([10, 20, 30, 40], 1)
        other = draw_one_vs_rest([10, 20, 30, 40], 1)
    assert labels.sum() == 20 and len(labels) == 40 and (labels == (classes == 1)).all()
    # ceil(20 / 3) = 7 of each other class are drawn, then 20 of those 21.
    assert sorted(np.bincount(classes, minlength=4)[[0, 2, 3]].tolist()) == [6, 7, 7]
    assert len(set(zip(classes.tolist(), places.tolist(), strict=True))) == 40, "no text twice"
    assert not np.array_equal(classes, other[0]), "redrawn at every call"
