"""TPP matrix in a real browser: slider, cells, toggles, keyboard, links, untrusted text, phone width."""

import re

from playwright.sync_api import Page, expect

WAIT = 30_000


def ready(page: Page) -> Page:
    expect(page.locator(".tpp .cell").first).to_be_visible(timeout=WAIT)
    return page


def settled(page: Page) -> None:
    expect(page.locator(".tpp")).to_have_attribute("data-pending", "0", timeout=WAIT)


def score(page: Page) -> str:
    settled(page)
    return page.locator(".tppscore").inner_text()


def to_step(page: Page, step: int) -> None:
    page.locator(".tpp #n").evaluate("(s, v) => { s.value = v; s.dispatchEvent(new Event('input')); }", step)


def test_slider_moves_matrix_score_and_link(open_page):
    page = ready(open_page("/tpp"))
    before, cell = score(page), page.locator(".tpp [data-cell='0,0'] b").inner_text()
    to_step(page, 1)
    expect(page.locator(".tpp")).to_have_attribute("data-n", "1", timeout=WAIT)
    assert score(page) != before and page.locator(".tpp [data-cell='0,0'] b").inner_text() != cell
    expect(page).to_have_url(re.compile(r"n=1(&|$)"), timeout=WAIT)


def test_fast_slider_moves_end_on_the_last_one(open_page):
    page = ready(open_page("/tpp"))
    for step in (3, 5, 2, 8, 6, 9):
        to_step(page, step)
    expect(page.locator(".tpp")).to_have_attribute("data-n", "12", timeout=WAIT)
    settled(page)
    expect(page.locator(".tpp")).to_have_attribute("data-n", "12")


def test_cell_shows_latents_and_flipped_texts_and_a_toggle_moves_its_row(open_page):
    page = ready(open_page("/tpp"))
    page.locator(".tpp [data-cell='2,2']").click()
    box = page.locator(".tpp .latents tbody tr").first.locator("input")
    expect(box).to_be_checked(timeout=WAIT)
    expect(page.get_by_text(re.compile(r"\d+ of \d+ texts changed prediction"))).to_be_visible()
    before, other = (
        page.locator(".tpp [data-cell='2,2'] b").inner_text(),
        page.locator(".tpp [data-cell='0,0'] b").inner_text(),
    )
    box.uncheck()
    settled(page)
    expect(page.locator(".tpp [data-cell='2,2'] b")).not_to_have_text(before, timeout=WAIT)
    assert page.locator(".tpp [data-cell='0,0'] b").inner_text() == other
    page.reload()  # the decision was stored at once
    ready(page)
    expect(page.locator(".tpp .latents tbody tr").first.locator("input")).not_to_be_checked(timeout=WAIT)
    page.locator(".tpp .latents tbody tr").first.locator("input").check()
    expect(page.locator(".tpp [data-cell='2,2'] b")).to_have_text(before, timeout=WAIT)


def test_permalink_opens_the_same_cell_and_n_in_a_fresh_context(open_page):
    page = ready(open_page("/tpp?n=5&cell=1,3&scale=relative"))
    expect(page.locator(".tpp")).to_have_attribute("data-n", "5", timeout=WAIT)
    expect(page.locator(".tpp [data-cell='1,3']")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text("scale: relative to chance")).to_be_visible()


def test_keyboard_alone_reaches_a_cell(open_page):
    page = ready(open_page("/tpp"))
    page.locator(".tpp [data-cell='0,0']").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(".tpp [data-cell='1,1']")).to_have_attribute("aria-pressed", "true", timeout=WAIT)
    expect(page.get_by_text("professor latents on the professor probe")).to_be_visible(timeout=WAIT)


def read_anew(page: Page) -> None:
    expect(page.locator(".tpp")).to_have_attribute("data-reading", "false", timeout=45_000)


def test_the_toggle_shows_fresh_probes_follows_presses_and_is_in_the_link(open_page):
    page = ready(open_page("/tpp?cell=2,2"))
    cell, old = page.locator(".tpp [data-cell='2,2']"), score(page)
    expect(cell).to_have_attribute("title", re.compile("surgeon"))
    before = cell.inner_text()
    page.get_by_role("button", name="old probes: is this probe cut off?").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"fresh=1(&|$)"), timeout=WAIT)
    toggle = page.get_by_role("button", name="fresh probes: can the class still be read?")
    expect(toggle).to_have_attribute("aria-pressed", "true")
    read_anew(page)
    expect(page.get_by_text("reading every fresh probe")).to_be_visible(timeout=WAIT)
    expect(page.get_by_text(re.compile("A fresh surgeon probe lost"))).to_be_visible()
    fresh = cell.inner_text()
    assert fresh != before and score(page) == old, "the score that answers at once stays that of the old probes"
    page.locator(".tpp .latents tbody tr").first.locator("input").uncheck()
    expect(page.get_by_text("Old probes are shown while fresh ones are being read.")).to_be_visible(timeout=WAIT)
    read_anew(page)
    expect(page.get_by_text("reading every fresh probe")).to_be_visible(timeout=WAIT)
    assert cell.inner_text() != fresh
    again = ready(open_page("/tpp?cell=2,2&fresh=1"))
    read_anew(again)
    expect(again.locator(".tpp [data-cell='2,2']")).to_have_text(re.compile("."), timeout=WAIT)
    expect(again.get_by_text("reading every fresh probe")).to_be_visible(timeout=WAIT)


def test_hostile_texts_are_shown_and_never_run(open_page):
    page = ready(open_page("/tpp?n=200&cell=0,0"))
    for cell in ("1,1", "2,2", "3,3"):
        page.locator(f".tpp [data-cell='{cell}']").click()
        expect(page.locator(f".tpp [data-cell='{cell}']")).to_have_attribute("aria-pressed", "true", timeout=WAIT)
    assert page.evaluate("window.hacked") is None


def test_phone_width_scrolls_inside_the_matrix_only(open_page):
    page = ready(open_page("/tpp?cell=0,0", width=390, height=844, dark=True))
    settled(page)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390


def test_it_opens_on_a_cell_and_colours_stay_while_n_moves(open_page):
    page = ready(open_page("/tpp?n=2"))
    expect(page).to_have_url(re.compile(r"cell=\d"), timeout=WAIT)
    expect(page.get_by_text(re.compile(r"texts changed prediction"))).to_be_visible(timeout=WAIT)
    full = page.locator(".tpp .how", has_text="full colour").inner_text()
    to_step(page, 6)
    expect(page.locator(".tpp")).to_have_attribute("data-n", "6", timeout=WAIT)
    assert page.locator(".tpp .how", has_text="full colour").inner_text() == full
    expect(page.locator(".tpp .detail.stale")).to_have_count(0, timeout=WAIT)
    page.get_by_role("button", name="colours: fixed over N").click()
    expect(page.locator(".tpp .how", has_text="at this N")).to_be_visible()
