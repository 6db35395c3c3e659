"""What went wrong with stored files without stopping anything: a line on stderr, each once, also shown on pages."""

import sys
from collections.abc import Callable

from saeeval_core.errors import ArtifactError, one_line
from saeeval_core.redaction import redacted

_said: dict[str, None] = {}


def notice(line: str) -> None:
    """Write a line to stderr, unless this process wrote the same line before; without keys."""
    line = one_line(redacted(line))
    if line not in _said:
        _said[line] = None
        sys.stderr.write(f"{line}\n")


def notices() -> tuple[str, ...]:
    """Every line so far, the oldest first."""
    return tuple(_said)


def try_to_store(what: str, write: Callable[[], object]) -> bool:
    """Call ``write``; a full or read-only disk becomes a notice, because what was computed can be used all the same."""
    try:
        write()
    except OSError as error:
        notice(f"{what} not stored ({error.strerror or error}); used all the same, and made again next time")
    except ArtifactError as error:
        notice(f"{what} not stored: {error}; used all the same, and made again next time")
    else:
        return True
    return False
