"""Verdict files of bundled SAEs: the local judge's rows are made again, reference rows stay while the weights do."""

from dataclasses import replace
from pathlib import Path

import pytest
from judge_fixtures import toy_source

from saeeval_core.judging import shipped
from saeeval_core.judging.imports import SaeIdentity, load_shipped, read_verdicts, write_verdicts
from saeeval_core.judging.local import LocalJudge
from saeeval_core.pipeline import Recordings
from saeeval_core.sources import TaskSet
from saeeval_core.store import Store, Verdict
from saeeval_core.texts import Contrast

REFERENCE = Verdict(
    0, "toyprint", "toy-sae", "toy", shipped.REFERENCE, "llm", {"gender": 4}, "she", "why", evidence_hash="e"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    source = toy_source()
    pair = (Contrast("profession", "nurse", "surgeon"), Contrast("gender", "female", "male"))
    task_set = TaskSet(source.texts, (pair,))
    monkeypatch.setenv("SAEEVAL_ASSETS", str(tmp_path))
    monkeypatch.setattr(shipped, "task_set_of", lambda config: task_set)
    monkeypatch.setattr(shipped, "obtain_recordings", lambda *args: Recordings(source.residuals, [source.latents]))
    monkeypatch.setattr(shipped, "candidate_latents", lambda *args: [2, 0, 3])
    monkeypatch.setattr(shipped, "general_sources", lambda *args: [])
    return tmp_path / "verdicts"


def test_file_is_made_again_with_the_reference_kept(folder: Path, tiny_model, tmp_path: Path) -> None:
    write_verdicts(folder / "toy-sae.jsonl", [REFERENCE, replace(REFERENCE, rater="LocalJudge (weak, offline)")])
    said: list[str] = []
    judge = LocalJudge(lambda: tiny_model)
    path = shipped.build_verdicts("toy-sae", ["toy"], say=said.append, judge=judge)
    found = [(v.latent, v.rater_kind) for v in read_verdicts(path)]
    assert found == [(0, "llm"), (0, "local"), (2, "local")]  # latent 3 never fires: no verdict, so no row
    assert said == ["toy-sae, toy: 3 candidates"]
    store = Store(tmp_path / "s.sqlite")
    assert load_shipped(store, folder, SaeIdentity("toy-sae", "toyprint", 4)) == 3
    assert {k for _, k, _ in store.raters("toyprint")} == {"llm", "local"}  # nothing shipped is human


def test_reference_of_other_weights_is_dropped_and_said(folder: Path, tiny_model) -> None:
    write_verdicts(folder / "toy-sae.jsonl", [replace(REFERENCE, sae_fingerprint="before retraining")])
    said: list[str] = []
    path = shipped.build_verdicts("toy-sae", ["toy"], say=said.append, judge=LocalJudge(lambda: tiny_model))
    assert {v.rater_kind for v in read_verdicts(path)} == {"local"}
    assert "1 reference verdicts are about other weights and were dropped" in said[1]
