"""A set followed through later layers: at the probe's own hook the forward pass agrees with the exact route."""

import json

import numpy as np
import pytest
import torch
from toys import HOOK, save_tiny_sae

from saeeval_core.config import RunConfig
from saeeval_core.errors import Cancelled, ConfigError
from saeeval_core.evaluation.prepare import prepare
from saeeval_core.holding import ablated_pass, hooks, kept
from saeeval_core.holding.asked import AskedClasses, AskedSet
from saeeval_core.holding.attribute import backward_effects, later_effects
from saeeval_core.holding.damage import damage_of
from saeeval_core.holding.follow import hold
from saeeval_core.holding.follow_classes import hold_classes
from saeeval_core.holding.held import Held, HeldClasses
from saeeval_core.models.batches import padded_batches
from saeeval_core.recordings.recorder import place_of
from saeeval_core.saes.loaded import load_sae
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.parts import DEV, TEST

LATER = "blocks.1.hook_resid_post"
GENERAL = LabelledTexts("general", ("river stone water friend", "the old town by the market"), {}, source="toys")


@pytest.fixture(scope="module")
def sae_dirs(tiny_sae_dirs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("more")
    more = {
        "transcoder": save_tiny_sae(
            folder / "transcoder",
            "transcoder",
            hook="blocks.0.mlp.hook_in",
            metadata={"hook_name_out": "blocks.0.hook_mlp_out"},
        ),
        "temporal": save_tiny_sae(folder / "temporal", "temporal"),
    }
    return {**tiny_sae_dirs, **more}


@pytest.fixture(scope="module")
def prepared_for(tiny_model_dir, tiny_texts_file, sae_dirs, tmp_path_factory):
    made = {}

    def make(kind: str):
        if kind not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("SAEEVAL_CACHE", str(tmp_path_factory.mktemp("cache")))
                patch.setattr("saeeval_core.scores.probes.C_GRID", np.array([1.0]))
                config = RunConfig(
                    model=str(tiny_model_dir),
                    saes=(str(sae_dirs[kind]),),
                    task="",
                    texts=str(tiny_texts_file),
                    resamples=50,
                    device="cpu",
                    target="profession=nurse,surgeon",
                    spurious="gender=female,male",
                    classes="meal=tea,soup,bread",
                )
                made[kind] = prepare(config)
                _ = made[kind].evaluation.directions
        return made[kind]

    return make


def asked_of(prepared, n: int = 4, *, ablation: str = "mean", part: int = TEST, direction: int = 0) -> AskedSet:
    d = prepared.evaluation.directions[direction]
    view = prepared.evaluation.shift_view(prepared.saes[0], d, part)
    return AskedSet(d, tuple(int(i) for i in view.attribute_ranking[:n]), ablation, part)


@pytest.mark.parametrize("kind", ["topk", "jumprelu", "gated", "abstopk", "temporal", "transcoder"])
@pytest.mark.parametrize("ablation", ["mean", "zero"])
def test_pooled_activations_of_the_ablated_pass_are_those_of_the_exact_route(
    prepared_for, sae_dirs, tiny_model, kind, ablation
):
    prepared = prepared_for(kind)
    asked, probe = asked_of(prepared, ablation=ablation), prepared.residuals.key.hook
    view = prepared.evaluation.shift_view(prepared.saes[0], asked.direction, TEST).under(ablation)
    sae = load_sae(str(sae_dirs[kind]))
    edit = ablated_pass.SetEdit(place_of(tiny_model, sae), asked.ids, view.set_to[list(asked.ids)])
    texts = [prepared.task_set.texts.texts[i] for i in view.board.rows]
    found = ablated_pass.pooled_activations(tiny_model, texts, [probe], edit)[probe]
    clean = prepared.residuals.residuals[view.board.rows]
    logits = view.board.probes.base.logits(found)
    np.testing.assert_allclose(logits, view.board.base_logits - view.removed(asked.ids), atol=2e-3)
    assert np.abs(found - clean).max() > 0.01


@pytest.mark.parametrize("ablation", ["mean", "zero"])
def test_at_the_probes_own_hook_the_score_is_the_exact_one(prepared_for, sae_dirs, tiny_model, ablation):
    prepared = prepared_for("topk")
    asked, sae = asked_of(prepared, ablation=ablation), load_sae(str(sae_dirs["topk"]))
    held = hold(tiny_model, sae, prepared.evaluation, prepared.saes[0], asked, [HOOK, LATER], general=GENERAL)
    own, later = held.hooks
    assert own.score == held.exact
    assert later.hook == LATER and later.base != own.base and later.recoverability != own.recoverability
    assert held.damage.tokens == 3 + 5 and held.damage.kl > 0  # the first token of each text is not predicted
    assert Held.of_json(json.loads(json.dumps(held.to_json()))) == held


@pytest.mark.parametrize("kind", ["topk", "standard", "transcoder"])
@pytest.mark.parametrize("direction", [0, 1])
def test_at_the_probes_own_hook_fresh_probes_read_what_the_exact_route_says(
    prepared_for, sae_dirs, tiny_model, kind, direction
):
    prepared, sae = prepared_for(kind), load_sae(str(sae_dirs[kind]))
    evaluation, latents, probe = prepared.evaluation, prepared.saes[0], prepared.residuals.key.hook
    asked = asked_of(prepared, 6, direction=direction, part=DEV)
    exact = evaluation.shift_erasure(latents, asked.direction, DEV).score(asked.ids)
    (own,) = hold(tiny_model, sae, evaluation, latents, asked, [probe]).hooks
    assert same(own.recoverability, exact.recoverability)
    assert same(own.recoverability_target, exact.recoverability_target)
    assert same(own.selective_erasure, exact.score)


def same(a, b) -> bool:
    """Equal but for rounding."""
    return a.reason == b.reason and (a.value, *(a.ci or ())) == pytest.approx((b.value, *(b.ci or ())), abs=1e-6)


def test_sets_of_classes_agree_with_the_exact_matrices_at_the_probes_own_hook(prepared_for, sae_dirs, tiny_model):
    prepared, sae = prepared_for("topk"), load_sae(str(sae_dirs["topk"]))
    evaluation, latents = prepared.evaluation, prepared.saes[0]
    sets = (*(tuple(int(i) for i in r[:3]) for r in evaluation.tpp_view(latents, TEST).rankings[:2]), ())
    asked = AskedClasses(sets, (0, 1, 2), "mean")
    held = hold_classes(tiny_model, sae, evaluation, latents, asked, [HOOK, LATER], general=GENERAL)
    own, later = held.hooks
    exact = asked.view(evaluation, latents).score(sets)
    fresh = evaluation.tpp_erasure(latents, TEST).score(sets)
    assert same(own.score, exact.score) and held.exact == exact.score and same(own.fresh_score, fresh.score)
    for i, at in enumerate(own.classes):
        assert same(at.own, exact.matrix[i][i])
        if at.recoverability.value is not None:
            assert at.recoverability.value == pytest.approx(1 - fresh.matrix[i][i].value, abs=1e-6)
    assert own.classes[2].own.value == 0 and held.n_ablated == {"tea": 3, "soup": 3, "bread": 0}
    assert later.hook == LATER and set(held.damage) == {"tea", "soup"}
    assert HeldClasses.of_json(json.loads(json.dumps(held.to_json()))) == held


def test_one_class_is_followed_alone_in_one_ablated_pass(prepared_for, sae_dirs, tiny_model):
    prepared, sae = prepared_for("topk"), load_sae(str(sae_dirs["topk"]))
    sets = tuple(tuple(int(i) for i in r[:3]) for r in prepared.evaluation.tpp_view(prepared.saes[0], DEV).rankings)
    seen = []
    held = hold_classes(
        tiny_model,
        sae,
        prepared.evaluation,
        prepared.saes[0],
        AskedClasses(sets, (1,), "zero", DEV),
        [HOOK],
        on_progress=seen.append,
    )
    (own,) = held.hooks
    assert [c.name for c in own.classes] == ["soup"] and "needs every class" in own.score.reason
    assert seen[-1].done == seen[-1].total
    others = [e.value for j, e in enumerate(prepared.evaluation.tpp_view(prepared.saes[0], DEV).score(sets).matrix[1])]
    known = [v for j, v in enumerate(others) if j != 1 and v is not None]
    assert own.classes[0].others.value == pytest.approx(np.mean(known), abs=1e-6)


def test_both_directions_and_dev_are_followed(prepared_for, sae_dirs, tiny_model):
    prepared = prepared_for("standard")
    sae = load_sae(str(sae_dirs["standard"]))
    for direction in (0, 1):
        asked = asked_of(prepared, part=DEV, direction=direction)
        held = hold(tiny_model, sae, prepared.evaluation, prepared.saes[0], asked, [HOOK])
        assert held.part == "dev" and held.hooks[0].score == held.exact and held.damage is None


def test_the_first_position_and_padding_are_never_touched(prepared_for, sae_dirs, tiny_model):
    sae = load_sae(str(sae_dirs["topk"]))
    edit = ablated_pass.SetEdit(place_of(tiny_model, sae), (0, 1, 2), np.array([0.5, 0.5, 0.5]))
    ids = torch.tensor([[0, 5, 6, 7], [0, 8, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    before = tiny_model.activations(ids, mask, [HOOK])[HOOK]
    taken = edit.removed(before, mask)
    assert (taken[:, 0] == 0).all() and (taken[1, 2:] == 0).all() and (taken[0, 1:].abs().sum(-1) > 0).all()


def test_an_ablation_that_takes_nothing_costs_nothing(tiny_model, sae_dirs):
    sae = load_sae(str(sae_dirs["topk"]))
    edit = ablated_pass.SetEdit(place_of(tiny_model, sae), (), np.zeros(0))
    found = damage_of(tiny_model, edit, GENERAL.texts, "toys")
    assert found.loss_change == pytest.approx(0, abs=1e-6) and found.kl == pytest.approx(0, abs=1e-6)


def test_what_cannot_be_followed_is_refused_in_one_line(prepared_for, sae_dirs, tiny_model):
    prepared, sae = prepared_for("topk"), load_sae(str(sae_dirs["topk"]))
    asked = asked_of(prepared)
    with pytest.raises(ConfigError, match="does not come after"):
        ablated_pass.check_later(tiny_model, LATER, [HOOK])
    with pytest.raises(ConfigError, match="no latent"):
        hold(tiny_model, sae, prepared.evaluation, prepared.saes[0], AskedSet(asked.direction, (), "mean"), [HOOK])


def test_it_can_be_cancelled_and_is_stored_only_when_whole(prepared_for, sae_dirs, tiny_model, monkeypatch, tmp_path):
    monkeypatch.setenv("SAEEVAL_CACHE", str(tmp_path))
    prepared, sae = prepared_for("topk"), load_sae(str(sae_dirs["topk"]))
    asked = asked_of(prepared)
    seen = []

    def stop(progress):
        seen.append(progress)
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        hold(tiny_model, sae, prepared.evaluation, prepared.saes[0], asked, [HOOK], on_progress=stop)
    assert 0 < seen[0].done < seen[0].total
    config, args = prepared.config, (prepared.evaluation, prepared.saes[0])
    assert kept.kept_hold(*args, asked, [HOOK], None) is None
    held = kept.followed(config, *args, asked, [HOOK])
    assert kept.kept_hold(*args, asked, [HOOK], None) == held == kept.followed(config, *args, asked, [HOOK])
    assert kept.kept_hold(*args, asked_of(prepared, 3), [HOOK], None) is None
    classes = AskedClasses(((1, 2), (), ()), (0,), "mean")
    assert kept.followed(config, *args, classes, [HOOK]) == kept.kept_hold(*args, classes, [HOOK], None)


def test_later_hooks_end_at_the_last_layer(tiny_model_dir):
    assert hooks.some_hooks(2, HOOK) == [HOOK, LATER] == list(kept.default_hooks(str(tiny_model_dir), HOOK))
    assert hooks.some_hooks(2, LATER) == [LATER] and hooks.later_hooks(2, LATER) == []
    assert hooks.some_hooks(30, "blocks.15.hook_resid_post")[-1] == "blocks.29.hook_resid_post"


@pytest.mark.parametrize("kind", ["topk", "standard", "temporal", "transcoder"])
def test_attribution_by_a_backward_pass_is_the_exact_one_at_the_probes_own_hook(
    prepared_for, sae_dirs, tiny_model, kind
):
    prepared, sae = prepared_for(kind), load_sae(str(sae_dirs[kind]))
    for d in prepared.evaluation.directions:
        exact = prepared.evaluation.shift_view(prepared.saes[0], d, DEV).attribute_effect
        found = later_effects(tiny_model, sae, prepared.evaluation, d, prepared.residuals.key.hook)
        np.testing.assert_allclose(found, exact, atol=1e-3 * np.abs(exact).max())


def test_attribution_at_a_later_layer_is_what_a_small_ablation_does_to_the_probe(prepared_for, sae_dirs, tiny_model):
    prepared, sae = prepared_for("standard"), load_sae(str(sae_dirs["standard"]))
    place, texts = place_of(tiny_model, sae), prepared.task_set.texts.texts[:12]
    positive, weight = np.arange(12) % 3 == 0, np.random.default_rng(0).standard_normal(16)
    found = backward_effects(tiny_model, place, texts, positive, LATER, weight)
    ((order, ids, mask),) = padded_batches(tiny_model.tokenize(texts).ids)
    signed = np.where(positive, 1 / 4, -1 / 8)
    for latent in np.argsort(-np.abs(found))[:4]:
        edit = ablated_pass.SetEdit(place, (int(latent),), np.zeros(1))
        taken = edit.removed(tiny_model.activations(ids, mask, [HOOK])[HOOK], mask)
        z = []
        for step in (0.0, 0.02):
            x = tiny_model.activations(ids, mask, [LATER], change=(HOOK, lambda v, s=step, t=taken: v - s * t))[LATER]
            inside = mask[:, 1:, None]
            z.append(((x[:, 1:] * inside).sum(1) / inside.sum(1)).double().numpy() @ weight)
        assert signed[order] @ (z[0] - z[1]) / 0.02 == pytest.approx(found[latent], rel=0.1)
