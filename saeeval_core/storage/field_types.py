"""Dataclasses filled from a file, against their own annotations: an odd value is found where it enters."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Fits = Callable[[Any], bool]
LARGEST = 2**63
"""No count and no score reaches it, and larger whole numbers fit in no column of a table."""


def require_types(value: T) -> T:
    """The same dataclass. ValueError naming the first field whose value, or what it holds, is not of its type.

    A whole number may stand for a float, True for neither; numbers are finite, texts free of lone surrogates.
    """
    for name, kind in _hints(type(value)).items():
        if not _fits(kind)(getattr(value, name)):
            raise ValueError(f"{type(value).__name__}.{name} cannot be {_short(getattr(value, name))}")
    return value


def _short(value: object) -> str:
    return ascii(value) if isinstance(value, str | int | float) and len(ascii(value)) <= 40 else type(value).__name__


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {name: hints[name] for name in kind.__dataclass_fields__}


@cache
def _fits(kind: Any) -> Fits:
    origin, args = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if is_dataclass(kind):
        return lambda v: isinstance(v, kind) and require_types(v) is v
    if origin in (Union, UnionType):
        return lambda v: any(_fits(a)(v) for a in args)
    if origin is tuple and args[-1:] != (...,):
        return lambda v: isinstance(v, tuple) and len(v) == len(args) and all(map(_call, args, v))
    if origin in (tuple, list, Sequence):
        of = tuple if origin is tuple else (list, tuple)
        return lambda v: isinstance(v, of) and all(_fits(args[0])(x) for x in v)
    if origin in (dict, Mapping):
        return lambda v: isinstance(v, Mapping) and all(_fits(args[0])(k) and _fits(args[1])(x) for k, x in v.items())
    raise TypeError(f"no check for {kind}")


def _call(kind: Any, value: Any) -> bool:
    return _fits(kind)(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def _is_number(value: object) -> bool:
    """A whole number of hundreds of digits has no float either."""
    return isinstance(value, float) and math.isfinite(value) or type(value) is int and abs(value) < LARGEST


_PLAIN: Mapping[Any, Fits] = {
    Any: lambda _: True,
    object: lambda _: True,
    NoneType: lambda v: v is None,
    str: _is_text,
    bool: lambda v: isinstance(v, bool),
    int: lambda v: type(v) is int and abs(v) < LARGEST,
    float: _is_number,
}
