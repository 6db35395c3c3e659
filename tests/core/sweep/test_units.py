"""The plan: units as data, the same whatever executes them; shards and smaller units give the same rows."""

import json
from dataclasses import asdict, replace

import pytest
from test_sweep import LABELS

from saeeval_core.config import RunConfig
from saeeval_core.errors import ConfigError
from saeeval_core.sweep.config import SweepConfig, task_set_for
from saeeval_core.sweep.executors import Where
from saeeval_core.sweep.plan import RecordUnit, record_units, sweep_plan, threads_of
from saeeval_core.sweep.sweep import sweep


@pytest.fixture
def config(cache, tiny_model_dir, tiny_sae_dirs, tiny_texts_file, monkeypatch) -> SweepConfig:
    monkeypatch.setattr("saeeval_core.recordings.pace.SECONDS", 0.01)
    own = RunConfig(task="", texts=str(tiny_texts_file), resamples=60, **LABELS)
    saes = tuple(str(tiny_sae_dirs[n]) for n in ("topk", "standard", "jumprelu"))
    more = {"controls": False, "by_direction": False, "device": "cpu", "own_texts": own, "kernel": "default"}
    return SweepConfig(saes, tasks=("toys",), ns=(1, 2), model=str(tiny_model_dir), **more)


def test_units_hold_so_many_saes_and_texts(config):
    task_set = task_set_for(config, "toys")
    a, b, c = config.saes
    assert record_units(config, "toys", task_set, config.saes) == [RecordUnit("toys", (a, b, c))]
    small = replace(config, saes_per_unit=2, texts_per_shard=200)
    assert record_units(small, "toys", task_set, config.saes) == [
        RecordUnit("toys", saes, i, 2) for saes in ((a, b), (c,)) for i in range(2)
    ]


def test_a_plan_is_plain_data_that_the_settings_decide(config, tmp_path):
    small = replace(config, saes_per_unit=2, texts_per_shard=200, threads=3, protocols=("robust", "paper"))
    task_sets = {"toys": task_set_for(small, "toys")}
    found = sweep_plan(small, task_sets)
    again, told = (sweep_plan(c, task_sets, seconds=False) for c in (SweepConfig.from_json(small.to_json()), small))
    assert again == told and json.loads(json.dumps([p.to_dict() for p in told.record]))
    assert len({p.fingerprint for p in found.record}) == len(found.record) == 4
    assert (len(found.score), found.threads, threads_of(config)) == (6, 3, 1)
    first = found.record[0]
    assert first.reads == first.probes == ("blocks.0.hook_resid_post",) and first.dtype == "float32"
    assert first.needs.tokens * 2 == pytest.approx(sum(p.needs.tokens for p in found.record[:2]), abs=2)
    assert found.record_seconds > 0 and found.scoring_seconds is None, "nobody has measured it"
    other = replace(small, dtype="bfloat16")
    assert {p.fingerprint for p in sweep_plan(other, task_sets).record}.isdisjoint(p.fingerprint for p in found.record)


def test_a_plan_measures_once_for_all_tasks(config, monkeypatch):
    paces = iter([100.0])
    monkeypatch.setattr("saeeval_core.sweep.plan.measured_pace", lambda *_: next(paces))
    task_set = task_set_for(config, "toys")
    found = sweep_plan(config, {"toys": task_set, "again": task_set})
    assert [p.needs.seconds for p in found.record] == [found.record[0].needs.tokens / 100] * 2


def test_shards_and_small_units_give_the_same_rows(config, tmp_path, monkeypatch):
    saes = (*config.saes, "/no/such/sae")
    whole = sweep(replace(config, saes=saes))
    monkeypatch.setenv("SAEEVAL_CACHE", str(tmp_path / "other"))
    parts = sweep(replace(config, saes=saes, saes_per_unit=2, texts_per_shard=90))
    assert parts["rows"] == whole["rows"] and parts["differences"] == whole["differences"]
    assert not list((tmp_path / "other" / "shards").glob("*")), "merged shards are gone"
    found = sweep_plan(config, {"toys": task_set_for(config, "toys")})
    assert found.record == () and found.scoring_seconds > 0


def test_settings_survive_the_way_to_a_worker(config):
    assert SweepConfig.from_json(config.to_json()) == config
    assert asdict(SweepConfig.from_json(SweepConfig(("a",)).to_json())) == asdict(SweepConfig(("a",)))


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="--saes-per-unit is -1"):
        SweepConfig(("a",), saes_per_unit=-1)
    for odd in ("ray:", "slurm", "local:2"):
        with pytest.raises(ConfigError, match=r"--executor is .* give local, ray or ray:ADDRESS"):
            Where.parse(odd)
    assert Where.parse("ray:auto").address == "auto" and Where.parse("ray") == Where("ray")
