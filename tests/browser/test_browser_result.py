"""A notebook's result with hostile names, in a real browser: they stay text."""

from hostile_results import HOSTILE, hostile_result

from saeeval_core.door.html import result_html


def test_hostile_names_in_a_result_stay_text(chromium):
    page = chromium.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_content(f"<!doctype html><body>{result_html(hostile_result())}</body>")
    page.wait_for_timeout(200)
    assert page.evaluate("window.hit") is None and asked == []
    assert page.locator("img, script, a").count() == 0
    assert HOSTILE in page.locator("h4").first.inner_text() and page.locator("svg").count() == 1
    page.close()
