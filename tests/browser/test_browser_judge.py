"""Judges in a real browser, on a server and a store of their own: Claude from the button to the score, rules, agreement."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from driving import choose, settled
from fake_claude import FakeClaude, message
from fake_servers import MODEL, FakeServer, in_prose
from playwright.sync_api import Page, expect

from saeeval_core.config import DEFAULT_SAE
from saeeval_core.judging.verdict import Concept, field_names
from saeeval_core.ledger.store import Store
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.saes.local import file_fingerprint, inspect_sae

WAIT = 60_000
CONCEPTS = ("nurse", "professor", "surgeon", "teacher", "gender")


def reply(number: int) -> dict:
    """Every second latent is about gender (4), the others distantly (1); the third request is refused."""
    if number == 3:
        return message("I would rather not", "refusal")
    names = field_names([Concept(c) for c in CONCEPTS])
    ratings = dict.fromkeys(names, 0) | {names[-1]: 4 if number % 2 else 1}
    return message(json.dumps({"explanation": f"pronouns, number {number}", "reason": "windows", "ratings": ratings}))


@pytest.fixture
def own(server, chromium, tmp_path: Path, monkeypatch) -> Iterator[tuple[Callable[[str], Page], Store]]:
    """(open a page of a server that talks to a local Claude, that server's store)."""
    fake = FakeClaude(behaviour=lambda request, number: reply(number)).start()
    monkeypatch.setenv("ANTHROPIC_BASE_URL", fake.url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    monkeypatch.setenv("SAEEVAL_ASSETS", server.env["SAEEVAL_ASSETS"])
    running = type(server)(Path(server.env["SAEEVAL_ASSETS"]), tmp_path)
    context = chromium.new_context(viewport={"width": 1440, "height": 1000})
    context.add_cookies([{"name": "saeeval_who", "value": "Ada", "url": running.url}])

    def open_(path: str) -> Page:
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.goto(running.url + path)
        return page

    yield open_, Store(running.store)
    context.close()
    running.kill()
    fake.stop()


def ablated(page: Page) -> None:
    page.get_by_test_id("score").wait_for()
    expect(page.locator(".lab")).to_have_attribute("data-pending", "0", timeout=WAIT)


def test_claude_from_the_button_to_the_score_and_a_rule_changes_it(own):
    open_, store = own
    page = open_("/judge")
    settled(page).get_by_text("Ask a judge", exact=True).click()
    choose(page, "Judge", re.compile("^Claude"))
    settled(page)
    page.get_by_role("textbox", name="Latents").fill("top5")
    page.get_by_role("textbox", name="Latents").press("Enter")
    page.get_by_role("button", name="Count tokens").click()
    expect(page.get_by_text(re.compile(r"\d+ requests, [\d,]+ tokens in"))).to_be_visible(timeout=WAIT)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_text(re.compile(r"\d+ new verdicts.*no verdict: refused 1"))).to_be_visible(timeout=WAIT)

    page.goto(page.url.split("/judge")[0] + "/shift?n=5&target=profession")
    ablated(page)
    before = page.get_by_test_id("score").inner_text()
    use = page.get_by_role("button", name=re.compile("^Use judge claude-haiku.* related to gender"))
    page.get_by_role("button", name="Sets", exact=True).click()
    use.click()
    expect(page.get_by_test_id("score")).not_to_have_text(before, timeout=WAIT)
    first = page.locator(".score .small").first.inner_text()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="How the judge's set is formed").click()
    page.get_by_text("1 or more (the paper)").click()
    expect(page).to_have_url(re.compile("judge_threshold=1"), timeout=WAIT)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Sets", exact=True).click()
    use.click()
    expect(page.locator(".score .small").first).not_to_have_text(first, timeout=WAIT)
    assert "sk-test" not in page.content()
    refused = [v for v in Store(store.path).verdict_history(_print()) if not v.ok]
    assert [v.status for v in refused] == ["refused"]


def test_fifty_latents_are_judged_by_a_local_server_without_a_key(own):
    open_, store = own
    ollama = FakeServer("ollama", answer=lambda request, number: in_prose(request, number % 5)).start()
    page = open_("/judge")
    settled(page).get_by_text("Ask a judge", exact=True).click()
    choose(page, "Judge", re.compile("^Messages"))
    settled(page)
    fields = {"Address": ollama.url, "Model": MODEL, "Latents": ",".join(map(str, range(50)))}
    for name, value in fields.items():
        page.get_by_role("textbox", name=name).fill(value)
        page.get_by_role("textbox", name=name).press("Enter")
        settled(page)
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.get_by_text(f"{ollama.host} (messages) answers as {MODEL}-q4")).to_be_visible(timeout=WAIT)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_text(re.compile("50 new verdicts"))).to_be_visible(timeout=2 * WAIT)
    expect(page.get_by_text(f"Before you trust {MODEL} at {ollama.host}:")).to_be_visible(timeout=WAIT)
    assert len([v for v in Store(store.path).verdict_history(_print()) if v.ok]) == 50
    assert "sk-test" not in str(ollama.headers)
    ollama.stop()


def test_agreement_shows_figures_and_conflicts_are_clicked_through(own):
    open_, store = own
    page = open_("/judge?tab=agreement")
    expect(page.get_by_text("Agreement needs two raters")).to_be_visible(timeout=WAIT)
    _two_raters(store)
    page.reload()
    expect(page.get_by_text(re.compile(r"ratings on 8 latents"))).to_be_visible(timeout=WAIT)
    page.get_by_role("tab", name="Conflicts").click()
    expect(page.get_by_text("2 conflicts, the furthest apart first; 0 settled.")).to_be_visible(timeout=WAIT)
    expect(page.get_by_text("Latent 3", exact=True)).to_be_visible(timeout=WAIT)
    table = page.get_by_test_id("stDataFrame").locator("visible=true").last
    table.click(position={"x": 14, "y": 35 + 35 + 17})  # the second row's box
    expect(page.get_by_text("Latent 4", exact=True)).to_be_visible(timeout=WAIT)
    chosen = page.get_by_text("2 a few")
    expect(chosen).to_have_count(1, timeout=WAIT)  # those of the first row are gone
    chosen.click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("2 conflicts, the furthest apart first; 1 settled.")).to_be_visible(timeout=WAIT)


def test_the_tpp_page_follows_the_rule_and_says_when_nothing_is_left(own):
    open_, store = own
    _two_raters(store)
    page = open_("/tpp?set=judge:A")
    note = page.get_by_text(re.compile("^set 'kept by A'"))
    expect(note).to_contain_text("related at >= 2, top-then-filter", timeout=WAIT)
    expect(page.locator(".tppscore")).to_have_text("n/a")
    page.get_by_role("button", name="How the judge's set is formed").click()
    page.get_by_text("filter, then the first N").click()
    expect(note).to_contain_text("filter-then-top", timeout=WAIT)
    page.keyboard.press("Escape")
    choose(page, "Set", "top N by attribution, nothing changed")
    expect(page.locator(".tppscore")).not_to_have_text("n/a", timeout=WAIT)


def _print() -> str:
    return str(file_fingerprint(inspect_sae(DEFAULT_SAE)))


def _two_raters(store: Store) -> None:
    one = Verdict(0, _print(), DEFAULT_SAE, "bios", "A", "llm", explanation="e", reason="r")
    rows = []
    for i in range(8):
        rows.append(replace(one, latent=i, ratings={"gender": 4 if i < 5 else 0, "nurse": 0}))
        rows.append(replace(one, latent=i, rater="B", ratings={"gender": 4 if i < 3 else 0, "nurse": 0}))
    store.add_verdicts(rows)


def test_rating_blind_with_keys_alone(open_page):
    page = settled(open_page("/judge?tab=blind", who="keys"))
    form = page.locator(".rating")
    form.wait_for()
    first = form.get_attribute("data-latent")
    save = form.get_by_role("button", name="Save and next")
    expect(save).to_be_disabled()
    page.keyboard.press("Enter")  # not everything is rated: nothing is saved
    page.keyboard.press("3")
    page.keyboard.press("a")
    expect(save).to_be_enabled()
    assert form.locator("[aria-checked=true]").first.inner_text() == "3"
    page.keyboard.press("Enter")
    expect(form).not_to_have_attribute("data-latent", first, timeout=60_000)
    expect(page.get_by_text("1 rated")).to_be_visible()
    second = form.get_attribute("data-latent")
    page.keyboard.press("s")
    expect(form).not_to_have_attribute("data-latent", second, timeout=60_000)
    expect(page.get_by_text("1 of them skipped")).to_be_visible()
