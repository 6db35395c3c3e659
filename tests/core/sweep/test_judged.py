"""Judged selections of a sweep: named, tied to the verdicts, and silent about SAEs nobody judged."""

from types import SimpleNamespace

import pytest

from saeeval_core.errors import ConfigError
from saeeval_core.scores.selections import Rule
from saeeval_core.sweep import judged as sweep_judged
from saeeval_core.sweep.judged import judged_selections


class FakeStore:
    def __init__(self, ratings):
        self.ratings = ratings

    def verdicts(self, _sae, *, rater):
        return [SimpleNamespace(ok=True, rater=rater, latent=i, ratings=r) for i, r in self.ratings.items()]


@pytest.fixture(autouse=True)
def nothing_shipped(monkeypatch):
    monkeypatch.setattr(sweep_judged, "load_shipped_verdicts", lambda *_: 0)


LATENTS = SimpleNamespace(sae_fingerprint="x")


def test_a_selection_names_the_judge_and_changes_with_the_verdicts_and_the_rule():
    def identity(ratings, rule=None):
        (one,) = judged_selections(["judge"], "Local", rule, store=FakeStore(ratings))
        assert one.name == "judge" and one.judge.startswith("Local (related at >= ")
        return one.identity(LATENTS)

    assert identity({1: {"a": 2}}) == identity({1: {"a": 2}})
    assert len({identity({1: {"a": 2}}), identity({1: {"a": 3}}), identity({}), identity({1: {"a": 2}}, Rule(1))}) == 4


def test_an_unknown_selection_or_no_judge_is_refused():
    with pytest.raises(ConfigError, match="selection 'human'"):
        judged_selections(["human"], "Local", store=FakeStore({}))
    with pytest.raises(ConfigError, match="--rater"):
        judged_selections(["judge"], "", store=FakeStore({}))
    assert judged_selections([], "", store=FakeStore({})) == ()
