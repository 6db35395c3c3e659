"""What a worker elsewhere is told and gives, without a cluster: plain data, and a refusal of what is not the same."""

import json
import re
import sys

import numpy as np
import pytest
from toys import GENDER, PROFESSION

from saeeval_core.errors import ConfigError
from saeeval_core.sweep import remote
from saeeval_core.sweep.cluster import Cluster
from saeeval_core.sweep.config import SweepConfig
from saeeval_core.sweep.executors import Where
from saeeval_core.sweep.plan import MergeUnit, RecordUnit, ScoreUnit
from saeeval_core.sweep.remote import inputs_of, read_files, refusal, unit_of, write_files
from saeeval_core.sweep.rows import JudgedSelection
from saeeval_core.texts.plain import of_plain, to_plain
from saeeval_core.texts.tasks import TaskSet

SAME = {"versions": {"saeeval": "1", "torch": "2"}, "stamp": "s", "shared": True, "cache": "/shared"}


def test_without_ray_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ConfigError, match=r"--executor ray needs Ray: pip install 'saeeval\[cluster\]'"),
        Cluster(Where("ray"), SweepConfig(("a",)), {}, shipped=True),
    ):
        pass


def test_judged_selections_stay_with_their_store():
    config = SweepConfig(("a",), selections=(JudgedSelection("judge", "x", lambda *_: None, lambda *_: ""),))
    with pytest.raises(ConfigError, match="use --executor local"):
        Cluster(Where("ray"), config, {}, shipped=True)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({}, ""),
        ({"versions": {"saeeval": "1", "torch": "3"}}, r"it has torch 3, here 2: install the same there"),
        ({"versions": {"saeeval": "0"}}, r"it has saeeval 0, here 1; torch None, here 2"),
        ({"stamp": "t"}, r"its files of the model are others \(t, here s\): copy the same there"),
        ({"shared": False}, r"it does not see /shared: name a folder that every node shares"),
    ],
)
def test_a_worker_that_is_not_the_same_is_refused(change, line):
    found = refusal(SAME, SAME | change)
    assert bool(found) == bool(line)
    assert not line or re.match(line, found), found


def test_units_survive_json():
    from dataclasses import asdict

    for unit in (
        RecordUnit("t", ("a", "b"), 1, 2),
        MergeUnit("t", ("a",), ("shards/x", "shards/y")),
        ScoreUnit("t", "robust", "a", "f", True, (("a", None),), ("recordings/x",)),
    ):
        assert unit_of(type(unit).__name__, json.loads(json.dumps(asdict(unit)))) == unit
    assert inputs_of(RecordUnit("t", ("a",))) == []
    assert inputs_of(MergeUnit("t", ("a",), ("shards/x",))) == ["shards/x.safetensors", "shards/x.json"]


def test_texts_survive_json(tiny_texts):
    own = TaskSet(tiny_texts, ((PROFESSION, GENDER),), ("meal", ("tea", "soup", "bread")), "few")
    again = of_plain(json.loads(json.dumps(to_plain(own))))
    assert again.texts.fingerprint == own.texts.fingerprint and again.pairs == own.pairs and again.tpp == own.tpp
    for name, column in own.texts.columns.items():
        np.testing.assert_array_equal(again.texts.columns[name], column)
        assert again.texts.columns[name].dtype.kind == column.dtype.kind
    assert (again.texts.source, again.texts.notes, again.small) == (own.texts.source, own.texts.notes, "few")


def test_files_arrive_sidecars_last_and_once(cache, monkeypatch):
    order = []
    plain = remote.write_atomic
    monkeypatch.setattr(remote, "write_atomic", lambda path, content: (order.append(path.name), plain(path, content)))
    files = {"recordings/a.json": b"1", "recordings/a.safetensors": b"2"}
    write_files(files)
    write_files({"recordings/a.json": b"other"})
    assert order == ["a.safetensors", "a.json"] and read_files([*files, "recordings/b.json"]) == files
