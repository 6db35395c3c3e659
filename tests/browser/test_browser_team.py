"""Two people on one server: a guest gives a name, a colleague opens the link, duplicates, differs, and settles it."""

import re
import sqlite3

import pytest
from driving import choose, settled
from playwright.sync_api import Page, expect
from test_browser_presses import WAIT, lab

from saeeval_core.ledger.store import Store


@pytest.fixture
def browser(chromium, server):
    """``browser("Bob")``: a browser of somebody; without a name it has never been here."""
    contexts = []

    def start(who: str = "") -> Page:
        context = chromium.new_context(viewport={"width": 1440, "height": 900})
        if who:
            context.add_cookies([{"name": "saeeval_who", "value": who, "url": server.url}])
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        return page

    yield start
    for context in contexts:
        context.close()


def owners(server, name: str) -> list[str]:
    """Who owns the sets of this name, the newest last."""
    return [s.who for s in Store(server.store).list_sets() if s.name == name]


def field(page: Page):
    """The name's."""
    return page.get_by_role("textbox", name="Your name")


def cookies(page: Page) -> dict[str, str]:
    return {c["name"]: c["value"] for c in page.context.cookies()}


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
        lab(page)


def link(page: Page) -> str:
    """What Share gives."""
    page.get_by_role("button", name="Share").click()
    found = page.get_by_test_id("stCode").filter(has_text="shift_set=").inner_text()
    page.keyboard.press("Escape")
    return found.strip()


def test_a_guest_a_name_a_colleague_a_copy_a_conflict_and_a_ruling(browser, server):
    ada = browser()
    ada.goto(f"{server.url}/shift")
    press(lab(ada), "a", "ArrowDown", "a", "ArrowDown", "k")
    guest = f"guest {cookies(ada)['saeeval_guest']}"
    assert owners(server, "mine")[-1] == guest

    name = field(ada)
    name.fill("Adala")
    name.press("Enter")
    expect(name).not_to_be_focused()
    ada.get_by_role("button", name="Take over").click()
    expect(ada.get_by_text("yours now")).to_be_visible(timeout=WAIT)
    lab(ada)
    press(ada, "u")  # a decision, not a letter of the name
    expect(name).to_have_value("Adala")
    assert guest not in owners(server, "mine") and "Adala" in owners(server, "mine")
    ada.reload()
    expect(field(lab(ada))).to_have_value("Adala")
    assert cookies(ada)["saeeval_who"] == "Adala"

    bob = browser("Bobert")
    bob.goto(link(ada))
    expect(lab(bob).get_by_text("belongs to Adala").first).to_be_visible(timeout=WAIT)
    assert bob.locator("[data-testid=score]").inner_text() == ada.locator("[data-testid=score]").inner_text()
    bob.keyboard.press("k")
    expect(bob.locator("#saeeval-presses")).to_contain_text("belongs to Adala")
    bob.locator("#saeeval-presses").click()
    bob.get_by_role("button", name="Duplicate to edit").click()
    expect(bob.get_by_text("belongs to Adala")).to_have_count(0, timeout=WAIT)
    lab(bob)
    with sqlite3.connect(server.store) as db:
        copied = db.execute(
            "select count(*) from decisions d join decision_sets s on s.id = d.set_id where s.who = 'Bobert'"
        )
        assert copied.fetchone()[0] >= 4  # with the log
    bob.locator(".qrow:not(.qhead)").first.click()
    press(bob, "k")  # Ada ablates it

    bob.goto(f"{server.url}/judge?tab=team")
    choose(bob, "Set A", re.compile("^mine .Adala"))
    choose(bob, "Set B", re.compile("^copy of mine .Bobert"))
    settled(bob).get_by_role("button", name="Start an adjudicated set").click()
    expect(bob.get_by_text("Next conflict: latent")).to_be_visible(timeout=WAIT)
    bob.get_by_role("button", name="Ablate", exact=True).click()
    expect(bob.get_by_text("Every conflict is settled")).to_be_visible(timeout=WAIT)
    store = Store(server.store)
    made = store.list_sets()[-1]
    assert made.who == "Bobert" and made.name.startswith("adjudicated: mine (Adala), copy of mine (Bobert)")
    assert any(d.reason.startswith("settled by Bobert: mine (Adala) said ablate") for d in store.history(made.id))


def test_a_name_is_compared_whole_and_forgotten_when_it_is_cleared(browser, server):
    page = browser("Namea")
    page.goto(f"{server.url}/")
    name = field(page)
    expect(name).to_have_value("Namea", timeout=WAIT)
    for typed in ("Name", ""):
        name.fill(typed)
        name.press("Enter")
        page.wait_for_function(
            "name => (document.cookie.split('; ').find(c => c.startsWith('saeeval_who=')) ?? '') === name",
            arg=f"saeeval_who={typed}" if typed else "",
        )
        page.reload()
        expect(name).to_have_value(typed, timeout=WAIT)


def test_two_tabs_of_a_new_browser_are_one_guest(browser, server):
    def guests() -> set[str]:
        return {s.who for s in Store(server.store).list_sets() if s.who.startswith("guest ")}

    before = guests()
    page = browser()
    other = page.context.new_page()
    for tab in (page, other):
        tab.goto(f"{server.url}/shift", wait_until="commit")
    for tab in (page, other):
        press(lab(tab), "a")
    other.wait_for_timeout(3000)
    assert guests() - before == {f"guest {cookies(page)['saeeval_guest']}"}
