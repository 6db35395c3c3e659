"""Runs in the background: progress, joining, cancel, one clear line when they fail, and the views open afterwards."""

import time

import pytest

from app.jobs import recording as recording_job
from app.jobs.recording import RecordingJob
from app.services import loading, scoring
from saeeval_core.config import RunConfig


@pytest.fixture
def config(tiny_model_dir, tiny_sae_dirs, tiny_texts_file, cache) -> RunConfig:
    """A tiny model, SAE and file of texts that has not been run."""
    return RunConfig(
        model=str(tiny_model_dir),
        saes=(str(tiny_sae_dirs["topk"]),),
        task="",
        texts=str(tiny_texts_file),
        target="profession=nurse,surgeon",
        spurious="gender=female,male",
        device="cpu",
    )


def finished(job: RecordingJob, seconds: float = 120) -> RecordingJob:
    """Wait for the job's thread."""
    end = time.monotonic() + seconds
    while job.active and time.monotonic() < end:
        time.sleep(0.05)
    return job


def test_a_run_ends_with_a_recording_that_views_can_open(config):
    assert loading.load(config) is None
    job = recording_job.start(config)
    assert recording_job.start(config) is job and recording_job.job_of(config) is job
    assert finished(job).status == "done", job.error
    assert job.done == job.total > 0
    loaded = loading.load(config)
    assert loaded is not None and len(scoring.shift_directions(loaded)) == 2


def test_cancel_stops_and_a_second_run_goes_on(config, monkeypatch):
    job = RecordingJob(config)
    job.cancel()
    job.run()
    assert job.status == "cancelled" and loading.load(config) is None
    assert finished(recording_job.start(config)).status == "done"


def test_a_failed_run_says_why_in_one_line(config):
    from dataclasses import replace

    job = finished(recording_job.start(replace(config, model="./no-such-model")))
    assert job.status == "failed" and "no-such-model" in job.error and "\n" not in job.error
