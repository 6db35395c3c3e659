"""Rivals: other dictionaries on the same recording, and the words that say which of them a score beats."""

from dataclasses import replace

import numpy as np
import pytest

from saeeval_core.config import PROTOCOLS, RunConfig
from saeeval_core.controls import attach, rivals
from saeeval_core.controls.about import (
    ABOUT,
    BOUNDS,
    ICA,
    ICA_GENERAL,
    MEANS,
    OWN,
    PCA_GENERAL,
    PROBE,
    RANDOM,
    RIVALS,
    TRAINED_NULL,
)
from saeeval_core.controls.controls import control, rival_words, warnings_of
from saeeval_core.controls.leace import leace_recording, leace_score
from saeeval_core.controls.own_controls import own_controls
from saeeval_core.controls.rival_results import count_steps
from saeeval_core.controls.rival_scores import rival_scores
from saeeval_core.evaluation.boards import Evaluation
from saeeval_core.evaluation.prepare import Prepared
from saeeval_core.evaluation.result_json import from_json, to_json
from saeeval_core.evaluation.score import score
from saeeval_core.recordings import general_text as general
from saeeval_core.scores.erasure import ERASURE
from saeeval_core.scores.uncertainty import Estimate
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.parts import TEST
from saeeval_core.texts.tasks import Draw, FixedTasks

NS = (1, 2, 3, 5, 10, 20)


@pytest.fixture(scope="module")
def evaluation(planted) -> Evaluation:
    n, task = len(planted.residuals.residuals), planted.shift
    texts = LabelledTexts("toys", tuple(f"text {i}" for i in range(n)), {}, source="made here")
    tasks = FixedTasks(texts, ((task.target, task.spurious),), fixed_shift=(task,))
    return Evaluation(planted.residuals, Draw(tasks, PROTOCOLS["robust"]), ("shift",), resamples=50)


@pytest.fixture(scope="module")
def found(evaluation) -> dict:
    other = replace(evaluation.residuals, residuals=evaluation.residuals.residuals[:200])
    return {s.name: s for s in rival_scores(evaluation, NS, other)}


def test_independent_components_rebuild_what_they_span_and_come_out_the_same_twice(planted):
    train, x = planted.shift.train_rows, planted.residuals.residuals
    own, again = (rivals.ica_recording(planted.residuals, train, x.shape[1], seed=0) for _ in range(2))
    rebuilt = own.latents.toarray() @ own.decoder + x[train].mean(0)
    np.testing.assert_allclose(rebuilt, x, atol=1e-2)
    np.testing.assert_array_equal(own.decoder, again.decoder)
    assert not own.non_negative


def test_a_fit_that_did_not_converge_says_so(planted, monkeypatch):
    monkeypatch.setattr(rivals, "ICA_STEPS", 1)
    made = rivals.ica_recording(planted.residuals, planted.shift.train_rows, 8, seed=0)
    assert made.about["fit"] == "not converged after 1 steps"
    assert made.unsupervised["explained_variance"] is None  # eight of all dimensions: nobody measured it


def test_to_ablate_a_direction_is_to_project_it_out_around_the_center(planted):
    x, rng = planted.residuals.residuals.astype(float), np.random.default_rng(0)
    line, center = rng.normal(size=x.shape[1]), x.mean(0)
    own = rivals.direction_recording(planted.residuals, MEANS, line[None], center)
    ablated = x - own.latents.toarray() @ own.decoder
    np.testing.assert_allclose((ablated - center) @ line, 0, atol=1e-3)


def test_every_rival_is_scored_at_every_n_and_the_labels_directions_are_the_same_at_each(found):
    assert set(found) == {PCA_GENERAL, ICA, ICA_GENERAL, MEANS, PROBE}
    for name in (MEANS, PROBE):
        curve = found[name].variants.zero
        assert curve.ns == NS and {s.score.value for s in curve.scores} == {curve.area.score.value}
        assert set(curve.n_ablated) == {1}
        assert curve.area.score.value > 0.5
    assert "components" in found[ICA].fit


def test_without_general_text_what_is_fitted_on_it_is_left_out(evaluation):
    assert {s.name for s in rival_scores(evaluation, NS)} == {ICA, MEANS, PROBE}


def test_the_number_of_components_is_chosen_on_dev(evaluation, monkeypatch):
    from saeeval_core.controls import rival_scores as module

    seen = []
    real = module.shift_of_recordings

    def spied(evaluation, recordings, ns, part=2):
        seen.append((recordings[0].n_latents, part))
        return real(evaluation, recordings, ns, part)

    monkeypatch.setattr(module, "COMPONENTS", (4, 8))
    monkeypatch.setattr(module, "shift_of_recordings", spied)
    (own,) = [s for s in module.rival_scores(evaluation, (1, 2)) if s.name == ICA]
    assert {n for n, part in seen if part == module.DEV} == {4, 8}
    assert own.latents.n_latents in (4, 8) and "chosen on dev" in own.fit


def test_the_labels_own_directions_are_no_bar(found):
    best = control(MEANS, Estimate(0.9, (0.8, 1.0)))
    assert warnings_of(Estimate(0.1), [best]) == []
    assert len(warnings_of(Estimate(0.1), [control(ICA, Estimate(0.9), "32 components")])) == 1


def test_the_words_name_what_is_beaten_what_beats_and_what_nobody_measured():
    """The paired difference decides, however the two intervals lie."""
    own = Estimate(0.5, (0.1, 0.9))
    gaps = {"pca": (0.4, 0.3, 0.5), ICA: (0.1, -0.1, 0.3), PROBE: (-0.4, -0.5, -0.3)}
    controls = [
        control(name, Estimate(0.5 - gap, (0.0, 1.0)), gap=Estimate(gap, (low, high)))
        for name, (gap, low, high) in gaps.items()
    ]
    controls += [control("residual basis", Estimate(None, None, "no gap")), control(MEANS, Estimate(0.9, (0.8, 1.0)))]
    assert rival_words(own, controls) == (
        "beats pca; beaten by probe direction; not separable from ica; not compared in pairs: difference in means; "
        "undefined: residual basis; not measured: pca (general text), ica (general text), trained null"
    )
    assert rival_words(Estimate(None, None, "no gap"), controls) == ""
    assert set(RIVALS) <= set(ABOUT)


@pytest.fixture
def prepared(evaluation, planted, monkeypatch, tmp_path) -> Prepared:
    monkeypatch.setenv("SAEEVAL_CACHE", str(tmp_path))
    monkeypatch.setattr(attach, "general_text", lambda *_, **__: None)
    monkeypatch.setattr("saeeval_core.controls.rival_scores.COMPONENTS", (20,))
    config = RunConfig(saes=("good",), ns=(1, 5), resamples=50, metrics=("shift",), texts="somewhere.csv", task="")
    return Prepared(config, evaluation, [replace(planted.latents, sae="good")])


def test_a_run_gets_its_rivals_once_and_only_when_asked(prepared, monkeypatch):
    plain = attach.with_controls(prepared, score(prepared))
    assert not {ICA, MEANS} & {p.control.name for p in plain.saes[0].controls} and not plain.rivals
    *others, gone = attach.rival_lines(plain.saes[0])
    assert all("not measured: pca (general text), ica," in line for line in others)
    assert gone.startswith("SHIFT, selective erasure, N = 5: ") and "not measured" not in gone
    assert not any("in pairs" in line for line in attach.rival_lines(plain.saes[0]))
    seen: list[str] = []
    made = attach.rivals_of(prepared, None, on_step=seen.append)
    assert len(seen) == count_steps(prepared, None) == len(set(seen))
    result = attach.with_rivals(prepared, plain)
    monkeypatch.setattr(attach, "rivals_of", None)  # stored: not scored again
    assert attach.with_rivals(prepared, plain) == result
    (area, paper, erasure) = attach.rival_lines(result.saes[0])
    assert "not measured: pca (general text), ica (general text), trained null" in area and "N = 5" in paper
    assert "selective erasure, N = 5" in erasure and "in pairs" not in area + paper + erasure
    assert from_json(to_json(result)) == result
    assert (
        {p.name for p in made.paths}
        == {p.name for p in result.rivals}
        == {"pca", "residual basis", ICA, *BOUNDS, PROBE}
    )
    assert {p.part for p in made.paths} == {"dev", "test"} and {p.part for p in result.rivals} == {"test"}


def test_e_has_its_own_controls_without_rivals_and_is_compared_with_them_in_pairs(prepared, planted):
    plain = score(prepared)
    (good,) = attach.with_controls(prepared, plain).saes
    mine = plain.saes[0].shift.erasure[5]["test"].selective_erasure.value
    found = {p.control.name: p.control for p in good.controls if p.variant == ERASURE}
    assert list(found) == list(OWN)
    low, high = found[RANDOM].score.ci
    assert low <= found[RANDOM].score.value <= high < mine and found[RANDOM].difference is None
    for name in OWN[1:]:
        assert abs(found[name].score.value) < mine / 2
        assert found[name].difference.value == pytest.approx(mine - found[name].score.value)
    assert "E" not in " ".join(good.warnings)
    assert attach.rival_lines(good)[-1].endswith(f": beats {', '.join(OWN)}")
    again = own_controls(prepared, prepared.saes[0], keep=False)
    assert [p for p in again.placed] == [
        replace(p, control=replace(p.control, difference=None)) for p in good.controls if p.variant == ERASURE
    ]
    assert set(again.samples[OWN[1]]) == {
        ("shift", "mean ablation, small-N area", None),
        ("shift", "top-N", 5),
        ("shift", ERASURE, 5),
    }


def test_a_score_within_the_range_of_random_latents_is_not_separable_from_them():
    drawn = control(RANDOM, Estimate(0.1, (0.0, 0.2)))
    said = [rival_words(Estimate(v), [drawn]) for v in (0.3, 0.15, -0.1)]
    assert said == [f"beats {RANDOM}", f"not separable from {RANDOM}", f"beaten by {RANDOM}"]


def test_the_difference_is_that_of_the_same_resamples(prepared):
    result = attach.with_rivals(prepared, attach.with_controls(prepared, score(prepared)))
    (means,) = [p.control for p in result.saes[0].controls if (p.variant, p.control.name) == (ERASURE, MEANS)]
    mine = result.saes[0].shift.erasure[5]["test"].selective_erasure
    assert means.difference.value == pytest.approx(mine.value - means.score.value, abs=1e-9)
    path = next(p for p in result.rivals if p.name == MEANS and not p.pair)
    assert path.kind == "bound" and path.points[0].selective_erasure == means.score
    unknown = result.with_saes([replace(result.saes[0], selection="judge", controls=())])
    assert not [p for p in attach.with_controls(prepared, unknown).saes[0].controls if p.control.difference]


def test_leace_as_a_dictionary_of_one_latent_is_leace(evaluation):
    board = evaluation.directions[0].boards[TEST]
    own = leace_recording(evaluation.residuals, board)
    assert own.n_latents == 1
    as_latent = evaluation.shift_view(own, evaluation.directions[0], TEST).score([0])
    assert as_latent.score.value == pytest.approx(leace_score(evaluation.residuals, board).score.value, abs=1e-6)


def test_a_trained_null_in_a_run_is_a_control_of_the_others(evaluation, planted, monkeypatch, tmp_path):
    monkeypatch.setenv("SAEEVAL_CACHE", str(tmp_path))
    config = RunConfig(saes=("good", "null"), ns=(1, 5), resamples=50, metrics=("shift",))
    order = np.random.default_rng(1).permutation(planted.latents.n_latents)
    null = replace(planted.latents, sae="null", sae_fingerprint="null", decoder=planted.latents.decoder[order])
    null = replace(null, about={"frozen_decoder": True})
    prepared = Prepared(config, evaluation, [replace(planted.latents, sae="good"), null])
    plain = score(prepared)
    good, own = attach.with_controls(prepared, plain).saes
    (at_5,) = [p for p in good.controls if p.control.name == TRAINED_NULL and (p.variant, p.n) == ("top-N", 5)]
    assert at_5.control.score == plain.saes[1].shift.aggregate[5]["test"].score
    assert not [p for p in own.controls if p.control.name == TRAINED_NULL]
    assert all("beats" in line and "trained null" in line.split(";")[0] for line in attach.rival_lines(good))


def test_general_text_is_never_the_tasks_own(monkeypatch):
    monkeypatch.setattr(general, "find_residuals", lambda *_, **__: pytest.fail("looked"))
    assert general.general_text(RunConfig(task="news"), "blocks.0.hook_resid_post") is None
