"""At equal edit: read off between measured points, never beyond them, and said in words."""

import pytest

from saeeval_core.evaluation.equal_edit import at_edit, equal_edit_words
from saeeval_core.evaluation.result import LossPath, LossPoint
from saeeval_core.scores.uncertainty import Estimate, undefined


def path(name: str, *points: tuple[int, float | None, float | None], kind: str = "rival") -> LossPath:
    """Of (N, S, edit size)."""
    none = undefined("nothing")
    made = [LossPoint(n, none if s is None else Estimate(s), none, none, none, size) for n, s, size in points]
    return LossPath(name, kind, tuple(made))


SAE = path("sae", (1, 0.1, 0.01), (10, 0.3, 0.03), (20, 0.5, 0.05), kind="sae")


def test_between_two_points_it_is_their_line_and_beyond_the_last_there_is_nothing():
    assert at_edit(SAE, 0.02) == pytest.approx(0.2)
    assert at_edit(SAE, 0.03) == pytest.approx(0.3)
    assert at_edit(SAE, 0.005) is None and at_edit(SAE, 0.06) is None


def test_beside_an_undefined_point_there_is_nothing():
    gap = path("gap", (1, 0.1, 0.01), (10, None, 0.03), (20, 0.5, None))
    assert at_edit(gap, 0.02) is None and at_edit(gap, 0.04) is None and at_edit(gap, 0.01) == 0.1


def test_an_edit_that_shrinks_on_the_way_is_read_where_it_first_comes_by():
    back = path("back", (1, 0.0, 0.01), (2, 0.4, 0.05), (5, 1.0, 0.02))
    assert at_edit(back, 0.03) == pytest.approx(0.2)


def test_the_words_name_who_does_not_reach_and_turn_to_the_edit_of_one_latent():
    rivals = [path("pca", (1, 0.2, 0.02), (2, 0.4, 0.04)), path("ica", (1, 0.9, 0.2), (2, 1.0, 0.3))]
    mark, far = path("difference in means", (1, 0.7, 0.02), kind="bound"), path("leace", (1, 0.8, 0.9), kind="bound")
    assert equal_edit_words(SAE, [*rivals, mark, far]) == [
        "At equal edit (0.030, N = 10): sae S 0.30, pca 0.30; not reached by ica",
        "At equal edit (0.020): difference in means S 0.70, sae 0.20",
        "At equal edit (0.900): leace S 0.80, not reached by sae",
    ]
    assert equal_edit_words(SAE, rivals, "selective_erasure") == []
