"""Your data: a file becomes a kept task; what is wrong is said in the form, in the owner's name for the file."""

import csv
from pathlib import Path

import pytest
from viewing import texts as said

from app import state
from saeeval_core.texts.own import kept_tasks
from saeeval_core.texts.sources import load_task_set

NAMES = {"professor": "professor, tenured", "teacher": "lehrer für alle"}


@pytest.fixture
def write(tmp_path: Path, assets):
    """``write(name, per_cell, delimiter, encoding)``: a file of the planted texts with two labels."""

    def write_(name: str = "Jobs 2024.csv", per_cell: int = 70, delimiter: str = ";", encoding: str = "latin-1") -> str:
        found = load_task_set("bios").texts
        columns = zip(found.texts, found.columns["profession"], found.columns["gender"], strict=True)
        count: dict[tuple[str, str], int] = {}
        with (tmp_path / name).open("w", newline="", encoding=encoding, errors="replace") as file:
            out = csv.writer(file, delimiter=delimiter)
            out.writerow(["bio", "job", "gender"])
            for text, job, gender in columns:
                count[job, gender] = count.get((job, gender), 0) + 1
                if job in NAMES and count[job, gender] <= per_cell:
                    out.writerow([text, NAMES[job], gender])
        return str(tmp_path / name)

    return write_


@pytest.fixture
def data(planted_app):
    """``data(path)``: the view with that path typed."""

    def run(path: str = ""):
        test = planted_app("your_data")
        return test.text_input(key="w_own_path_0").set_value(path).run() if path else test

    return run


def box(test, label: str):
    return next(b for b in test.selectbox if b.label == label)


def html_of(test) -> str:
    return " ".join(str(h.value if hasattr(h, "value") else h) for h in test.get("html"))


def test_three_examples_are_offered_and_can_be_kept(data, tmp_path):
    from app.services.own_tasks import Mapping, SentFile, examples, keep
    from saeeval_core.texts.choices import LabelChoice, TaskLabels
    from saeeval_core.texts.tables import FileForm

    test = data()
    assert not test.exception and len(test.get("download_button")) == 3
    for example in examples():
        path = tmp_path / example.name
        path.write_bytes(example.content)
        file = SentFile(path, example.name, FileForm("latin-1" if "latin1" in example.name else ""))
        facts = file.facts()
        values = {c.name: [v for v, _ in c.values] for c in facts.columns}
        pair = (
            [LabelChoice(n, tuple(values[n][:2])) for n in facts.label_columns]
            if "shift" in example.name
            else [None, None]
        )
        classes = None if pair[0] else LabelChoice(facts.label_columns[0], tuple(values[facts.label_columns[0]]))
        made = keep(f"x{len(example.name)}", file, Mapping(facts.text_column, "", TaskLabels(*pair, classes)))
        assert made.texts > 300, example.name


def test_from_a_latin_1_file_with_semicolons_and_commas_in_labels_to_a_kept_task(data, write):
    test = data(write())
    assert "'Jobs 2024.csv' is not UTF-8" in said(test).replace("\\", "") and "--encoding" not in said(test)
    test = box(test, "Encoding").set_value("latin-1").run()
    assert not test.exception and not test.error, said(test)
    assert "delimiter semicolon, header found" in said(test).replace("\\", "")
    assert box(test, "Text").value == "bio"
    assert {box(test, "Target label").value, box(test, "Spurious label").value} == {"job", "gender"}
    assert "professor, tenured" in html_of(test) and "for training" in html_of(test)
    assert "identical texts" in html_of(test)
    test.text_input(key=next(t.key for t in test.text_input if t.label == "Name")).set_value("my_jobs")
    test = test.button(key="w_own_keep").click().run()
    (made,) = kept_tasks()
    assert not test.exception and (made.name, made.source, made.form.delimiter) == ("my_jobs", "Jobs 2024.csv", ";")
    assert test.session_state["view"]["task"] == made.ref == f"own:my_jobs-{made.hash}"
    assert test.button(key="w_run_main").label == "Run" and "at least" in html_of(test)


def test_thirty_rows_are_refused_in_the_form_and_mended_there(data, write):
    test = data(write("thirty.csv", 8, ",", "utf-8"))
    assert (
        not test.exception and "training texts" in said(test) and not [b for b in test.button if b.key == "w_own_keep"]
    )
    assert box(test, "Text").value == "bio", "the form stands"
    test = test.text_input(key="w_own_path_0").set_value(write("more.csv", 70, ",", "utf-8")).run()
    assert not test.error and [b for b in test.button if b.key == "w_own_keep"]
    assert kept_tasks() == ()


def test_bad_choices_and_names_are_said_where_they_are_made(data, write):
    test = data(write("a.csv", 70, ",", "utf-8"))
    box(test, "Spurious label").set_value("none")
    test = test.run()
    assert "Choose a target and a spurious label" in said(test)
    test = box(test, "Spurious label").set_value("job").run()
    box(test, "Target label").set_value("job")
    test = test.run()
    assert not test.exception
    if [b for b in test.button if b.key == "w_own_keep"]:
        test = test.button(key="w_own_keep").click().run()
        assert "two columns" in said(test)
    test = box(test, "Target label").set_value("gender").run()
    test.text_input(key=next(t.key for t in test.text_input if t.label == "Name")).set_value("No Such Name!")
    test = test.button(key="w_own_keep").click().run()
    assert "use 1 to 40 of a" in said(test).replace("\\", "") and kept_tasks() == ()


def test_a_kept_task_is_renamed_and_deleted(data, write):
    test = data(write("a.csv", 70, ",", "utf-8"))
    test = test.button(key="w_own_keep").click().run()
    (made,) = kept_tasks()
    test.text_input(key=f"w_name_{made.hash}").set_value("other")
    test = test.button(key=f"w_rename_{made.hash}").click().run()
    assert not test.exception and kept_tasks()[0].name == "other"
    assert test.session_state["view"]["task"] == f"own:other-{made.hash}"
    test = test.button(key=f"w_delete_{made.hash}").click().run()
    assert kept_tasks() == () and test.session_state["view"]["task"] == state.DEFAULTS["task"]


@pytest.mark.parametrize("path", ["/no/such.csv", ".", "a.xlsx", "\0.csv", "x" * 5000 + ".csv"])
def test_paths_that_lead_nowhere_cost_one_line(data, path):
    test = data(path)
    assert not test.exception and len(test.error) == 1
