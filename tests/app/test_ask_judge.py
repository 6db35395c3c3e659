"""Asking judges from the page, against local servers: from the button to the score, failures by name, the key nowhere."""

import time

import pytest
from fake_claude import FakeClaude, answer, error, message  # noqa: E402
from fake_servers import MODEL, FakeServer, in_prose
from viewing import opened, texts, view

from app.deciding import judged
from app.jobs import judge as judge_job
from app.services import access, ledger, scoring, verdicts
from app.views.judge.raters import side_by_side
from saeeval_core.config import RunConfig
from saeeval_core.judging.command import JudgeOptions
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


@pytest.fixture
def ollama(monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "SAEEVAL_JUDGE_KEY", "SAEEVAL_JUDGE_URL"):
        monkeypatch.delenv(name, raising=False)
    server = FakeServer("ollama", answer=lambda r, n: in_prose(r, 3)).start()
    yield server
    server.stop()


def choose(server, latents, judge="messages"):
    """The page with this server chosen, no key given."""
    at = view("judge")
    at.selectbox(key="w_ask_judge").set_value(judge).run()
    at.text_input(key=f"w_ask_url_{judge}").set_value(server.url)
    at.text_input(key=f"w_ask_model_{judge}").set_value(MODEL)
    at.text_input(key="w_ask_latents").set_value(latents)
    return at


def test_a_local_server_is_tested_priced_and_asked_without_a_key(ollama, loaded):
    at = choose(ollama, "5,17,33,64")
    at.button(key="w_ask_test").click().run()
    at = finished(loaded, at)
    assert f"{ollama.host} (messages) answers as {MODEL}-q4; JSON is read" in texts(at).replace("\\", "")
    at.number_input(key="w_ask_price_in").set_value(1000.0)
    at.number_input(key="w_ask_price_out").set_value(1000.0)
    at.button(key="w_ask_count").click().run()
    at = finished(loaded, at)
    assert "4 requests, about " in texts(at) and "about $" in texts(at).replace("\\", "")
    assert len(ollama.requests) == 1, "the test; counting asks nothing"
    at.button(key="w_ask_go").click().run()
    at = finished(loaded, at)
    assert judge_job.job_of(loaded).result.run.answered == 4 and "4 new verdicts" in texts(at)
    rater = f"{MODEL} at {ollama.host}"
    assert rater in judged.judges(loaded)
    assert f"Before you trust {rater}:" in texts(at) and "rate some blind first" in texts(at)
    for latent in (5, 17, 33):
        verdicts.rate(loaded, latent, "Ada", {"gender": 3})
    assert "ratings of Ada: kappa" in texts(at.run())
    assert not any(h.get("authorization", "Bearer none") != "Bearer none" for h in ollama.headers)


def test_a_failed_verdict_is_asked_again_only_of_the_server_that_gave_it(ollama, loaded):
    ollama.answer = lambda r, n: "no JSON" if n > 1 else in_prose(r)
    at = choose(ollama, "5")
    at.button(key="w_ask_go").click().run()
    finished(loaded, at)
    (failed,) = [v for v in verdicts.current(loaded) if v.status == "invalid answer"]
    at = view("judge", {"latent": "5"})
    again = f"w_again_5_{failed.rater}"
    assert again not in [b.key for b in at.button] and "Choose this server and model above" in texts(at)
    ollama.answer = lambda r, n: in_prose(r)
    at.selectbox(key="w_ask_judge").set_value("messages").run()
    at.text_input(key="w_ask_url_messages").set_value(ollama.url)
    at.text_input(key="w_ask_model_messages").set_value(MODEL).run()
    at.button(key=again).click().run()
    finished(loaded, at)
    assert [v.ok for v in verdicts.current(loaded) if v.rater == failed.rater] == [True]


def test_a_labs_server_asks_only_the_address_of_who_runs_it(ollama, loaded, monkeypatch):
    monkeypatch.setattr(access, "_now", access.Access(roots=()))
    at = view("judge")
    at.selectbox(key="w_ask_judge").set_value("messages").run()
    assert at.text_input(key="w_ask_url_messages").disabled
    options = JudgeOptions("messages", "5", MODEL, ollama.url)
    for only_test in (True, False):
        judge_job.start(loaded, options, only_test=only_test)
        assert "asks judges at no address given on a page" in texts(finished(loaded, at)) and ollama.headers == []
    monkeypatch.setenv("SAEEVAL_JUDGE_URL", ollama.url)
    judge_job.start(loaded, options, only_test=True)
    assert "answers as" in texts(finished(loaded, at))
