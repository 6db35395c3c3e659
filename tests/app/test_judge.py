"""Judge view: verdicts side by side, failures that are not zeros, agreement, conflicts, and blind rating."""

import pytest
from viewing import opened, texts, verdict, view

from app.services import intruders, ledger, verdicts
from app.services.evidence import evidence_of
from app.views.judge import blind as blind_view
from app.views.judge.raters import side_by_side
from saeeval_core.config import RunConfig
from saeeval_core.errors import DataError
from saeeval_core.judging.agreement import Conflict
from saeeval_core.judging.local import LocalJudge
from saeeval_core.judging.verdict import task_concepts
from saeeval_core.ledger.verdicts import INTRUDER


@pytest.fixture
def loaded(planted_app):
    """The planted bundle, as views get it."""
    return opened(RunConfig())


@pytest.fixture
def judged(loaded):
    concepts = [c.name for c in task_concepts(loaded.task_set)]
    rows = []
    for latent in range(8):
        one = dict.fromkeys(concepts, 0) | {"gender": 4 if latent < 4 else 0}
        two = dict.fromkeys(concepts, 0) | {"gender": 4 if latent < 3 else 0}
        rows.append(
            verdict(loaded, latent, "judge A", "llm", one, explanation=f"about {latent}", reason="<b>because</b>")
        )
        rows.append(verdict(loaded, latent, "LocalJudge", "local", two))
    rows.append(verdict(loaded, 20, "judge A", "llm", {}, status="refused", raw="I cannot"))
    ledger.store().add_verdicts(rows)
    return loaded


def test_empty_state_gives_the_command(loaded):
    at = view("judge")
    assert not at.exception and "saeeval judge" in texts(at) and "needs two raters" in texts(at)


def test_verdicts_stand_side_by_side_and_a_refusal_is_no_number(judged):
    at = view("judge", {"latent": "20"})
    assert not at.exception
    rows = side_by_side(verdicts.current(judged))
    refused = next(r for r in rows if r["latent"] == 20)
    assert refused["judge A"] == "no verdict: refused" and refused["LocalJudge"] == ""
    assert "no verdict, refused" in texts(at)


def test_agreement_gives_kappa_with_interval_and_n(judged):
    at = view("judge")
    said = texts(at)
    assert "ratings on 8 latents" in said and "ordinal:" in said
    table = next(d.value for d in at.dataframe if "kappa, related (≥ 1)" in d.value.columns)
    assert table["concept"].iloc[0] == "all" and "[" in table["kappa, related (≥ 1)"].iloc[0]


def test_missing_as_zero_is_named(judged):
    ledger.store().add_verdicts([verdict(judged, 30, "judge A", "llm", {"gender": 1})])
    at = view("judge")
    at.toggle(key="w_agree_zero_own").set_value(True).run()
    assert "read as 0" in texts(at)


def test_settling_a_conflict_is_kept_under_its_own_name(judged):
    at = view("judge", session={"who": "Ada"})
    assert "1 conflict," in texts(at)
    at.segmented_control(key="w_settle_3_gender").set_value(2).run()
    at.button(key="w_settle_save").click().run()
    assert not at.exception
    (kept,) = ledger.store().verdicts(judged.latents.sae_fingerprint, rater=verdicts.ADJUDICATED)
    assert kept.ratings == {"gender": 2} and kept.rater_kind == "human" and "Ada" in kept.reason


def test_a_second_ruling_keeps_the_first_and_rulings_are_no_rater_of_the_conflicts(judged):
    gender = Conflict(3, "gender", 4, 0)
    nurse = Conflict(3, "nurse", 1, 2)
    verdicts.settle(judged, gender, 2, "Ada", ("judge A", "LocalJudge"))
    verdicts.settle(judged, nurse, 1, "Bob", ("judge A", "LocalJudge"))
    (kept,) = (v for v in verdicts.current(judged) if v.rater == verdicts.ADJUDICATED)
    assert kept.ratings == {"gender": 2, "nurse": 1}
    assert kept.reason == "settled by Bob between judge A and LocalJudge"
    assert kept.evidence_hash == evidence_of(judged, 3).hash
    at = view("judge")
    assert [str(o) for o in at.selectbox(key="w_conflict_pair").options] == ["LocalJudge and judge A"]


def test_rating_blind_needs_a_name(judged):
    assert "Give your name" in texts(view("judge"))


def test_blind_rating_hides_verdict_and_class_and_saves_as_human(judged, monkeypatch):
    at = view("judge", session={"who": "Ada"})
    latent = verdicts.blind_queue(judged, "Ada")[0]
    blind = at.tabs[3]
    shown = " ".join(str(e.value) for kind in (blind.caption, blind.markdown, blind.text) for e in kind)
    assert (
        not at.exception
        and "about" not in shown.replace("What is this latent about", "")
        and "nurse, female" not in shown
    )
    given = {c.name: 0 for c in task_concepts(judged.task_set)} | {"gender": 3}
    sent = {"client": "page", "seq": 1, "latent": latent, "ratings": given, "explanation": "pronouns", "reason": ""}
    monkeypatch.setattr(blind_view.st, "session_state", {})
    for _ in range(2):  # sent again, stored once
        blind_view.take(judged, "Ada", sent)
    (kept,) = ledger.store().verdicts(judged.latents.sae_fingerprint, rater="Ada")
    assert kept.latent == latent and kept.rater_kind == "human" and kept.explanation == "pronouns"
    assert kept.ratings == given
    assert verdicts.blind_queue(judged, "Ada") != verdicts.blind_queue(judged, "Bob")


@pytest.mark.parametrize("ratings", [None, {}, {"gender": 0}, {"gender": 5}, {"gender": "1"}])
def test_what_nobody_rated_is_never_saved_as_zero(judged, ratings):
    sent = {"client": "page", "seq": 1, "latent": verdicts.blind_queue(judged, "Ada")[0], "ratings": ratings}
    with pytest.raises(DataError, match="rate every concept"):
        blind_view.take(judged, "Ada", sent)
    assert not ledger.store().verdicts(judged.latents.sae_fingerprint, rater="Ada")


def test_a_skipped_latent_comes_last_and_gets_no_rating(judged, monkeypatch):
    monkeypatch.setattr(blind_view.st, "session_state", kept := {})
    first, second = verdicts.blind_queue(judged, "Ada")[:2]
    for latent in (first, second, first):
        blind_view.take(judged, "Ada", {"latent": latent, "skip": True})
    assert kept["blind_skipped"] == [second, first]
    assert not ledger.store().verdicts(judged.latents.sae_fingerprint, rater="Ada")


def test_an_intruder_is_found_blind_by_key_and_kept_with_who_did_it(loaded):
    at = view("judge", {"tab": "intruder"}, {"who": "Ada"})
    assert not at.exception
    trial = intruders.next_trial(loaded, "Ada")
    assert [at.button(key=f"w_intruder_{p}").proto.shortcut for p in range(5)] == list("12345")
    at.button(key=f"w_intruder_{trial.intruder}").click().run()
    assert not at.exception and "right" in texts(at) and str(trial.latent) in texts(at)
    task = INTRUDER + loaded.task_set.texts.name
    (kept,) = ledger.store().verdict_history(loaded.latents.sae_fingerprint, task=task)
    assert (kept.rater, kept.rater_kind, kept.ratings["picked"]) == ("Ada", "human", trial.intruder)
    assert kept.evidence_hash == trial.hash and kept.reason.startswith("after ")
    assert verdicts.current(loaded) == [] and intruders.next_trial(loaded, "Ada").hash != trial.hash
    assert intruders.next_trial(loaded, "Bob") is not None, "everyone has trials of their own"


def test_a_models_intruders_are_never_shown_as_a_persons(judged):
    trial = intruders.next_trial(judged, "Ada")
    judge = LocalJudge(lambda: pytest.fail("no model"))
    ledger.store().add_verdicts([judge.intruder_question(trial, judged.task_set.texts.name).picked(0)])
    intruders.answer(judged, trial, 1, "Ada", 3.0)
    at = view("judge", {"tab": "intruder"}, {"who": "Ada"})
    table = next(d.value for d in at.dataframe if "finds the intruder" in d.value.columns)
    assert list(zip(table["rater"], table["kind"], strict=True)) == [
        ("Ada", "person"),
        ("LocalJudge (weak, offline)", "offline judge (weak)"),
    ]
    pairs = next(d.value for d in at.dataframe if "same window" in d.value.columns)
    assert pairs["trials of both"].tolist() == [1]


def test_a_guest_answers_nothing(loaded):
    at = view("judge", {"tab": "intruder"})
    assert not any(b.key.startswith("w_intruder") for b in at.button)


def test_the_keys_of_the_intruder_task_are_there_only_while_its_tab_is_open(loaded):
    at = view("judge", {"tab": "agreement"}, {"who": "Ada"})
    assert not any(str(b.key).startswith("w_intruder") for b in at.button)
