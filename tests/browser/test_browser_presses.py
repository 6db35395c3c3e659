"""The press protocol in a real browser: presses that are lost on their way, late, or made in another view."""

import re
import sqlite3

import pytest
from driving import choose
from playwright.sync_api import Page, expect

from app.components import script

WAIT = 45_000
# Everything the page sends to the server goes through here; while the flag is up it is lost, as on a bad line.
LOSSY = """() => {
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) { if (!window.lossy) send.call(this, data); };
}"""


def lossy(page: Page, on: bool) -> None:
    page.evaluate("on => { window.lossy = on; }", on)


def stored(server, who: str) -> list[tuple[str, str, int, str]]:
    """(metric, set, latent, decision) of everything that one person decided, in order."""
    query = (
        "select s.metric, coalesce((select n.name from set_names n where n.set_id = s.id order by n.id desc limit 1), "
        "s.name), d.latent, d.new from decisions d join decision_sets s on s.id = d.set_id where d.who = ? order by d.id"
    )
    with sqlite3.connect(server.store) as db:
        return db.execute(query, (who,)).fetchall()


def tpp(page: Page) -> Page:
    expect(page.locator(".tpp .cell").first).to_be_visible(timeout=WAIT)
    expect(page.locator(".tpp")).to_have_attribute("data-pending", "0", timeout=WAIT)
    return page


def lab(page: Page) -> Page:
    page.get_by_test_id("score").wait_for(timeout=90_000)
    expect(page.locator(".lab")).to_have_attribute("data-pending", "0", timeout=WAIT)
    return page


def choose_set(page: Page, label: str) -> None:
    """Pick a set below the matrix; the link names it from then on."""
    choose(page, "Set", label)


def first_box(page: Page):
    return page.locator(".tpp .latents tbody tr").first.locator("input")


def test_a_late_toggle_lands_in_the_set_it_was_made_in(open_page, server):
    page = tpp(open_page("/tpp?cell=2,2&n=5&tpp_set=drafts", who="late"))
    page.evaluate(LOSSY)
    latent = int(page.locator(".tpp .latents tbody tr").first.locator("button").inner_text())
    expect(first_box(page)).to_be_checked(timeout=WAIT)
    lossy(page, True)
    first_box(page).uncheck()  # made in "drafts"; this message is lost
    page.wait_for_timeout(500)
    lossy(page, False)
    choose_set(page, "mine")  # the link changes before the press arrives
    expect(page).not_to_have_url(re.compile("tpp_set"), timeout=WAIT)
    tpp(page)  # sent again and stored
    assert stored(server, "late") == [("tpp", "drafts", latent, "keep")]
    expect(first_box(page)).to_be_checked(timeout=WAIT)  # nothing is changed in the set on screen
    page.goto(f"{server.url}/tpp?cell=2,2&n=5&tpp_set=drafts")
    expect(first_box(page)).not_to_be_checked(timeout=WAIT)
    assert len(stored(server, "late")) == 1


def test_a_toggle_that_is_lost_is_sent_again_and_stored_once(open_page, server):
    page = tpp(open_page("/tpp?cell=2,2&n=5", who="again"))
    page.evaluate(LOSSY)
    expect(first_box(page)).to_be_checked(timeout=WAIT)
    lossy(page, True)
    first_box(page).uncheck()
    page.wait_for_timeout(6000)  # one sending again is lost as well
    lossy(page, False)
    tpp(page)
    assert [row[3] for row in stored(server, "again")] == ["keep"]


def test_a_press_made_in_the_lab_is_stored_from_the_tpp_page(open_page, server):
    page = lab(open_page("/shift", who="walker"))
    page.evaluate(LOSSY)
    lossy(page, True)
    page.keyboard.press("a")
    page.wait_for_timeout(300)
    assert page.locator(".lab").get_attribute("data-pending") == "1"
    lossy(page, False)
    page.get_by_role("link", name="TPP matrix").click()
    tpp(page)
    assert [(metric, decision) for metric, _, _, decision in stored(server, "walker")] == [("shift", "ablate")]


def test_presses_of_both_views_have_one_rising_number(open_page, server):
    page = lab(open_page("/shift", who="both"))
    page.keyboard.press("a")
    lab(page)
    page.get_by_role("link", name="TPP matrix").click()
    tpp(page)
    page.locator(".tpp [data-cell='1,1']").click()
    expect(first_box(page)).to_be_checked(timeout=WAIT)
    first_box(page).uncheck()
    tpp(page)
    assert [row[0] for row in stored(server, "both")] == ["shift", "tpp"]
    assert page.evaluate("window.saeevalPresses.seq") >= 3 and page.evaluate("window.saeevalPresses.pending") == []


def test_a_toggle_on_the_ranking_moves_on_to_a_set_of_ones_own(open_page, server):
    page = tpp(open_page("/tpp?cell=2,2&n=5&tpp_set=attribution", who="mover"))
    expect(first_box(page)).to_be_checked(timeout=WAIT)
    first_box(page).uncheck()
    expect(first_box(page)).not_to_be_checked(timeout=WAIT)
    tpp(page)
    assert "tpp_set" not in page.url and [row[:2] for row in stored(server, "mover")] == [("tpp", "mine")]


def test_the_n_of_the_tpp_slider_is_the_n_of_the_lab(open_page):
    page = lab(open_page("/shift?n=30"))
    assert "top 30 by attribution" in page.locator(".score").inner_text()
    assert page.get_by_role("combobox", name="N", exact=True).input_value() == "30"


@pytest.mark.parametrize("entry", ["lab/main.js", "tpp/main.js", "latent/main.js"])
def test_chromium_takes_the_joined_script(chromium, entry):
    page = chromium.new_page()
    load = (
        "src => import(URL.createObjectURL(new Blob([src], {type: 'text/javascript'}))).then((m) => typeof m.default)"
    )
    assert page.evaluate(load, script(entry)) == "function"
    page.close()
