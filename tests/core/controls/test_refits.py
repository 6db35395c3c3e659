"""The small-N area by hand, words for differences, and intervals that vary the training texts."""

from dataclasses import replace

import numpy as np
import pytest
from toys import latent_recording

from saeeval_core.config import PROTOCOLS
from saeeval_core.controls.refits import shift_refits, tpp_refits
from saeeval_core.errors import ConfigError
from saeeval_core.evaluation.variants import direction_variants
from saeeval_core.scores.area import GRID, area_weights, small_n_area
from saeeval_core.scores.selections import by_attribution
from saeeval_core.scores.shift import ShiftScore, shift_board, shift_latents
from saeeval_core.scores.tpp import fit_tpp_probes, tpp_board, tpp_latents
from saeeval_core.scores.uncertainty import (
    LEVEL_WITH_TRAINING,
    Estimate,
    Sampled,
    difference,
    difference_words,
    estimate,
    minimum_reliable_difference,
    redraw_within,
    undefined,
)
from saeeval_core.texts.parts import TEST

ROBUST = PROTOCOLS["robust"]


def shift_area(view) -> Sampled:
    """The recommended score of one direction."""
    return direction_variants(view, by_attribution(view.attribute_ranking, GRID)).mean.area


def score(value: float | None) -> ShiftScore:
    e = undefined("no gap") if value is None else estimate(value, np.full(4, value))
    return ShiftScore(1, e, e, e, "", e, np.full(4, value) if value is not None else np.empty(0))


def test_the_area_of_a_flat_curve_is_its_height_and_weights_sum_to_one():
    ns = (1, 2, 3, 5, 10, 20, 50, 100)
    assert area_weights(ns).sum() == pytest.approx(1)
    area = small_n_area([score(0.7)] * 8, ns)
    assert area.score.value == pytest.approx(0.7) and area.samples == pytest.approx(np.full(4, 0.7))


def test_the_area_by_hand():
    # One trapezoid from N = 1 to 20 in ln N: the mean of its ends. What happens beyond 20 does not count.
    area = small_n_area([score(0.2), score(0.8), score(-5.0)], (1, 20, 50))
    assert area.score.value == pytest.approx(0.5)
    np.testing.assert_allclose(area_weights((1, 4, 20)), [np.log(4) / 2 / np.log(20), 0.5, np.log(5) / 2 / np.log(20)])


def test_the_area_of_a_rising_line_in_ln_n_is_exact():
    ns = (1, 2, 3, 5, 10, 20)
    area = small_n_area([score(np.log(n) / np.log(20)) for n in ns], ns)
    assert area.score.value == pytest.approx(0.5)


def test_an_undefined_score_leaves_the_area_undefined_and_missing_ends_are_refused():
    assert small_n_area([score(None), score(0.5)], (1, 20)).score.reason == "no gap"
    with pytest.raises(ConfigError, match="N = 1 and N = 20"):
        area_weights((2, 20))


def test_words_name_the_level_and_say_not_separable():
    clear, unclear = Estimate(0.061, (0.02, 0.101)), Estimate(0.01, (-0.03, 0.05))
    assert difference_words(clear) == "+0.061 [+0.020, +0.101] (test texts)"
    assert difference_words(unclear, LEVEL_WITH_TRAINING).endswith("(train and test texts); not separable")
    assert minimum_reliable_difference(unclear) == pytest.approx(0.04)
    assert difference_words(undefined("no gap")) == "n/a (no gap)"


def test_redrawing_keeps_every_stratum_its_size():
    strata = np.repeat([0, 1, 2], [5, 3, 9])
    drawn = redraw_within(strata, np.random.default_rng(0))
    assert np.bincount(strata[drawn]).tolist() == [5, 3, 9] and len(set(drawn)) < 17


@pytest.fixture(scope="module")
def board(planted, planted_probes):
    return shift_board(planted.residuals, planted.shift, planted_probes, ROBUST, part=TEST, seed=0, resamples=200)


def test_refits_widen_the_interval_and_tell_a_good_sae_from_a_shuffled_one(planted, board):
    shuffled = latent_recording(
        planted.latents.latents.toarray(),
        planted.latents.decoder[np.random.default_rng(1).permutation(64)],
        name="shuffled",
    )
    both = [("pair", board)]

    def scores(view):
        return [*view.curve(view.attribute_ranking, (1, 4)), shift_area(view)]

    good, bad = shift_refits(planted.residuals, [planted.latents, shuffled], both, ROBUST, scores)
    view = shift_latents(planted.residuals, planted.latents, board, ROBUST)
    only_test = view.score(view.attribute_ranking[:4]).score
    assert good[1].score.value == only_test.value
    assert good[2].score.value == shift_area(view).score.value
    wide, narrow = good[1].score.ci, only_test.ci
    assert wide[1] - wide[0] > 0.8 * (narrow[1] - narrow[0])
    assert good[1].samples.shape == (20 * 50,)
    assert difference(good[1], bad[1]).ci[0] > 0
    again = shift_refits(planted.residuals, [planted.latents], both, ROBUST, scores)[0]
    np.testing.assert_array_equal(again[1].samples, good[1].samples)


def test_refits_average_the_directions_of_a_pair_that_are_defined(planted, planted_probes, board):
    other = shift_board(
        planted.residuals, planted.shift.swapped(), planted_probes.swapped(), ROBUST, part=TEST, seed=0, resamples=200
    )

    def refits(first, second):
        values = {board.task.target: first, other.task.target: second}
        directions = [("pair", board), ("pair", other)]
        return shift_refits(
            planted.residuals, [planted.latents], directions, ROBUST, lambda v: [score(values[v.board.task.target])]
        )[0][0]

    both, one, nothing = refits(0.2, 0.6), refits(0.2, None), refits(None, None)
    assert both.score.value == pytest.approx(0.4) and both.samples == pytest.approx(np.full(80, 0.4))
    assert one.score.value == pytest.approx(0.2) and one.samples == pytest.approx(np.full(80, 0.2))
    assert nothing.score.value is None and nothing.score.reason == "no gap" and not len(nothing.samples)
    assert difference(both, nothing).value is None


def test_tpp_refits_keep_the_value_and_widen_the_interval(planted):
    probes = fit_tpp_probes(planted.residuals, planted.tpp, ROBUST, seed=0)
    board = tpp_board(planted.residuals, planted.tpp, probes, part=TEST, seed=0, resamples=200)
    ((found,),) = tpp_refits(planted.residuals, [planted.latents], board, lambda view: [view.at(1)])
    only_test = tpp_latents(planted.latents, board).at(1).score
    assert found.score.value == only_test.value
    assert found.score.ci[1] - found.score.ci[0] > 0.8 * (only_test.ci[1] - only_test.ci[0])
    assert found.samples.shape == (20 * 50,)


def test_too_few_refits_and_probes_without_c_are_refused(planted, board):
    with pytest.raises(ConfigError, match="at least 20"):
        shift_refits(planted.residuals, [planted.latents], [("pair", board)], ROBUST, lambda view: [], refits=5)
    without_c = replace(board, probes=replace(board.probes, base=replace(board.probes.base, c=None)))
    with pytest.raises(ConfigError, match="only the robust protocol"):
        shift_refits(planted.residuals, [planted.latents], [("pair", without_c)], ROBUST, lambda view: [])


def test_refits_that_leave_the_score_undefined_are_counted_and_too_many_leave_no_interval(planted, board):
    def refits(every: int):
        calls = []

        def scores(view):
            calls.append(1)
            # The first call is about the real texts.
            value = None if len(calls) > 1 and len(calls) % every == 0 else len(calls) / 100
            return [score(None) if value is None else Sampled(estimate(value, np.full(50, value)), np.full(50, value))]

        return shift_refits(planted.residuals, [planted.latents], [("pair", board)], ROBUST, scores)[0][0]

    some, half = refits(7), refits(2)
    assert some.undefined_share == pytest.approx(3 / 20) and some.score.ci is not None
    assert half.score.value is not None and half.score.ci is None and "too many" in half.score.reason
    assert difference(half, replace(half, samples=np.full_like(half.samples, np.nan))).value is None


def test_an_sae_without_any_effect_is_undefined_not_zero(planted, board):
    nothing = replace(planted.latents, decoder=np.zeros_like(planted.latents.decoder))
    view = shift_latents(planted.residuals, nothing, board, ROBUST)
    assert shift_area(view).score.value is None and shift_area(view).score.reason == "nothing passed"
    assert direction_variants(view, by_attribution(view.attribute_ranking, (5,))).zero.at(5).score.value is None
