"""R, E and the fresh TPP matrix: numbers worked out on paper, and worlds in which the right latents are known."""

from dataclasses import replace

import numpy as np
import pytest
from toys import GENDER, PROFESSION, latent_recording, planted_world, residual_recording

from saeeval_core.config import PROTOCOLS
from saeeval_core.recordings.recording import LatentRecording, ResidualRecording
from saeeval_core.scores.erasure import (
    ShiftErasure,
    TppErasure,
    shift_erasure,
    shift_fresh_board,
    shift_ground,
    tpp_erasure,
    tpp_fresh_board,
    tpp_ground,
)
from saeeval_core.scores.readers import LOGISTIC
from saeeval_core.scores.shift import shift_board, shift_latents
from saeeval_core.scores.shift_probes import ShiftProbes, fit_shift_probes
from saeeval_core.scores.tpp import fit_tpp_probes, tpp_board
from saeeval_core.scores.uncertainty import Resamples, apart_from_zero, difference
from saeeval_core.texts.parts import DEV, TEST, TRAIN
from saeeval_core.texts.tasks import DrawnPair, ShiftTask, TppTask, shift_training

ROBUST = PROTOCOLS["robust"]


def shift_of(residuals: ResidualRecording, latents: LatentRecording, task: ShiftTask, part: int = TEST) -> ShiftErasure:
    pair = DrawnPair(task, shift_training(task, seed=0, protocol=ROBUST))
    probes = fit_shift_probes(residuals, pair, ROBUST, seed=0)
    return erasure(residuals, latents, task, probes, part)


def erasure(residuals, latents, task, probes: ShiftProbes, part: int) -> ShiftErasure:
    board = shift_board(residuals, task, probes, ROBUST, part=part, seed=0, resamples=200)
    return shift_erasure(board, shift_fresh_board(residuals, board, shift_ground(residuals, task, probes)), latents)


# By hand. A residual is (target signal, spurious signal), each -1 or 1; all 20 training texts of a quadrant are (t, s).
# Of the 4 scored texts of each quadrant one has the spurious signal reversed: C of the spurious label is 3/4, and of the
# target label 1. Latent 0 writes (0, 2) where the spurious signal is 1, so without it every text reads (t, -1):
#     F_s = 1/2,  F_t = 1,     R_s = (1/2 - 1/2) / (3/4 - 1/2) = 0,  R_t = 1,    E = (1 - 0) - (1 - 1) = 1
# Latent 1 writes (2, 0) where the target signal is 1:    R_s = 1,  R_t = 0,    E = (1 - 1) - (1 - 0) = -1
# Latent 2 is 1 on every text: nothing changes,           R_s = R_t = 1,        E = 0
def by_hand() -> ShiftErasure:
    quadrant = np.repeat(np.arange(4), 44)
    part = np.tile(np.array([TRAIN] * 40 + [TEST] * 4, np.uint8), 4)
    target, spurious = quadrant >= 2, quadrant % 2 == 1
    signal = np.stack([np.where(target, 1.0, -1.0), np.where(spurious, 1.0, -1.0)], axis=1)
    signal[43::44, 1] *= -1
    codes = np.stack([signal[:, 1] > 0, signal[:, 0] > 0, np.ones(len(signal))], axis=1).astype(float)
    task = ShiftTask(PROFESSION, GENDER, np.arange(len(signal)), target, spurious, part)
    latents = latent_recording(codes, np.array([[0.0, 2.0], [2.0, 0.0], [1.0, 1.0]]))
    return shift_of(residual_recording(signal), latents, task)


@pytest.mark.parametrize(
    ("ids", "r", "r_target", "e"), [([0], 0, 1, 1), ([1], 1, 0, -1), ([2], 1, 1, 0), ([], 1, 1, 0)]
)
def test_recoverability_and_selective_erasure_by_hand(ids, r, r_target, e):
    found = drawing(by_hand(), [1, 1, 1, 1]).score(ids)
    assert (found.clean.value, found.clean_target.value) == (0.75, 1)
    assert found.recoverability.value == pytest.approx(r)
    assert found.recoverability_target.value == pytest.approx(r_target)
    assert found.score.value == pytest.approx(e) and found.n_ablated == len(ids)
    # Latent 0 at its mean leaves the spurious signal at 0 in every text: the old probe says the same of all.
    assert found.old.value == (0.5 if ids == [0] else 0.75)


def drawing(view: ShiftErasure, *draws: list[int]) -> ShiftErasure:
    """The same with these resamples: how often each of a quadrant's four texts is drawn, alike in every quadrant."""
    counts = np.tile(np.array(draws, np.uint8).T, (4, 1))
    return ShiftErasure(replace(view.board, resamples=Resamples(counts)), view.codes)


def test_what_is_at_chance_on_clean_texts_has_no_erasure():
    found = drawing(by_hand(), [1, 1, 1, 1], [0, 0, 2, 2], [0, 0, 2, 2]).score([0])  # two of them read it at 1/2
    assert found.recoverability.value is None and "not better than chance on clean texts" in found.recoverability.reason
    assert found.score.value is None and not len(found.samples)
    assert found.recoverability_target.value == 1 and found.fresh.value == 0.5


@pytest.mark.parametrize("part", [DEV, TEST])
@pytest.mark.parametrize("swap", [False, True])
def test_the_right_latents_erase_the_concept_and_nothing_else(part, swap):
    world = planted_world(noise=0.3)
    task, right, wrong = (world.shift, world.spurious, world.target)
    if swap:
        task, right, wrong = task.swapped(), wrong, right
    view = shift_of(world.residuals, world.latents, task, part)
    found = view.score(right)
    assert found.recoverability.ci[0] < 0.1 and abs(found.recoverability.value) < 0.2
    assert found.recoverability_target.value == pytest.approx(1, abs=0.1)
    assert found.score.value > 0.8 and view.score(wrong).score.value < -0.8
    others = view.score(range(20, 30))
    assert abs(others.score.value) < 0.15
    assert difference(found, others).ci[0] > 0.5  # the same draws
    half = view.score(right[:1]).recoverability.value
    assert found.recoverability.value < half


def test_old_probes_may_be_cut_off_where_fresh_ones_still_read():
    """One latent writes along the old probe's weights as much as it reads: z' = 0, all other directions are as before."""
    world = planted_world()
    pair = DrawnPair(world.shift, shift_training(world.shift, seed=0, protocol=ROBUST))
    probes = fit_shift_probes(world.residuals, pair, ROBUST, seed=0)
    x, w = world.residuals.residuals.astype(float), probes.base.weight / np.linalg.norm(probes.base.weight)
    latents = latent_recording((x @ w)[:, None], w[None], non_negative=False)
    view = erasure(world.residuals, latents, world.shift, probes, TEST)
    board = shift_board(world.residuals, world.shift, probes, ROBUST, part=TEST, seed=0)
    assert shift_latents(world.residuals, latents, board, ROBUST).mean_ablated.score([0]).leakage.value < 0.1
    assert view.score([0]).recoverability.ci[0] > 0.1


def test_a_share_of_the_ablation_lies_between_none_and_all():
    world = planted_world(noise=0.3)
    view = shift_of(world.residuals, world.latents, world.shift)
    none, all_ = view.score(world.spurious, 0.0), view.score(world.spurious)
    assert none.score.value == 0 and view.score(world.spurious, 1.0).score.value == all_.score.value
    assert view.score(world.spurious, 0.999).score.value <= all_.score.value + 0.05


def test_the_fresh_probe_leans_on_the_latents_that_are_left():
    world = planted_world()
    view = shift_of(world.residuals, world.latents, world.shift)
    kept = [latent for latent, _ in view.carriers([0, 2])]
    assert set(kept[:2]) == {1, 3} and len(kept) == 10 and not {0, 2} & set(kept)


def test_another_reader_says_who_it_is():
    view = by_hand()
    assert view.score([0]).reader == "ridge"
    assert ShiftErasure(view.board.by(LOGISTIC), view.codes).score([0]).reader == "logistic"


def tpp_of(world, task: TppTask) -> TppErasure:
    probes = fit_tpp_probes(world.residuals, task, ROBUST, seed=0)
    board = tpp_board(world.residuals, task, probes, part=TEST, seed=0, resamples=200)
    fresh = tpp_fresh_board(world.residuals, board, tpp_ground(world.residuals, task, probes))
    return tpp_erasure(board, fresh, world.latents)


def test_the_matrix_of_fresh_probes_knows_the_class_of_each_latent():
    world = planted_world(noise=0.3)
    found = tpp_of(world, world.tpp).score([[8], [9], [10]])
    assert found.n_ablated == (1, 1, 1)
    values = np.array([[c.value for c in row] for row in found.matrix])
    assert (np.diag(values) > 0.15).all()  # little: what is neither of two classes is the third
    assert (np.abs(values[~np.eye(3, dtype=bool)]) < 0.1).all()
    assert found.score.value == pytest.approx(found.intended.value - found.unintended.value)
    assert found.score.ci[0] > 0.1 and len(found.samples) == 200
    nothing = tpp_of(world, world.tpp).score([[], [], []])
    assert nothing.score.value == 0 and all(c.value == 0 for row in nothing.matrix for c in row)


def test_unequal_classes_weigh_the_same():
    world = planted_world(noise=0.3)
    keep = (world.tpp.label != 2) | (np.arange(len(world.tpp.label)) % 4 == 0)
    task = TppTask("meal", world.tpp.classes, world.tpp.rows[keep], world.tpp.label[keep], world.tpp.part[keep])
    board = tpp_of(world, task).board
    share = board.ground.share
    assert share.sum() == pytest.approx(len(share))
    assert [share[board.ground.labels[:, j]].sum() for j in range(3)] == pytest.approx([len(share) / 3] * 3)
    assert (board.clean.value > 0.9).all()


def test_small_denominators_keep_their_sign():
    assert apart_from_zero(np.array([0.0, 1e-5, -1e-5, 0.2]), 0.001) == pytest.approx([0.001, 0.001, -0.001, 0.2])
