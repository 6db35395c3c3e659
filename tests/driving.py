"""Driving Streamlit's own widgets in Chromium as a person would: look, then act; act again where the page moved."""

import re
import time

from playwright.sync_api import Page, TimeoutError, expect

WAIT = 60_000
"""Milliseconds: how long the slowest machine may take."""


def settled(page: Page) -> Page:
    """The page once no run of the script is going on."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=WAIT)
    return page


def choose(page: Page, box: str, option: str | re.Pattern[str]) -> None:
    """Pick an option of a select box. A list that a redrawing of the page has closed is opened again."""
    end = time.monotonic() + WAIT / 1000
    while True:
        settled(page)
        page.get_by_role("combobox", name=box, exact=True).click()
        try:
            page.get_by_role("option", name=option).first.click(timeout=3_000)
            return
        except TimeoutError:
            if time.monotonic() > end:
                raise
            page.keyboard.press("Escape")
