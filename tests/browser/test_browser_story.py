"""A story in a real browser: told from the first step to the last, then opened from disk, as is its report and a PNG."""

import struct

import pytest
from driving import settled
from playwright.sync_api import Page, expect

WAIT = 120_000
STEPS = 10


@pytest.fixture
def committed(open_page) -> Page:
    """A lab of a person who has ablated two latents and committed them."""
    page = open_page("/shift?n=5", who="Teller", width=1600)
    expect(page.locator(".lab .qrow").first).to_be_visible(timeout=WAIT)
    for _ in range(2):
        page.keyboard.press("a")
        page.keyboard.press("ArrowDown")
    commit = page.get_by_role("button", name="Commit")
    expect(commit).to_be_enabled(timeout=WAIT)
    commit.click()
    expect(page.locator(".score .note")).to_contain_text("test S", timeout=WAIT)
    return page


def told(page: Page) -> str:
    return page.locator(".story .where").inner_text()


def walk(page: Page) -> list[str]:
    """Press the arrow to the end: the titles that were seen, in order."""
    seen, where = [], ""
    while told(page) != where:
        where = told(page)
        step = page.locator(".story .step:visible")
        title = step.locator("h2").inner_text()
        assert step.locator(".said").inner_text().strip() and step.locator(".frame:visible").count() == 1
        seen += [title] if title not in seen else []
        page.keyboard.press("ArrowRight")
    return seen


def test_a_story_is_told_exported_and_opened_from_disk_in_the_dark(committed, chromium, tmp_path):
    page = committed
    with page.expect_download(timeout=WAIT) as report:
        page.get_by_role("button", name="Export", exact=True).click()
        page.get_by_role("button", name="Report (HTML)").click()
    report.value.save_as(tmp_path / "report.html")
    with page.expect_download(timeout=WAIT) as png:
        page.get_by_role("button", name="PNG", exact=True).first.click()
    png.value.save_as(tmp_path / "curve.png")
    head = (tmp_path / "curve.png").read_bytes()[:24]
    assert head[1:4] == b"PNG" and struct.unpack(">I", head[16:20])[0] == 2 * 880
    page.keyboard.press("Escape")

    page.get_by_role("link", name="Story").click()
    expect(page.locator(".story .where")).to_have_text(f"1 of {STEPS}", timeout=WAIT)
    settled(page)
    assert page.locator(".story .said:visible").evaluate("e => getComputedStyle(e).fontSize") == "28px"
    titles = walk(page)
    assert len(titles) == STEPS and titles[0] == "Biased texts" and titles[-1] == "Look for yourself"
    page.wait_for_url(f"**step={STEPS}**")
    for key in ("a", "k", "u", "z"):  # keys that decide in the lab do nothing here
        page.keyboard.press(key)
    assert told(page) == f"{STEPS} of {STEPS}"
    page.keyboard.press("Home")
    expect(page.locator(".story .where")).to_have_text(f"1 of {STEPS}")
    page.keyboard.press("n")
    expect(page.locator(".story .notes:visible")).to_have_count(1)
    settled(page)
    with page.expect_download(timeout=WAIT) as deck:
        page.get_by_role("button", name="Deck (HTML)").click()
    deck.value.save_as(tmp_path / "deck.html")
    page.locator(".story .out").click()
    expect(page.locator(".lab .qrow").first).to_be_visible(timeout=WAIT)

    context = chromium.new_context(color_scheme="dark", offline=True)
    asked: list[str] = []
    disk = context.new_page()
    disk.on("request", lambda r: asked.append(r.url))
    disk.on("pageerror", lambda e: pytest.fail(str(e)))
    disk.goto((tmp_path / "deck.html").as_uri())
    assert walk(disk) == titles
    for name in ("deck.html", "report.html"):
        disk.goto((tmp_path / name).as_uri())
        colours = disk.evaluate(
            "() => [getComputedStyle(document.documentElement).colorScheme,"
            " getComputedStyle(document.querySelector('svg text')).fill]"
        )
        assert colours == ["light dark", "rgb(255, 255, 255)"]
        assert (tmp_path / name).stat().st_size < 500_000
    expect(disk.locator(".told")).to_contain_text("committed latents")
    assert {url.partition(":")[0] for url in asked} <= {"file"}
    context.close()
