"""JSON of results with thousands of rows: one row per line and floats rounded, for small files and readable diffs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

DIGITS = 5
"""Decimals kept; of a score two or three are significant."""


def dumps(content: Mapping[str, Any]) -> str:
    """JSON of a result: one line per key, and one per element of every list of objects. NaN is a ValueError."""
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
