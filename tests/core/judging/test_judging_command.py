"""From a task and an SAE to verdicts in the store, through the real pipeline on tiny models and a local Claude server."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_claude import FakeClaude, answer
from fake_servers import MODEL, FakeServer

from saeeval_core.config import RunConfig
from saeeval_core.errors import ConfigError, DataError, JudgeError
from saeeval_core.judging import chat
from saeeval_core.judging.command import JudgeOptions, judge_command, make_judge, parse_latents, selector
from saeeval_core.ledger.store import Store
from saeeval_core.scores.selections import Rule


@pytest.fixture
def fake():
    server = FakeClaude().start()
    yield server
    server.stop()


@pytest.fixture
def config(tiny_model_dir: Path, tiny_sae_dirs, tiny_texts_file: Path) -> RunConfig:
    return RunConfig(
        model=str(tiny_model_dir),
        saes=(str(tiny_sae_dirs["topk"]),),
        texts=str(tiny_texts_file),
        target="profession=nurse,surgeon",
        spurious="gender=female,male",
        resamples=20,
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "s.sqlite")


def claude(fake: FakeClaude, **options) -> JudgeOptions:
    return JudgeOptions(**{"judge": "claude", "latents": "top3", "base_url": fake.url} | options)


ABOUT = {"judge", "rater_kind", "sae", "task", "concepts", "latents"}
RUN = {"rater", "asked", "answered", "from_store", "not_asked", "failures", "used", "usd"}
COUNT = {
    "requests",
    "input_tokens",
    "output_tokens_at_most",
    "exact",
    "usd_at_most",
    "counted",
    "usd_about",
    "counted_by",
}


def test_button_to_verdicts(fake: FakeClaude, config: RunConfig, store: Store, monkeypatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    found = judge_command(config, claude(fake), store=store).to_dict()
    assert found["answered"] == found["asked"] == found["latents"] == len(fake.requests) > 0
    assert found["concepts"] == ["profession", "gender"]
    json.dumps(found, allow_nan=False)
    assert set(found) == ABOUT | RUN | {"batches"} and set(found["used"]) == {"input", "cached", "output"}
    again = judge_command(config, claude(fake), store=store).to_dict()
    assert (again["asked"], again["from_store"]) == (0, found["latents"])


def test_dry_run_counts_and_asks_nothing(fake: FakeClaude, config: RunConfig, store: Store, monkeypatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    options = claude(fake, latents="1,2,2,3", dry_run=True, price_in=1.0, price_out=5.0)
    found = judge_command(config, options, store=store).to_dict()
    count = found["count"]
    assert set(found) == ABOUT | {"batches", "count", "from_store"} and set(count) == COUNT
    assert (count["requests"], count["input_tokens"], fake.requests) == (3, 3000, [])
    assert count["usd_at_most"] == pytest.approx(0.003 + 3 * 800 * 5 / 1e6)


def test_budget_in_usd_stops_a_run_and_refuses_a_batch(
    fake: FakeClaude, config: RunConfig, store: Store, monkeypatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    limits = {"budget_usd": 0.0062, "price_in": 1.0, "price_out": 5.0, "latents": "1,2,3", "concurrency": 1}
    with pytest.raises(JudgeError, match="more than the budget"):
        judge_command(config, claude(fake, batch=True, **limits), store=store)
    found = judge_command(config, claude(fake, **limits), store=store).to_dict()
    assert (found["asked"], found["not_asked"]) == (1, 2)
    assert found["usd"] <= 0.0062


def test_batch_is_sent_and_collected_by_the_same_command(
    fake: FakeClaude, config: RunConfig, store: Store, monkeypatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    fake.batch_results = lambda rs: [
        {"custom_id": r["custom_id"], "result": {"type": "succeeded", "message": answer(r["params"])}} for r in rs
    ]
    fake.batch_polls_before_end = 1
    options = claude(fake, latents="1,2", batch=True)
    sent = judge_command(config, options, store=store).to_dict()
    assert set(sent) == ABOUT | {"batches", "count"} and sent["batches"] == {"msgbatch_0": "in progress"}
    assert judge_command(config, options, store=store).to_dict()["batches"] == {"msgbatch_0": 2}
    assert (len(fake.batches), fake.requests) == (1, [])


@pytest.mark.parametrize("options", [{}, {"dry_run": True}, {"batch": True}], ids=str)
def test_without_a_key_nothing_is_asked(
    fake: FakeClaude, config: RunConfig, store: Store, options: dict, monkeypatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(JudgeError, match="no API key: set ANTHROPIC_API_KEY"):
        judge_command(config, claude(fake, latents="1,2", **options), store=store)
    assert not fake.requests and not store.raters("")


@pytest.mark.parametrize(("judge", "kind"), [("messages", "ollama"), ("messages", "vllm"), ("chat", "chat")])
def test_any_server_judges_without_a_key_and_says_once_what_it_is(
    config: RunConfig, store: Store, monkeypatch, judge: str, kind: str
) -> None:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "SAEEVAL_JUDGE_KEY"):
        monkeypatch.delenv(name, raising=False)
    server = FakeServer(kind).start()
    options = JudgeOptions(judge, "1,2,3", MODEL, server.url)
    priced = replace(options, dry_run=True, price_in=1.0, price_out=5.0)
    count = judge_command(config, priced, store=store).to_dict()["count"]
    usd = count["usd_at_most"] if kind == "vllm" else count["usd_about"]
    assert usd == pytest.approx((count["input_tokens"] + 5 * count["output_tokens_at_most"]) / 1e6)
    assert (count["counted"], server.requests) == (kind == "vllm", [])
    found = judge_command(config, options, store=store).to_dict()
    assert (found["answered"], found["failures"], len(server.requests)) == (3, {}, 4)
    assert found["endpoint"] == {
        "protocol": judge,
        "host": server.host,
        "model": MODEL,
        "served_as": f"{MODEL}-q4",
        "json_schema": False,
        "prompt_cache": True,
    }
    again = judge_command(config, options, store=store).to_dict()
    assert (again["asked"], again["from_store"], len(server.requests), "endpoint" in again) == (0, 3, 4, False)
    server.stop()


def test_finding_out_counts_towards_the_budget(config: RunConfig, store: Store) -> None:
    server = FakeServer("chat").start()
    options = JudgeOptions("chat", "1,2,3", MODEL, server.url, concurrency=1, budget_tokens=1000)
    with pytest.raises(JudgeError, match="less than one small question may take"):
        judge_command(config, options, store=store)
    assert server.requests == []
    found = judge_command(config, replace(options, budget_tokens=8000), store=store).to_dict()
    assert found["not_asked"] > 0, "a token per byte is reckoned with, so that the budget is never overrun"
    assert sum(found["used"].values()) == 1000 * len(server.requests) <= 8000
    server.stop()


def test_keys_go_where_they_belong(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.delenv("SAEEVAL_JUDGE_KEY", raising=False)
    own = JudgeOptions("chat", model="m", base_url="http://localhost:1")
    assert not make_judge(own).has_key and make_judge(JudgeOptions("chat", model="m")).has_key
    monkeypatch.setenv("SAEEVAL_JUDGE_KEY", "own-key")
    assert make_judge(own).has_key
    monkeypatch.delenv("SAEEVAL_JUDGE_KEY")
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(JudgeError, match="api.openai.com needs one"):
        make_judge(JudgeOptions("chat", model="m")).need_key()


def test_without_its_library_chat_says_the_command(monkeypatch) -> None:
    monkeypatch.setattr(chat, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="run: pip install 'openai"):
        make_judge(JudgeOptions("chat", model="m", base_url="http://localhost:1"))


def test_general_text_from_a_file_stands_beside_the_tasks_own(
    fake: FakeClaude, config: RunConfig, store: Store, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    texts = tmp_path / "general.csv"
    texts.write_text(
        "text\n" + "\n".join(f"the old town by the river number {w}" for w in ("a", "b", "the", "green")) + "\n"
    )
    judge_command(config, claude(fake, latents="top2", general_text=str(texts)), store=store)
    asked = [r["messages"][0]["content"] for r in fake.requests]
    assert any('Windows from the texts "general"' in a for a in asked)


def test_selector_needs_a_rater_with_verdicts(fake: FakeClaude, config: RunConfig, store: Store, monkeypatch) -> None:
    judged = replace(config, selection="judge")
    with pytest.raises(ConfigError, match="raters with verdicts: none; run saeeval judge first"):
        selector(judged, "", Rule(), store=store)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    judge_command(config, claude(fake), store=store)
    assert str(selector(judged, "", Rule(2), store=store)).startswith(
        f"judge (claude-haiku-5-5 at {fake.url.removeprefix('http://')}; related at >= 2"
    )
    with pytest.raises(ConfigError, match="no verdicts of rater 'ann'"):
        selector(judged, "ann", Rule(), store=store)


def test_selector_finds_a_persons_set_by_name_or_number(config: RunConfig, store: Store) -> None:
    made = store.create_set(
        "mine", "ann", metric="shift", task="t", direction="d", sae_fingerprint="s", recording_fingerprint="r"
    )
    store.decide(made.id, "ann", {3: "ablate", 4: "keep"})
    for name in ("mine", str(made.id)):
        assert selector(replace(config, selection=f"human:{name}"), "", Rule(), store=store).human == [(made, [3])]
    with pytest.raises(ConfigError, match="unknown decision set 'yours'"):
        selector(replace(config, selection="human:yours"), "", Rule(), store=store)
    place = {"metric": "shift", "task": "t", "direction": "d", "sae_fingerprint": "s", "recording_fingerprint": "r"}
    bobs = store.create_set("mine", "bob", **place)
    with pytest.raises(ConfigError, match="several people.*human:mine@ann, human:mine@bob"):
        selector(replace(config, selection="human:mine"), "", Rule(), store=store)
    assert selector(replace(config, selection="human:mine@bob"), "", Rule(), store=store).human == [(bobs, [])]
    numbered = store.create_set(str(made.id), "bob", **place)
    assert selector(replace(config, selection=f"human:{made.id}"), "", Rule(), store=store).human == [(made, [3])]
    assert numbered.name == str(made.id)


@pytest.mark.parametrize("wrong", ["best", "top0", "top", "1,x", ""])
def test_latents_that_cannot_be_read(wrong: str) -> None:
    with pytest.raises(ConfigError, match="neither topK"):
        parse_latents(wrong)


def test_wrong_options(config: RunConfig, store: Store, fake: FakeClaude) -> None:
    with pytest.raises(ConfigError, match="unknown judge 'gpt'"):
        JudgeOptions(judge="gpt")
    with pytest.raises(ConfigError, match="--batch goes with --judge claude"):
        JudgeOptions(batch=True)
    with pytest.raises(ConfigError, match="the local judge is no server"):
        JudgeOptions(base_url="http://localhost:1")
    with pytest.raises(ConfigError, match="are at least 1"):
        JudgeOptions(reply_tokens=0)
    with pytest.raises(ConfigError, match="unknown judge 'openai'.*chat speaks to OpenAI"):
        JudgeOptions("openai")
    with pytest.raises(DataError, match="has latents 0 to 31, not 99"):
        judge_command(config, claude(fake, latents="99"), store=store)
