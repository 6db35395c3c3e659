"""JSON from outside is read, or refused with one kind of error."""

import pytest

from saeeval_core.storage.parse_json import NotJson, parse_json


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "line 1"),
        ("{", "line 1"),
        ('{"a":\n1,}', "line 2"),
        (b"\xff\xfe", "not UTF-8"),
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        ("9" * 5000, "too many digits"),
        ('["\\ud800"]', "half characters"),
        ('{"\\uDfff": 1}', "half characters"),
    ],
)
def test_refused(content, why):
    with pytest.raises(NotJson, match=why) as said:
        parse_json(content)
    assert "\n" not in str(said.value)


def test_read():
    assert (
        parse_json('["\\ud83d\\ude00", 1e5, "\\u00e9"]') == ["😀", 1e5, "é"] == parse_json('["😀", 1e5, "é"]'.encode())
    )
