"""A judge before it is trusted: beside people's decisions in both directions and classes, and beside their ratings."""

from pathlib import Path

import pytest

from saeeval_core.config import RunConfig
from saeeval_core.errors import ConfigError, DataError
from saeeval_core.judging import trusted
from saeeval_core.judging.trusted import trust, trust_command
from saeeval_core.ledger.store import Store
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.recordings.known_saes import KnownSae
from saeeval_core.recordings.obtain import task_set_of
from saeeval_core.scores.selections import Rule
from saeeval_core.texts.tasks import TaskSet

SAE = KnownSae("toy", "blocks.0.hook_resid_post", "print", 50)
JUDGE = "qwen3:8b at localhost:11434"


@pytest.fixture
def task_set(tiny_texts_file: Path) -> TaskSet:
    return task_set_of(
        RunConfig(texts=str(tiny_texts_file), target="profession=nurse,surgeon", spurious="gender=female,male")
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "s.sqlite")


def rate(store: Store, task_set: TaskSet, rater: str, kind: str, gender: dict[int, int]) -> None:
    name = task_set.texts.name
    store.add_verdicts(
        [Verdict(i, "print", "toy", name, rater, kind, {"gender": r, "profession": 0}, "x") for i, r in gender.items()]
    )


def decide(store: Store, task_set: TaskSet, decisions: dict[int, str], who="Ada", flipped=False, reason="") -> None:
    (target, spurious) = task_set.pairs[0]
    pair = (spurious, target) if flipped else (target, spurious)
    made = store.create_set(
        "mine",
        who,
        metric="shift",
        task=f"{task_set.texts.name}: {pair[0]} x {pair[1]}",
        direction=f"target {pair[0].column} / spurious {pair[1].column}",
        sae_fingerprint="print",
        recording_fingerprint="r",
    )
    store.decide(made.id, who, decisions, reason)


def test_decisions_are_compared_by_the_rule(store, task_set):
    rate(store, task_set, JUDGE, "llm", {1: 4, 2: 3, 3: 1, 4: 0})
    decide(store, task_set, {1: "ablate", 2: "keep", 3: "keep", 4: "keep", 5: "ablate", 6: "unsure"})
    (found,) = trust(store, SAE, task_set, JUDGE, resamples=50).decisions
    a = found.agreement
    assert (found.who, a.n, a.exact.value, found.not_judged, found.taken_over) == ("Ada", 4, 0.75, (5,), 0)
    # both yes 1, both no 2, only the judge 1: expected agreement (1*2 + 3*2) / 16 = 1/2, so kappa = (3/4 - 1/2) / (1/2)
    assert a.kappa_ge1.value == pytest.approx(0.5)
    loose = trust(store, SAE, task_set, JUDGE, rule=Rule(1), resamples=50).decisions[0].to_dict()
    assert (loose["same"]["value"], loose["ablated_by_judge_only"], loose["not_judged"]) == (0.5, 2, [5])


def test_the_other_direction_asks_for_the_other_concept(store, task_set):
    rate(store, task_set, JUDGE, "llm", {1: 4, 2: 4})
    decide(store, task_set, {1: "ablate", 2: "keep"}, flipped=True)
    (found,) = trust(store, SAE, task_set, JUDGE, resamples=50).decisions
    assert found.about == "target gender / spurious profession"
    assert found.agreement.confusion[:2, :2].tolist() == [[1, 0], [1, 0]], (
        "profession is rated 0, so nothing is ablated"
    )


def test_the_judges_own_proposals_do_not_speak_for_it(store, task_set):
    rate(store, task_set, JUDGE, "llm", {1: 4, 2: 4})
    decide(store, task_set, {1: "ablate", 2: "ablate"}, reason=f"reset to judge, {JUDGE}: top 20 related to gender")
    assert trust(store, SAE, task_set, JUDGE).decisions == ()


def test_ratings_of_people_and_imports_stand_beside_and_other_judges_do_not(store, task_set):
    for rater, kind in (
        (JUDGE, "llm"),
        ("other", "llm"),
        ("LocalJudge", "local"),
        ("Ada", "human"),
        ("np", "imported"),
    ):
        rate(store, task_set, rater, kind, {1: 4, 2: 0})
    found = trust(store, SAE, task_set, JUDGE, resamples=50)
    assert [(a.a, a.b, a.n) for a in found.ratings] == [("Ada", JUDGE, 4), ("np", JUDGE, 4)]


def test_the_command_finds_a_judge_by_part_of_its_name(store, task_set, monkeypatch):
    monkeypatch.setattr(trusted, "identify", lambda _spec: SAE)
    monkeypatch.setattr(trusted, "task_set_of", lambda _config: task_set)
    with pytest.raises(ConfigError, match="names no judges .*none yet, run saeeval judge first"):
        trust_command("qwen", "toy", "t", store=store)
    rate(store, task_set, JUDGE, "llm", {1: 4})
    rate(store, task_set, "qwen3:14b at localhost:11434", "llm", {1: 4})
    with pytest.raises(ConfigError, match="names 2 judges"):
        trust_command("QWEN", "toy", "t", store=store)
    with pytest.raises(DataError, match="nobody has decided on or rated"):
        trust_command("8b", "toy", "t", store=store)
    decide(store, task_set, {1: "ablate", 2: "ablate"})
    found = trust_command("8b", "toy", "t", store=store, resamples=50).to_dict()
    assert (found["judge"], found["rate_these_too"], found["decisions"][0]["n"]) == (JUDGE, [2], 1)
