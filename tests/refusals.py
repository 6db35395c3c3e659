"""What the refusal of bad input must be, how its cases are named, and a payload that says when it was executed."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from saeeval_core.errors import LONGEST, SaeEvalError


class Canary:
    """Unpickled, it writes the canary."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {os.environ['SAEEVAL_CANARY']}",)


def shown(value: object) -> str:
    """The name of a case in a table of odd values."""
    return ascii(value)[:24]


def is_one_line(text: str) -> None:
    """A message that a person can be shown."""
    assert text.strip() and text.isprintable() and len(text) <= LONGEST + 3, ascii(text)
    assert "Traceback" not in text
    text.encode("utf-8")


def refused(do: Callable[[], Any], *, only: type[SaeEvalError] = SaeEvalError) -> str:
    """The one line with which it is refused."""
    with pytest.raises(only) as said:
        do()
    is_one_line(str(said.value))
    return str(said.value)


def refused_or(do: Callable[[], Any]) -> Any:
    """What it gives; None where it is refused in one line."""
    try:
        return do()
    except SaeEvalError as error:
        is_one_line(str(error))
        return None
