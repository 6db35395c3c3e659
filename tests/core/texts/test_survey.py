"""Before a task is made: what a file holds, which columns look like text and labels, and what is odd about the texts."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from saeeval_core.texts.checks import check_texts, class_counts, quadrants
from saeeval_core.texts.choices import LabelChoice, TaskLabels
from saeeval_core.texts.files import read_table
from saeeval_core.texts.labelled import LabelledTexts, Unused
from saeeval_core.texts.survey import FileFacts, survey
from saeeval_core.texts.tasks import MIN_PER_QUADRANT

JOB, SEX = LabelChoice("job", ("nurse", "surgeon")), LabelChoice("sex", ("f", "m"))


def test_the_longest_column_is_the_text_and_few_values_are_labels(tmp_path):
    n = 40
    frame = pd.DataFrame(
        {
            "id": range(n),
            "job": ["nurse, registered", "surgeon"] * (n // 2),
            "said": [f"this is what number {i} wrote about it" for i in range(n)],
            "stars": [1, 2, 3, 4, 5] * (n // 5),
            "split": ["train", "test"] * (n // 2),
        }
    )
    frame.to_csv(tmp_path / "a.csv", sep=";", index=False, encoding="utf-16")
    found = survey(read_table(tmp_path / "a.csv"))
    assert (found.text_column, found.label_columns, found.rows) == ("said", ("job", "stars"), n)
    assert (found.encoding, found.delimiter) == ("utf-16", ";") and "delimiter semicolon" in found.notes
    assert len(found.first) == 5 and found.first[1][1:3] == ("surgeon", "this is what number 1 wrote about it")
    assert found.columns[1].values == (("nurse, registered", 20), ("surgeon", 20)) and found.columns[0].distinct == n
    assert FileFacts.of_json(json.loads(json.dumps(asdict(found)))) == found


def test_columns_of_lists_and_empty_ones_are_no_guess(tmp_path):
    rows = [{"tags": ["a long list of words"] * 9, "t": f"text {i}", "none": None, "kind": i % 2} for i in range(20)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    found = survey(read_table(tmp_path / "a.json"))
    assert found.text_column == "t" and found.label_columns == ("kind",)
    assert [c.why_not for c in found.columns] == ["holds lists, not one value per row", "", "", ""]


def texts_of(rows: list[tuple[str, str, str]], **more) -> LabelledTexts:
    text, job, sex = zip(*rows, strict=True)
    return LabelledTexts("t", text, {"job": np.array(job), "sex": np.array(sex)}, **more)


def rows_of(n: int) -> list[tuple[str, str, str]]:
    jobs, sexes = JOB.values, SEX.values
    return [(f"number {i} said {i * 7} words", jobs[i % 2], sexes[i // 2 % 2]) for i in range(n)]


def test_quadrants_say_how_many_texts_are_missing():
    found = quadrants(texts_of(rows_of(128) + rows_of(4)), JOB, SEX)
    assert [(q.target, q.spurious, q.texts, q.training, q.needed, q.enough) for q in found] == [
        ("nurse", "f", 32, 20, 40, False),
        ("nurse", "m", 32, 20, 20, True),
        ("surgeon", "f", 32, 20, 20, True),
        ("surgeon", "m", 32, 20, 40, False),
    ]
    assert [q.needed_texts for q in found] == [66, 32, 32, 66]
    split = np.array(["test"] * 128)
    assert {q.training for q in quadrants(texts_of(rows_of(128), split=split), JOB, SEX)} == {0}
    assert (
        class_counts(texts_of(rows_of(50)), JOB) == {"nurse": (25, 15), "surgeon": (25, 15)} and MIN_PER_QUADRANT == 20
    )


def test_what_is_odd_is_found_with_examples_and_counted():
    rows = rows_of(80)
    rows += [rows[0], (rows[1][0], "nurse", "m"), ("w " * 128, "nurse", "f")]
    story = "once there was a person who went to the market and bought a very large fish for the whole family"
    rows += [(f"{story} {end}", "nurse", "f") for end in ("today", "there")]
    rows = [(f"{text} stethoscope" if i % 4 == 0 else text, job, sex) for i, (text, job, sex) in enumerate(rows)]
    split = np.array(["train"] * 80 + ["test"] * 5)
    found = {
        f.what: f for f in check_texts(texts_of(rows, split=split, dropped={Unused.NO_TEXT: 2}), TaskLabels(JOB, SEX))
    }
    assert {what: f.count for what, f in found.items() if f.count} == {
        "empty texts": 2,
        "identical texts": 2,
        "identical texts, different labels": 1,
        "near-duplicates": 1,
        "long texts": 1,
        "texts in several parts": 2,
        "words that alone tell 'job'": 1,
        "words that alone tell 'sex'": 1,
    }
    assert found["words that alone tell 'job'"].examples[0].startswith("stethoscope: in 2")
    assert "nurse: 45" in found["balance of 'job'"].line


def test_nothing_odd_is_said_too():
    found = check_texts(texts_of(rows_of(60)), TaskLabels(JOB, SEX))
    assert not any(f.count for f in found) and all(f.line for f in found)


@pytest.mark.parametrize("columns", [("job", "nope"), ("nope", "sex")])
def test_unknown_columns_are_named(columns):
    from saeeval_core.errors import DataError

    with pytest.raises(DataError, match="unknown column 'nope'"):
        check_texts(
            texts_of(rows_of(8)), TaskLabels(LabelChoice(columns[0], ("a", "b")), LabelChoice(columns[1], ("c", "d")))
        )
