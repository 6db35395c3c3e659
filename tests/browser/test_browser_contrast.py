"""Every text of every view can be read: at least 4.5 to 1 with what is behind it, on light and on dark pages."""

import time
from pathlib import Path

import pytest
from driving import WAIT, settled

from app.shell import VIEWS

LEAST = 4.5
FIND = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")


NO_VERDICT = "shift?target=profession&latent=5"
"""Its row of the queue, the one marked, says so in pale words."""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("path", [*VIEWS.values(), NO_VERDICT, "compare?compare_tab=trust", "judge?tab=agreement"])
def test_every_text_stands_out(open_page, path, dark):
    page = open_page(f"/{path}", dark=dark)
    end = time.monotonic() + WAIT / 1000
    while (found := settled(page).evaluate(FIND, LEAST)) and time.monotonic() < end:
        page.wait_for_timeout(500)  # what is about to be drawn anew is pale for a moment
    page.wait_for_timeout(1_000)
    assert not (found and settled(page).evaluate(FIND, LEAST))
