"""Judges behind any server: Messages as vLLM, llama.cpp and Ollama speak it, and Chat Completions, faults included."""

import json
import logging
from pathlib import Path

import pytest
from fake_servers import MODEL, FakeServer, in_prose, rated
from judge_fixtures import toy_source

from saeeval_core.config import fingerprint
from saeeval_core.errors import ConfigError, JudgeError
from saeeval_core.evidence.evidence import for_judge, latent_evidence
from saeeval_core.judging import verdict as v
from saeeval_core.judging.budget import Budget, Usage
from saeeval_core.judging.chat import Chat
from saeeval_core.judging.compatible import CompatibleJudge
from saeeval_core.judging.messages import Messages
from saeeval_core.judging.run import judge_questions
from saeeval_core.judging.server import ServerSettings
from saeeval_core.ledger.store import Store
from saeeval_core.ledger.verdicts import Served

KEY = "sk-test-VERYSECRET-0123456789"
CONCEPTS = (v.Concept("nurse"), v.Concept("gender", "female, male"))
KINDS = ("ollama", "vllm", "llama.cpp", "strict", "chat", "chat-plain")
ANTHROPIC_AND_CHAT = ("vllm", "chat")


@pytest.fixture
def served():
    running: list[FakeServer] = []

    def start(kind: str, **more) -> FakeServer:
        running.append(FakeServer(kind, **more).start())
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.sqlite")


def make(fake: FakeServer, key: str = "", **settings) -> CompatibleJudge:
    defaults = {"model": MODEL, "base_url": fake.url, "retries": 0, "timeout": 60.0}
    return CompatibleJudge(
        key, ServerSettings(**(defaults | settings)), Chat() if fake.kind.startswith("chat") else Messages()
    )


def questions(judge: CompatibleJudge, latents=(0, 1, 2)) -> list[v.Question]:
    return [judge.question(for_judge(latent_evidence([toy_source()], i)), CONCEPTS, "toy") for i in latents]


def stored(store: Store) -> list:
    return store.verdicts("toyprint")


@pytest.mark.parametrize("kind", KINDS)
def test_every_server_judges_without_a_key(served, store, kind):
    fake = served(kind)
    judge = make(fake)
    judge.probe()
    run = judge_questions(store, judge, questions(judge))
    assert (run.answered, run.failures, run.used) == (3, {}, Usage(2700, 0, 300))
    first = stored(store)[0]
    assert dict(first.ratings) == {"nurse": 2, "gender": 2} and first.explanation == "fires on pronouns"
    assert (first.rater, first.rater_kind) == (f"{MODEL} at {fake.host}", "llm")
    found = Served.of(first.model)
    assert found == Served(MODEL, f"{MODEL}-q4", fake.host, judge.wire.name, found.request)
    assert found.request in map(fingerprint, fake.requests), "of exactly what was sent"
    assert "```json" in first.raw, "the reply word for word"
    assert first.key in {q.blank.key for q in questions(make(fake))}


EXPECTED = {
    "ollama": (True, 1, "JSON is read from the text of its replies"),
    "vllm": (True, 1, "JSON is read from the text of its replies"),
    "llama.cpp": (True, 1, "JSON is read from the text of its replies"),
    "strict": (False, 2, "JSON is read from the text of its replies, without prompt caching"),
    "chat": (True, 1, "JSON is read from the text of its replies"),
    "chat-plain": (False, 2, "JSON is read from the text of its replies"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_one_small_question_finds_out_what_a_server_can_do(served, kind):
    cache, asked, words = EXPECTED[kind]
    fake = served(kind)
    judge = make(fake)
    found = judge.probe()
    assert (found.abilities.schema, found.abilities.cache, len(fake.requests)) == (False, cache, asked)
    assert found.words == f"{fake.host} ({judge.wire.name}) answers as {MODEL}-q4; {words}"
    sent = json.dumps(judge.body(questions(judge)[0]))
    assert "json_schema" not in sent and ("cache_control" in sent) == (cache and judge.wire.name == "messages")


@pytest.mark.parametrize("kind", ANTHROPIC_AND_CHAT)
def test_a_server_that_keeps_to_a_schema_is_asked_with_one(served, store, kind):
    fake = served(kind, answer=lambda r, n: rated(r))
    judge = make(fake)
    assert judge.probe().words.endswith("it keeps to a JSON schema")
    judge_questions(store, judge, questions(judge, [0]))
    sent = json.dumps(fake.requests[-1])
    assert '"json_schema"' in sent and "concept_2" in sent
    assert stored(store)[0].ok


FAULTS = {
    "rate limited": lambda r, n: (429, {"error": {"message": "slow down"}}, {"retry-after": "0"}),
    "no credit": lambda r, n: (429, {"error": {"message": "no quota", "code": "insufficient_quota"}}),
    "server error": lambda r, n: (500, {"error": {"message": "oops"}}),
    "key rejected": lambda r, n: (401, {"error": {"code": 401, "message": "Invalid API Key"}}),
    "request not accepted": lambda r, n: (400, {"error": {"message": "no"}}),
    "too long for the model": lambda r, n: (
        400,
        {"error": {"code": 400, "message": "the request exceeds the available context size", "n_ctx": 4096}},
    ),
    "timed out": lambda r, n: "hang",
    "connection failed": lambda r, n: "reset",
    "invalid answer": lambda r, n: "I will not write JSON.",
}


@pytest.mark.parametrize("kind", ANTHROPIC_AND_CHAT)
@pytest.mark.parametrize("status", FAULTS)
def test_every_fault_is_a_named_no_verdict(served, store, kind, status):
    judge = make(served(kind, answer=FAULTS[status]), timeout=0.6 if status == "timed out" else 60.0)
    run = judge_questions(store, judge, questions(judge, [0]))
    (found,) = stored(store)
    assert (found.status, dict(found.ratings), run.failures) == (status, {}, {status: 1})


STOPPED = {
    "cut off": ("max_tokens", "length"),
    "refused": ("refusal", "content_filter"),
    "invalid answer": ("tool_use", "tool_calls"),
}


@pytest.mark.parametrize("kind", ANTHROPIC_AND_CHAT)
@pytest.mark.parametrize("status", STOPPED)
def test_a_reply_that_did_not_end_is_no_verdict(served, store, kind, status):
    def stopped(request: dict, _n: int) -> dict:
        reply = fake.reply(rated(request))
        reply["stop_reason"] = STOPPED[status][0]
        for choice in reply.get("choices", ()):
            choice["finish_reason"] = STOPPED[status][1]
        return reply

    fake = served(kind, answer=stopped)
    judge = make(fake)
    assert judge_questions(store, judge, questions(judge, [0])).failures == {status: 1}


def test_a_refusal_in_words_of_chat_completions_is_a_refusal(served, store):
    def refuse(request: dict, _n: int) -> dict:
        reply = fake.reply("")
        reply["choices"][0]["message"] = {"role": "assistant", "content": None, "refusal": "I would rather not."}
        return reply

    fake = served("chat", answer=refuse)
    judge = make(fake)
    assert judge_questions(store, judge, questions(judge, [0])).failures == {"refused": 1}
    assert stored(store)[0].raw == "I would rather not."


WRONG = {
    "float": lambda r: rated(r, 2.0),
    "half": lambda r: rated(r, 1.5),
    "five": lambda r: rated(r, 5),
    "string": lambda r: rated(r, "3"),
    "true": lambda r: rated(r, True),
    "null": lambda r: rated(r, None),
    "extra key": lambda r: rated(r, comment="x"),
    "missing concept": lambda r: rated(r, ratings={"concept_1": 1}),
    "cut": lambda r: rated(r)[:-9],
    "list": lambda r: "[]",
    "empty": lambda r: "",
    "braces": lambda r: "{" * 5000,
    "deep": lambda r: '{"a":' * 5000,
}


@pytest.mark.parametrize("kind", ANTHROPIC_AND_CHAT)
@pytest.mark.parametrize("wrong", WRONG)
def test_json_in_text_is_checked_as_strictly_as_a_schema(served, store, kind, wrong):
    judge = make(served(kind, answer=lambda r, n: WRONG[wrong](r)))
    judge_questions(store, judge, questions(judge, [0]))
    assert (stored(store)[0].status, dict(stored(store)[0].ratings)) == ("invalid answer", {})


@pytest.mark.parametrize("kind", ANTHROPIC_AND_CHAT)
@pytest.mark.parametrize(
    "body", [b"not json", b"{}", b"null", b"[]", b'{"choices": [], "content": "x"}', b'{"choices": [1]}']
)
def test_a_reply_that_is_not_of_the_protocol_is_no_verdict_and_no_probe(served, store, kind, body):
    judge = make(served(kind, answer=lambda r, n: body))
    judge_questions(store, judge, questions(judge, [0]))
    assert stored(store)[0].status == "invalid answer"
    with pytest.raises(JudgeError, match="not the protocol"):
        judge.probe()


def test_the_last_json_of_a_reply_counts_and_thoughts_do_not():
    assert v.json_in('quoting {"a": 1} I answer {"b": {"c": 2}} so.') == '{"b": {"c": 2}}'
    assert v.json_in('<think>perhaps {"a": 1}</think>\n{"b": 2}') == '{"b": 2}'
    assert v.json_in('{"open": {"b": 2}') == '{"b": 2}'
    assert v.json_in("no json") == "no json"


@pytest.mark.parametrize("kind", KINDS)
def test_without_its_model_a_server_is_left_alone_in_one_line(served, kind):
    fake = served(kind)
    judge = make(fake, model="nothing")
    with pytest.raises(JudgeError, match=f"{fake.host} did not answer .* to nothing: request not accepted .*nothing"):
        judge.probe()
    with pytest.raises(ConfigError, match="which model of .* --model-name"):
        make(fake, model=" ")


def test_a_server_that_does_not_run_is_one_line(served):
    fake = served("ollama")
    fake.stop()
    with pytest.raises(JudgeError, match="connection failed .*check that it runs"):
        make(fake).probe()


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x", "http://", "/v1"])
def test_what_is_no_address_is_refused(served, url):
    with pytest.raises(ConfigError, match="is no address of a server; give one such as http://localhost"):
        make(served("vllm"), base_url=url)


@pytest.mark.parametrize("pasted", ["", "/", "/v1", "/v1/", "/v1/messages", "/v1/chat/completions"])
@pytest.mark.parametrize("kind", ANTHROPIC_AND_CHAT)
def test_an_address_may_be_pasted_with_any_end(served, kind, pasted):
    fake = served(kind)
    path = "/v1/messages" if kind == "vllm" else "/v1/chat/completions"
    if pasted.startswith("/v1/") and pasted != "/v1/" and pasted != path:
        pytest.skip("the other protocol's")
    make(fake, base_url=fake.url + pasted).probe()
    assert set(fake.paths) == {path}


def test_tokens_are_counted_by_those_who_count_and_estimated_for_others(served):
    judge = make(served("vllm"))
    count = judge.count(questions(judge))
    assert (count.input, count.exact, count.counted) == (3000, True, True)
    for kind in ("ollama", "chat"):
        fake = served(kind)
        judge = make(fake)
        count = judge.count(questions(judge))
        assert (count.requests, count.exact, count.counted, fake.requests) == (3, False, False, [])
        assert 0 < count.input < sum(count.per_request), "a budget reckons with a token per byte"


@pytest.mark.parametrize("kind", ANTHROPIC_AND_CHAT)
def test_a_reply_that_does_not_say_its_use_counts_as_the_most_it_may_use(served, store, kind):
    judge = make(served(kind, usage=False), concurrency=1)
    most = [Usage(1000, 0, 200)] * 3
    run = judge_questions(store, judge, questions(judge), Budget(tokens=2500), most=most)
    assert (run.asked, run.not_asked, run.used) == (2, 1, Usage(2000, 0, 400))


@pytest.mark.parametrize("kind", ("llama.cpp", "chat"))
def test_a_key_is_sent_where_one_is_given_and_kept_nowhere(served, tmp_path, caplog, kind):
    fake = served(kind, key=KEY, answer=lambda r, n: in_prose(r).replace("pronouns", KEY))
    store = Store(tmp_path / "s.sqlite")
    with caplog.at_level(logging.DEBUG):
        with pytest.raises(JudgeError, match="key rejected"):
            make(fake).probe()
        judge = make(fake, KEY)
        judge.probe()
        judge_questions(store, judge, questions(judge, [0]))
    (kept,) = stored(store)
    assert kept.explanation == "fires on [key]"
    store.close()
    assert KEY in str(fake.headers) and KEY not in caplog.text + repr(judge) + str(vars(judge.settings))
    assert not [p for p in tmp_path.iterdir() if KEY.encode() in p.read_bytes()]


@pytest.mark.parametrize("kind", ANTHROPIC_AND_CHAT)
def test_keys_of_vendors_stay_away_from_other_servers(served, monkeypatch, kind):
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, KEY)
    fake = served(kind)
    make(fake).probe()
    assert KEY not in str(fake.headers)


def test_who_served_a_verdict_is_read_back_also_from_older_ones():
    new = Served("a b", "c served as d at e", "h:1", "chat", "0123456789abcdef")
    assert Served.of(str(new)) == new
    assert Served.of("claude-haiku-5-5 served as fake at h:1") == Served("claude-haiku-5-5", "fake", "h:1")
    assert Served.of("claude-haiku-5-5") is None
