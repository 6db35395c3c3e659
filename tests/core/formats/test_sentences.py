"""Sentences of result: right for hand-made numbers, and never more than the intervals allow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saeeval_core.evaluation.result import Control, Erasure
from saeeval_core.formats import sentences
from saeeval_core.scores.uncertainty import Estimate, undefined

ABOVE, OVER_ZERO, BELOW = Estimate(0.32, (0.24, 0.4)), Estimate(0.03, (-0.1, 0.2)), Estimate(-0.2, (-0.3, -0.1))
SET = "the 20 strongest of 4,096 latents"


@pytest.mark.parametrize(
    "score, words",
    [
        (ABOVE, "Ablating the 20 strongest of 4,096 latents closes 32 % of the gap (95 % interval 24 to 40 %)."),
        (
            OVER_ZERO,
            f"Ablating {SET} has no effect that these texts can tell from none (S 0.03, 95 % interval −0.10 to 0.20).",
        ),
        (BELOW, f"Ablating {SET} makes the biased probe worse (S −0.20, 95 % interval −0.30 to −0.10)."),
        (Estimate(0.3), f"Ablating {SET}: S = 0.30, no interval, so chance is not excluded."),
        (undefined("no gap"), "SHIFT is not defined here: no gap."),
    ],
)
def test_the_gap(score, words):
    assert sentences.gap_closed(SET, score) == words


def test_erasure_says_what_is_lost_and_what_can_still_be_read():
    said = sentences.erased(Erasure(Estimate(0.85, (0.8, 0.9)), ABOVE))
    assert said.startswith("Fresh probes lose 32 points more of the spurious label than of the target.")
    assert said.endswith("They still read 85 % of the spurious label (95 % interval 80 to 90 %).")
    assert "no selective erasure" in sentences.erased(Erasure(undefined("x"), OVER_ZERO))
    assert "more of the target" in sentences.erased(Erasure(undefined("x"), BELOW))


def test_classes():
    own, others = Estimate(0.14, (0.1, 0.2)), Estimate(0.01, (0.0, 0.02))
    assert sentences.classes_apart(ABOVE, own, others) == (
        "Ablating a class's latents costs 14 points on its own class, 1 point on others."
    )
    assert "do not come apart" in sentences.classes_apart(OVER_ZERO, own, others)


def test_beside_controls_the_paired_difference_decides():
    controls = [
        Control("random latents", Estimate(0.01, (0.0, 0.05))),
        Control("pca", Estimate(0.3, (0.2, 0.4)), difference=Estimate(0.02, (-0.1, 0.1))),
        Control("ica", Estimate(0.5, (0.4, 0.6)), difference=Estimate(-0.18, (-0.3, -0.1))),
        Control("leace", Estimate(0.69, (0.6, 0.8))),
        Control("permuted decoder", undefined("no probe")),
    ]
    assert sentences.beside(ABOVE, controls) == (
        "Above random latents; not separable from PCA; below ICA. With the label known: LEACE 0.69."
    )
    assert sentences.beside(undefined("x"), controls) == sentences.beside(ABOVE, []) == ""


def test_two_saes():
    assert sentences.compared("A", "B", ABOVE) == "A scores higher than B (by 0.32, 95 % interval 0.24 to 0.40)."
    assert "not separable" in sentences.compared("A", "B", OVER_ZERO)
    assert sentences.told_apart(1, 1).startswith("1 of 1 pair of")


def _estimates():
    value = st.floats(-2, 2, allow_nan=False)
    return st.tuples(value, value, value).map(sorted).map(lambda v: Estimate(v[1], (v[0], v[2])))


@given(_estimates(), _estimates(), st.none() | _estimates())
def test_nothing_is_ordered_that_the_intervals_leave_open(score, other, difference):
    found = sentences.standing(score, Control("pca", other, difference=difference))
    if difference is not None:
        assert (found in ("above", "below")) == (difference.ci[0] > 0 or difference.ci[1] < 0)
    elif found in ("above", "below"):
        assert score.ci[0] > other.ci[1] or score.ci[1] < other.ci[0]


@given(_estimates())
def test_no_effect_is_stated_whose_interval_covers_zero(score):
    said = sentences.gap_closed(SET, score) + sentences.erased(Erasure(undefined("x"), score))
    if score.ci[0] <= 0 <= score.ci[1]:
        assert not any(word in said for word in ("closes", "worse", "Fresh probes lose"))
