"""CSV: columns as asked for, undefined is empty, and no cell that a spreadsheet would run."""

import csv
import io

import pytest

from saeeval_core.storage.row_csv import csv_text, read_cell


def test_columns_are_those_of_the_rows_or_those_asked_for():
    rows = [{"a": -1.5, "b": "-x"}, {"c": None}]
    assert csv_text(rows) == "a,b,c\n-1.5,'-x,\n,,\n"
    assert csv_text(rows, ["b", "d"]) == "b,d\n'-x,\n,\n"


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-x", "@x", "\tx", "plain", "'quoted'", 'a,"b"', ""])
def test_what_a_spreadsheet_would_run_is_quoted_and_read_back(text):
    (row,) = csv.DictReader(io.StringIO(csv_text([{"a": text, "b": 1}])))
    assert not row["a"].startswith(("=", "+", "-", "@", "\t"))
    assert read_cell(row["a"]) == text and row["b"] == "1"
