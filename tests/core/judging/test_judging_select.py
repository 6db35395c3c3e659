"""Selections on a planted recording: a judge who knows the planted latents does what the paper's judge does."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from saeeval_core.errors import ConfigError
from saeeval_core.judging.select import VerdictSelector, ratings_of
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.scores.selections import Rule
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.tasks import Contrast, ShiftTask, TaskSet, TppTask


class View:
    """The three attributes of a direction's latents that a selector reads."""

    def __init__(self, target: Contrast, spurious: Contrast, *, tpp: bool = False) -> None:
        none = np.empty(0, dtype=int)
        task = ShiftTask(target, spurious, none, none, none, none)
        classes = TppTask("job", ("nurse", "surgeon"), none, none, none)
        self.board = SimpleNamespace(task=classes if tpp else task)
        self.recording = SimpleNamespace(sae_fingerprint="s", fingerprint="r", n_latents=10)
        self.attribute_ranking, self.base_ranking = np.array([4, 2, 7]), np.array([2, 9, 4])
        self.rankings = [np.array([2, 9]), np.array([7])]


JOB, GENDER = Contrast("job", "nurse", "surgeon"), Contrast("gender", "f", "m")
VERDICTS = [
    Verdict(4, "s", "toy", "t", "judge", "llm", {"nurse": 0, "surgeon": 0, "gender": 3}),
    Verdict(2, "s", "toy", "t", "judge", "llm", {"nurse": 3, "surgeon": 0, "gender": 1}),
    Verdict(7, "s", "toy", "t", "judge", "llm", status="refused"),
    Verdict(7, "s", "toy", "t", "someone else", "llm", {"gender": 4}),
]


@pytest.fixture
def selector() -> VerdictSelector:
    texts = LabelledTexts(
        "t", ("a",) * 4, {"job": np.array(["nurse", "surgeon", "cook", ""]), "gender": np.array(["f", "m", "f", "m"])}
    )
    task_set = TaskSet(texts, ((JOB, GENDER),), ("job", ("nurse", "surgeon")))
    return VerdictSelector(task_set, "judge", "judge", ratings_of(VERDICTS, "judge"), Rule(1))


def ids(selected) -> list[tuple[int, ...]]:
    return [s.ids for s in selected]


def test_failed_and_foreign_verdicts_do_not_count(selector: VerdictSelector) -> None:
    assert set(selector.ratings) == {4, 2}


def test_the_four_selections_in_both_directions(selector: VerdictSelector) -> None:
    there, back = View(JOB, GENDER), View(GENDER, JOB)
    assert ids(selector.shift(there, [1, 3])) == [(4,), (4, 2)]
    assert ids(selector.shift(back, [3])) == [(2,)]
    unrelated = replace(selector, selection="task-unrelated")
    assert ids(unrelated.shift(there, [3])) == [(4,)]
    assert [s.state for s in unrelated.shift(back, [3])] == ["nothing passed"]
    assert ids(replace(selector, selection="attribution").shift(there, [2])) == [(4, 2)]


def test_the_papers_rule_zeroes_lower_ratings(selector: VerdictSelector) -> None:
    papers = replace(selector, rule=Rule(1, zero_non_maximum=True))
    assert ids(papers.shift(View(JOB, GENDER), [3])) == [(4,)]
    assert str(papers) == "judge (judge; related at >= 1, lower ratings zeroed, top-then-filter)"


def test_tpp_keeps_what_belongs_to_the_class(selector: VerdictSelector) -> None:
    view = View(JOB, GENDER, tpp=True)
    nurse, surgeon = selector.tpp(view, [2])
    assert (ids(nurse), [s.state for s in surgeon]) == ([(2,)], ["not judged"])
    assert ids(replace(selector, selection="attribution").tpp(view, [1])[1]) == [(7,)]
    with pytest.raises(ConfigError, match="not defined for TPP"):
        replace(selector, selection="task-unrelated").tpp(view, [1])


def test_a_persons_set_counts_only_where_it_was_made(selector: VerdictSelector) -> None:
    place = {"copied_from": None, "created": "", "recording_fingerprint": "r", "who": "ann", "name": "mine"}
    there = {"metric": "shift", "task": "t: nurse/surgeon x f/m", "direction": "target job / spurious gender"}
    sets = [
        (DecisionSet(1, sae_fingerprint="s", **there, **place), [9, 1]),
        (DecisionSet(2, sae_fingerprint="another SAE", **there, **place), [5]),
        (DecisionSet(3, sae_fingerprint="s", metric="tpp", task="t", direction="nurse", **place), [2]),
    ]
    human = replace(selector, selection="human", human=sets)
    assert ids(human.shift(View(JOB, GENDER), [2])) == [(1, 9)]
    old = replace(selector, selection="human", human=[(sets[0][0], [9, 1, 10**6])])
    assert ids(old.shift(View(JOB, GENDER), [2])) == [(1, 9)]  # rows of earlier versions may go beyond the width
    assert [s.state for s in human.shift(View(GENDER, JOB), [2])] == ["nothing marked"]
    nurse, surgeon = human.tpp(View(JOB, GENDER, tpp=True), [1])
    assert (ids(nurse), [s.state for s in surgeon]) == ([(2,)], ["nothing marked"])


def test_unknown_selection_is_refused(selector: VerdictSelector) -> None:
    with pytest.raises(ConfigError, match="unknown selection 'top'"):
        replace(selector, selection="top")
