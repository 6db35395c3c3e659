"""A transcoder and an SAE of attention heads from settings to scores, and the probe hook in everything that is kept."""

import json
from dataclasses import replace

import numpy as np
import pytest
from toys import save_tiny_sae

from saeeval_core.config import AUTO_PROBE, RunConfig
from saeeval_core.controls import attach
from saeeval_core.errors import UnsupportedSAE
from saeeval_core.evaluation.prepare import prepare
from saeeval_core.evaluation.result_json import from_json, to_json
from saeeval_core.evaluation.score import score
from saeeval_core.evidence.evidence import shown_evidence
from saeeval_core.evidence.live_text import read_text
from saeeval_core.evidence.sources import evidence_sources
from saeeval_core.ledger.commit_set import commit_set
from saeeval_core.ledger.places import new_set, shift_place
from saeeval_core.ledger.store import Store
from saeeval_core.models.language_model import load_model
from saeeval_core.recordings import recorder
from saeeval_core.recordings.known_saes import identify
from saeeval_core.saes.loaded import load_sae
from saeeval_core.sweep.sweep import SweepConfig, sweep

LABELS = {"target": "profession=nurse,surgeon", "spurious": "gender=female,male", "classes": "meal=tea,soup,bread"}
BLOCK = "blocks.1."


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAEEVAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("saeeval_core.scores.probes.C_GRID", np.array([0.01, 1.0]))
        yield


@pytest.fixture(scope="module")
def saes(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("saes")

    def saved(name: str, architecture: str, read: str, write: str, **more) -> str:
        metadata = {"hook_name": BLOCK + read, **({"hook_name_out": BLOCK + write} if read != write else {})}
        return str(save_tiny_sae(folder / name, architecture, metadata=metadata, **more))

    return {
        "transcoder": saved("transcoder", "skip_transcoder", "mlp.hook_in", "hook_mlp_out"),
        "z": saved("z", "standard", "attn.hook_z", "attn.hook_z", reshape_activations="hook_z"),
        "mlp": saved("mlp", "topk", "hook_mlp_out", "hook_mlp_out"),
        "post": saved("post", "topk", "hook_resid_post", "hook_resid_post"),
    }


@pytest.fixture(scope="module")
def config(tiny_model_dir, tiny_texts_file) -> RunConfig:
    return RunConfig(
        model=str(tiny_model_dir),
        task="",
        texts=str(tiny_texts_file),
        ns=(1, 5),
        resamples=50,
        device="cpu",
        probe_hook=AUTO_PROBE,
        **LABELS,
    )


@pytest.mark.parametrize(
    ("name", "probe", "protocol_probe"),
    [
        ("transcoder", "hook_resid_post", "hook_mlp_out"),
        ("z", "hook_resid_mid", "attn.hook_z"),
        ("mlp", "hook_resid_post", "hook_mlp_out"),
        ("post", "hook_resid_post", "hook_resid_post"),
    ],
)
def test_the_default_is_the_first_exact_hook_and_of_saebench_the_one_written(config, saes, name, probe, protocol_probe):
    prepared = prepare(replace(config, saes=(saes[name],)))
    assert prepared.residuals.key.hook == BLOCK + probe
    own = identify(saes[name]).hook
    assert prepared.config.probe_hook == ("" if own == BLOCK + probe else BLOCK + probe)
    imitated = prepare(replace(config, saes=(saes[name],), protocol="saebench", metrics=("shift",)))
    assert imitated.residuals.key.hook == BLOCK + protocol_probe


@pytest.mark.parametrize("name", ["transcoder", "z"])
def test_from_settings_to_scores_controls_and_evidence(config, saes, name, monkeypatch):
    passes = []
    original = recorder.record_pass
    monkeypatch.setattr(recorder, "record_pass", lambda *a, **k: passes.append(1) or original(*a, **k))
    prepared = prepare(replace(config, saes=(saes[name],)))
    result = attach.with_controls(prepared, score(prepared))
    sae = result.saes[0]
    assert sae.shift is not None and sae.tpp is not None and sae.controls
    written = to_json(result)
    assert written["config"]["probe_hook"] == written["model"]["hook"] == prepared.residuals.key.hook
    assert written["results"][0]["about"]["writes"] == BLOCK + (
        "hook_mlp_out" if name == "transcoder" else "attn.hook_z"
    )
    assert from_json(json.loads(json.dumps(written))).config == prepared.config
    again = prepare(prepared.config)
    assert again.config == prepared.config and len(passes) <= 1, "found by what the result says"
    latents = prepared.saes[0]
    assert latents.decoder.shape == (32, 16) and latents.probed == prepared.residuals.key.hook
    firing = int(np.argmax(latents.density))
    sources = evidence_sources(prepared.config, prepared.task_set, prepared.residuals, latents)
    assert shown_evidence(sources, firing).contexts


def test_scores_at_two_probe_hooks_come_from_one_pass_and_keep_their_own_controls(config, saes, monkeypatch):
    monkeypatch.setattr(recorder, "record_pass", lambda *_a, **_k: pytest.fail("recorded again"))
    hooks = ("hook_resid_mid", "hook_attn_out", "attn.hook_z")
    runs = [prepare(replace(config, saes=(saes["z"],), probe_hook=BLOCK + h, metrics=("shift",))) for h in hooks]
    assert [r.residuals.key.hook for r in runs] == [BLOCK + h for h in hooks]
    names = {attach.controls_name(r, r.saes[0]) for r in runs}
    assert len(names) == 3 and len({r.saes[0].fingerprint for r in runs}) == 1
    directions = [r.evaluation.directions[0] for r in runs]
    assert len({float(next(iter(d.boards.values())).base.value) for d in directions}) > 1
    assert runs[2].config.probe_hook == "", "the hook that it reads"


def test_a_probe_hook_that_is_not_exact_is_refused_with_those_that_are(config, saes):
    wanted = replace(config, saes=(saes["transcoder"],), probe_hook="blocks.1.mlp.hook_in")
    line = (
        "cannot be scored at blocks.1.mlp.hook_in.*exact probe hooks: blocks.1.hook_resid_post, blocks.1.hook_mlp_out"
    )
    with pytest.raises(UnsupportedSAE, match=line):
        prepare(wanted)


def test_dictionaries_of_several_hooks_are_compared_at_one_probe_hook(config, saes):
    three = (saes["transcoder"], saes["mlp"], saes["post"])
    prepared = prepare(replace(config, saes=three))
    assert prepared.residuals.key.hook == prepared.config.probe_hook == f"{BLOCK}hook_resid_post"
    assert len({s.latents.data.tobytes() for s in prepared.saes}) == 3
    with pytest.raises(UnsupportedSAE, match="read different hooks .*share no probe hook; run them one after another"):
        prepare(replace(config, saes=(saes["z"], saes["post"])))


def test_a_sweep_pairs_only_what_is_probed_at_one_hook(config, saes):
    settings = SweepConfig(
        tuple(saes.values()),
        tasks=("toys",),
        metrics=("shift",),
        ns=(1,),
        model=config.model,
        device="cpu",
        controls=False,
        own_texts=config,
        probe_hook=AUTO_PROBE,
    )
    found = sweep(settings)
    rows = [r for r in found["rows"] if r["status"] == "ok" and r["scope"] == "all" and r["n"] == 1]
    assert {(r["sae"], r["hook"].removeprefix(BLOCK), r["reads"]) for r in rows} == {
        ("transcoder", "hook_resid_post", f"{BLOCK}mlp.hook_in"),
        ("z", "hook_resid_mid", f"{BLOCK}attn.hook_z"),
        ("mlp", "hook_resid_post", f"{BLOCK}hook_mlp_out"),
        ("post", "hook_resid_post", None),
    }
    assert all(r["note"] is None or "below 0" in r["note"] for r in rows) and any(r["note"] for r in rows)
    assert {n for d in found["differences"] for n in (d["sae_a"], d["sae_b"])} <= {"transcoder", "mlp", "post"}


def test_a_typed_text_is_read_as_a_recording_would(config, saes):
    prepared = prepare(replace(config, saes=(saes["z"],)))
    model, sae = load_model(config.model, device="cpu"), load_sae(saes["z"])
    reading = read_text(model, sae, prepared.residuals.key.hook, prepared.task_set.texts.texts[3])
    np.testing.assert_allclose(reading.residual, prepared.residuals.residuals[3], rtol=1e-4, atol=1e-4)
    pooled = prepared.saes[0].latents[[3]].toarray()[0]
    np.testing.assert_allclose(reading.pooled, pooled, rtol=1e-3, atol=1e-4)


def test_settings_without_a_probe_hook_mean_the_hook_that_is_read(config, saes):
    plain = replace(config, saes=(saes["mlp"],), probe_hook="")
    assert "probe_hook" not in json.loads(plain.to_json()) and RunConfig.from_json(plain.to_json()) == plain
    prepared = prepare(plain)
    assert prepared.residuals.key.hook == f"{BLOCK}hook_mlp_out" and prepared.config.probe_hook == ""


def test_a_commit_says_where_it_was_probed(config, saes, tmp_path):
    store = Store(tmp_path / "store.sqlite")
    prepared = prepare(replace(config, saes=(saes["z"],), metrics=("shift",)))
    (latents,), evaluation = prepared.saes, prepared.evaluation
    direction = evaluation.directions[0]
    place = shift_place(evaluation.draw.task_set.texts.name, direction.pair, direction.task.direction, latents)
    made = new_set(store, place, "Ada", "mine", {int(np.argmax(latents.density)): "ablate"})
    settings = commit_set(store, evaluation, latents, made, "Ada", ablation="zero", n=5).settings
    assert settings.probe_hook == settings.to_json()["probe_hook"] == f"{BLOCK}hook_resid_mid"
    plain = prepare(replace(config, saes=(saes["z"],), metrics=("shift",), probe_hook=""))
    again = commit_set(store, plain.evaluation, plain.saes[0], made, "Ada", ablation="zero", n=5).settings
    assert again.probe_hook == "" and "probe_hook" not in again.to_json()
