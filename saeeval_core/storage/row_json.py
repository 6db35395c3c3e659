"""JSON of results with thousands of rows: one row per line and floats rounded, for small files and readable diffs.

The last key is a seal over the others, so that a file which was damaged since is not read as another result.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saeeval_core.config import digest
from saeeval_core.storage.artifacts import check_seal
from saeeval_core.storage.manifest import check_file

DIGITS = 5
"""Decimals kept; of a score two or three are significant."""


def dumps(content: Mapping[str, Any]) -> str:
    """JSON of a result: one line per key, and one per element of every list of objects. NaN is a ValueError."""
    plain = {k: v for k, v in content.items() if k != "seal"}
    return _text(plain | {"seal": digest(json.loads(_text(plain)))})


def check_result(path: Path, content: Any) -> None:
    """ArtifactError for a file that is not as it was written: by its seal or, shipped without one, by the manifest."""
    if isinstance(content, Mapping) and "seal" in content:
        check_seal(path, content)
    else:
        check_file(path)


def _text(content: Mapping[str, Any]) -> str:
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {_value(value)}" for key, value in content.items()) + "\n}\n"


def rounded(value: Any) -> Any:
    """The same value with floats of any depth rounded to DIGITS decimals."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, Mapping):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list | tuple) else value


def _value(value: Any) -> str:
    if isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
        return "[\n" + ",\n".join(_line(v) for v in value) + "\n]"
    return _line(value)


def _line(value: Any) -> str:
    return json.dumps(rounded(value), allow_nan=False, separators=(",", ":"))
