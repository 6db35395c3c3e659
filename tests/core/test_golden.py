"""The guard of refactorings: shipped settings give the numbers they gave (``tests/golden/runs.py`` writes the files)."""

import json

import pytest
from golden import runs

NAMES = (*runs.RUNS, "made", "sweep", "report")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return runs.everything(tmp_path_factory.mktemp("golden"))


def kept(name: str):
    return json.loads((runs.HERE / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_numbers_ids_counts_and_words_are_the_same(found, name):
    assert runs.differences(kept(name), found[name])[:20] == []


@pytest.mark.parametrize("name", NAMES)
def test_on_the_machine_that_wrote_them_every_digit_is_the_same(found, name):
    if kept("machine") != runs.machine():
        pytest.skip(f"written on another machine: {kept('machine')}, this is {runs.machine()}")
    assert runs.differences(kept(name), found[name], tolerance=0)[:20] == []


def test_assets_keep_their_bytes():
    assert runs.assets() == kept("assets")


def test_the_comparison_can_fail():
    old = {"ids": [3, 5], "value": 0.25, "name": "a", "none": None}
    assert runs.differences(old, old | {"added": 1}) == []
    assert runs.differences(old, old | {"value": 0.25 + 5e-7}) == []
    for key, value in (("ids", [3, 6]), ("ids", [3]), ("value", 0.2501), ("value", None), ("name", "b"), ("none", 0)):
        assert len(runs.differences(old, old | {key: value})) == 1, (key, value)
    assert runs.differences(old, {"ids": [3, 5]}) == ["/value: gone", "/name: gone", "/none: gone"]
