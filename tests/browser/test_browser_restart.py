"""Presses over a server that is killed and started again under an idle page, a reload, and a store that is away."""

import re
import sqlite3
from pathlib import Path

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect
from test_browser_presses import LOSSY, WAIT, first_box, lab, lossy, stored, tpp

pytestmark = pytest.mark.faults


@pytest.fixture
def own_server(server):
    """The shared server; running again afterwards, whatever a test did to it."""
    yield server
    if server.process.poll() is not None:
        server.start()


def restart(server) -> None:
    server.kill()
    server.start()


def note(page: Page):
    return page.locator("#saeeval-presses")


def test_a_press_after_a_restart_under_an_idle_page_is_stored_once(open_page, own_server):
    page = lab(open_page("/shift", who="idle"))
    page.keyboard.press("k")
    lab(page)
    idle = re.compile("notRunning", re.IGNORECASE)  # the first decision draws the whole page once more
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", idle, timeout=WAIT)
    page.wait_for_timeout(1000)
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", idle, timeout=WAIT)
    restart(own_server)
    page.keyboard.press("a")
    lab(page)
    expect(note(page)).to_be_hidden(timeout=WAIT)
    page.keyboard.press("u")  # the page is whole again
    lab(page)
    assert [row[3] for row in stored(own_server, "idle")] == ["keep", "ablate", "unsure"]


def test_a_key_pressed_under_the_notice_that_there_is_no_server_is_stored(open_page, own_server):
    page = lab(open_page("/shift", who="notice"))
    own_server.kill()
    expect(page.get_by_role("dialog")).to_contain_text("Connection error", timeout=WAIT)
    page.keyboard.press("a")
    expect(page.locator(".lab")).to_have_attribute("data-pending", "1")
    own_server.start()
    lab(page)
    assert [row[3] for row in stored(own_server, "notice")] == ["ablate"]


def test_a_toggle_after_a_restart_under_an_idle_tpp_page_is_stored_once(open_page, own_server):
    page = tpp(open_page("/tpp?cell=2,2&n=5&tpp_set=drafts", who="idletpp"))
    expect(first_box(page)).to_be_checked(timeout=WAIT)
    restart(own_server)
    first_box(page).uncheck()
    tpp(page)
    assert [row[1::2] for row in stored(own_server, "idletpp")] == [("drafts", "keep")]


def test_a_press_survives_a_reload(open_page, server):
    page = lab(open_page("/shift", who="reloader"))
    page.evaluate(LOSSY)
    lossy(page, True)
    page.keyboard.press("a")
    page.wait_for_timeout(200)
    page.reload()
    lab(page)
    assert [row[3] for row in stored(server, "reloader")] == ["ablate"]
    assert page.evaluate("sessionStorage.getItem('saeeval.presses')") is None


def test_a_press_survives_opening_another_link(open_page, server):
    page = lab(open_page("/shift", who="wanderer"))
    page.evaluate(LOSSY)
    lossy(page, True)
    page.keyboard.press("a")
    page.wait_for_timeout(200)
    page.goto(f"{server.url}/tpp?task=reviews")  # texts that were never run: no desk of theirs is drawn
    page.wait_for_function("sessionStorage.getItem('saeeval.presses') === null", timeout=WAIT)
    assert [row[3] for row in stored(server, "wanderer")] == ["ablate"]
    expect(note(page)).to_be_hidden()


def test_leaving_asks_only_while_a_press_is_open(open_page):
    page = lab(open_page("/shift", who="leaver"))
    page.evaluate(LOSSY)
    leaving = "() => !window.dispatchEvent(new Event('beforeunload', { cancelable: true }))"
    assert page.evaluate(leaving) is False
    lossy(page, True)
    page.keyboard.press("a")
    assert page.evaluate(leaving) is True
    lossy(page, False)
    lab(page)
    assert page.evaluate(leaving) is False


def test_presses_made_while_the_store_is_away_are_stored_when_it_is_back(open_page, server):
    page = lab(open_page("/shift", who="mover2"))
    page.keyboard.press("k")
    lab(page)
    away = server.store.rename(server.store.with_name("away.sqlite"))
    try:
        page.keyboard.press("a")
        expect(note(page)).to_have_text("1 press not saved yet", timeout=WAIT)
        expect(page.get_by_text("moved or deleted").first).to_be_visible(timeout=WAIT)
    finally:
        away.rename(server.store)
    lab(page)
    assert [row[3] for row in stored(server, "mover2")] == ["keep", "ablate"]


def deaf(page: Page) -> dict[str, bool]:
    """From the next load on the page hears nothing from the server while "on" is true, although it is heard."""
    state = {"on": False}

    def line(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        ws.on_message(server.send)
        server.on_message(lambda message: None if state["on"] else ws.send(message))

    page.route_web_socket("**/_stcore/stream", line)
    page.reload()
    return state


def counts(server, who: str) -> tuple[int, int]:
    """(undone decisions, commits) of one person."""
    with sqlite3.connect(server.store) as db:
        undone = "select count(*) from decisions where who = ? and undoes is not null"
        commits = "select count(*) from commits where who = ?"
        return tuple(db.execute(q, (who,)).fetchone()[0] for q in (undone, commits))


@pytest.mark.parametrize(("act", "wanted"), [("undo", (1, 0)), ("commit", (0, 1))])
def test_killed_after_storing_and_before_answering(open_page, own_server, act, wanted):
    page = lab(open_page("/shift", who=act))
    hearing = deaf(page)
    lab(page)
    for key in ("a", "ArrowDown", "k"):
        page.keyboard.press(key)
        lab(page)
    hearing["on"] = True
    if act == "undo":
        page.keyboard.press("z")
    else:
        page.get_by_role("button", name="Commit: compute the test score once").click()
    for _ in range(100):
        if counts(own_server, act) == wanted:
            break
        page.wait_for_timeout(50)
    own_server.kill()
    hearing["on"] = False
    own_server.start()
    assert page.locator(".lab").get_attribute("data-pending") == "1"
    lab(page)
    assert counts(own_server, act) == wanted


# The computer's clock, as a page sees it; ``window.shift`` milliseconds off from now on.
CLOCK = "() => { const now = Date.now; window.shift = 0; Date.now = () => now() + window.shift; }"


def test_a_lost_press_is_sent_again_although_the_clock_was_set_back(open_page, server):
    page = lab(open_page("/shift", who="clock"))
    page.evaluate(CLOCK)
    page.evaluate(LOSSY)
    lossy(page, True)
    page.keyboard.press("a")
    page.wait_for_timeout(300)
    page.evaluate("window.shift = -3600_000")
    expect(note(page)).to_have_text("1 press not saved yet", timeout=WAIT)
    lossy(page, False)
    lab(page)
    assert [row[3] for row in stored(server, "clock")] == ["ablate"]


def test_a_copied_tab_sends_no_press_twice(open_page, server):
    page = lab(open_page("/shift", who="tabs"))
    page.evaluate(LOSSY)
    lossy(page, True)
    page.keyboard.press("a")
    page.wait_for_timeout(300)
    with page.context.expect_page() as opened:  # such a tab gets a copy of the session's storage
        page.evaluate("window.open(location.href)")
    other = lab(opened.value)
    assert [row[3] for row in stored(server, "tabs")] == ["ablate"]
    lossy(page, False)
    lab(page)
    other.keyboard.press("k")
    lab(other)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("u")
    lab(page)
    assert [row[3] for row in stored(server, "tabs")] == ["ablate", "keep", "unsure"]


def test_two_servers_on_one_store_take_turns(open_page, server):
    second = type(server)(Path(server.env["SAEEVAL_ASSETS"]), server.store.parent)
    try:
        page = lab(open_page("/shift", who="turns"))
        other = page.context.new_page()
        page.context.add_cookies([{"name": "saeeval_who", "value": "turns", "url": second.url}])
        other.goto(f"{second.url}/shift")
        lab(other)
        for turn in (page, other, page, other):
            turn.bring_to_front()
            turn.keyboard.press("a")
            lab(turn)
            turn.keyboard.press("ArrowDown")
        other.keyboard.press("z")
        lab(other)
    finally:
        second.kill()
    rows = stored(server, "turns")
    assert rows[-1][3] == "none" and len({row[1] for row in rows}) == 1
    assert [row[3] for row in rows].count("none") == 1
