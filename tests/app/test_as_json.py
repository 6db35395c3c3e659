"""Typed values as the components take them."""

import json
from dataclasses import dataclass

import pytest

from app.payloads.as_json import as_json
from saeeval_core.scores.uncertainty import Estimate, undefined


@dataclass(frozen=True)
class Inner:
    some_rows: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Outer:
    set_name: str
    score: Estimate
    nothing: Estimate | None
    inner: Inner
    by_id: dict[int, Inner]
    many: list[Estimate]
    flags: tuple[bool, ...] = ()


def test_every_field_is_there_under_its_name_in_the_browsers_spelling():
    inner = Inner((("a", 0.5), ("b", 1.0)))
    sent = as_json(Outer("mine", Estimate(0.5, (0.4, 0.6)), None, inner, {3: inner}, [undefined("why")]))
    rows = {"someRows": [["a", 0.5], ["b", 1.0]]}
    assert json.loads(json.dumps(sent)) == {
        "setName": "mine",
        "score": {"value": 0.5, "ci": [0.4, 0.6], "reason": None},
        "nothing": None,
        "inner": rows,
        "byId": {"3": rows},
        "many": [{"value": None, "ci": None, "reason": "why"}],
        "flags": [],
    }


def test_what_a_browser_cannot_take_is_an_error():
    with pytest.raises(TypeError, match="set cannot be sent"):
        as_json(Inner({1, 2}))
