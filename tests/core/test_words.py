"""Counts in words."""

import re
from pathlib import Path

from saeeval_core.wording import head, plural, short_time, tail

ROOT = Path(__file__).resolve().parents[2]


def test_one_of_something_and_several():
    assert [plural(n, "pair") for n in (0, 1, 4096)] == ["0 pairs", "1 pair", "4,096 pairs"]
    assert [plural(2, one) for one in ("class", "batch", "entry", "day")] == [
        "2 classes",
        "2 batches",
        "2 entries",
        "2 days",
    ]
    assert plural(3, "person", "people") == "3 people"


def test_no_sentence_leaves_the_number_open():
    for path in [p for root in ("app", "saeeval_core") for p in (ROOT / root).rglob("*.[pj][ys]")]:
        assert not re.search(r"\} [\w ]+\(s\)", path.read_text(encoding="utf-8")), f"{path}: use plural"


def test_an_excerpt_ends_where_a_word_ends_and_says_what_is_left_out():
    text = "the nurse sees a doctor"
    assert [head(text, n) for n in (40, 23, 13, 12, 9)] == [text, text, "the nurse…", "the nurse…", "the nurse…"]
    assert [tail(text, n) for n in (23, 10, 8, 6)] == [text, "…a doctor", "…a doctor", "…doctor"]
    assert head("x" * 9, 4) == "xxxx…" and tail("x" * 9, 4) == "…xxxx", "a language without spaces"


def test_a_time_is_said_to_the_minute():
    assert short_time("2026-03-04T05:06:07.123456+00:00") == "2026-03-04 05:06 UTC"
