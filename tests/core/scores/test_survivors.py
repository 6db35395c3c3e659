"""Where a concept survived, in worlds where it was put into one part of the residuals on purpose."""

from dataclasses import replace

import numpy as np
import pytest
from toys import HOOK, latent_recording, planted_world, residual_recording

from saeeval_core.config import PROTOCOLS
from saeeval_core.models.layouts import Exactness
from saeeval_core.scores.erasure import shift_erasure, shift_fresh_board, shift_ground
from saeeval_core.scores.shift import shift_board
from saeeval_core.scores.shift_probes import fit_shift_probes
from saeeval_core.scores.survivors import BESIDES, ELSE, LATENTS, STREAM, survivors, written_at
from saeeval_core.texts.parts import TEST
from saeeval_core.texts.tasks import DrawnPair, shift_training

ROBUST = PROTOCOLS["robust"]
WRITE = "blocks.0.hook_mlp_out"


def world(where: str):
    """(residuals, written, latents, board, whole): the spurious label stands in the latents and in ``where``."""
    planted, rng = planted_world(noise=0.3), np.random.default_rng(0)
    task, d = planted.shift, planted.latents.decoder.shape[1]
    sign = np.where(task.spurious_label, 1.0, -1.0)[:, None] * rng.normal(size=d)
    own = planted.residuals.residuals.astype(float)
    y = own + (sign if where == BESIDES else 0)
    x = y + rng.normal(size=y.shape) + (sign if where == STREAM else 0)
    residuals, written = residual_recording(x), residual_recording(y)
    written = replace(written, key=replace(written.key, hook=WRITE))
    exact = Exactness(WRITE, (HOOK, WRITE))
    latents = replace(
        latent_recording(planted.latents.latents.toarray(), planted.latents.decoder), key=written.key, exact=exact
    )
    probes = fit_shift_probes(residuals, DrawnPair(task, shift_training(task, seed=0, protocol=ROBUST)), ROBUST, seed=0)
    board = shift_board(residuals, task, probes, ROBUST, part=TEST, seed=0, resamples=100)
    fresh = shift_fresh_board(residuals, board, shift_ground(residuals, task, probes))
    return planted, residuals, written, latents, board, shift_erasure(board, fresh, latents)


@pytest.mark.parametrize("where", [BESIDES, STREAM])
def test_the_part_that_holds_the_label_is_named(where):
    planted, residuals, written, latents, board, whole = world(where)
    found = survivors(residuals, latents, board, whole, written)
    parts = found.boards
    total = sum(b.residuals for b in parts.values())
    assert total == pytest.approx(residuals.residuals[board.rows].astype(float)) and not found.missing
    read = {s.part: s for s in found.read(planted.spurious)}
    assert list(read) == [LATENTS, BESIDES, STREAM]
    assert read[where].fresh.value > 0.95 and read[where].recoverability.value > 0.9
    for part in {LATENTS, BESIDES, STREAM} - {where}:
        assert read[part].fresh.value < 0.65, part
    before = {s.part: s.fresh.value for s in found.read([])}
    assert before[LATENTS] > 0.8


def test_without_the_write_hook_there_are_two_parts_and_a_reason():
    planted, residuals, _, latents, board, whole = world(STREAM)
    found = survivors(residuals, latents, board, whole, None)
    assert [s.part for s in found.read(planted.spurious)] == [LATENTS, ELSE] and WRITE in found.missing


def test_probed_where_it_writes_the_rest_of_the_stream_is_empty():
    planted, residuals, _, latents, board, whole = world(BESIDES)
    here = replace(latents, key=None, exact=None)
    found = survivors(residuals, here, board, whole, None)
    assert [s.part for s in found.read(planted.spurious)] == [LATENTS, BESIDES] and not found.missing


def test_heads_add_up_at_the_output_of_attention():
    latents = replace(latent_recording(np.ones((2, 2)), np.eye(2)), exact=Exactness("blocks.3.attn.hook_z", ()))
    assert written_at(latents, "blocks.3.hook_resid_mid") == "blocks.3.hook_attn_out"
    assert written_at(latents, "blocks.3.attn.hook_z") == "blocks.3.attn.hook_z"
