"""Dataclasses filled from files: each kind of annotation, and the field that is named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from saeeval_core.errors import LONGEST, DataError
from saeeval_core.storage.field_types import require_types


@dataclass(frozen=True)
class Inner:
    value: float | None = None


@dataclass(frozen=True)
class Outer:
    name: str = "a"
    n: int = 1
    flag: bool = False
    pair: tuple[int, str] = (1, "a")
    many: tuple[float, ...] = ()
    rows: Sequence[Sequence[int]] = ()
    by_name: Mapping[str, Inner] = field(default_factory=dict)
    inner: Inner | None = None


def test_what_fits_comes_back():
    fits = Outer(many=(1, 2.5), rows=[[1], (2,)], by_name={"a": Inner(1)}, inner=Inner(0.5))
    assert require_types(fits) is fits and require_types(Outer()) == Outer()


ODD = [
    ("name", 3),
    ("name", "\ud800"),
    ("n", True),
    ("n", 1.0),
    ("n", 2**63),
    ("flag", 1),
    ("pair", (1,)),
    ("pair", ("a", 1)),
    ("many", [1.0]),
    ("many", (float("nan"),)),
    ("rows", "12"),
    ("rows", [["1"]]),
    ("by_name", {1: Inner()}),
    ("inner", {"value": 1.0}),
]


@pytest.mark.parametrize(("name", "value"), ODD)
def test_what_does_not_fit_is_named(name, value):
    with pytest.raises(ValueError, match=rf"Outer\.{name} cannot be"):
        require_types(Outer(**{name: value}))


def test_what_is_inside_is_named_too():
    with pytest.raises(ValueError, match=r"Inner\.value cannot be 'x'"):
        require_types(Outer(inner=Inner("x")))


def test_a_message_is_one_printable_line():
    assert str(DataError("a\nb\x1b[31m\u202e\ud800")) == "a b\\x1b[31m\\u202e\\ud800"
    assert len(str(DataError("x" * 10**7))) == LONGEST + 3
