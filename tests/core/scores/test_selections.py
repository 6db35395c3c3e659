"""The paper's selections, worked by hand."""

import pytest

from saeeval_core.errors import ConfigError
from saeeval_core.scores.selections import PAPERS_RULE, Rule, by_attribution, by_judge, by_person, task_unrelated

RANKING = [5, 3, 8, 1]
VERDICTS = {
    5: {"gender": 4, "nurse": 0, "surgeon": 0},
    3: {"gender": 1, "nurse": 3, "surgeon": 0},
    1: {"gender": 2, "nurse": 0, "surgeon": 0},
}  # latent 8 was not judged
AMONG = ["gender", "nurse", "surgeon"]


def ids(selected) -> list[tuple[int, ...]]:
    return [s.ids for s in selected]


def test_attribution_takes_the_first_n() -> None:
    assert ids(by_attribution(RANKING, [1, 3, 10])) == [(5,), (5, 3, 8), (5, 3, 8, 1)]


def test_judge_keeps_related_latents_of_the_top_n() -> None:
    found = by_judge(RANKING, VERDICTS, ["gender"], [1, 3, 4], Rule(1))
    assert ids(found) == [(5,), (5, 3), (5, 3, 1)]
    assert [(s.considered, s.rejected, s.not_judged) for s in found] == [(1, 0, 0), (3, 0, 1), (4, 0, 1)]


def test_threshold_two_and_filter_first() -> None:
    assert ids(by_judge(RANKING, VERDICTS, ["gender"], [2], Rule(2))) == [(5,)]
    assert ids(by_judge(RANKING, VERDICTS, ["gender"], [2], Rule(2, order="filter-then-top"))) == [(5, 1)]


def test_zeroing_lower_ratings_changes_both_selections() -> None:
    """Rated gender 1 and nurse 3, latent 3 counts as gender only while lower ratings stand."""
    zeroed = Rule(1, zero_non_maximum=True)
    assert ids(by_judge(RANKING, VERDICTS, ["gender"], [4], zeroed, among=AMONG)) == [(5, 1)]
    assert ids(task_unrelated(RANKING, VERDICTS, ["gender"], [4], Rule(1), among=AMONG)) == [()]
    assert ids(task_unrelated(RANKING, VERDICTS, ["gender"], [4], zeroed, among=AMONG)) == [(3,)]


def test_ties_for_the_highest_are_both_kept() -> None:
    tied = {1: {"gender": 2, "nurse": 2}}
    assert ids(by_judge([1], tied, ["gender"], [1], Rule(2, True), among=["gender", "nurse"])) == [(1,)]


def test_task_unrelated_drops_what_belongs_to_the_task() -> None:
    assert ids(task_unrelated(RANKING, VERDICTS, ["nurse", "surgeon"], [4], Rule(1))) == [(5, 1)]


def test_nothing_passed_and_not_judged_are_states() -> None:
    (nothing,) = by_judge([3], VERDICTS, ["surgeon"], [1], Rule(1))
    (unjudged,) = by_judge([8], VERDICTS, ["gender"], [1], Rule(1))
    (unrated,) = by_judge([5], VERDICTS, ["teacher"], [1], Rule(1))
    (unmarked,) = by_person([], [5])
    states = [(s.state, s.ids) for s in (nothing, unjudged, unrated, unmarked)]
    assert states == [("nothing passed", ()), ("not judged", ()), ("not judged", ()), ("nothing marked", ())]


def test_a_persons_set_does_not_depend_on_n() -> None:
    assert ids(by_person([9, 2], [1, 50])) == [(2, 9), (2, 9)]


@pytest.mark.parametrize("wrong", [{"threshold": 0}, {"threshold": 5}, {"order": "sideways"}])
def test_unknown_rules_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        Rule(**wrong)


def test_a_rule_says_in_words_what_it_does() -> None:
    assert "rates it 2 or more of 4." in Rule().words and "at most N" in Rule().words
    papers = PAPERS_RULE.words
    assert "rates it 1 or more of 4, after every rating below its highest is set to 0." in papers
    assert "first N latents of the ranking that pass" in Rule(order="filter-then-top").words
