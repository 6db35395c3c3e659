"""Labels are named exactly: numbers with all their digits, and names with commas, "=", quotes or outer spaces."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from saeeval_core.errors import DataError
from saeeval_core.texts.choices import LabelChoice, TaskLabels, number_label, read_choice, text_label, write_choice
from saeeval_core.texts.sources import file_task_set

NAMES = ["a", "a, b", " a ", "a=b", 'say "no"', '"', ",", "=", "日本, 語", "a\nb", "it's", "5.0", "a\\,b"]


@pytest.mark.parametrize(("column", "one"), product(NAMES, NAMES))
def test_what_is_written_is_read_again(column, one):
    assert read_choice(write_choice(column, [one, "other"])) == (column, (one, "other"))


def test_what_people_typed_before_means_the_same():
    assert read_choice("job=nurse, surgeon") == ("job", ("nurse", "surgeon"))
    assert read_choice("job=a,b,,c,") == ("job", ("a", "b", "c"))
    assert read_choice("job=a=b,c") == ("job", ("a=b", "c"))
    assert read_choice("job") == ("job", ()) and read_choice("job=") == ("job", ())
    assert write_choice("job", ["nurse", "a b"]) == "job=nurse,a b"


@pytest.mark.parametrize("text", ['job="a,b', '"job=a,b', 'job="a"b,c', '"job"x=a', '"job"', "=a,b", 'job="a""', '"'])
def test_quotes_that_do_not_close_are_refused(text):
    with pytest.raises(DataError, match="in double quotes"):
        read_choice(text)


def test_reading_takes_time_in_proportion_to_length():
    for text in ("x=" + '"' * 200_000, '"' * 200_001, "x=" + " " * 100_000 + "\0" * 9, "x=" + ',"' * 100_000):
        try:
            read_choice(text)
        except DataError:
            pass


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (5.0, "5"),
        (5, "5"),
        (0.1, "0.1"),
        (np.float32(0.1), "0.1"),
        (np.float64(0.1), "0.1"),
        (1234561, "1234561"),
        (20240101.0, "20240101"),
        (1234567.25, "1234567.25"),
        (2**60 + 1, str(2**60 + 1)),
        (1e300, "1e+300"),
        (-0.0, "0"),
    ],
)
def test_labels_of_numbers_are_exact(value, label):
    assert number_label(value) == label and text_label(label) == label


def test_long_numbers_and_odd_names_can_be_chosen(tmp_path: Path):
    path = tmp_path / "t.csv"
    when, where = [20240101, 20240102, 20240101], ["Rome, Italy", " Oslo", " Oslo"]
    pd.DataFrame({"text": list("abc"), "when": when, "a=b, c": where}).to_csv(path, index=False)
    found = file_task_set(path, "text", classes="when=20240101.0,20240102")
    assert found.tpp == ("when", ("20240101", "20240102"))
    assert found.texts.columns["when"].tolist() == ["20240101", "20240102", "20240101"]
    found = file_task_set(path, "text", classes='"a=b, c"="Rome, Italy"," Oslo"')
    assert found.tpp == ("a=b, c", ("Rome, Italy", "Oslo")), "outer spaces belong to no label"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("5", "5"),
        ("5.0", "5"),
        (" 5.00 ", "5"),
        ("5.50", "5.5"),
        ("-0.0", "0"),
        ("-1.10", "-1.1"),
        *(
            (t, t)
            for t in ("05", "01", "+5", "5e0", "1_1", "11", "NA", "None", "nan", "true", "5.", ".5", "1.0.0", "٥")
        ),
    ],
)
def test_only_plain_decimal_numbers_have_more_than_one_spelling(text, label):
    assert text_label(text) == label == text_label(label)


def test_labels_in_a_file_are_lists():
    labels = TaskLabels(
        LabelChoice("a=b", ("x, y", " z")), LabelChoice("sex", ("f", "m")), LabelChoice("job", ("p", "q", "r"))
    )
    assert TaskLabels.from_json(labels.to_json()) == labels
    assert TaskLabels.read(*map(str, (labels.target, labels.spurious, labels.classes))) == labels
    assert labels.columns == ("a=b", "sex", "job") and not TaskLabels()
    numbers = {"classes": {"column": "stars", "values": [1, 5.0, True]}}
    assert TaskLabels.from_json(numbers).classes == LabelChoice("stars", ("1", "5.0", "true"))
    for bad in (
        [],
        {"targets": {}},
        {"target": {"column": "a", "positive": "b"}},
        {"classes": {"column": "a", "values": []}},
    ):
        with pytest.raises(DataError, match='"positive": ...'):
            TaskLabels.from_json(bad)
