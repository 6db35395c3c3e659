"""A file of one's own through every command: labels with commas from a JSON file, Latin-1, semicolons, and kept tasks."""

import json
from pathlib import Path

import pandas as pd
import pytest

from saeeval_core.config import RunConfig
from saeeval_core.evaluation.prepare import prepare
from saeeval_core.ledger.places import new_set, shift_place
from saeeval_core.ledger.store import Store
from saeeval_core.recordings.obtain import task_set_of

JOBS = {"nurse": "nurse, registérd", "surgeon": "surgeon (general), MD"}
LABELS = {
    "target": {"column": "job = title", "positive": JOBS["nurse"], "negative": JOBS["surgeon"]},
    "spurious": {"column": "gender", "positive": "female", "negative": "male"},
}


@pytest.fixture
def source(tiny_texts_file: Path, tmp_path: Path) -> list[str]:
    """Options that name the tiny texts as a semicolon file in Latin-1 with labels that hold commas."""
    frame = pd.read_csv(tiny_texts_file)
    frame = frame.assign(**{"job = title": frame["profession"].map(JOBS)}).rename(columns={"text": "bio"})
    path, labels = tmp_path / "Jobs 2024.csv", tmp_path / "labels.json"
    frame[["bio", "job = title", "gender"]].to_csv(path, index=False, sep=";", encoding="latin-1")
    labels.write_text(json.dumps(LABELS))
    return ["--texts", str(path), "--text-column", "bio", "--encoding", "latin-1", "--labels", str(labels)]


@pytest.fixture
def engine(args, monkeypatch, tmp_path) -> list[str]:
    """Model and SAE, with a store of this test's own."""
    monkeypatch.setenv("SAEEVAL_STORE", str(tmp_path / "own" / "store.sqlite"))
    return args[1 : args.index("--texts")]


def test_labels_are_given_once_and_only_with_texts(call, engine, source, tmp_path):
    call.refuses("labels are given twice", "run", *engine, *source, "--target", "gender=female,male")
    call.refuses("--labels go with --texts FILE", "run", *engine, "--labels", source[-1])
    call.refuses("--target go with --texts FILE", "sweep", "--sae", "x", "--target", "a=b,c")
    odd = tmp_path / "odd.json"
    for content, line in (
        ("{", "is not JSON"),
        ("[]", '"positive": ...'),
        ('{"target": {}}', "'target' of the labels"),
    ):
        odd.write_text(content)
        call.refuses(line, "run", *engine, *source[:-1], odd)


def test_a_kept_task_is_listed_run_and_committed(call, engine, source, tmp_path):
    code, out, err = call("task", "add", "jobs", *source)
    assert code == 0, err
    assert "kept own:jobs-" in out and "of Jobs 2024.csv" in out and "delimiter semicolon" in out
    code, out, err = call("list", "tasks", "--json", tmp_path / "tasks.json")
    ref = json.loads((tmp_path / "tasks.json").read_text())[0]["task"]
    assert code == 0 and ref.startswith("own:jobs-")

    metrics = ["--metrics", "shift", "--n", "1", "--no-controls", "--device", "cpu"]
    code, out, err = call("run", *engine, "--task", ref, *metrics, "--json", tmp_path / "kept.json")
    assert code == 0 and "jobs" in out, err
    code, out, err = call("run", *engine, *source, *metrics, "--json", tmp_path / "file.json")
    assert code == 0 and "Jobs 2024" in out and "encoding iso8859-1" in out, err
    kept, file = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("kept", "file"))
    assert kept["results"] == file["results"] and kept["task"]["title"] == "jobs"

    config = RunConfig(model=engine[1], saes=(engine[3],), task="own:jobs", metrics=("shift",))
    prepared = prepare(config)
    task = prepared.evaluation.directions[0].task
    place = shift_place(prepared.task_set.texts.name, task.name, task.direction, prepared.saes[0])
    new_set(Store(), place, "Ada", "mine", {0: "ablate"})
    assert call("task", "rename", "jobs", "work")[0] == 0
    code, out, err = call("commit", "mine", "--who", "Ada", *engine, "--task", "own:work")
    assert code == 0 and "committed by Ada" in out, err
    # A name with its hash outlives a rename: the set is found, and found committed.
    call.refuses("committed as it is by Ada", "commit", "mine", "--who", "Ada", *engine, "--task", ref)

    code, out, err = call("task", "export", "work", tmp_path / "there" / "x.saeeval.zip")
    assert code == 0 and call("task", "delete", "work")[0] == 0, err
    call.refuses("unknown own task 'own:work'", "run", *engine, "--task", "own:work")
    code, out, err = call("task", "import", tmp_path / "there" / "x.saeeval.zip", "--name", "back")
    assert code == 0 and f"own:back-{ref[-8:]}" in out, err
    again = "--ablation", "zero"  # the default is mean
    code, out, err = call("commit", "mine", "--who", "Ada", *engine, "--task", "own:back", *again)
    assert code == 0 and "committed by Ada" in out, f"decisions are not found again: {err}"


@pytest.mark.slow
def test_judge_sweep_and_faults_take_texts_and_kept_tasks(call, engine, source, tmp_path, monkeypatch):
    assert call("task", "add", "jobs", *source)[0] == 0
    asked = []
    monkeypatch.setattr(
        "saeeval_core.planted.faults.recorded_fault_table", lambda c, **_: asked.append(c) or {"rows": []}
    )
    kept = ["--task", "own:jobs"]
    code, out, err = call("judge", "--latents", "0,1", *engine, *kept, "--json", tmp_path / "j.json")
    assert code == 0 and json.loads((tmp_path / "j.json").read_text())["task"].startswith("own:"), err
    options = ["--n", "1", "--no-controls", "--device", "cpu", "--json", tmp_path / "s.json"]
    code, out, err = call("sweep", *engine, *source, *options)
    rows = json.loads((tmp_path / "s.json").read_text())["rows"]
    assert code == 0 and rows and not any(r.get("error") for r in rows), (err, rows[0].get("error"))
    assert [call("faults", *engine, *which, "--device", "cpu")[0] for which in (kept, source)] == [0, 0]
    one, two = map(task_set_of, asked)
    assert one.texts.texts == two.texts.texts and one.pairs == two.pairs
