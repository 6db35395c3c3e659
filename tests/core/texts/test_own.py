"""Kept tasks: found again under their name and hash, renamed, deleted, passed on, refused at the quota, never trusted."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from saeeval_core.errors import ArtifactError, DataError
from saeeval_core.storage.notices import notices
from saeeval_core.texts.choices import LabelChoice, TaskLabels
from saeeval_core.texts.files import Bounds
from saeeval_core.texts.labelled import LabelledTexts, Unused
from saeeval_core.texts.own import (
    OwnTask,
    check_name,
    delete_task,
    export_task,
    find_task,
    import_task,
    keep_task,
    kept_tasks,
    open_task,
    rename_task,
    suggested_name,
)
from saeeval_core.texts.sources import load_task_set
from saeeval_core.texts.tables import FileForm

LABELS = TaskLabels(
    LabelChoice("job", ("nurse, registered", "a=b")),
    LabelChoice("sex", ("f", "m")),
    LabelChoice("part", ("x", "y", "z")),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("SAEEVAL_STORE", str(tmp_path / "store.sqlite"))
    return tmp_path / "tasks"


def texts_of(n: int = 400, **more) -> LabelledTexts:
    columns = {
        "job": np.array([("nurse, registered", "a=b")[i % 2] for i in range(n)]),
        "sex": np.array(["fm"[i // 2 % 2] for i in range(n)]),
        "part": np.array(["xyz"[i % 3] for i in range(n)]),
        "unneeded": np.array(["secret"] * n),
    }
    return LabelledTexts(
        "t", tuple(f"text {i} \u00e9\n\U0001f600" for i in range(n)), columns, source="file: t.csv", **more
    )


def keep(name: str = "jobs", **more) -> OwnTask:
    given = {"file_name": "Jobs 2024.csv", "form": FileForm("cp1252", ";"), **more}
    return keep_task(name, given.pop("texts", None) or texts_of(), given.pop("labels", LABELS), **given)


def test_a_kept_task_is_opened_as_it_was(folder):
    split = np.array(["train", "dev", "test", "train", "train"] * 80)
    group = np.array([str(i // 2) for i in range(400)])
    given = texts_of(split=split, group=group, dropped={Unused.NO_TEXT: 3}, notes=("delimiter semicolon",))
    made = keep(texts=given, text_column="bio", group_column="author")
    found = open_task(f"jobs-{made.hash}")
    assert found.texts.texts == given.texts and found.texts.name == made.key == f"own:{made.hash}"
    assert found.texts.shown == "jobs" and found.texts.source == "file: Jobs 2024.csv"
    assert found.texts.split.tolist() == split.tolist() and found.texts.group.tolist() == group.tolist()
    assert found.texts.dropped == {Unused.NO_TEXT: 3} and found.texts.notes == ("delimiter semicolon",)
    assert [vars(c) for c in found.pairs[0]] == [
        {"column": "job", "positive": "nurse, registered", "negative": "a=b"},
        {"column": "sex", "positive": "f", "negative": "m"},
    ]
    assert found.tpp == ("part", ("x", "y", "z"))
    assert kept_tasks() == (made,) and made.form == FileForm("cp1252", ";") and made.ref == f"own:jobs-{made.hash}"
    assert {p.name for p in folder.iterdir()} == {f"{made.identity[-16:]}.{e}" for e in ("json", "parquet")}
    assert b"secret" not in (folder / f"{made.identity[-16:]}.parquet").read_bytes(), "only what is used is kept"
    assert keep(texts=given, text_column="bio", group_column="author") == made, "the same is stored once"


def test_the_identity_is_of_texts_columns_and_labels_and_of_nothing_else(folder, tmp_path):
    one = keep()
    elsewhere = keep("other", file_name="x.csv", form=FileForm(), folder=tmp_path / "there")
    assert elsewhere.identity == one.identity
    others = (
        {"labels": TaskLabels(LABELS.target, LABELS.spurious)},
        {"text_column": "bio"},
        {"texts": texts_of(404)},
        {"texts": texts_of(split=np.repeat(["train", "dev", "test", "train"], 100))},
    )
    for i, more in enumerate(others):
        assert keep("other", folder=tmp_path / f"t{i}", **more).identity != one.identity


def test_names_with_a_hash_outlive_a_rename(folder):
    made = keep()
    renamed = rename_task("own:jobs", "work_2")
    assert renamed.ref == f"own:work_2-{made.hash}" and renamed.key == made.key
    assert find_task(made.ref) == find_task("work_2") == renamed and open_task("work_2").texts.shown == "work_2"
    with pytest.raises(DataError, match=f"unknown own task 'own:jobs'.*own:work_2-{made.hash}"):
        find_task("jobs")
    with pytest.raises(DataError, match="unknown own task 'own:work_2-00000000'"):
        find_task("work_2-00000000")
    assert delete_task("work_2") == renamed and kept_tasks() == () and not list(folder.iterdir())


def test_names_are_plain_and_belong_to_one_task(folder):
    made = keep()
    with pytest.raises(DataError, match="called 'jobs' already"):
        keep(texts=texts_of(404))
    with pytest.raises(DataError, match=f"kept already, as {made.ref}"):
        keep("again")
    keep("more", texts=texts_of(404))
    with pytest.raises(DataError, match="called 'jobs' already"):
        rename_task("more", "jobs")
    for bad in ("", "Jobs", "a-b", "../x", "a b", "ü", "x" * 41, "a\n"):
        with pytest.raises(DataError, match="use 1 to 40 of a-z"):
            check_name(bad)
    names = {
        "Jobs 2024 (final).csv.gz": "jobs_2024_final",
        "日本.csv": "texts",
        "../x.csv": "texts",
        "A" * 60: "a" * 40,
    }
    assert {n: suggested_name(n) for n in names} == names


@pytest.mark.parametrize(
    ("labels", "n", "line"),
    [
        (LABELS, 30, "training texts; at least"),
        (TaskLabels(), 400, "no labels are chosen"),
        (TaskLabels(LABELS.target), 400, "SHIFT needs both"),
        (TaskLabels(classes=LabelChoice("part", ("x", "y"))), 400, "TPP needs 3 classes or more"),
        (TaskLabels(classes=LabelChoice("part", ("x", "y", "q"))), 400, "has no value 'q'"),
    ],
)
def test_what_cannot_be_scored_is_not_kept(folder, labels, n, line):
    with pytest.raises(DataError, match=line):
        keep(texts=texts_of(n), labels=labels)
    assert kept_tasks() == ()


def test_texts_without_a_label_of_the_task_are_counted_and_not_stored(folder):
    labels = TaskLabels(classes=LabelChoice("part", ("x", "y", "z")))
    given = texts_of()
    given.columns["part"][:7] = "other"
    made = keep(texts=given, labels=labels)
    assert made.texts == 393 and made.dropped == {Unused.NO_LABEL: 7} == open_task("jobs").texts.dropped


def test_at_the_quota_nothing_goes_and_nothing_comes(folder, monkeypatch):
    made = keep()
    monkeypatch.setenv("SAEEVAL_TASKS_MB", "0")
    with pytest.raises(DataError, match=f"delete one first: {made.ref} .0.0 MB"):
        keep("more", texts=texts_of(404))
    assert kept_tasks() == (made,)


def test_a_damaged_task_is_named_and_skipped_and_stays(folder):
    made, other = keep(), keep("other", texts=texts_of(404))
    about, texts = (folder / f"{made.identity[-16:]}.{e}" for e in ("json", "parquet"))
    good = about.read_bytes()
    for bad in (good.replace(b"Jobs 2024", b"Jobs 2025"), good[:-20], b"[]", b"\xff"):
        about.write_bytes(bad)
        assert kept_tasks() == (other,) and about.exists()
    assert any("own task skipped" in line and about.name in line for line in notices())
    about.write_bytes(good)
    texts.write_bytes(texts.read_bytes()[:-9] + b"x" * 9)
    with pytest.raises(ArtifactError, match="the texts of 'own:jobs-.*are damaged"):
        open_task("jobs")
    texts.unlink()
    assert kept_tasks() == (other,)


def test_an_exported_task_is_the_same_elsewhere(folder, tmp_path):
    made = keep()
    name, content = export_task("jobs")
    assert name == f"jobs-{made.hash}.saeeval.zip"
    there = import_task(content, "theirs", folder=tmp_path / "there")
    assert (there.identity, there.key, there.source, there.form) == (made.identity, made.key, made.source, made.form)
    assert open_task("theirs", tmp_path / "there").texts.texts == open_task("jobs").texts.texts
    assert import_task(content) == made


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for member, content in files.items():
            file.writestr(member.replace("__", "/").replace("_json", ".json").replace("_parquet", ".parquet"), content)
    return out.getvalue()


def test_a_crafted_file_is_refused_before_anything_is_stored(folder, tmp_path):
    keep()
    _, good = export_task("jobs")
    with zipfile.ZipFile(io.BytesIO(good)) as file:
        about, texts = file.read("task.json"), file.read("texts.parquet")
    values = json.loads(about)
    from saeeval_core.storage.artifacts import sealed

    def resealed(**changes) -> bytes:
        return json.dumps(sealed({k: v for k, v in (values | changes).items() if k != "seal"})).encode()

    for content, line in (
        (b"PK", "no task that saeeval exported"),
        (good[:-30], "no task that saeeval exported"),
        (zipped(task_json=about), "holds other things"),
        (zipped(task_json=about, texts_parquet=texts, **{"..__x": b"y"}), "holds other things"),
        (zipped(task_json=about.replace(b"jobs", b"jots"), texts_parquet=texts), "seal does not fit"),
        (zipped(task_json=b"[]", texts_parquet=texts), "no task that can be used"),
        (zipped(task_json=about, texts_parquet=b"PAR1"), "no task that can be used"),
        (zipped(task_json=resealed(name="../x"), texts_parquet=texts), "no task that can be used"),
        (zipped(task_json=resealed(identity="0" * 64), texts_parquet=texts), "not those it names"),
        (zipped(task_json=resealed(source=3), texts_parquet=texts), "a text is none"),
        (zipped(task_json=resealed(notes=["x" * 5000]), texts_parquet=texts), "a text is none"),
        (zipped(task_json=resealed(texts=True), texts_parquet=texts), "a number is none"),
        (zipped(task_json=resealed(dropped={"<b>": 1}), texts_parquet=texts), "a reason is unknown"),
        (zipped(task_json=resealed(form={"encoding": []}), texts_parquet=texts), "a text is none"),
        (zipped(task_json=resealed(more=1), texts_parquet=texts), "no task that can be used"),
        (zipped(task_json=resealed(labels={"target": 3}), texts_parquet=texts), "no task that can be used"),
        (zipped(task_json=resealed(text_column="sex"), texts_parquet=texts), "."),
        (zipped(task_json=b" " * (5 << 20), texts_parquet=texts), "larger than"),
        (zipped(task_json=about, texts_parquet=b" " * 200_000), "larger than"),
    ):
        with pytest.raises(DataError, match=line):
            import_task(content, bounds=Bounds(size=100_000, rows=1000), folder=tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_task_names_with_own_and_a_pair(folder):
    made = keep()
    assert len(load_task_set("own:jobs").pairs) == 1
    assert str(load_task_set(f"{made.ref}:nurse, registered/a=b").pairs[0][0]) == "nurse, registered/a=b"
    with pytest.raises(DataError, match="unknown pair of 'jobs'"):
        load_task_set("own:jobs:a/b")
    with pytest.raises(DataError, match="unknown task 'jobs'; nearest: own:jobs"):
        load_task_set("jobs")
