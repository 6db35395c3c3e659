"""The local judge: deterministic, labelled local, whole words, states for what it cannot judge."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judge_fixtures import toy_source

from saeeval_core.evidence.evidence import for_judge, latent_evidence
from saeeval_core.evidence.tokens import TokenCosine
from saeeval_core.judging import verdict as v
from saeeval_core.judging.local import CUTS, LocalJudge, paraphrases, strongest_words
from saeeval_core.judging.run import judge_questions
from saeeval_core.ledger.store import Store

CONCEPTS = (v.Concept("nurse"), v.Concept("gender", "female, male"))


@pytest.fixture
def judge(tiny_model) -> LocalJudge:
    return LocalJudge(lambda: tiny_model)


def evidence(latent: int = 0):
    return for_judge(latent_evidence([toy_source()], latent))


def test_same_question_same_answer(judge: LocalJudge, tiny_model) -> None:
    first = judge.rate(judge.question(evidence(), CONCEPTS, "toy"))
    again = LocalJudge(lambda: tiny_model)
    assert again.rate(again.question(evidence(), CONCEPTS, "toy")) == first
    assert (first.rater_kind, first.ok, set(first.ratings)) == ("local", True, {"nurse", "gender"})
    assert "weak" in first.rater
    assert '"she"' in first.explanation


def test_ratings_are_the_number_of_cuts_passed(judge: LocalJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "log_ratios", lambda words, concepts: [CUTS[0], CUTS[3] + 1])
    assert judge.rate(judge.question(evidence(), CONCEPTS, "toy")).ratings == {"nurse": 1, "gender": 4}
    monkeypatch.setattr(judge, "log_ratios", lambda words, concepts: [-5.0, CUTS[0] - 0.01])
    assert judge.rate(judge.question(evidence(), CONCEPTS, "toy")).ratings == {"nurse": 0, "gender": 0}


def test_ratio_is_zero_for_the_neutral_lists_themselves(judge: LocalJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    p = np.full(len(judge._lm().tokenizer), 0.01)
    monkeypatch.setattr(judge, "_next", lambda prompt: p)
    assert judge.log_ratios(["x"], CONCEPTS) == [0.0, 0.0]


def test_a_latent_without_evidence_has_no_verdict(judge: LocalJudge) -> None:
    found = judge.rate(judge.question(evidence(3), CONCEPTS, "toy"))
    assert (found.status, dict(found.ratings)) == ("nothing to judge", {})


def test_punctuation_is_rated_0_without_asking_the_model() -> None:
    e = evidence()
    dots = replace(
        e, contexts=(replace(e.contexts[0], tokens=(".", ".)"), activations=(1.0, 2.0), before="", after=""),)
    )
    judge = LocalJudge(lambda: pytest.fail("the model is not needed"))
    assert judge.rate(judge.question(dots, CONCEPTS, "toy")).ratings == {"nurse": 0, "gender": 0}


def test_strongest_words_are_whole_and_ordered() -> None:
    context = replace(
        evidence().contexts[0],
        tokens=(" hosp", "ital", " of", " nurs"),
        activations=(3.0, 0.0, 1.0, 2.0),
        before="The",
        after="es!",
    )
    assert strongest_words([context]) == ["hospital", "nurses", "of"]


def test_paraphrases_of_known_and_unknown_concepts() -> None:
    assert "she" in paraphrases(v.Concept("gender", "female, male"))
    assert paraphrases(v.Concept("Nurse")) == paraphrases(v.Concept("nurse"))
    assert paraphrases(v.Concept("Toys_and_Games")) == ["toys", "games"]
    assert paraphrases(v.Concept("???")) == ["???"]


def test_verdicts_go_to_the_store_and_are_not_made_twice(judge: LocalJudge, tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    questions = [judge.question(evidence(i), CONCEPTS, "toy") for i in (0, 1, 3)]
    first = judge_questions(store, judge, questions)
    assert (first.answered, first.failures) == (2, {"nothing to judge": 1})
    assert judge_questions(store, judge, questions).asked == 1
    changed = replace(evidence(), promoted=(TokenCosine(" her", 0.5),))
    assert judge_questions(store, judge, [judge.question(changed, CONCEPTS, "toy")]).asked == 1
