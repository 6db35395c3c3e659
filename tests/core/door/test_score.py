"""Scores of what a notebook holds are those of the same things on disk, and everything given is checked in one line."""

import json

import numpy as np
import pytest
import torch
from foreign_files import rand
from toys import D_MODEL, HOOK

import saeeval_core as se
from saeeval_core.controls.about import OWN
from saeeval_core.errors import ConfigError, DataError, SaeEvalError, UnsupportedSAE
from saeeval_core.evaluation.result_json import from_json, to_json
from saeeval_core.recordings import recorder

JOBS = {"target": {"profession": ["nurse", "surgeon"]}, "spurious": {"gender": ["female", "male"]}}
MEALS = {"classes": {"meal": ["tea", "soup", "bread"]}}


def numbers(result: se.Result) -> dict:
    """Everything a result says but names, versions and identities, and what is drawn from those."""
    own = to_json(result.run)["results"][0]
    controls = [c for c in own["controls"] if c["name"] not in OWN]
    return {k: v for k, v in own.items() if k not in ("sae", "about", "notes", "warnings")} | {"controls": controls}


@pytest.fixture(scope="module")
def jobs(frame) -> se.Task:
    return se.task(frame, **JOBS)


def test_objects_score_as_the_files_they_came_from(notebook, jobs, tiny_model_dir, tiny_sae_dirs):
    by_name = se.score(jobs, str(tiny_model_dir), str(tiny_sae_dirs["topk"]), progress=False)
    assert numbers(by_name) == numbers(notebook["result"])


def test_a_second_time_nothing_is_recorded(notebook, jobs, monkeypatch):
    monkeypatch.setattr(recorder, "record_pass", lambda *_, **__: pytest.fail("recorded again"))
    again = se.score(jobs, notebook["model"], notebook["sae"], tokenizer=notebook["tokenizer"], progress=False)
    assert numbers(again) == numbers(notebook["result"])


def test_several_dictionaries_share_a_pass_and_one_is_picked_by_its_label(notebook, jobs, tiny_sae_dirs):
    class Directions:
        def encode(self, x):
            return x @ notebook["rows"].T

    ica = se.dictionary(Directions(), HOOK, rows=notebook["rows"], name="ICA")
    options = {"tokenizer": notebook["tokenizer"], "progress": False, "controls": False}
    both = se.score(jobs, notebook["model"], [str(tiny_sae_dirs["standard"]), ica], **options)
    assert both.run.config.ns == (1, 2, 3, 5, 10, 20)  # 24 directions
    with pytest.raises(ConfigError, match="name one first"):
        _ = both.shift
    own = both["ICA"]
    assert own.names == (ica.info.id,) == own.run.config.saes
    answer = own.shift["profession"].ablate([3, 1], ablation="zero", part="test")
    view = own.prepared.evaluation.shift_views(own.prepared.saes[0], 2)[0]
    assert answer.score == view.score([3, 1]).score


def test_what_is_said_of_a_set_is_what_the_result_says_of_it(notebook):
    result = notebook["result"]
    direction, said = result.shift[0], result.run.saes[0].shift.directions[0]
    at = next(a for a in said.by_n if a.n == 5)
    for part in ("dev", "test"):
        zero = direction.ablate(at.ids, ablation="zero", part=part)
        assert (zero.score, zero.accuracy, zero.worst_group) == (
            at.parts[part].score,
            at.parts[part].accuracy,
            at.parts[part].worst_group,
        )
        assert direction.ablate(at.ids, part=part).score == at.parts[part].mean_ablation
        assert zero.selective_erasure == at.parts[part].erasure.selective_erasure
        assert zero.recoverability == at.parts[part].erasure.recoverability
    assert direction.ablate(np.array(at.ids)).part == "dev"


def test_classes_answer_as_the_matrix_of_the_result(notebook):
    meals = notebook["meals"]
    at = meals.run.saes[0].tpp.by_n[0]
    sets = dict(zip(meals.tpp.names, at.ids, strict=True))
    found = meals.tpp.ablate(sets, ablation="zero", part="test")
    assert (found.score, found.matrix) == (at.parts["test"].score, at.parts["test"].matrix)
    assert meals.tpp.ablate({"tea": [1]}).n_ablated == (1, 0, 0)


def test_every_format_has_the_same_numbers(notebook, tmp_path):
    result = notebook["result"]
    assert from_json(json.loads(result.to_json(tmp_path / "r.json"))) == result.run
    assert from_json(json.loads((tmp_path / "r.json").read_text())) == result.run
    frame = result.to_frame()
    area = frame[(frame.role == "sae") & (frame.variant == "mean ablation, small-N area")]
    assert area.value.tolist() == [result.run.saes[0].shift.area["test"].score.value]
    assert "random latents" in set(frame.control)
    result.to_saebench(tmp_path / "files")
    assert [p.name for p in (tmp_path / "files").iterdir()] == list(result.to_saebench())


def test_a_module_in_half_precision_is_asked_in_its_own(notebook, jobs):
    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.decoder = torch.nn.Linear(24, D_MODEL, dtype=torch.bfloat16)
            self.encoder = torch.nn.Linear(D_MODEL, 24, dtype=torch.bfloat16)

        def encode(self, x):
            return self.encoder(x).relu()

    sae = se.dictionary(Linear(), HOOK)
    assert sae.decoder.dtype == torch.float32 and sae.decoder.shape == (24, D_MODEL)
    options = {"tokenizer": notebook["tokenizer"], "progress": False, "controls": False}
    assert se.score(jobs, notebook["model"], sae, ns=[2], **options).names == (sae.info.id,)


class Encoding:
    def encode(self, x):
        return x


class Failing:
    def encode(self, x):
        raise RuntimeError("no such kernel\nat line 3")


def test_what_makes_no_dictionary_is_one_line(notebook):
    cases = {
        "names no hook": lambda: se.dictionary(Encoding()),
        "neither W_dec nor decoder.weight": lambda: se.dictionary(Encoding(), HOOK),
        "encode fails .*no such kernel": lambda: se.dictionary(Failing(), HOOK, rows=rand(4, 4)),
    }
    for says, make in cases.items():
        with pytest.raises(UnsupportedSAE, match=says) as error:
            make()
        assert "\n" not in str(error.value)


def test_what_cannot_be_scored_is_one_line(notebook, jobs, frame):
    model, sae, own = notebook["model"], notebook["sae"], {"tokenizer": notebook["tokenizer"], "progress": False}
    cases = {
        "give what task": lambda: se.score(frame, model, sae, **own),
        "dictionaries is empty": lambda: se.score(jobs, model, [], **own),
        "N = 100 but SAE": lambda: se.score(jobs, model, sae, ns=[100], **own),
        "unknown protocol": lambda: se.score(jobs, model, sae, protocol="rubost", **own),
        "no SHIFT labels": lambda: notebook["meals"].shift,
        "no classes": lambda: notebook["result"].tpp,
        "unknown direction 'sex'": lambda: notebook["result"].shift["sex"],
        "unknown class 'cake'": lambda: notebook["meals"].tpp.ablate({"cake": [1]}),
        "unknown part 'train'": lambda: notebook["result"].shift[0].ablate([1], part="train"),
        "unknown ablation": lambda: notebook["result"].shift[0].ablate([1], ablation="double"),
        "latent 1.5 does not exist": lambda: notebook["result"].shift[0].ablate([1.5]),
        "unknown dictionary": lambda: notebook["result"]["other"],
    }
    for says, make in cases.items():
        with pytest.raises(SaeEvalError, match=says) as error:
            make()
        assert "\n" not in str(error.value)


def test_labels_are_those_of_any_table(frame):
    import datasets

    numbered = datasets.Features(
        {"text": datasets.Value("string"), "meal": datasets.ClassLabel(names=["tea", "soup", "bread"])}
    )
    rows = {"text": frame.text.tolist(), "meal": frame.meal.tolist()}
    own = datasets.Dataset.from_dict(rows, features=numbered)
    found = [se.task(source, **MEALS).texts for source in (own, frame, rows, frame.to_dict("records"))]
    assert len({t.texts for t in found}) == 1 and len({tuple(t.columns["meal"].tolist()) for t in found}) == 1
    with pytest.raises(DataError, match="several tables"):
        se.task(datasets.DatasetDict(train=own, test=own), **MEALS)
    with pytest.raises(DataError, match="is no table"):
        se.task(7, **MEALS)


def test_numbers_are_labels_as_they_are_written(frame):
    rated = frame.assign(rating=np.where(frame.gender == "female", 5.0, 1.0))
    own = se.task(rated, target=JOBS["target"], spurious={"rating": [5, 1]})
    assert str(own.labels.spurious) == "rating=5,1" and len(own.task_set.pairs) == 1


def test_labels_that_make_no_task_are_one_line(frame):
    cases = {
        "give one column": {"target": {"a": [1], "b": [2]}},
        "give a list of its values": {"classes": {"meal": "tea"}},
        "needs both": {"target": JOBS["target"]},
        "no labels are chosen": {},
    }
    for says, labels in cases.items():
        with pytest.raises(SaeEvalError, match=says):
            se.task(frame, **labels)


def test_texts_without_a_label_of_the_task_are_counted(frame):
    others = frame.assign(profession=frame.profession.mask(frame.index < 20, "teacher"))
    own = se.task(others, **JOBS)
    assert len(own.texts.texts) == 300 and own.texts.dropped == {"no label of this task": 20}
