"""Latents page in a real browser: search, keys, links, untrusted text."""

import re

from playwright.sync_api import Page, expect

WAIT = 30_000


def ready(page: Page) -> Page:
    expect(page.locator(".lab.solo .title")).to_be_visible(timeout=WAIT)
    return page


def test_link_opens_the_latent_and_arrow_keys_move_on(open_page):
    page = ready(open_page("/latents?latent=17"))
    title = page.locator(".lab.solo .title b")
    expect(title).to_have_text("latent 17")
    page.keyboard.press("ArrowRight")
    expect(title).not_to_have_text("latent 17", timeout=WAIT)
    expect(page).not_to_have_url(re.compile("latent=17"), timeout=WAIT)
    page.keyboard.press("ArrowLeft")
    expect(title).to_have_text("latent 17", timeout=WAIT)


def test_keys_do_not_fire_while_typing(open_page):
    page = ready(open_page("/latents?latent=17"))
    field = page.get_by_role("textbox", name="Search")
    field.click()
    page.keyboard.type("kj")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".lab.solo .title b")).to_have_text("latent 17")
    assert field.input_value() == "kj"


def test_search_by_id_leaves_one_row(open_page):
    page = ready(open_page("/latents?latent=17"))
    page.get_by_role("textbox", name="Search").fill("33")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile(r"^1 of \d+ latents"))).to_be_visible(timeout=WAIT)
    expect(page).to_have_url(re.compile("search=33"), timeout=WAIT)


def test_hostile_contexts_are_text_and_the_page_keeps_its_width(open_page):
    page = ready(open_page("/latents?latent=5", width=390, height=844))
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_cell_latent_opens_its_page(open_page):
    page = open_page("/tpp?cell=0,0")
    link = page.locator(".tpp .latents .link").first
    expect(link).to_be_visible(timeout=WAIT)
    name = link.inner_text()
    link.click()
    expect(page.locator(".lab.solo .title b")).to_have_text(f"latent {name}", timeout=WAIT)


def test_rows_of_the_table_are_decided_at_once_and_stand_in_the_lab(open_page):
    page = ready(open_page("/latents?strength=top+20&of=shift"))
    page.get_by_role("button", name="Ablate", exact=True).click()
    expect(page.get_by_text("20 latents set to ablate")).to_be_visible(timeout=WAIT)
    page.get_by_role("link", name="SHIFT lab").click()
    expect(page.locator(".score .small").first).to_contain_text("20 ablated", timeout=WAIT)
    page.get_by_role("link", name="Latents", exact=True).click()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("20 decisions taken back")).to_be_visible(timeout=WAIT)
