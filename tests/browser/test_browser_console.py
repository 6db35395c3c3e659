"""No view says anything on the browser's console that a person would report: no error, no failed request of ours."""

import re

import pytest
from driving import WAIT, settled
from playwright.sync_api import ConsoleMessage, expect

from app.shell import VIEWS

OF_STREAMLIT = "/_stcore/"
"""Streamlit asks below the path of a view whether its server is there, before it asks at the root."""


@pytest.mark.parametrize("view", VIEWS.values())
def test_a_view_leaves_the_console_clean(open_page, view):
    page, said = open_page(f"/{view}", dark=True), []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and OF_STREAMLIT not in str(message.location.get("url")):
            said.append(message.text)

    page.on("console", note)
    page.reload()
    settled(page)
    expect(page.get_by_test_id("stException")).to_have_count(0, timeout=WAIT)
    page.wait_for_timeout(1_000)
    assert not said


def test_back_leads_to_the_view_before_with_one_press(open_page):
    page = settled(open_page("/shift?target=profession"))
    page.get_by_test_id("score").wait_for(timeout=WAIT)
    page.get_by_test_id("stTopNav").get_by_role("link", name="Latents").click()
    expect(page).to_have_url(re.compile("/latents"), timeout=WAIT)
    settled(page)
    page.go_back()
    expect(page).to_have_url(re.compile("/shift"), timeout=WAIT)
    page.get_by_test_id("score").wait_for(timeout=WAIT)
