"""Behind a TPP cell: contributions by hand, flipped texts, and agreement with the matrix itself."""

import numpy as np
import pytest
from synthetic import make_loaded

from app.services.scoring import tpp_view
from saeeval_core.scores.tpp_cells import cell_latents, flipped_texts, relative_matrix, row_difference
from saeeval_core.scores.uncertainty import difference
from saeeval_core.texts.parts import DEV, TRAIN


@pytest.fixture(scope="module")
def view():
    return tpp_view(make_loaded(), DEV)


def test_one_latent_alone_contributes_the_whole_cell(view):
    ids = [int(view.rankings[0][0])]
    score = view.score([ids, [], []])
    for probe in range(3):
        (own,) = cell_latents(view, ids, probe)
        assert own.solo.value == pytest.approx(score.matrix[0][probe].value)
        assert own.left_out.value == pytest.approx(own.solo.value)
        assert own.solo.ci == pytest.approx(score.matrix[0][probe].ci, abs=1e-6)


def test_leaving_one_out_is_the_difference_of_two_matrices(view):
    ids = [int(i) for i in view.rankings[1][:4]]
    parts = cell_latents(view, ids, 1)
    for k, part in enumerate(parts):
        rest = ids[:k] + ids[k + 1 :]
        expected = view.score([[], ids, []]).matrix[1][1].value - view.score([[], rest, []]).matrix[1][1].value
        assert part.left_out.value == pytest.approx(expected, abs=1e-9)
        assert part.latent == ids[k] and part.effect == pytest.approx(view.effects[ids[k], 1])


def test_flipped_texts_are_those_whose_sign_changes_with_their_causes(view):
    ids = [int(i) for i in view.rankings[0][:5]]
    flips, total = flipped_texts(view, ids, 0)
    before = view.board.logits[:, 0]
    after = before - view.removed(ids)[:, 0]
    assert total == int(((before > 0) != (after > 0)).sum()) > 0
    first = flips[0]
    place = int(np.flatnonzero(view.board.rows == first.row)[0])
    assert first.before == before[place] and first.after == pytest.approx(after[place])
    assert sum(v for _, v in first.latents) == pytest.approx(first.before - first.after)
    assert first.now_wrong == ((before[place] > 0) == (view.board.label[place] == 0))


def test_nothing_ablated_flips_nothing(view):
    assert flipped_texts(view, [], 0) == ([], 0) and cell_latents(view, [], 0) == []


def test_relative_divides_by_what_the_probe_had_above_chance(view):
    score = view.at(5)
    relative = relative_matrix(view.board, score)
    clean = view.board.clean[1].value
    assert relative[0][1].value == pytest.approx(score.matrix[0][1].value / (clean - 0.5))
    assert relative[0][1].ci[0] <= relative[0][1].value <= relative[0][1].ci[1]


def test_difference_of_a_set_with_itself_is_zero_and_covers_it(view):
    score = view.at(3)
    gap = difference(score, score)
    assert gap.value == 0 and gap.ci == (0, 0)
    assert row_difference(score, view.at(1))[0][0] == pytest.approx(
        score.matrix[0][0].value - view.at(1).matrix[0][0].value
    )


def test_mean_ablation_sets_latents_to_their_training_mean(view):
    """Token by token: z' of every probe when the latents of a row take their mean over the training texts."""
    task, ids = view.board.task, [int(i) for i in view.rankings[0][:3]]
    pooled = view.recording.latents.toarray().astype(float)
    mean = pooled[task.rows[task.part == TRAIN]].mean(axis=0)
    changed = pooled[view.board.rows][:, ids] - mean[ids]
    removed = view.mean_ablated.removed(ids)
    np.testing.assert_allclose(removed, changed @ view.dots[ids], atol=1e-6)
    np.testing.assert_allclose(view.mean_ablated.contributions(ids, 1).sum(axis=1), removed[:, 1], atol=1e-9)
    assert view.mean_ablated.score([ids] * len(task.classes)).score != view.score([ids] * len(task.classes)).score
    found = cell_latents(view.mean_ablated, ids, 0)
    assert [c.effect for c in found] == [c.effect for c in cell_latents(view, ids, 0)]
