"""Coalitions and partial ablation: found sets against all small sets, and the line between nothing and everything."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from toys import planted_world

from saeeval_core.config import PROTOCOLS
from saeeval_core.scores.coalitions import Coalition, by_erasure, by_shift
from saeeval_core.scores.erasure import shift_erasure, shift_fresh_board, shift_ground
from saeeval_core.scores.shift import shift_board, shift_latents
from saeeval_core.scores.shift_probes import fit_shift_probes
from saeeval_core.scores.tpp import fit_tpp_probes, tpp_board, tpp_latents
from saeeval_core.texts.parts import DEV
from saeeval_core.texts.tasks import DrawnPair, shift_training

ROBUST = PROTOCOLS["robust"]


@pytest.fixture(scope="module")
def world():
    planted = planted_world(noise=0.3)
    pair = DrawnPair(planted.shift, shift_training(planted.shift, seed=0, protocol=ROBUST))
    probes = fit_shift_probes(planted.residuals, pair, ROBUST, seed=0)
    board = shift_board(planted.residuals, planted.shift, probes, ROBUST, part=DEV, seed=0, resamples=100)
    view = shift_latents(planted.residuals, planted.latents, board, ROBUST).mean_ablated
    fresh = shift_fresh_board(planted.residuals, board, shift_ground(planted.residuals, planted.shift, probes))
    return planted, view, shift_erasure(board, fresh, planted.latents)


def test_every_step_of_s_takes_the_best_latent(world):
    _, view, _ = world
    found = by_shift(view)
    assert 1 <= len(found.ids) <= 5 and list(found.scores) == sorted(found.scores)
    chosen: list[int] = []
    for latent, score in zip(found.ids, found.scores, strict=True):
        best = max(view.score([*chosen, i]).score.value for i in range(64) if i not in chosen)
        chosen.append(latent)
        assert score == pytest.approx(best) == pytest.approx(view.score(chosen).score.value)
    assert by_shift(view, at_most=1).ids == found.ids[:1]


def test_the_family_of_the_spurious_label_is_found(world):
    planted, view, erasure = world
    found = by_erasure(erasure, view.attribute_ranking[:20])
    assert set(planted.spurious) <= set(found.ids) or erasure.value(found.ids) >= erasure.value(planted.spurious)
    assert found.is_family and found.scores[-1] == pytest.approx(erasure.value(found.ids))
    assert erasure.value(found.ids) == pytest.approx(erasure.score(found.ids).score.value)
    pairs = [erasure.value(p) for p in combinations(planted.spurious, 2)]
    assert found.scores[1] >= max(pairs) - 0.2


def test_one_latent_that_does_it_all_is_no_family():
    assert not Coalition((3,), (0.9,)).is_family
    assert not Coalition((3, 5), (0.85, 0.9)).is_family and Coalition((3, 5), (0.5, 0.9)).is_family


def test_what_was_found_is_said():
    family = Coalition((3, 5, 8), (0.21, 0.4, 0.48))
    assert family.gains == pytest.approx((0.21, 0.19, 0.08))
    assert family.words == "One latent gives 0.21, 3 give 0.48: a family."
    assert Coalition((3, 5), (0.85, 0.9)).words.endswith(
        "2 give 0.90: no family, the first latent does nearly all of it."
    )
    assert Coalition((3,), (0.9,)).words == "One latent gives 0.90, and no second one adds to it."
    assert "stopped" in Coalition((3,), (0.9,), cancelled=True).words
    assert Coalition((), ()).words == "No latent raises the score."


def test_a_search_can_be_ended(world):
    _, view, erasure = world
    shares: list[float] = []

    def watch(found: Coalition, share: float) -> bool:
        shares.append(share)
        return len(found.ids) == 1 and len(shares) > 30

    found = by_erasure(erasure, view.attribute_ranking[:20], watch=watch)
    assert found.cancelled and len(found.ids) == 1
    assert shares == [pytest.approx(k / 100) for k in range(31)], "20 latents tried in each of at most 5 steps"
    assert by_shift(view, watch=lambda *_: True) == Coalition((), (), cancelled=True)


def test_an_undefined_score_has_no_coalition(world):
    _, view, _ = world
    assert by_shift(replace(view, board=replace(view.board, reason="no gap"))) == Coalition((), ())


def test_contributions_add_up_to_what_is_removed(world):
    _, view, _ = world
    ids = [0, 5, 40]
    assert view.contributions(ids).sum(1) == pytest.approx(view.removed(ids))


def test_partial_ablation_moves_logits_in_proportion(world):
    planted, view, _ = world
    ids = list(planted.spurious)
    half = view.board.score(view.removed(ids) / 2, len(ids))
    weak = view.weakened(0.5)
    assert weak.score(ids).score == half.score and view.weakened(0.0).score(ids).score.value == 0
    assert weak.contributions(ids).sum(1) == pytest.approx(weak.removed(ids))
    assert weak.removed(ids) == pytest.approx(view.removed(ids) / 2)
    assert weak.curve(np.array(ids), [len(ids)])[0].score == half.score
    zero = replace(view, set_to=np.zeros_like(view.set_to)).weakened(0.5)
    assert zero.mean_ablated.strength == 0.5 and zero.mean_ablated.score(ids).score == half.score
    probes = fit_tpp_probes(planted.residuals, planted.tpp, ROBUST, seed=0)
    tpp = tpp_latents(
        planted.latents, tpp_board(planted.residuals, planted.tpp, probes, part=DEV, seed=0, resamples=50)
    )
    sets = [[8], [9], [10]]
    assert tpp.score(sets, 0.0).score.value == 0
    assert np.allclose(tpp.score(sets, 1.0).samples, tpp.score(sets).samples)
