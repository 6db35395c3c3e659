"""The shipped assets: complete, undamaged, small enough, and saying how they were made."""

import json
from dataclasses import replace

import numpy as np

from saeeval_core import bundle
from saeeval_core import config as settings
from saeeval_core.config import DEFAULT_SAE, RunConfig
from saeeval_core.controls.attach import kept_controls
from saeeval_core.evaluation.prepare import prepare
from saeeval_core.recordings.bundled_decoder import bundled_decoder
from saeeval_core.recordings.obtain import obtain_recordings, recording_key, task_set_of
from saeeval_core.recordings.recording import find_latents, recorded_latents
from saeeval_core.saes.local import file_fingerprint, inspect_sae
from saeeval_core.saes.registry import list_bundled
from saeeval_core.storage.artifacts import load_arrays
from saeeval_core.storage.manifest import MANIFEST, build_manifest
from saeeval_core.texts.sources import BUNDLED_TASKS

LIMIT = 145_000_000
"""Bytes; the clone everybody makes should stay small: four SAEs 42 MB, recordings 90 MB, results and verdicts 6 MB."""

ASSETS = settings.assets_dir()


def test_assets_are_small():
    total = sum(p.stat().st_size for p in ASSETS.rglob("*") if p.is_file())
    assert total <= LIMIT, f"assets/ holds {total / 1e6:.0f} MB"


def test_every_recording_is_undamaged_and_belongs_to_a_bundled_sae():
    known = {file_fingerprint(info) for info in list_bundled()}
    paths = sorted(p for p in (ASSETS / "recordings").glob("*.json") if not p.name.startswith("controls-"))
    assert paths
    for path in paths:
        _, meta = load_arrays(path.with_suffix(""))
        if meta["kind"] == "latents":
            assert meta["sae_fingerprint"] in known


def test_the_manifest_names_every_shipped_artifact_as_it_is(tmp_path, monkeypatch):
    said = json.loads((ASSETS / MANIFEST).read_text())
    monkeypatch.setenv("SAEEVAL_ASSETS", str(tmp_path))
    for name in ("recordings", "results", "saes", "texts", "verdicts"):
        (tmp_path / name).symlink_to(ASSETS / name)
    assert json.loads(build_manifest().read_text()) == said, "saeeval build-bundle --step manifest makes it again"
    lines: list[str] = []
    bundle.build(["manifest"], None, say=lines.append)
    assert json.loads((tmp_path / MANIFEST).read_text()) == said and "manifest.json" in lines[-1]
    arrays = {p.with_suffix(".json") for name in ("recordings", "saes") for p in (ASSETS / name).rglob("*.safetensors")}
    named = {ASSETS / name for name in said}
    assert {p for p in arrays if p.exists()} <= named
    assert {p.with_suffix(".safetensors") for p in arrays if not p.exists()} <= named
    whole = [ASSETS / name for name in ("results", "texts", "verdicts")]
    assert {p for folder in whole for p in folder.iterdir()} | set((ASSETS / "recordings").glob("controls-*")) <= named
    assert {p for p in (ASSETS / "saes").rglob("*.json")} <= named


def test_every_sae_says_how_it_was_made():
    for info in list_bundled():
        about = json.loads((ASSETS / "saes" / info.id / "about.json").read_text())
        assert about["l0"] > 0 and about["explained_variance"] < 1 and 0 <= about["dead"] < 1
        assert "not included" in about["corpus"] and about["corpus_fingerprint"] and about["distinct_tokens"] > 0


def test_the_default_opens_from_the_shipped_recording():
    config = RunConfig()
    task_set = task_set_of(config)
    made = obtain_recordings(config, task_set, config.saes)
    assert made.residuals.residuals.shape[0] == len(task_set.texts.texts) == made.latents[0].latents.shape[0]
    assert np.isfinite(made.residuals.residuals).all()


def test_a_shipped_latent_recording_names_its_own_pass():
    config = RunConfig()
    sae = inspect_sae(DEFAULT_SAE)
    key = recording_key(config, str(sae.hook), task_set_of(config).texts.fingerprint)
    found = find_latents(key, str(file_fingerprint(sae)))
    assert found is not None and found.residual_fingerprint == key.fingerprint
    assert np.allclose(found.decoder, bundled_decoder(DEFAULT_SAE, found.sae_fingerprint))
    assert (found.sae, found.residual_fingerprint) in {(r.sae, r.residual_fingerprint) for r in recorded_latents()}


def test_every_bundled_sae_answers_on_the_default_task_without_a_model():
    key = recording_key(RunConfig(), str(inspect_sae(DEFAULT_SAE).hook), task_set_of(RunConfig()).texts.fingerprint)
    saes = list_bundled()
    assert len(saes) == 4 and all(find_latents(key, str(file_fingerprint(s))) is not None for s in saes)


def test_controls_and_probes_of_every_shipped_recording_are_there(monkeypatch, tmp_path):
    monkeypatch.setenv("SAEEVAL_CACHE", str(tmp_path))
    for sae in list_bundled():
        for task in BUNDLED_TASKS if sae.id == DEFAULT_SAE else (RunConfig().task,):
            prepared = prepare(replace(RunConfig(), task=task, saes=(sae.id,)))
            assert prepared.evaluation.tpp_probes and kept_controls(prepared, prepared.saes[0]), (sae.id, task)
    assert not list(tmp_path.rglob("*")), "nothing had to be made"
