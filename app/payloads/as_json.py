"""Typed values as the browser components take them: an object per dataclass, ``some_field`` under the key "someField"."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache

from saeeval_core.scores.uncertainty import Estimate

Json = dict[str, object]
_PLAIN = (str, int, float, bool, type(None))


def as_json(value: object) -> Json:
    """The JSON object of a dataclass and of all that it holds; an Estimate becomes {value, ci, reason}."""
    return {key: _value(getattr(value, name)) for name, key in _keys(type(value))}


def _value(value: object) -> object:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Estimate):
        return value.to_dict()
    if is_dataclass(value):
        return as_json(value)
    if isinstance(value, Mapping):
        return {k: _value(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        # Hundreds of tokens and activations: a sequence that begins with a plain value holds nothing else.
        return list(value) if value and isinstance(value[0], _PLAIN) else [_value(v) for v in value]
    raise TypeError(f"{type(value).__name__} cannot be sent to a component")


@cache
def _keys(of: type) -> tuple[tuple[str, str], ...]:
    names = [f.name for f in fields(of)]
    return tuple((name, name.split("_")[0] + "".join(w.title() for w in name.split("_")[1:])) for name in names)
