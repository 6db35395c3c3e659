"""Commits: what is frozen, by whom, under which settings; rows of earlier versions are still read."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from saeeval_core.config import PROTOCOLS
from saeeval_core.errors import ArtifactError, DataError
from saeeval_core.ledger.commits import Under, commit_shift, commit_tpp, read_commit, read_shift, read_tpp
from saeeval_core.ledger.store import Store
from saeeval_core.scores import erasure
from saeeval_core.scores.edit_size import Whitening
from saeeval_core.scores.shift import shift_board, shift_latents
from saeeval_core.scores.tpp import fit_tpp_probes, tpp_board, tpp_latents
from saeeval_core.scores.uncertainty import say, undefined
from saeeval_core.texts.parts import TEST

SHIFT_KEYS = {"part", "ablation", "n_ablated", "worst_group_name", "score", "accuracy", "worst_group", "leakage"}
TPP_KEYS = {"batch", "n", "score", "dev_looks", "intended", "unintended", "matrix", "n_ablated", "part", "ablation"}
WHITENING = Whitening(np.eye(24))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.sqlite")


def new(store: Store, metric: str, direction: str = "d"):
    place = {"task": "t", "direction": direction, "sae_fingerprint": "s", "recording_fingerprint": "r"}
    return store.create_set("mine", "Ada", metric=metric, **place)


@pytest.fixture(scope="module")
def shift_view(planted, planted_probes):
    board = shift_board(planted.residuals, planted.shift, planted_probes, PROTOCOLS["robust"], part=TEST, seed=3)
    return shift_latents(planted.residuals, planted.latents, board, PROTOCOLS["robust"])


@pytest.fixture(scope="module")
def tpp_view(planted):
    probes = fit_tpp_probes(planted.residuals, planted.tpp, PROTOCOLS["robust"], seed=3)
    board = tpp_board(planted.residuals, planted.tpp, probes, part=TEST, seed=3)
    return tpp_latents(planted.latents, board)


@pytest.fixture(scope="module")
def shift_fresh(planted, planted_probes, shift_view):
    ground = erasure.shift_ground(planted.residuals, planted.shift, planted_probes)
    board = erasure.shift_fresh_board(planted.residuals, shift_view.board, ground)
    return erasure.shift_erasure(shift_view.board, board, planted.latents)


@pytest.fixture(scope="module")
def tpp_fresh(planted, tpp_view):
    ground = erasure.tpp_ground(planted.residuals, planted.tpp, tpp_view.board.probes)
    board = erasure.tpp_fresh_board(planted.residuals, tpp_view.board, ground)
    return erasure.tpp_erasure(tpp_view.board, board, planted.latents)


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_a_shift_commit_freezes_the_score_and_its_settings(store, shift_view, shift_fresh, ablation):
    chosen = new(store, "shift")
    store.note_look(chosen.id, "Ada", [1])
    made = commit_shift(store, chosen, "Ada", shift_view, shift_fresh, WHITENING, [2, 1], Under(ablation, "robust", 3))
    (kept,) = store.commits(chosen.id)
    expected = shift_view.score([1, 2]) if ablation == "zero" else shift_view.mean_ablated.score([1, 2])
    assert made.score == expected.score and made.base == shift_view.board.base and made.n_ablated == 2
    assert (kept.ids, kept.who, kept.dev_looks) == ((1, 2), "Ada", 1)
    assert set(kept.test) >= SHIFT_KEYS | {"base", "oracle", "protocol", "seed"}
    assert (kept.test["part"], kept.test["protocol"], kept.test["seed"]) == ("test", "robust", 3)
    assert read_shift(kept) == made == read_commit(kept, "shift")
    read = shift_fresh.score([1, 2])
    assert (made.erasure.recoverability, made.erasure.selective_erasure) == (read.recoverability, read.score)
    assert made.fresh.recoverability_target == read.recoverability_target and made.fresh.reader == "ridge"
    assert all(say(e) in made.gone for e in (read.score, read.recoverability, read.recoverability_target))
    edited = WHITENING.edit_size(shift_fresh.codes.edits([1, 2])[1])
    assert made.erasure.edit_size == kept.test["edit_size"] == pytest.approx(edited) and edited > 0
    assert f"edit size {edited:.4f}" in made.gone


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_a_tpp_commit_is_kept_with_every_class(store, tpp_view, tpp_fresh, ablation):
    sets = [new(store, "tpp", c) for c in tpp_view.board.task.classes]
    store.note_look(sets[1].id, "Ada", [1])
    ids = [tuple(int(i) for i in ranking[:2]) for ranking in tpp_view.rankings]
    made = commit_tpp(store, sets, "Ada", tpp_view, tpp_fresh, WHITENING, ids, 2, Under(ablation, "robust", 3))
    kept = [store.commits(s.id)[0] for s in sets]
    expected = tpp_view.score(ids) if ablation == "zero" else tpp_view.mean_ablated.score(ids)
    assert made.score == expected.score and made.dev_looks == 1 and made.settings.seed == 3
    assert [c.ids for c in kept] == [tuple(sorted(own)) for own in ids]
    assert all(read_tpp(c) == made and set(c.test) >= TPP_KEYS | {"protocol", "seed"} for c in kept)
    read = tpp_fresh.score(ids)
    assert made.erasure.selective_erasure == read.score and made.reader == "ridge" and say(read.score) in made.gone
    assert made.erasure.recoverability.value == pytest.approx(1 - read.intended.value)
    edited = np.mean([WHITENING.edit_size(tpp_fresh.codes.edits(own)[1]) for own in ids])
    assert made.erasure.edit_size == pytest.approx(edited) and f"edit size {edited:.4f}" in made.gone
    assert np.allclose([[e.value for e in row] for row in made.matrix], [[e.value for e in r] for r in expected.matrix])


def test_a_set_that_is_committed_as_it_is_has_its_score_and_is_not_committed_again(
    store, shift_view, shift_fresh, tpp_view, tpp_fresh
):
    chosen, under = new(store, "shift"), Under("zero", "robust", 0)
    for ids, how in (([1, 2], under), ([1], under), ([1, 2], replace(under, ablation="mean"))):
        commit_shift(store, chosen, "Ada", shift_view, shift_fresh, WHITENING, ids, how)
    with pytest.raises(DataError, match="committed as it is by Ada on .* UTC"):
        commit_shift(store, chosen, "Ada", shift_view, shift_fresh, WHITENING, [2, 1], under)
    assert len(store.commits(chosen.id)) == 3
    sets = [new(store, "tpp", c) for c in tpp_view.board.task.classes]
    ids = [(k,) for k, _ in enumerate(sets)]
    commit_tpp(store, sets, "Ada", tpp_view, tpp_fresh, WHITENING, ids, 1, under)
    with pytest.raises(DataError, match="committed as it is"):
        commit_tpp(store, sets, "Ada", tpp_view, tpp_fresh, WHITENING, ids, 1, under)
    commit_tpp(store, sets, "Ada", tpp_view, tpp_fresh, WHITENING, [(5,), *ids[1:]], 1, under)
    assert len(store.commits(sets[0].id)) == 2


def test_undefined_scores_come_back_with_their_reason(store, shift_view, shift_fresh):
    board = replace(shift_view.board, reason="no gap")
    chosen = new(store, "shift")
    made = commit_shift(
        store, chosen, "Ada", replace(shift_view, board=board), shift_fresh, WHITENING, [1], Under("zero", "robust", 0)
    )
    assert made.score.value is None and read_shift(store.commits(chosen.id)[0]).score.reason == "no gap"


def test_an_empty_set_or_one_of_the_other_metric_is_refused(store, shift_view, shift_fresh, tpp_view, tpp_fresh):
    shift, tpp = new(store, "shift"), [new(store, "tpp", c) for c in tpp_view.board.task.classes]
    with pytest.raises(DataError, match="at least one latent"):
        commit_shift(store, shift, "Ada", shift_view, shift_fresh, WHITENING, [], Under("zero", "robust", 0))
    with pytest.raises(DataError, match="at least one latent"):
        commit_tpp(store, tpp, "Ada", tpp_view, tpp_fresh, WHITENING, [() for _ in tpp], 0, Under("zero", "robust", 0))
    with pytest.raises(DataError, match="is for TPP"):
        commit_shift(store, tpp[0], "Ada", shift_view, shift_fresh, WHITENING, [1], Under("zero", "robust", 0))
    with pytest.raises(DataError, match="is for SHIFT"):
        commit_tpp(
            store,
            [shift, *tpp[1:]],
            "Ada",
            tpp_view,
            tpp_fresh,
            WHITENING,
            [(1,) for _ in tpp],
            1,
            Under("zero", "robust", 0),
        )
    assert store.commits() == []


def test_commits_of_earlier_versions_are_read(store):
    e = {"value": 0.5, "ci": [0.4, 0.6], "reason": None}
    old = {"part": "test", "ablation": "mean", "n_ablated": 2, "worst_group_name": "a, b"}
    old |= dict.fromkeys(("score", "accuracy", "worst_group", "leakage", "base", "oracle"), e)
    chosen = new(store, "shift")
    store.commit(chosen.id, "Ada", [1, 2], old)
    found = read_shift(store.commits(chosen.id)[0])
    assert found.settings.protocol == "" and found.settings.seed is None and found.score.ci == (0.4, 0.6)
    assert found.erasure is None and found.fresh is None and found.gone == "R, E and edit size not measured"
    # the first TPP commits said neither the ablation, which was zero, nor the seed
    old = {"batch": "b", "n": 5, "words": "0.500 [0.400, 0.600]", "score": e, "dev_looks": 3, "intended": e}
    old |= {"unintended": e, "matrix": [[e]], "n_ablated": [5], "protocol": "robust", "part": "test"}
    chosen = new(store, "tpp")
    store.commit(chosen.id, "Ada", [1], old)
    found = read_tpp(store.commits(chosen.id)[0])
    assert found.settings.ablation == "zero" and found.settings.seed is None and found.n_ablated == (5,)
    assert found.erasure is None and found.gone == "fresh probes and edit size not measured"


def test_a_commit_with_fresh_probes_but_no_edit_size_says_so_and_never_0(store, shift_view, shift_fresh):
    chosen = new(store, "shift")
    made = commit_shift(store, chosen, "Ada", shift_view, shift_fresh, WHITENING, [1], Under("zero", "robust", 0))
    for lacking in ({"edit_size": None}, {}):
        test = {k: v for k, v in made.to_json().items() if k != "edit_size"} | lacking
        found = read_shift(store.commit(chosen.id, "Ada", [1], test))
        assert found.erasure.edit_size is None and found.gone.endswith("; edit size not measured")
        assert found.erasure.selective_erasure == made.erasure.selective_erasure
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_shift(store.commit(chosen.id, "Ada", [1], {**made.to_json(), "edit_size": "much"}))


def test_what_no_fresh_probe_can_read_comes_back_with_the_reason(store, shift_view, shift_fresh):
    class AtChance:
        """A label that nothing reads on clean texts either."""

        codes = shift_fresh.codes

        def score(self, ids):
            return shift_fresh.score(ids).without_value("at chance")

    chosen = new(store, "shift")
    made = commit_shift(store, chosen, "Ada", shift_view, AtChance(), WHITENING, [1], Under("zero", "robust", 0))
    found = read_shift(store.commits(chosen.id)[0])
    assert found == made and found.erasure.selective_erasure == undefined("at chance")
    assert "E n/a: at chance" in found.gone


@pytest.mark.parametrize("test", [{}, {"part": "test", "n_ablated": "x"}, {"score": 1}])
def test_a_row_that_holds_something_else_is_one_line(store, test):
    chosen = new(store, "shift")
    store.commit(chosen.id, "Ada", [1], test)
    (kept,) = store.commits(chosen.id)
    for read in (read_shift, read_tpp):
        with pytest.raises(ArtifactError, match=f"commit {kept.id} in the store cannot be read"):
            read(kept)


def test_what_is_written_is_plain_json(store, shift_view, shift_fresh):
    chosen = new(store, "shift")
    made = commit_shift(store, chosen, "Ada", shift_view, shift_fresh, WHITENING, [1], Under("zero", "robust", 0))
    assert json.loads(json.dumps(made.to_json())) == store.commits(chosen.id)[0].test


def test_what_was_decided_on_test_is_not_committed(store, shift_view, shift_fresh):
    chosen = new(store, "shift")
    with pytest.raises(DataError, match="'saebench' has no dev part"):
        commit_shift(store, chosen, "Ada", shift_view, shift_fresh, WHITENING, [1], Under("zero", "saebench", 3))
    assert not store.commits(chosen.id)
