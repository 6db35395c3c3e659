"""No view says anything on the browser's console that a person would report: no error, no failed request of ours."""

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
