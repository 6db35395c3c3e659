"""What a person does in the SHIFT lab, in a real browser on the real server."""

import re
import sqlite3

import pytest
from driving import settled
from playwright.sync_api import Page, expect

from app.components import script

SCORE = "score"
FOCUSED = """() => { let n = document.activeElement; while (n.shadowRoot?.activeElement) n = n.shadowRoot.activeElement;
  return n.textContent; }"""

AGAIN = """async (source) => {
  const live = window.saeevalLab.lab;
  // An answer to the first lab may draw it again at any time: it is told that it is not the one on screen, and it
  // keeps to presses of its own, as its questions would take the second lab's along to the server.
  Object.defineProperty(window.saeevalLab, "lab", { get: () => null, set: () => {} });
  window.saeevalLab = { lab: null };
  window.saeevalPresses = undefined;
  const drawn = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const data = {
    scope: live.scope, made: live.line.made, ack: {}, refused: [], present: false, locked: "", queueHash: live.queueHash,
    queue: live.queue.map((r) => [r.id, r.rank, r.what, r.effect, r.density, r.target, r.spurious,
      r.verdictText, r.alike]),
    says: live.says,
    decisions: {}, current: live.queue[0].id, cards: Object.fromEntries(live.cards), shares: live.shares,
    score: live.score, gone: live.gone, erased: live.erased, record: live.record,
  };
  let host, stop, log = [];
  window.drawn = () => {
    host = document.createElement("div");
    host.id = "again";
    host.append(Object.assign(document.createElement("div"), { className: "lab" }));
    document.body.append(host);
    const setTriggerValue = (_, sent) => { log = sent.log; };
    stop = drawn.default({ data, parentElement: host, setTriggerValue });
  };
  window.taken_out = () => { host.remove(); stop(); };
  window.log = () => log.map((p) => `${p.latents} ${p.decision}`);
  window.current = () => window.saeevalLab.lab.current;
  window.field = () => document.activeElement.value;
}"""
"""Draws a second lab from what the first one was given; its presses go to a list instead of the server."""


def lab(page: Page) -> Page:
    """Wait until the lab is drawn and everything pressed is stored."""
    page.get_by_test_id(SCORE).wait_for(timeout=90_000)
    expect(page.locator(".lab")).to_have_attribute("data-pending", "0", timeout=45_000)
    return page


def score(page: Page) -> str:
    """S as shown."""
    return lab(page).get_by_test_id(SCORE).inner_text()


def press(page: Page, *keys: str) -> None:
    """Press keys one after another, each stored before the next."""
    for key in keys:
        page.keyboard.press(key)
        lab(page)


def ablated(page: Page) -> str:
    """Such as "2 ablated"."""
    return lab(page).locator(".score .small").first.inner_text()


def here(page: Page) -> str:
    """The current latent, as the card's title says it."""
    return page.locator(".card .title b").inner_text()


def test_keys_move_the_score_and_undo_brings_it_back(open_page):
    page = lab(open_page("/shift"))
    before = score(page)
    first = here(page)
    press(page, "a")
    expect(page.get_by_test_id(SCORE)).not_to_have_text(before)
    assert "1 ablated" in ablated(page) and page.locator(".card .badge").inner_text() == "ABLATE"
    after = score(page)
    press(page, "ArrowDown")
    assert here(page) != first
    press(page, "k")
    assert page.locator(".card .badge").inner_text() == "KEEP" and score(page) == after
    press(page, "u")
    assert page.locator(".card .badge").inner_text() == "UNSURE"
    press(page, "z", "z", "z")
    assert score(page) == before and "0 ablated" in ablated(page)


def test_decisions_survive_a_reload_a_second_tab_and_a_killed_server(open_page, server):
    page = lab(open_page("/shift"))
    press(page, "a", "ArrowDown", "a", "ArrowDown", "k")
    shown = score(page)
    page.reload()
    assert score(page) == shown and "2 ablated" in ablated(page)
    second = lab(open_page("/shift"))
    assert score(second) == shown
    server.kill()
    with sqlite3.connect(server.store) as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
    server.start()
    page.goto(f"{server.url}/shift")
    assert score(page) == shown and "3 decided" in ablated(page)


def test_fast_presses_are_all_stored_in_order(open_page, server):
    page = lab(open_page("/shift", who="fast"))
    for _ in range(8):
        page.keyboard.press("a")
        page.keyboard.press("ArrowDown")
    assert "8 ablated" in ablated(page)
    with sqlite3.connect(server.store) as db:
        rows = db.execute("select new from decisions where who = 'fast' order by id").fetchall()
    assert rows == [("ablate",)] * 8


def test_keys_do_nothing_while_typing_and_never_scroll(open_page):
    page = lab(open_page("/shift", height=500))
    filter_ = page.get_by_label("Search latents by words or id")
    filter_.click()
    page.keyboard.type("aku z")
    assert filter_.input_value() == "aku z" and "0 decided" in ablated(page)
    filter_.fill("")
    page.get_by_placeholder("your name").click()
    page.keyboard.type("a")
    page.get_by_placeholder("your name").press("Tab")
    assert "0 decided" in ablated(page)
    page.locator(".card .title").click()
    top = page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop")
    press(page, *["ArrowDown"] * 12)
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop") == top
    page.keyboard.press("Control+a")
    assert "0 decided" in ablated(page)


def test_filter_sort_and_bulk(open_page):
    page = lab(open_page("/shift"))
    page.get_by_label("Sort the queue").select_option("id")
    ids = [int(t) for t in page.locator(".qrow .id").all_text_contents()]
    assert ids == sorted(ids)
    page.get_by_label("Search latents by words or id").fill(f"#{ids[3]}")
    assert page.locator(".qrow .id").all_text_contents() == [str(ids[3])]
    page.get_by_label("Search latents by words or id").fill("")
    page.get_by_label("Select all shown").check()
    n = page.locator(".qrow:not(.qhead)").count()
    page.locator(".bulk").get_by_role("button", name="Ablate").click()
    assert f"{n} ablated" in ablated(page)
    page.locator(".card .title").click()
    press(page, "z")
    assert "0 ablated" in ablated(page)


def test_a_link_restores_what_was_looked_at_in_a_fresh_browser(open_page):
    page = lab(open_page("/shift?n=5&rank=base"))
    press(page, "ArrowDown", "ArrowDown")
    latent = here(page)
    page.wait_for_url(re.compile(rf"latent={latent.split()[-1]}\b"))
    other = lab(open_page(page.url.split("/", 3)[3].join(["/", ""]), who="another"))
    assert here(other) == latent
    assert "top 5 by attribution" in other.locator(".score").inner_text()


def test_commit_computes_test_once_and_tells_the_dev_looks(open_page):
    page = lab(open_page("/shift"))
    commit = page.get_by_role("button", name="Commit")
    expect(commit).to_be_disabled()
    press(page, "a")
    commit.click()
    note = page.locator(".score .note")
    expect(note).to_contain_text("test S")
    expect(note).to_contain_text("after 1 dev look")
    press(page, "ArrowDown", "a")
    expect(page.locator(".score .note")).to_contain_text("changed since")


def test_hostile_text_is_shown_and_never_run(open_page):
    page = lab(open_page("/shift"))
    seen = ""
    for _ in range(12):
        seen += page.locator(".card").inner_text()
        press(page, "ArrowDown")
    assert page.evaluate("window.hacked") is None
    assert page.locator(".card script, .card img, .card a").count() == 0
    assert "<script>" in seen or "**bold**" in seen or "xxxxxxxx" in seen
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize(("width", "dark"), [(1280, True), (390, False)])
def test_fits_narrow_and_dark(open_page, width, dark):
    page = lab(open_page("/shift", width=width, dark=dark))
    assert page.locator(".lab").get_attribute("data-mode") == ("dark" if dark else "light")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    wide = page.locator(".lab").evaluate(
        "(n) => n.scrollWidth <= n.clientWidth + 1 ? [] : [...n.querySelectorAll('*')]"
        ".filter((x) => x.getBoundingClientRect().right > n.getBoundingClientRect().right + 1).map((x) => x.outerHTML.slice(0, 120))"
    )
    assert not wide, wide[:5]
    if width == 390:
        page.locator(".mini").get_by_role("button", name="Ablate").click()
        assert "1 ablated" in ablated(page)


def test_with_the_keyboard_alone(open_page):
    page = lab(open_page("/shift"))
    page.keyboard.press("/")
    page.keyboard.type("33")
    page.keyboard.press("Tab")
    for _ in range(12):
        if page.evaluate(FOCUSED).startswith("KKeep"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert "1 decided" in ablated(page)


def test_present_has_no_controls_and_escape_leaves(open_page):
    page = lab(open_page("/shift?present=1"))
    expect(page.locator(".queue")).to_be_hidden()
    expect(page.get_by_text("Language model")).to_be_hidden()
    page.keyboard.press("n")
    page.wait_for_url(re.compile("/tpp"), timeout=45_000)
    expect(page.locator(".grid")).to_be_visible(timeout=45_000)
    page.get_by_role("button", name="SHIFT lab").click()
    page.wait_for_url(re.compile("/shift"), timeout=45_000)
    expect(page.locator(".card")).to_be_visible(timeout=45_000)
    page.keyboard.press("Escape")
    expect(page.locator(".queue")).to_be_visible(timeout=45_000)


def test_a_key_counts_once_however_often_the_page_was_redrawn(open_page):
    page = lab(open_page("/shift"))
    order = page.locator(".qrow:not(.qhead)").evaluate_all("rows => rows.map((r) => r.dataset.latent)")
    for _ in range(15):  # faster than answers come, so that redraws overlap
        page.keyboard.press("a")
        page.keyboard.press("ArrowDown")
        page.wait_for_timeout(100)
    lab(page)
    assert here(page).split()[-1] == order[15]
    press(page, "z")
    assert "14 ablated" in ablated(page)


def test_no_key_is_lost_while_the_lab_is_taken_out_and_drawn_anew(open_page):
    """As Streamlit does when a press comes while the whole page runs; done by hand here, since it depends on its timing."""
    page = lab(open_page("/shift"))
    page.evaluate(AGAIN, script("lab/main.js"))
    order = page.locator(".qrow:not(.qhead)").evaluate_all("rows => rows.map((r) => r.dataset.latent)")
    page.evaluate("window.drawn()")
    page.keyboard.press("a")
    page.keyboard.press("ArrowDown")
    page.evaluate("window.taken_out()")
    page.wait_for_timeout(4000)  # a page that comes back after a restart is away for longer than a redraw
    page.keyboard.press("k")
    page.keyboard.press("ArrowDown")
    page.evaluate("window.drawn()")
    page.keyboard.press("u")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("window.log()") == [f"{order[0]} ablate", f"{order[1]} keep", f"{order[2]} unsure"]
    assert page.evaluate("window.current()") == int(order[3])

    page.locator("#again input[type=search]").first.focus()
    page.keyboard.type("1")
    page.evaluate("window.taken_out()")
    page.keyboard.type("a")  # typed into a field that went with the lab: no decision
    page.evaluate("window.drawn()")
    page.keyboard.type("2")
    assert len(page.evaluate("window.log()")) == 3
    assert page.evaluate("window.field()") == "12"

    page.evaluate("document.activeElement.blur(); window.taken_out(); history.pushState(null, '', '/tpp')")
    page.keyboard.press("a")  # another view is open
    assert len(page.evaluate("window.log()")) == 3


def test_what_is_still_readable_comes_after_the_score_and_leads_to_what_carries_it(open_page):
    page = lab(open_page("/shift"))
    box = page.get_by_test_id("gone")
    expect(box).to_contain_text("ablate at least one latent")
    press(page, "a")
    expect(box).to_have_attribute("data-pending", "false", timeout=45_000)
    expect(box).to_contain_text("selective erasure, E")
    first = box.inner_text()
    press(page, "ArrowDown", "a")
    expect(box).to_have_attribute("data-pending", "false", timeout=45_000)
    expect(box).not_to_have_text(first)
    carriers = box.get_by_test_id("carriers")
    carriers.locator("summary").focus()
    page.keyboard.press("Enter")
    carrier = carriers.locator("button").first
    latent = carrier.inner_text()
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED) == latent
    page.keyboard.press("Enter")
    assert here(page) == f"latent {latent}"
    press(page, "a")
    expect(box).to_have_attribute("data-pending", "false", timeout=45_000)
    assert latent not in carriers.locator("button").all_inner_texts(), "it is in the set now"


def test_alpha_moves_every_score_and_stays_in_the_link_under_the_keyboard(open_page):
    page = lab(open_page("/shift"))
    press(page, "a")
    whole, number = score(page), page.get_by_test_id(SCORE)
    slider = page.get_by_label("the share that is taken away")
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    expect(page.locator(".alpha output")).to_have_text("0.5")
    expect(page.locator(".score h3")).to_contain_text("at α = 0.5", timeout=45_000)
    expect(number).not_to_have_text(whole)
    assert "alpha=0.5" in page.url and slider.evaluate("n => n === n.getRootNode().activeElement")
    expect(page.get_by_test_id("gone")).to_contain_text("at α = 0.5")
    expect(page.get_by_test_id("gone")).to_have_attribute("data-pending", "false", timeout=45_000)
    half = number.inner_text()
    page.reload()
    lab(page)
    expect(page.get_by_test_id(SCORE)).to_have_text(half, timeout=45_000)
    expect(page.locator(".alpha output")).to_have_text("0.5")
    page.locator(".card .title").click()
    press(page, "z")
    assert "0 ablated" in ablated(page)


def test_where_it_survived_and_the_curve_of_e_come_by_themselves(open_page):
    page = lab(open_page("/shift"))
    curve = page.get_by_test_id("erased")
    expect(curve).to_have_attribute("data-pending", "false", timeout=45_000)
    expect(curve.locator("svg")).to_contain_text("E")
    page.get_by_role("button", name="against edit size").click()
    expect(curve.locator("svg")).to_contain_text("share of variance removed")
    assert page.evaluate(FOCUSED) == "against N"
    press(page, "a")
    expect(curve).to_have_attribute("data-pending", "false", timeout=45_000)
    expect(curve.locator("svg")).to_contain_text("share of variance removed")
    expect(curve.locator("svg")).to_contain_text("you, E", timeout=45_000)
    box = page.get_by_test_id("parts")
    box.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(box).to_contain_text("what the other latents write", timeout=45_000)
    expect(box).to_contain_text("what the write hook holds besides")
    assert page.evaluate(FOCUSED).startswith("where it survived"), "a redraw does not take the focus away"


def test_the_smallest_set_is_found_beside_the_presses_and_taken_over_under_its_own_name(open_page):
    page = lab(open_page("/shift"))
    press(page, "a")
    settled(page).get_by_role("button", name="Smallest set").click()
    page.get_by_role("button", name="Find the smallest set that does it").click()
    use = page.get_by_role("button", name="Use this set")
    use.wait_for(timeout=90_000)
    settled(page)
    use.click()
    expect(page.locator(".score .small").first).to_contain_text("found by greedy search (S, dev)", timeout=60_000)
    assert "shift_set=" in page.url


def test_the_lab_says_what_to_do_moves_on_and_undo_goes_back_to_what_it_undid(open_page):
    page = lab(open_page("/shift", stay=False))
    expect(page.locator(".says")).to_contain_text("Ablate latents about gender, keep those about profession.")
    assert "target=profession" in page.url
    first = here(page)
    page.keyboard.press("a")
    expect(page.locator(".card .title b")).not_to_have_text(first)
    lab(page)
    page.keyboard.press("z")
    expect(page.locator(".toast")).to_have_text(f"undone: {first}, ablate \u2192 none")
    assert here(lab(page)) == first
    press(page, "z")
    expect(page.locator(".toast")).to_have_text("nothing left to undo")
    page.locator(".queue h3 input").uncheck()
    page.reload()
    expect(lab(page).locator(".queue h3 input")).not_to_be_checked()


def test_question_mark_shows_the_keys_and_the_first_tab_leads_to_the_queue(open_page):
    page = lab(open_page("/shift"))
    page.keyboard.press("?")
    expect(page.locator("dialog.help")).to_be_visible()
    press(page, "a")
    page.keyboard.press("Escape")
    expect(page.locator("dialog.help")).to_be_hidden()
    assert ablated(page).endswith("0 ablated \u00b7 0 decided")
    page.evaluate("document.getElementById('saeeval-skip').focus()")
    page.keyboard.press("Enter")
    assert page.locator(".queue .scroll").evaluate("e => e.getRootNode().activeElement === e")


def test_near_duplicates_are_decided_at_once_and_what_a_filter_hides_keeps_its_place(open_page):
    page = lab(open_page("/shift"))
    page.locator(".queue select").first.select_option("todo")
    page.keyboard.press("ArrowDown")
    second = here(page)
    press(page, "k")
    expect(page.locator(".qrow.gone-here")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    third = here(page)
    page.keyboard.press("ArrowUp")
    assert third != second and here(page) != third
    page.locator(".queue select").first.select_option("all")
    if page.locator(".alike").count():
        page.locator(".alike").first.click()
        n = int(re.search(r"\d+", page.locator(".bulk").inner_text())[0])
        page.locator(".bulk button", has_text="Ablate").click()
        assert n > 1 and f"{n} ablated" in ablated(page)


def test_no_key_decides_while_presenting(open_page):
    page = lab(open_page("/shift?present=1&target=profession"))
    for key in "akuz":
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert "0 decided" in ablated(page)
