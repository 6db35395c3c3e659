"""A long session: pages, presses and tabs for as long as a workshop lasts; the server's memory and open files stay flat."""

import os
from pathlib import Path

import pytest
from test_browser_presses import WAIT, lab

pytestmark = pytest.mark.soak
ROUNDS = int(os.environ.get("SAEEVAL_SOAK_ROUNDS", "60"))
"""Rounds of six pages and ten presses, in a new tab each."""
PAGES = ("/", "/shift", "/tpp", "/latents", "/judge", "/compare")


def measured(process: int) -> tuple[float, int]:
    """(resident memory in MB, open file descriptors) of a process."""
    status = Path(f"/proc/{process}/status").read_text()
    memory = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(memory.split()[1]) / 1024, len(os.listdir(f"/proc/{process}/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="memory and open files are read from /proc")
def test_a_long_session_leaks_neither_memory_nor_files(open_page, server, record_property):
    seen, context = [], open_page("/shift", who="soak").context
    for _ in range(ROUNDS):
        page = context.new_page()
        page.set_default_timeout(WAIT)
        for path in PAGES:
            page.goto(server.url + path)
            page.get_by_test_id("stAppViewContainer").wait_for()
            page.wait_for_timeout(500)
        page.goto(server.url + "/shift")
        lab(page)
        for key in ("a", "ArrowDown") * 5:
            page.keyboard.press(key)
        lab(page)
        page.close()
        seen.append(measured(server.process.pid))
    (memory, files), (late_memory, late_files) = (map(max, zip(*part, strict=True)) for part in halves(seen))
    record_property("page loads", ROUNDS * (len(PAGES) + 1))
    record_property("MB", round(late_memory))
    record_property("open files", late_files)
    assert late_memory < 1.15 * memory, seen
    # Sessions of closed pages hold three files each until they end, two minutes later: files rise, then stay. Linux allows 1,024.
    assert late_files < max(files + 40, 600), seen


def halves(seen: list[tuple[float, int]]) -> tuple[list[tuple[float, int]], list[tuple[float, int]]]:
    """The second and the last quarter: the first fills caches."""
    n = len(seen)
    return seen[n // 4 : n // 2], seen[-(n // 4) :]
