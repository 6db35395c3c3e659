"""The lab's address leads to the recording of the notebook, with the same numbers."""

import socket
from urllib.parse import parse_qsl, urlsplit

import pytest

import saeeval_core as se
from saeeval_core.config import RunConfig
from saeeval_core.door.lab import Lab
from saeeval_core.errors import ConfigError, DataError, ModelError, UnsupportedSAE
from saeeval_core.saes.loaded import load_sae
from saeeval_core.texts.own import kept_tasks

JOBS = {"target": {"profession": ["nurse", "surgeon"]}, "spurious": {"gender": ["female", "male"]}}


def settings(lab: Lab) -> RunConfig:
    """What the page takes from the address."""
    given = dict(parse_qsl(urlsplit(str(lab)).query))
    config = RunConfig(given.pop("model"), (given.pop("sae"),), given.pop("task"), probe_hook=given.pop("probe", ""))
    assert given == {}
    return config


@pytest.fixture
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("SAEEVAL_STORE", str(tmp_path / "store.sqlite"))


def test_the_page_has_the_recording_and_the_same_score(notebook, own_store):
    from app.services import loading, scoring
    from saeeval_core.texts.parts import DEV

    result = notebook["result"]
    lab = result.decide()
    assert urlsplit(str(lab)).path == "/shift" and lab.process is None
    loaded = loading.load(settings(lab))
    assert loaded is not None and loaded.task_set.texts.shown == "texts"
    direction = scoring.shift_directions(loaded)[0]
    view = scoring.shift_view(loaded, direction.pair, direction.task.target.column, DEV)
    ids = tuple(view.attribute_ranking[:3].tolist())
    assert scoring.set_score(view, ids, "mean").score == result.shift[direction.task.target.column].ablate(ids).score


def test_texts_are_kept_once(notebook, own_store):
    first, again = notebook["result"].decide(name="jobs"), notebook["result"].decide(name="other")
    assert str(first) == str(again) and [t.name for t in kept_tasks()] == ["jobs"]


def test_a_name_that_is_taken_is_refused(notebook, frame, own_store):
    notebook["result"].decide(name="jobs")
    with pytest.raises(DataError, match="is called 'jobs' already"):
        notebook["meals"].decide(name="jobs")


def test_a_kept_task_is_scored_and_opened_by_its_name(notebook, own_store):
    address = str(notebook["result"].decide(name="jobs"))
    options = {"tokenizer": notebook["tokenizer"], "progress": False, "controls": False, "ns": [2]}
    again = se.score("own:jobs", notebook["model"], notebook["sae"], **options)
    assert again.shift[0].ablate([1, 2]).score == notebook["result"].shift[0].ablate([1, 2]).score
    assert settings(again.decide()).task == "own:jobs" and settings(Lab(address)).task.startswith("own:jobs-")


def test_classes_alone_open_the_matrix(notebook, own_store):
    assert urlsplit(str(notebook["meals"].decide(port=9000))).path == "/tpp"


def test_a_port_in_use_is_one_line(notebook, own_store):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="answers at port"):
            notebook["result"].decide(start=True, port=taken.getsockname()[1])


def test_what_was_in_memory_is_said_to_be_gone(notebook):
    from app.services import picked

    (sae,) = notebook["result"].names
    with pytest.raises(UnsupportedSAE, match="was an object of a Python session"):
        load_sae(sae)
    assert picked.sae_facts(sae).where == "recorded here"
    assert sae in [f.id for f in picked.saes_on_offer(notebook["result"].run.config.model)]
    with pytest.raises(ModelError):
        picked.check_model(notebook["result"].run.config.model)
