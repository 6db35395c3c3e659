"""Whether people are pressing keys right now: work in the background steps aside for them."""

import time
from collections.abc import Callable

REST_S = 0.4
"""Presses rest when none came for so long."""
_last = float("-inf")


def note_press() -> None:
    """A press has come, in whichever session."""
    global _last
    _last = time.monotonic()


def pressed_since(moment: float) -> bool:
    """Whether a press came after ``moment``, of ``time.monotonic``."""
    return _last > moment


def wait(stopped: Callable[[], bool]) -> None:
    """Return once presses rest, or ``stopped`` says so."""
    while time.monotonic() - _last < REST_S and not stopped():
        time.sleep(REST_S / 8)
