"""Controls: what should score, scores; what should not, does not; and a weak score says so in words."""

from dataclasses import replace

import numpy as np
import pytest
from toys import GENDER, PROFESSION, residual_recording

from saeeval_core.config import PROTOCOLS
from saeeval_core.controls import controls, deletion, leace, rivals
from saeeval_core.errors import DataError
from saeeval_core.scores.shift import shift_board, shift_latents
from saeeval_core.scores.shift_probes import fit_shift_probes
from saeeval_core.scores.tpp import fit_tpp_probes, tpp_board, tpp_latents
from saeeval_core.scores.uncertainty import Estimate
from saeeval_core.texts.parts import TEST
from saeeval_core.texts.tasks import ShiftTask, drawn_pair

ROBUST = PROTOCOLS["robust"]


@pytest.fixture(scope="module")
def view(planted, planted_probes):
    board = shift_board(planted.residuals, planted.shift, planted_probes, ROBUST, part=TEST, seed=0, resamples=50)
    return shift_latents(planted.residuals, planted.latents, board, ROBUST)


@pytest.fixture(scope="module")
def found(planted, view):
    return {
        c.name: c for c in controls.shift_controls(planted.residuals, view, ROBUST, view.attribute_ranking[:4], "zero")
    }


def test_the_true_latents_beat_random_ones_and_shuffled_decoders(view, found):
    score = view.score(view.attribute_ranking[:4]).score
    for name in ("random latents", "random decoder", "permuted decoder"):
        assert found[name].score.value < score.value - 0.3
        assert controls.warning(found[name], score) is None


def test_leace_closes_most_of_the_gap(found):
    assert found["leace"].score.value > 0.5
    assert "shrunk" in found["leace"].about


def test_random_latents_report_the_range_of_their_draws(planted, view):
    ids = view.attribute_ranking[:4]
    few, many = (
        controls.shift_controls(planted.residuals, view, ROBUST, ids, "zero", draws=n)[0].score for n in (2, 20)
    )
    assert (
        few.ci[0] < few.ci[1] and many.ci[0] <= few.ci[0] and many.ci[1] >= few.ci[1]
    )  # the same generator: more draws of it


def test_without_intervals_every_value_is_the_same(planted, view):
    ids = view.attribute_ranking[:4]
    full, plain = view.score(ids), view.values_only().score(ids)
    assert plain.score.value == full.score.value and plain.worst_group.value == full.worst_group.value
    assert len(full.samples) == 50 and len(plain.samples) == 1
    probes = fit_tpp_probes(planted.residuals, planted.tpp, ROBUST, seed=0)
    board = tpp_board(planted.residuals, planted.tpp, probes, part=TEST, seed=0, resamples=50)
    own = tpp_latents(planted.latents, board)
    full, plain = own.at(3), own.values_only().at(3)
    assert plain.score.value == full.score.value and board.values_only().reasons == board.reasons
    assert [[c.value for c in row] for row in plain.matrix] == [[c.value for c in row] for row in full.matrix]


def test_controls_are_scored_under_the_ablation_asked_for(planted, view):
    ids = view.attribute_ranking[:4]
    zero, mean = (
        {c.name: c.score.value for c in controls.shift_controls(planted.residuals, view, ROBUST, ids, kind)}
        for kind in ("zero", "mean")
    )
    shuffled = rivals.decoder_controls(planted.latents, 0)[1]
    own = shift_latents(planted.residuals, shuffled, view.board, ROBUST)
    assert zero["permuted decoder"] == own.score(own.attribute_ranking[:4]).score.value
    assert mean["permuted decoder"] == own.mean_ablated.at(4).score.value


def test_a_score_below_its_control_says_so(found):
    weak = Estimate(found["permuted decoder"].score.value - 0.1)
    (line,) = controls.warnings_of(weak, [found["permuted decoder"], found["leace"]])
    assert "not above its control, permuted decoder" in line
    assert controls.warnings_of(Estimate(None, None, "no gap"), list(found.values())) == []


def test_matched_latents_are_others_of_the_same_strength(planted):
    ids = np.array([0, 1, 2, 3])
    (drawn,) = controls.matched_latents(controls.log_strength(planted.latents), [ids], np.random.default_rng(0))
    assert len(set(drawn)) == 4 and not set(drawn) & set(ids)
    mean = np.asarray(planted.latents.latents.mean(axis=0)).ravel()
    assert mean[drawn].min() > np.median(mean[11:])  # the planted ones are strong: so are their stand-ins


def test_where_no_other_live_latent_is_left_a_set_gets_fewer(planted):
    three = replace(planted.latents, latents=planted.latents.latents * (np.arange(64) < 3))
    (drawn,) = controls.matched_latents(controls.log_strength(three), [np.array([0, 1])], np.random.default_rng(0))
    assert drawn.tolist() == [2]


def test_stand_ins_of_one_class_are_no_latents_of_another(planted):
    sets = [np.array([0, 1]), np.array([2, 3])]
    for seed in range(20):
        drawn = np.concatenate(
            controls.matched_latents(controls.log_strength(planted.latents), sets, np.random.default_rng(seed))
        )
        assert len(set(drawn)) == 4 and not set(drawn) & {0, 1, 2, 3}


def test_the_bases_rebuild_the_residuals_exactly(planted):
    train = planted.shift.rows[planted.shift.part == 0]
    x = planted.residuals.residuals
    basis = rivals.basis_recording(planted.residuals, train, "residual basis")
    np.testing.assert_allclose(basis.latents.toarray() @ basis.decoder, x, atol=1e-5)
    pca = rivals.basis_recording(planted.residuals, train, "pca")
    np.testing.assert_allclose(pca.latents.toarray() @ pca.decoder + x[train].mean(0), x, atol=1e-4)


def test_tpp_controls_stay_below_the_planted_classes(planted):
    probes = fit_tpp_probes(planted.residuals, planted.tpp, ROBUST, seed=0)
    board = tpp_board(planted.residuals, planted.tpp, probes, part=TEST, seed=0, resamples=50)
    own = tpp_latents(planted.latents, board)
    score = own.at(1).score.value
    for control in controls.tpp_controls(planted.residuals, own, [r[:1] for r in own.rankings], "zero"):
        if control.name in ("random latents", "random decoder", "permuted decoder"):
            assert control.score.value < score / 2, control.name


def texts_and_board(n: int = 400):
    """Texts whose gender is told by she/he alone, and a board on arbitrary residuals."""
    rng = np.random.default_rng(0)
    quadrant = np.arange(n) % 4
    target, spurious = quadrant // 2 == 1, quadrant % 2 == 1
    texts = [
        f"{'She' if a else 'He'} works at the {'ward' if t else 'theatre'} {rng.integers(99)}"
        for t, a in zip(target, spurious, strict=True)
    ]
    x = np.stack([target * 1.0, spurious * 2.0, np.ones(n)], axis=1) + 0.3 * rng.normal(size=(n, 3))
    part = np.tile([0, 0, 0, 1, 2], n // 20 + 1).repeat(4)[:n].astype(np.uint8)
    task = ShiftTask(PROFESSION, GENDER, np.arange(n), target, spurious, part)
    residuals = residual_recording(x)
    probes = fit_shift_probes(residuals, drawn_pair(task, seed=0, protocol=ROBUST), ROBUST, seed=0)
    return texts, x, shift_board(residuals, task, probes, ROBUST, part=TEST, seed=0, resamples=50)


def test_the_words_of_the_spurious_label_are_found_and_deleted():
    texts, _, board = texts_and_board()
    words = deletion.attribute_words(texts, board)
    assert set(words[:2]) == {"she", "he"}
    edited = deletion.without_words(texts, words[:2])
    assert edited[0] == f"works at the {texts[0].split('the ')[1]}"
    assert deletion.without_words(["She", "he!"], ["she", "he"]) == [".", "!"]


def test_word_deletion_scores_the_edited_texts_under_the_same_probe():
    _, x, board = texts_and_board()
    gone = x.copy()
    gone[:, 1] = 1.0  # what a model would read once the cue is deleted
    assert leace.edited_score(board, gone[board.rows]).score.value > 0.5
    same = leace.edited_score(board, x[board.rows])
    assert same.score.value == pytest.approx(0, abs=1e-9)
    with pytest.raises(DataError, match="in the same order"):
        leace.edited_score(board, x[:3])
