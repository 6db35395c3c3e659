"""Damaged result files: an error of one line, never another exception."""

import pytest

from saeeval_core.errors import ArtifactError
from saeeval_core.evaluation.result_json import read_result
from saeeval_core.formats.saebench_files import load_rows

DAMAGED = [
    "",
    "{",
    "[" * 100_000,
    "null",
    "[]",
    '"x"',
    "1",
    "9" * 5000,
    '{"results": "\\ud800"}',
    '{"kind": "sweep"}',
    "{}",
]


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_files(tmp_path, content):
    path = tmp_path / "r.json"
    path.write_text(content)
    for read in (read_result, load_rows):
        with pytest.raises(ArtifactError) as said:
            read(path)
        assert "\n" not in str(said.value)
