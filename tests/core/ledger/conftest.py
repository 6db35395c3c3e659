"""What is said about stores."""

from collections.abc import Callable

import pytest

from saeeval_core.storage import notices


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """What was said about stores in this test."""
    monkeypatch.setattr(notices, "_said", {})
    return lambda: "\n".join(line for line in notices.notices() if line.startswith("store: "))
