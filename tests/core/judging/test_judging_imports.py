"""Imported explanations are checked against the SAE; shipped verdicts load once; the question's concepts and prompt."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from judge_fixtures import toy_source

from saeeval_core.errors import DataError
from saeeval_core.evidence.evidence import for_judge, latent_evidence
from saeeval_core.judging import verdict as v
from saeeval_core.judging.imports import read_explanations
from saeeval_core.judging.paper_labels import read_paper_labels
from saeeval_core.judging.prompts import build_prompt
from saeeval_core.judging.verdict_files import load_shipped, read_verdicts, write_verdicts
from saeeval_core.ledger.store import Store
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.recordings.known_saes import KnownSae
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.tables import FileForm
from saeeval_core.texts.tasks import Contrast, TaskSet

SAE = KnownSae("toy-sae", "blocks.0.hook_resid_post", "toyprint", 4)


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_csv_and_jsonl_give_the_same_verdicts(tmp_path: Path) -> None:
    table = write(tmp_path / "ann.csv", "latent,explanation,rating:nurse,rating:gender\n1,pronouns,0,4\n2,clinic,,1\n")
    lines = write(
        tmp_path / "ann.jsonl",
        '{"latent": 1, "explanation": "pronouns", "ratings": {"nurse": 0, "gender": 4}}\n\n'
        '{"latent": 2, "explanation": "clinic", "ratings": {"gender": 1}}\n',
    )
    a, b = read_explanations(table, SAE, task="toy"), read_explanations(lines, SAE, task="toy")
    assert a == b
    assert (a[0].rater, a[0].rater_kind, a[1].ratings) == ("ann", "imported", {"gender": 1})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("latent,explanation\n4,x\n", "names latent 4, but 'toy-sae' has 4 latents"),
        ("latent,sae\n1,other-sae\n", "about sae 'other-sae', expected 'toy-sae'"),
        ("latent,n_latents\n1,16384\n", "about n_latents '16384'"),
        ("latent,sae_fingerprint\n1,ffff\n", "about sae_fingerprint 'ffff'"),
        ("id,explanation\n1,x\n", "no whole number in 'latent'"),
        ("latent,rating:nurse\n1,5\n", "rating '5' of 'nurse' is not a whole number"),
        ("latent,rating:nurse\n1,2.5\n", "row 1 of 'x.csv': rating '2.5'"),
        ("latent,rating:nurse\n1,-1\n", "rating '-1'"),
        ("latent,rating:nurse\n1,true\n", "rating 'true'"),
        ("latent,ratings\n1,2\n", "'ratings' is not an object"),
        ("latent\n1.5\n", "no whole number in 'latent'"),
        ("latent\n", "holds no rows"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_explanations(write(tmp_path / "x.csv", content), SAE)


@pytest.mark.parametrize(
    ("name", "content"), [("x.jsonl", "[1]\n"), ("x.jsonl", "{oops\n"), ("x.txt", "a"), ("x.jsonl", "1")]
)
def test_files_that_are_not_tables_are_refused(tmp_path: Path, name: str, content: str) -> None:
    with pytest.raises(DataError):
        read_explanations(write(tmp_path / name, content), SAE)


def test_verdict_files_round_trip_and_load_once(tmp_path: Path) -> None:
    verdicts = [
        Verdict(
            i,
            "toyprint",
            "toy-sae",
            "toy",
            "reference",
            "llm",
            {"nurse": i},
            "words — “quoted”",
            "why",
            evidence_hash="e",
        )
        for i in (0, 1)
    ]
    other = Verdict(3, "retrained", "toy-sae", "toy", "reference", "llm", {"nurse": 1})
    write_verdicts(tmp_path / "toy-sae.jsonl", [*verdicts, other])
    assert read_verdicts(tmp_path / "toy-sae.jsonl") == [*verdicts, other]
    store = Store(tmp_path / "s.sqlite")
    assert load_shipped(store, SAE, tmp_path) == 2  # the row of other weights is left out
    assert load_shipped(store, SAE, tmp_path) == 0
    assert load_shipped(store, replace(SAE, id="unknown"), tmp_path) == 0
    assert [x.ratings for x in store.verdicts("toyprint")] == [{"nurse": 0}, {"nurse": 1}]
    with pytest.raises(DataError, match="names latent 1, but"):
        load_shipped(store, replace(SAE, n_latents=1), tmp_path)


@pytest.mark.parametrize("line", ['{"latent": 1}', '{"shared": {"task": "toy"}}\n{"latent": 1, "ratings": {}}'])
def test_lines_that_are_no_verdicts_are_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataError, match="is not a verdict"):
        read_verdicts(write(tmp_path / "x.jsonl", line + "\n"))


@pytest.mark.needs_shared("judge_labels/paper_labels.json")
def test_paper_labels_keep_marks_and_leave_missing_ratings_out(shared: Path) -> None:
    items = read_paper_labels(shared / "judge_labels/paper_labels.json")
    assert (len(items), sum("llm" in i.ratings for i in items), sum("human_b" in i.ratings for i in items)) == (
        53,
        41,
        10,
    )
    dental = next(c for c in items[1].evidence.contexts if " dental" in c.tokens)
    assert dental.activations[dental.tokens.index(" dental")] == 4.0


def test_wrong_label_files_are_refused(tmp_path: Path) -> None:
    for content in ("{", "{}", '[{"id": 1}]'):
        with pytest.raises(DataError):
            read_paper_labels(write(tmp_path / "labels.json", content))


# Concepts and prompt


def task_set(columns: dict, pairs=(), tpp=None) -> TaskSet:
    texts = LabelledTexts("t", ("a",) * 4, {k: np.array(c) for k, c in columns.items()})
    return TaskSet(texts, tuple(pairs), tpp)


def test_concepts_are_classes_one_by_one_and_the_attribute_as_a_whole() -> None:
    columns = {"job": ["nurse", "surgeon", "judge", "cook"], "gender": ["f", "m", "f", "m"]}
    pair = (Contrast("job", "nurse", "surgeon"), Contrast("gender", "f", "m"))
    bios = task_set(columns, [pair], ("job", ("nurse", "surgeon", "judge")))
    assert [(c.name, c.gloss) for c in v.task_concepts(bios)] == [
        ("nurse", ""),
        ("surgeon", ""),
        ("judge", ""),
        ("gender", "f, m"),
    ]
    assert v.contrast_concepts(bios, pair[0]) == ("nurse", "surgeon")
    assert v.contrast_concepts(bios, pair[1]) == ("gender",)


def test_a_two_valued_label_without_classes_is_one_concept() -> None:
    pair = (Contrast("tone", "good", "bad"), Contrast("gender", "f", "m"))
    found = task_set({"tone": ["good", "bad", "good", "bad"], "gender": ["f", "m", "f", "m"]}, [pair])
    assert [c.name for c in v.task_concepts(found)] == ["tone", "gender"]


def test_prompt_shows_marks_tokens_and_no_labels() -> None:
    prompt = build_prompt(
        for_judge(latent_evidence([toy_source()], 0)), (v.Concept("nurse"), v.Concept("gender", "f, m"))
    )
    assert '- concept_1: "nurse"\n- concept_2: "gender" (values: "f, m")' in prompt
    assert "Later <<she>>(6) wrote a book" in prompt
    assert "activation interval" in prompt
    assert "female" not in prompt
    assert "Promoted tokens: not available" in prompt


def test_spreadsheets_write_whole_numbers_with_decimals_and_leave_cells_empty(tmp_path: Path) -> None:
    huge = "activation " * 20_000
    file = tmp_path / "sheet.csv"
    file.write_bytes(f"latent;explanation;rating:nurse;examples\n1.0;\xfcber;3.0;{huge}\n2;;;\n".encode("cp1252"))
    with pytest.raises(DataError, match="--encoding cp1252"):
        read_explanations(file, SAE)
    first, second = read_explanations(file, SAE, form=FileForm("cp1252"))
    assert (first.latent, first.explanation, first.ratings, first.rater) == (1, "\xfcber", {"nurse": 3}, "sheet")
    assert (second.latent, second.explanation, second.ratings) == (2, "", {})
    half = write(tmp_path / "half.jsonl", '{"latent": 1, "explanation": "a \\ud800"}\n')
    with pytest.raises(DataError, match="row 1 of 'half.jsonl' holds half characters"):
        read_explanations(half, SAE)


ROWS = [
    {"modelId": "m", "layer": "0-x", "index": "2", "description": " pronouns ", "explanationModelName": "gpt-4o"},
    {"modelId": "m", "layer": "0-x", "index": 1, "description": "old", "typeName": "auto", "embedding": [0.1, 0.2]},
    {"modelId": "m", "layer": "0-x", "index": 1, "description": "new", "typeName": "auto"},
]


@pytest.mark.parametrize("name", ["b.jsonl", "b.jsonl.gz", "b.json", "c.json", "b.csv"])
def test_neuronpedias_own_files_are_read(tmp_path: Path, name: str) -> None:
    lines = "".join(json.dumps(r) + "\n" for r in ROWS)
    content = {
        "b.jsonl": lines.encode(),
        "b.jsonl.gz": gzip.compress(lines.encode()),
        "b.json": json.dumps(ROWS).encode(),
        "c.json": json.dumps({"explanations": ROWS}, indent=1).encode(),
        "b.csv": pd.DataFrame(ROWS).to_csv(index=False).encode(),
    }[name]
    (tmp_path / name).write_bytes(content)
    found = read_explanations(tmp_path / name, SAE, task="toy")
    assert [(v.latent, v.explanation, v.rater, v.task, v.rater_kind) for v in found] == [
        (1, "new", "Neuronpedia (auto)", "toy", "imported"),
        (2, "pronouns", "Neuronpedia (gpt-4o)", "toy", "imported"),
    ]
    known = replace(SAE, neuronpedia_id="m/1-x")
    with pytest.raises(DataError, match="is for 'm/0-x', not for 'm/1-x'"):
        read_explanations(tmp_path / name, known)


def test_neuronpedia_rows_of_several_saes_are_refused(tmp_path: Path) -> None:
    mixed = [*ROWS, ROWS[0] | {"layer": "1-x"}]
    with pytest.raises(DataError, match="is for 'm/1-x', not for 'm/0-x'"):
        read_explanations(write(tmp_path / "m.json", json.dumps(mixed)), SAE)
    with pytest.raises(DataError, match="names latent 9"):
        read_explanations(write(tmp_path / "n.json", json.dumps([ROWS[0] | {"index": 9}])), SAE)
