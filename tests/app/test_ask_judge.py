"""Asking Claude from the page, against a local server: from the button to the score, each failure by its name, the key nowhere."""

import time

import pytest
from fake_claude import FakeClaude, answer, error, message  # noqa: E402
from viewing import opened, texts, view

from app.deciding import judged
from app.jobs import judge as judge_job
from app.services import ledger, scoring, verdicts
from app.views.judge.raters import side_by_side
from saeeval_core.config import RunConfig
from saeeval_core.scores.selections import Rule
from saeeval_core.texts.parts import DEV

SECRET = "sk-ant-secret-0123456789"


@pytest.fixture
def fake(monkeypatch):
    server = FakeClaude().start()
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
    yield server
    server.stop()


@pytest.fixture
def loaded(planted_app):
    """The planted bundle, as views get it."""
    return opened(RunConfig())


def ask(loaded, latents="top5", button="w_ask_go", **more):
    """Open the page, choose Claude and press the button; the page after the run."""
    at = view("judge")
    at.selectbox(key="w_ask_judge").set_value("claude").run()
    at.text_input(key="w_ask_latents").set_value(latents)
    at.text_input(key="w_ask_key").set_value(SECRET)
    for key, value in more.items():
        at.number_input(key=key).set_value(value)
    at.run()
    at.button(key=button).click().run()
    return finished(loaded, at)


def finished(loaded, at):
    end = time.monotonic() + 60
    while judge_job.job_of(loaded).active and time.monotonic() < end:
        time.sleep(0.05)
    at.run()
    assert not at.exception
    return at


def test_from_the_button_to_the_score(fake, loaded):
    d = scoring.shift_directions(loaded)[0]
    board = scoring.shift_view(loaded, d.pair, d.task.target.column, DEV)
    assert judged.judge_sets(loaded, board, 5, Rule()) == []
    fake.behaviour = lambda request, number: answer(request, 3)
    at = ask(loaded)
    asked = judge_job.job_of(loaded).result.run.asked
    assert asked == len(fake.requests) > 5 and f"{asked} new verdicts" in texts(at)
    assert "fires on pronouns" in side_by_side(verdicts.current(loaded))[0]["explanation"]
    chosen = judged.judge_sets(loaded, board, 5, Rule())[0]
    assert chosen.ids == tuple(int(i) for i in board.attribute_ranking[:5])
    assert board.score(list(chosen.ids)).score.value != board.score([]).score.value
    ask(loaded)
    assert len(fake.requests) == asked  # the same questions cost nothing


def test_failures_are_named_and_can_be_asked_again(fake, loaded):
    replies = {
        1: message("I cannot", "refusal"),
        2: message('{"explanation"', "max_tokens"),
        3: (400, error("invalid_request_error")),
    }
    fake.behaviour = lambda request, number: replies.get(number) or answer(request, 1, extra="field")
    at = ask(loaded, "5,17,33,64")
    assert judge_job.job_of(loaded).result.run.failures == {
        "refused": 1,
        "cut off": 1,
        "request not accepted": 1,
        "invalid answer": 1,
    }
    for name in ("refused", "cut off", "request not accepted", "invalid answer"):
        assert f"{name} 1" in texts(at)
    assert judged.judges(loaded) == []  # a failure is never a number
    refused = next(v for v in verdicts.current(loaded) if v.status == "refused")
    fake.behaviour = lambda request, number: answer(request, 3)
    at = view("judge", {"latent": str(refused.latent)})
    assert "no verdict, refused" in texts(at)
    at.text_input(key="w_ask_latents").set_value("top5")
    at.session_state["w_ask_key"] = SECRET
    at.button(key=f"w_again_{refused.latent}_{refused.rater}").click().run()
    finished(loaded, at)
    (now,) = ledger.store().verdicts(loaded.latents.sae_fingerprint, latent=refused.latent)
    assert now.ok and now.ratings["gender"] == 3


def test_counting_asks_nothing_and_a_budget_stops(fake, loaded):
    at = ask(loaded, "5,17,33", button="w_ask_count")
    assert "3 requests, 3,000 tokens in" in texts(at) and fake.requests == []
    ask(loaded, "5,17,33", w_ask_budget=2500)
    assert judge_job.job_of(loaded).result.run.not_asked == 2 and len(fake.requests) == 1
    assert "2 not asked: the budget is used up" in texts(view("judge"))


def test_what_was_just_typed_is_asked_even_where_typing_and_press_arrive_together(fake, loaded):
    at = view("judge")
    at.selectbox(key="w_ask_judge").set_value("claude").run()
    at.text_input(key="w_ask_key").set_value(SECRET)
    at.text_input(key="w_ask_latents").set_value("5,17")
    at.button(key="w_ask_count").click().run()
    assert "2 requests, 2,000 tokens in" in texts(finished(loaded, at))


def test_the_key_is_sent_and_kept_nowhere(fake, loaded, tmp_path):
    fake.behaviour = lambda request, number: (401, error("authentication_error", f"invalid x-api-key {SECRET}"))
    at = ask(loaded, "5")
    assert SECRET in str(fake.headers)  # it was sent
    assert "key rejected 1" in texts(at) and SECRET not in texts(at)
    ledger.store()._engine.dispose()
    assert all(SECRET.encode() not in f.read_bytes() for f in tmp_path.glob("store.sqlite*"))
    assert SECRET not in repr(vars(judge_job.job_of(loaded)))


def test_without_a_key_the_page_says_so(fake, loaded):
    at = view("judge")
    at.selectbox(key="w_ask_judge").set_value("claude").run()
    at.text_input(key="w_ask_latents").set_value("5").run()
    at.button(key="w_ask_go").click().run()
    assert "no API key" in texts(finished(loaded, at)) and fake.requests == []


def test_latents_that_cannot_be_read_are_one_box(fake, loaded):
    at = ask(loaded, "best")
    assert "neither topK" in at.error[0].value.replace("\\", "")
