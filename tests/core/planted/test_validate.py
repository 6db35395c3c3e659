"""Planted truth: known SAEs are as good as they should be, identities hold, and the summary says what the points say."""

import json

import numpy as np
import pytest

from saeeval_core.config import PROTOCOLS
from saeeval_core.planted import validate
from saeeval_core.planted import world as planted
from saeeval_core.planted import world_faults as planted_faults
from saeeval_core.planted.damaged import damaged_saes, shuffled_controls
from saeeval_core.planted.faults import Setting
from saeeval_core.planted.settings import WorldConfig
from saeeval_core.planted.world import build_world
from saeeval_core.planted.world_faults import planted_fault_table
from saeeval_core.scores.auc import weighted_auc
from saeeval_core.scores.tpp import fit_tpp_probes, tpp_board, tpp_latents
from saeeval_core.scores.tpp_switches import TppSwitches, one_to_one, switched_tpp
from saeeval_core.texts.parts import TRAIN

TINY = WorldConfig(
    "tiny",
    3,
    n_features=48,
    d_model=24,
    correlation=0.0,
    concept_size=2,
    pairs=1,
    classes=3,
    per_quadrant=120,
    per_class=80,
)


@pytest.fixture(scope="module", autouse=True)
def few_tokens(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            planted, "_TOKENS", {part: n for part, n in zip(planted._TOKENS, (9000, 3000, 3000), strict=True)}
        )
        patch.setenv("SAEEVAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def world():
    return build_world(TINY)


@pytest.fixture(scope="module")
def known(world):
    return {s.name: s for s in damaged_saes(world)}


def test_texts_are_bags_of_8_to_120_samples_and_parts_share_none(world):
    assert world.residuals.n_valid.min() >= 8 and world.residuals.n_valid.max() <= 120
    by_part = {}
    for task in (*world.shift_tasks, world.tpp_task):
        for row, part in zip(task.rows, task.part, strict=True):
            a, b = world.pooling.indptr[row], world.pooling.indptr[row + 1]
            by_part.setdefault(int(part), set()).update(world.pooling.indices[a:b].tolist())
    assert not by_part[0] & by_part[1] and not by_part[0] & by_part[2] and not by_part[1] & by_part[2]


def test_labels_mean_what_the_concepts_do(world):
    task = world.shift_tasks[0]
    there = (world.features != 0).astype(float)
    for concept, label in ((0, task.target_label), (1, task.spurious_label)):
        share = np.asarray((world.pooling @ there[:, world.concepts[concept]]).sum(axis=1)).ravel()[task.rows]
        assert share[label].mean() > 2 * share[~label].mean()


def test_the_same_world_again_and_other_texts_of_it(world):
    again, other = build_world(TINY), build_world(TINY, text_seed=1)
    np.testing.assert_array_equal(again.residuals.residuals, world.residuals.residuals)
    np.testing.assert_array_equal(other.tokens, world.tokens)
    assert not np.array_equal(other.residuals.residuals, world.residuals.residuals)


def test_the_oracle_rebuilds_the_residuals(world, known):
    recording, truth = known["oracle"].record(world)
    bias = world.model.feature_dict.bias.detach().numpy() * TINY.gain
    rebuilt = recording.latents.toarray() @ recording.decoder + bias
    np.testing.assert_allclose(rebuilt, world.residuals.residuals, atol=1e-3)
    assert truth["truth_mcc"] == pytest.approx(1, abs=1e-4) and truth["truth_f1"] == 1


def test_split_and_absorbed_features_still_add_up(world, known):
    whole = known["oracle"].encode()[0] @ known["oracle"].decoder
    codes, _ = known["split"].encode()
    np.testing.assert_allclose(codes @ known["split"].decoder, whole, atol=1e-3)
    codes, _ = known["absorbed"].encode()
    # A partner carries the mean of what it absorbed, so totals agree on average.
    assert np.abs((codes @ known["absorbed"].decoder - whole).mean()) < 0.05


def test_damage_is_damage(world, known):
    truth = {name: sae.record(world)[1] for name, sae in known.items()}
    assert truth["merged"]["truth_mcc"] < 0.85 and truth["split"]["truth_f1"] < 0.7
    assert all(truth[n]["truth"] < 1 for n in ("merged", "split", "absorbed"))
    permuted = next(c for c in shuffled_controls(known["oracle"], 0) if c.role == "permuted")
    assert permuted.record(world)[1]["truth_f1"] == 1  # its codes are right; its rows are not
    assert sorted(map(tuple, permuted.decoder.tolist())) == sorted(map(tuple, known["oracle"].decoder.tolist()))


def test_all_switches_off_is_the_robust_score(world, known):
    recording, _ = known["oracle"].record(world)
    probes = fit_tpp_probes(world.residuals, world.tpp_task, PROTOCOLS["robust"], seed=0)
    board = tpp_board(world.residuals, world.tpp_task, probes, part=2, seed=0, resamples=20)
    view = tpp_latents(recording, board)
    ns = (1, 2, 5)
    own = switched_tpp(world.residuals, recording, world.tpp_task, probes, TppSwitches(), ns, seed=0)
    np.testing.assert_allclose(own, [view.at(n).score.value for n in ns], atol=1e-9)
    mean = switched_tpp(world.residuals, recording, world.tpp_task, probes, TppSwitches(mean_ablation=True), ns, seed=0)
    sets = [[r[:n] for r in view.rankings] for n in ns]
    np.testing.assert_allclose(mean, [view.mean_ablated.score(s).score.value for s in sets], atol=1e-9)


def test_auc_by_hand_and_drawn_negatives():
    z, positive = np.array([0.0, 1.0, 1.0, 2.0]), np.array([False, True, False, True])
    assert weighted_auc(z, positive, np.full((1, 4), 0.25))[0] == pytest.approx((0.5 + 1 + 1 + 1) / 4)
    label = np.repeat([0, 1, 2, 3], 30)
    drawn = one_to_one(label, 1, np.random.default_rng(0))
    assert np.bincount(label[drawn]).tolist() == [10, 30, 10, 10]


@pytest.mark.slow
def test_a_run_over_a_tiny_world_writes_what_the_contract_says(tmp_path, monkeypatch):
    out = tmp_path / "planted.json"
    settings = {"protocols": ("robust", "saebench"), "groups": {"held out": (TINY,)}, "steps": 20}
    result = validate.validate(out, **settings)
    written = json.loads(out.read_text())
    for metric in ("shift", "tpp"):
        for protocol in ("robust", "saebench"):
            assert set(written[metric][protocol]) >= {
                "spearman",
                "spearman_ci",
                "n_saes",
                "oracle_rank",
                "random_score",
                "permuted_score",
                "trend_with_training",
                "headline",
            }
            assert written[metric][protocol]["n_saes"] == 24 and written[metric][protocol]["n_worlds"] == 1
        rows = {(r["variant"], r["n"]): r for r in written[metric]["robust"]["by_variant"]}
        for name in ("selective erasure", "spurious lost"):
            assert rows[name, 20]["n_saes"] == 24 and rows[f"{name}, small-N area", None]["spearman"] is not None
        assert "selective erasure" not in {r["variant"] for r in written[metric]["saebench"]["by_variant"]}
    assert {p["role"] for p in written["points"]} == {
        "oracle",
        "merged",
        "split",
        "absorbed",
        "trained",
        "untrained",
        "random",
        "permuted",
    }
    assert any("SAEBench's settings" in line for line in written["verdict"])
    # A finished world is not computed again.
    monkeypatch.setattr(validate, "build_world", lambda *_a, **_k: pytest.fail("built again"))
    assert validate.validate(**settings)["shift"] == result["shift"]


def test_two_sided_worlds_give_every_label_a_concept_of_its_own(world):
    from dataclasses import replace

    both = build_world(replace(TINY, name="two-sided", two_sided=True))
    assert len(both.concepts) == 4 + 3 and len(world.concepts) == 2 + 3
    task, there = both.shift_tasks[0], (both.features != 0).astype(float)
    opposite = np.asarray((both.pooling @ there[:, both.concepts[1]]).sum(axis=1)).ravel()[task.rows]
    assert opposite[~task.target_label].mean() > 2 * opposite[task.target_label].mean()


def point(world: str, run: str, truth: float, score: float, role: str = "trained", tokens: int = 100) -> dict:
    curve = {"top-N": [score] * len(validate.NS)}
    return {
        "world": world,
        "sae": f"{run}{tokens}",
        "role": role,
        "run": run,
        "training_tokens": tokens,
        "truth": truth,
        "truth_mcc": truth,
        "truth_f1": truth,
        "shift": {"robust": curve},
    }


def test_figures_by_hand():
    points = [point("w", "a", 0.1, 0.2, tokens=1), point("w", "a", 0.2, 0.3, tokens=9)]
    points += [point("w", "b", 0.3, 0.1), point("w", "b", 0.4, 0.9)]
    points += [point("w", "", 1, 0.5, "oracle"), point("w", "", 0, 0.0, "random"), point("w", "", 0, -0.1, "permuted")]
    row = validate.figures(points, "shift", "robust", "top-N", 10)
    assert row["spearman"] == pytest.approx(0.4) and row["n_saes"] == 4 and row["oracle_rank"] == 2
    assert row["random_score"] == 0 and row["permuted_score"] == -0.1 and row["oracle_first"] == 0
    area = validate.figures(points, "shift", "robust", "top-N, small-N area", None)
    assert area["oracle_score"] == pytest.approx(0.5)


def test_training_texts_never_reach_the_scored_parts(world):
    task = world.shift_tasks[0]
    assert set(task.rows[task.part == TRAIN]).isdisjoint(task.rows[task.part != TRAIN])


@pytest.mark.slow
def test_the_fault_table_of_planted_worlds_ranks_saes_and_knows_the_spread_over_texts(monkeypatch):
    settings = [Setting("baseline"), Setting("redrawn", redrawn_negatives=True, metrics=("tpp",))]
    table = planted_fault_table({"development": [TINY]}, settings, steps=30, redraws=2)
    rows = {(r["setting"], r["metric"]): r for r in table["rows"]}
    assert set(rows) == {("baseline", "shift"), ("baseline", "tpp"), ("redrawn", "tpp")}
    assert rows["baseline", "tpp"]["sd_texts_redrawn"] > 0 and rows["baseline", "tpp"]["oracle_rank"] >= 1
    assert -1 <= rows["baseline", "tpp"]["spearman"] <= 1 and rows["baseline", "tpp"]["random_score"] is not None
    monkeypatch.setattr(planted_faults, "build_world", lambda *_a, **_k: pytest.fail("built again"))
    assert planted_fault_table({"development": [TINY]}, settings, steps=30, redraws=2) == table
