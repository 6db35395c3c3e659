"""Result files: the same content, one row a line, floats short, NaN refused."""

import json

import pytest

from saeeval_core.storage.row_json import dumps

CONTENT = {
    "kind": "sweep",
    "rows": [{"sae": "a", "value": 0.123456789, "ci": [0.1, None]}, {"sae": "b", "value": 2}],
    "none": [],
}


def test_reads_back_rounded_with_a_line_per_row():
    text = dumps(CONTENT)
    back = json.loads(text)
    assert back["rows"] == [{"sae": "a", "value": 0.12346, "ci": [0.1, None]}, {"sae": "b", "value": 2}]
    assert back["kind"] == "sweep" and back["none"] == []
    assert sum('"sae"' in line for line in text.splitlines()) == 2


def test_nan_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps({"rows": [{"value": float("nan")}]})
