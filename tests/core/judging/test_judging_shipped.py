"""Verdict files of bundled SAEs: the local judge's rows are made again, reference rows stay while the weights do."""

from dataclasses import replace
from pathlib import Path

import pytest
from judge_fixtures import toy_source

from saeeval_core import config as settings
from saeeval_core.config import DEFAULT_SAE
from saeeval_core.judging import shipped
from saeeval_core.judging.local import LocalJudge
from saeeval_core.judging.verdict_files import load_shipped, read_verdicts, write_verdicts
from saeeval_core.ledger.store import Store
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.recordings.known_saes import KnownSae
from saeeval_core.recordings.obtain import Recordings
from saeeval_core.storage.manifest import build_manifest
from saeeval_core.texts.sources import BUNDLED_TASKS
from saeeval_core.texts.tasks import Contrast, TaskSet

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
    return tmp_path / "verdicts"


def test_file_is_made_again_with_the_reference_kept(folder: Path, tiny_model, tmp_path: Path) -> None:
    write_verdicts(folder / "toy-sae.jsonl", [REFERENCE, replace(REFERENCE, rater="LocalJudge (weak, offline)")])
    said: list[str] = []
    judge = LocalJudge(lambda: tiny_model)
    path = shipped.build_verdicts("toy-sae", ["toy"], say=said.append, judge=judge)
    found = [(v.latent, v.rater_kind) for v in read_verdicts(path)]
    assert found == [(0, "llm"), (0, "local"), (2, "local")]  # latent 3 never fires: no verdict, so no row
    assert said == ["toy-sae, toy: 3 candidates, 0 rated before"]
    store = Store(tmp_path / "s.sqlite")
    assert load_shipped(store, KnownSae("toy-sae", "blocks.0.hook_resid_post", "toyprint", 4), folder) == 3
    assert {k for _, k, _ in store.raters("toyprint")} == {"llm", "local"}  # nothing shipped is human


def test_a_second_run_asks_for_nothing_new_and_keeps_other_tasks(folder: Path, tiny_model) -> None:
    other = replace(REFERENCE, task="elsewhere", rater=LocalJudge.rater, rater_kind="local")
    write_verdicts(folder / "toy-sae.jsonl", [REFERENCE, other])
    path = shipped.build_verdicts("toy-sae", ["toy"], judge=LocalJudge(lambda: tiny_model))
    first = path.read_bytes()
    assert other in read_verdicts(path)

    class Asked(LocalJudge):
        asked = 0

        def rate(self, question):
            self.asked += 1
            return super().rate(question)

    judge = Asked(lambda: tiny_model)
    assert shipped.build_verdicts("toy-sae", ["toy"], judge=judge).read_bytes() == first
    assert judge.asked == 1  # latent 3 had nothing to judge, so nothing was kept of it


def test_rows_of_other_weights_are_dropped_and_said(folder: Path, tiny_model) -> None:
    write_verdicts(folder / "toy-sae.jsonl", [replace(REFERENCE, sae_fingerprint="before retraining")])
    said: list[str] = []
    path = shipped.build_verdicts("toy-sae", ["toy"], say=said.append, judge=LocalJudge(lambda: tiny_model))
    assert {v.rater_kind for v in read_verdicts(path)} == {"local"}
    assert "1 verdict about other weights dropped" in said[0]


def test_a_shipped_file_that_the_manifest_disagrees_with_is_skipped_and_stays(folder: Path, tmp_path, capsys) -> None:
    path = folder / "toy-sae.jsonl"
    write_verdicts(path, [REFERENCE])
    build_manifest()
    content, sae = path.read_bytes(), KnownSae("toy-sae", "blocks.0.hook_resid_post", "toyprint", 4)
    path.write_bytes(content.replace(b'"gender": 4', b'"gender": 1'))
    assert path.read_bytes() != content and load_shipped(Store(tmp_path / "s.sqlite"), sae) == 0
    assert path.exists() and "toy-sae.jsonl is not what manifest.json says" in capsys.readouterr().err
    path.write_bytes(content)
    assert load_shipped(Store(tmp_path / "s.sqlite"), sae) == 1


def test_the_shipped_files_are_small_and_cover_every_bundled_task() -> None:
    files = list((settings.assets_dir() / "verdicts").glob("*.jsonl"))
    if not files:
        pytest.skip("the bundle has not been built")
    assert sum(f.stat().st_size for f in files) < 2_000_000
    rows = read_verdicts(settings.assets_dir() / "verdicts" / f"{DEFAULT_SAE}.jsonl")
    assert {v.task for v in rows if v.rater == LocalJudge.rater} == set(BUNDLED_TASKS)
    assert len({v.latent for v in rows if v.rater == shipped.REFERENCE}) >= 120
    assert not any(v.rater_kind == "human" for v in rows)
