"""Files as people have them: delimiters, encodings, compression, JSON of several forms, and labels kept as written."""

import datetime
import gzip
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from saeeval_core.config import PROTOCOLS
from saeeval_core.errors import DataError
from saeeval_core.texts.files import Bounds, from_frame, read_frame, read_table
from saeeval_core.texts.labelled import LabelledTexts, Unused
from saeeval_core.texts.sources import file_task_set, read_texts
from saeeval_core.texts.tables import FileForm

SEMICOLON = 'text;job;node\n"He said; ok, then";"nurse, registered";2619525011\nb;café;2619526011\n;café;1\n'


def read(tmp_path: Path, name: str, content: str | bytes, column: str = "text", **form: str) -> LabelledTexts:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_texts(path, column, form=FileForm(**form))


def labels(texts: LabelledTexts) -> dict[str, list[str]]:
    return {name: values.tolist() for name, values in texts.columns.items()}


@pytest.mark.parametrize(
    ("name", "content", "form", "said"),
    [
        ("a.csv", SEMICOLON.encode(), {}, ("delimiter semicolon",)),
        ("a.CSV.GZ", gzip.compress(SEMICOLON.encode()), {}, ("delimiter semicolon",)),
        ("a.csv", ("\ufeff" + SEMICOLON).encode(), {}, ("encoding utf-8", "delimiter semicolon")),
        ("a.csv", ("sep=;\n" + SEMICOLON).encode(), {}, ("delimiter semicolon",)),
        ("a.csv", SEMICOLON.replace(";", "\t").replace("said\t", "said;").encode(), {}, ("delimiter tab",)),
        ("a.tsv", SEMICOLON.replace(";", "\t").replace("said\t", "said;").encode(), {}, ("delimiter tab",)),
        ("a.csv", SEMICOLON.encode("utf-16"), {}, ("encoding utf-16", "delimiter semicolon")),
        (
            "a.csv",
            SEMICOLON.encode("utf-16-le"),
            {"encoding": "utf-16-le"},
            ("encoding utf-16-le", "delimiter semicolon"),
        ),
        ("a.csv", SEMICOLON.encode("cp1252"), {"encoding": "CP1252"}, ("encoding cp1252", "delimiter semicolon")),
        ("a.csv", SEMICOLON.encode(), {"delimiter": ";"}, ("delimiter semicolon",)),
        ("a.csv", SEMICOLON.replace("\n", "\r\n").encode(), {}, ("delimiter semicolon",)),
    ],
)
def test_every_form_of_one_table_is_the_same_table(tmp_path, name, content, form, said):
    found = read(tmp_path, name, content, **form)
    assert found.texts == ("He said; ok, then", "b") and found.notes == said and found.name == "a"
    assert labels(found) == {"job": ["nurse, registered", "café"], "node": ["2619525011", "2619526011"]}
    assert found.dropped == {Unused.NO_TEXT: 1}


@pytest.mark.parametrize(
    ("content", "form", "line"),
    [
        (SEMICOLON.encode("latin-1"), {}, "is not UTF-8.*byte 0xe9.*--encoding cp1252"),
        (SEMICOLON.encode("utf-16-le"), {}, "NUL bytes.*--encoding utf-16-le"),
        (SEMICOLON.encode(), {"encoding": "ascii"}, "is not ascii .byte 0xc3"),
        (SEMICOLON.encode(), {"encoding": "rot13"}, "unknown encoding 'rot13'; give one such as"),
        (SEMICOLON.encode(), {"delimiter": "ab"}, "delimiter is 'ab'; give one character"),
        (b"text,a;b\nx,1;2\n", {}, "comma or semicolon as delimiter; say which: --delimiter ',' or --delimiter ';'"),
        (b"text,a\nx,1\ny,2,3\n", {}, "3 fields, expected 2, in line 3; read with delimiter comma"),
        (b'text,a\n"never closed,1\n', {}, "unexpected end of data"),
        (b"", {}, "No columns"),
    ],
)
def test_what_leaves_a_doubt_is_asked(tmp_path, content, form, line):
    with pytest.raises(DataError, match=line):
        read(tmp_path, "a.csv", content, **form)


def test_quoted_line_breaks_short_rows_and_repeated_headers(tmp_path):
    found = read(tmp_path, "a.csv", 'text,a,b,\n"two\nlines, ""here""",1,2,,\n\nx,1\ntext,a,b,\ny,2,3,\n')
    assert found.texts == ('two\nlines, "here"', "x", "y") and labels(found)["b"] == ["2", "", "3"]
    assert found.dropped == {Unused.HEADER: 1}


def test_a_file_without_a_header_is_said(tmp_path):
    row = "A long sentence with many words which says what somebody does all day,nurse\n"
    found = read(tmp_path, "a.csv", row + "Another one,surgeon\n" + row, "column 1")
    assert len(found.texts) == 3 and labels(found) == {"column 2": ["nurse", "surgeon", "nurse"]}
    assert "no header found: the columns are called column 1, column 2" in found.notes
    survey = "How satisfied are you with the product that we sent to you in May?,sex\nvery,f\nno,m\n"
    assert set(read(tmp_path, "b.csv", survey, "sex").columns) == {survey.partition(",")[0]}


def test_columns_without_or_with_the_same_name_are_numbered(tmp_path):
    found = read(tmp_path, "a.csv", ", text ,a,a\n0,x,1,2\n")
    assert list(found.columns) == ["column 1", "a", "a.1"] and "columns of one name are numbered: a.1" in found.notes


WRITTEN = [
    "01",
    "1",
    "1.0",
    "1_1",
    "11",
    "NA",
    "None",
    "null",
    "N/A",
    "True",
    "true",
    "2024-01-02",
    "1234567",
    " nurse ",
    "",
]
KEPT = ["01", "1", "1", "1_1", "11", "NA", "None", "null", "N/A", "True", "true", "2024-01-02", "1234567", "nurse", ""]


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet"])
def test_labels_keep_their_text(tmp_path, kind):
    path = tmp_path / f"t{kind}"
    frame = pd.DataFrame({"text": ["NaN", "null", *map(str, range(13))], "label": WRITTEN})
    if kind == ".csv":
        frame.to_csv(path, index=False)
    elif kind == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    found = read_texts(path, "text")
    assert found.columns["label"].tolist() == KEPT and found.texts[:2] == ("NaN", "null")
    assert any(note == "outer spaces left out of 1 value of 'label'" for note in found.notes)
    chosen = file_task_set(path, "text", classes='label=NA,None,"nurse ",1.00').tpp
    assert chosen == ("label", ("NA", "None", "nurse", "1"))


def test_a_late_word_changes_no_number_before_it(tmp_path):
    rows = [f"text {i},{'5' if i % 2 else '1'}" for i in range(40_000)] + ["late,never"]
    found = read(tmp_path, "a.csv", "text,stars\n" + "\n".join(rows))
    assert (found.columns["stars"] == "5").sum() == (found.columns["stars"] == "1").sum() == 20_000


def test_json_in_lines_in_an_array_and_under_a_key(tmp_path):
    rows = [{"text": "a", "n": 5, "deep": {"x": True, "l": [1]}}, {"text": "b", "late": "z"}, {"text": 7}]
    text = json.dumps(rows[0]).replace("5", "5.00")
    for name, content in (
        ("a.jsonl", "\n".join([text, "", *map(json.dumps, rows[1:])])),
        ("a.json", json.dumps(rows)),
        ("b.json", json.dumps(rows, indent=2)),
        ("c.json", json.dumps({"about": "x", "data": rows}, indent=2)),
        ("d.ndjson.gz", gzip.compress("\n".join(map(json.dumps, rows)).encode())),
    ):
        found = read(tmp_path, name, content)
        assert labels(found) == {"n": ["5", ""], "deep.x": ["true", ""], "late": ["", "z"]}, name
        assert found.unusable == {"deep.l": "holds lists, not one value per row"} and found.dropped == {
            Unused.NO_TEXT: 1
        }
    for content, line in (('[{"text": "a"}, 3]', "entry 2 is no object"), ('{"a": 1}\nx', "line 2 is no JSON")):
        with pytest.raises(DataError, match=line):
            read(tmp_path, "e.jsonl", content)


def test_json_that_grows_wide_is_refused_before_it_fills_the_memory(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"text": "a", f"c{i % 40}": 1}) + "\n" for i in range(400)))
    with pytest.raises(DataError, match="more than 12,000 cells"):
        read_frame(path, Bounds(size=12_000, rows=500))


def test_a_small_gzipped_file_that_unpacks_to_much_is_refused(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"text\n" + b"river " * 1_000_000))
    with pytest.raises(DataError, match="100,000 bytes"):
        read_frame(path, Bounds(size=100_000, rows=10**6))
    for damaged in (b"abc", path.read_bytes()[:-9], path.read_bytes()[:40] + b"x" * 99):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="cannot be read as csv"):
            read_frame(path)


def test_parquet_columns_of_every_kind(tmp_path):
    day = datetime.date(2024, 1, 2)
    table = pa.table(
        {
            "text": ["a", "b", "c"],
            "node": pa.array([2619525011, None, 2**53 + 1], pa.int64()),
            "share": pa.array([0.1, 5, None], pa.float32()),
            "day": [day] * 3,
            "flag": [True, False, None],
            "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
            "tags": [["a"], [], None],
            "about": [{"a": 1, "b": {"c": "q"}}] * 3,
            "none": pa.nulls(3),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    found = read_texts(tmp_path / "t.parquet", "text")
    assert labels(found) == {
        "node": ["2619525011", "", str(2**53 + 1)],
        "share": ["0.1", "5", ""],
        "day": ["2024-01-02"] * 3,
        "flag": ["True", "False", ""],
        "kind": ["x", "y", "x"],
        "about.a": ["1"] * 3,
        "about.b.c": ["q"] * 3,
        "none": [""] * 3,
    }
    for column in ("tags", "tags "):
        with pytest.raises(DataError, match="column 'tags' of 't' holds lists, not one value per row"):
            found.column(column)
    with pytest.raises(DataError, match="column 'tags' of 't' holds lists"):
        read_texts(tmp_path / "t.parquet", "tags")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("t.xlsx", "is a workbook: save the sheet as CSV"),
        ("t.parquet.gz", "ends in '.parquet.gz'"),
        ("t", "ends in ''"),
    ],
)
def test_other_files_cost_one_line(tmp_path, name, line):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=f"{line}.*give a .csv, .parquet or .jsonl"):
        read_table(tmp_path / name)


def test_columns_with_many_values_are_labels_and_long_texts_are_none():
    frame = pd.DataFrame(
        {"text": [f"t{i}" for i in range(1500)], "brand": [f"b{i}" for i in range(1500)], "more": "x" * 300}
    )
    found = from_frame(frame, "t", "text", "", "")
    assert len(set(found.columns["brand"].tolist())) == 1500
    with pytest.raises(DataError, match="'more' of 't' holds texts of up to 300 characters"):
        found.column("more")


@pytest.mark.parametrize(
    ("given", "expected", "said"),
    [
        (["Train"] * 4, None, "all texts are in one part"),
        (["TRAIN", "train", "Validation", "val"], ["train", "train", "test", "test"], "there is no test part"),
        (["train", "validation", "Test", "testing"], ["train", "dev", "test", "test"], ""),
        (["train", "test", "unsupervised", "0"], ["train", "test", "unsupervised", "0"], ""),
    ],
)
def test_parts_as_people_name_them(given, expected, said):
    found = from_frame(pd.DataFrame({"text": list("abcd"), "split": given}), "t", "text", "", "")
    assert (None if found.split is None else found.split.tolist()) == expected
    assert any(note.startswith(said) for note in found.notes) if said else not found.notes


def test_rows_that_are_not_used_are_counted_by_reason(tmp_path):
    rows = [(f"text {i}", "fm"[i % 2], "xy"[i // 2 % 2]) for i in range(400)]
    rows += [("text 0", "f", "x"), ("text 1", "f", "x"), ("odd", "f", "z"), ("", "f", "x"), ("none", "", "x")]
    path = tmp_path / "t.csv"
    pd.DataFrame(rows, columns=["text", "sex", "kind"]).to_csv(path, index=False)
    found = file_task_set(path, "text", target="kind=x,y", spurious="sex=f,m")
    drawn = found.drawn(seed=0, protocol=PROTOCOLS["robust"], per_cell=1500).texts
    assert len(drawn.texts) == 400
    assert drawn.dropped == {Unused.NO_TEXT: 1, Unused.NO_LABEL: 2, Unused.DUPLICATE: 1, Unused.CONTRADICTED: 1}
    drawn = found.drawn(seed=0, protocol=PROTOCOLS["robust"], per_cell=95).texts
    assert len(drawn.texts) == 380 and drawn.dropped[Unused.NOT_DRAWN] >= 20
    assert sum(drawn.dropped.values()) == 25 and set(drawn.dropped) <= set(Unused)
