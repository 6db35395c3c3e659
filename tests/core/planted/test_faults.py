"""The fault table: the baseline is the robust score, and every switch changes what it says and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from saeeval_core.config import PROTOCOLS
from saeeval_core.controls.own_controls import erased
from saeeval_core.planted.faults import SETTINGS, DrawSettings, Setting, SettingScores, fault_table
from saeeval_core.scores.erasure import ERASURE
from saeeval_core.scores.shift import shift_board, shift_latents
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.parts import TEST
from saeeval_core.texts.tasks import FixedTasks, TaskSet

ROBUST = PROTOCOLS["robust"]


@pytest.fixture(scope="module")
def bench(planted):
    tpp = (planted.tpp.column, planted.tpp.classes)
    pairs = ((planted.shift.target, planted.shift.spurious),)
    tasks = FixedTasks(LabelledTexts("toys", (), {}), pairs, tpp, fixed_shift=(planted.shift,), fixed_tpp=planted.tpp)
    return SettingScores.prepare(planted.residuals, tasks, "robust", DrawSettings(0, 0), kept=None)


def test_every_setting_has_a_name_of_its_own():
    assert len({s.name for s in SETTINGS}) == len(SETTINGS)


def test_the_baseline_is_the_robust_score(planted, planted_probes, bench):
    values = []
    for task, probes in ((planted.shift, planted_probes), (planted.shift.swapped(), planted_probes.swapped())):
        board = shift_board(planted.residuals, task, probes, ROBUST, part=TEST, seed=0, resamples=200)
        view = shift_latents(planted.residuals, planted.latents, board, ROBUST)
        score = view.score(view.attribute_ranking[:10]).score
        if score.value is not None:
            values.append(score.value)
    assert one(bench, planted.latents, SETTINGS[0], "shift") == pytest.approx(np.mean(values))


def test_switches_change_the_score(planted, bench):
    leaking = replace(planted.latents, zero_code=np.full(64, 0.5, np.float32))
    assert one(bench, leaking, Setting("leak", leak=True), "shift") != one(bench, leaking, Setting("no leak"), "shift")
    assert one(bench, planted.latents, Setting("area", n=None), "shift") != one(
        bench, planted.latents, Setting("n"), "shift"
    )
    assert one(bench, planted.latents, Setting("mean", ablation="mean"), "tpp") is not None
    assert one(bench, planted.latents, Setting("gaps", small_gaps=True), "shift") is not None


def test_a_score_does_not_depend_on_the_settings_asked_for_with_it(planted, bench):
    own = [s for s in SETTINGS if s.probes == "robust" and not s.redrawn_negatives]
    together = bench.scores(planted.latents, own, 0)
    for s in own:
        for metric in s.metrics:
            assert together[s.name, metric] == pytest.approx(one(bench, planted.latents, s, metric), abs=1e-12)


def test_e_is_that_of_the_fresh_probes_and_changing_the_threshold_does_not_change_it(planted, bench):
    (setting,) = [s for s in SETTINGS if s.measure == ERASURE]
    evaluation = bench.evaluation
    own = erased(evaluation, planted.latents, "shift", setting.n).score.value
    assert one(bench, planted.latents, setting, "shift") == pytest.approx(own)
    fresh = erased(evaluation, planted.latents, "tpp", setting.n).score.value
    assert one(bench, planted.latents, setting, "tpp") == pytest.approx(fresh)
    assert one(bench, planted.latents, replace(setting, ablation="mean"), "shift") == pytest.approx(own)


def test_redrawn_negatives_vary_with_the_seed_and_fixed_ones_do_not(planted, bench):
    redrawn = Setting("redrawn", redrawn_negatives=True)
    assert one(bench, planted.latents, redrawn, "tpp") != one(bench, planted.latents, redrawn, "tpp", 1)
    assert one(bench, planted.latents, SETTINGS[0], "tpp") == one(bench, planted.latents, SETTINGS[0], "tpp", 1)


def one(bench: SettingScores, latents, setting: Setting, metric: str, seed: int = 0) -> float | None:
    return bench.scores(latents, [setting], seed)[setting.name, metric]


def test_the_table_has_a_spread_for_fixed_and_redrawn_texts(tiny_texts, tiny_recording, tmp_path, monkeypatch):
    monkeypatch.setenv("SAEEVAL_CACHE", str(tmp_path))
    residuals, saes = tiny_recording
    task_set = TaskSet(tiny_texts, tpp=("meal", ("tea", "soup", "bread")))
    chosen = [Setting("baseline"), Setting("redrawn", redrawn_negatives=True, metrics=("tpp",))]
    table = fault_table(residuals, saes[:1], task_set, seeds=(0, 1), settings=chosen)
    rows = {(r["setting"], r["metric"]): r for r in table["rows"]}
    assert set(rows) == {("baseline", "tpp"), ("redrawn", "tpp")}
    assert rows["redrawn", "tpp"]["sd_texts_fixed"] > 0
    assert rows["baseline", "tpp"]["seeds"] == 2 and rows["baseline", "tpp"]["role"] == "sae"
    # Finished seeds are not computed again.
    monkeypatch.setattr(SettingScores, "prepare", lambda *_a, **_k: pytest.fail("computed again"))
    assert fault_table(residuals, saes[:1], task_set, seeds=(0, 1), settings=chosen) == table
