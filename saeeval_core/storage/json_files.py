"""JSON files that this package wrote, read without trusting them: whatever is wrong is an ArtifactError of one line."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from saeeval_core.errors import ArtifactError

_ODD = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, MemoryError)
"""What reading a value of an unexpected form raises."""


def read_json(path: Path) -> Any:
    """The value in a file. ArtifactError for one that is missing, unreadable, no JSON or nested too deep."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ArtifactError(f"no artifact at {path}; it was never finished or has been deleted: rebuild it") from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read ({error.strerror}); delete it and rebuild") from None
    except RecursionError:
        raise ArtifactError(f"{path} is nested too deep; delete it and rebuild") from None
    except ValueError:
        raise ArtifactError(f"{path} is not valid JSON; delete it and rebuild") from None


@contextmanager
def as_artifact(path: Path) -> Iterator[None]:
    """Read the content of ``path``: content of an unexpected form becomes an ArtifactError that names the file."""
    try:
        yield
    except _ODD as error:
        line = " ".join(f"{error}".split())[:120]
        what = f"{line} is missing" if isinstance(error, KeyError) else line
        raise ArtifactError(f"{path} does not fit: {what}; delete it and rebuild") from None


def typed(values: Mapping[str, Any], name: str, kind: type) -> Any:
    """The value of that name. KeyError if there is none, ValueError if it is of another kind."""
    value = values[name]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"'{name}' is {type(value).__name__}, expected {kind.__name__}")
    return value


def require(ok: bool, line: str) -> None:
    """ValueError with that line unless ``ok``; inside ``as_artifact`` it becomes an ArtifactError."""
    if not ok:
        raise ValueError(line)
