"""A stored set is found by name and committed where it was made, on test, as the dashboard would."""

import numpy as np
import pytest

from saeeval_core.config import RunConfig
from saeeval_core.errors import DataError
from saeeval_core.evaluation.prepare import prepare
from saeeval_core.ledger.commit_set import commit_set, named_set
from saeeval_core.ledger.commits import read_shift, read_tpp
from saeeval_core.ledger.places import new_set, open_set, shift_place, tpp_place
from saeeval_core.ledger.store import Store
from saeeval_core.texts.parts import TEST


@pytest.fixture
def prepared(cache, monkeypatch, tiny_model_dir, tiny_sae_dirs, tiny_texts_file):
    monkeypatch.setattr("saeeval_core.scores.probes.C_GRID", np.array([0.01, 1.0]))
    config = RunConfig(
        model=str(tiny_model_dir),
        saes=(str(tiny_sae_dirs["topk"]),),
        task="",
        texts=str(tiny_texts_file),
        target="profession=nurse,surgeon",
        spurious="gender=female,male",
        classes="meal=tea,soup",
        device="cpu",
    )
    return prepare(config)


@pytest.fixture
def store() -> Store:
    return Store()


def place_of(prepared, which: int):
    direction = prepared.evaluation.directions[which]
    texts = prepared.task_set.texts.name
    return direction, shift_place(texts, direction.pair, direction.task.direction, prepared.saes[0])


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_a_shift_set_is_committed_in_its_own_direction(prepared, store, which, ablation):
    direction, place = place_of(prepared, which)
    made = new_set(store, place, "Ada", "pronouns", {0: "ablate", 3: "ablate", 5: "keep"})
    frozen = commit_set(store, prepared.evaluation, prepared.saes[0], made, "Ada", ablation=ablation, n=20)
    view = prepared.evaluation.shift_view(prepared.saes[0], direction, TEST).under(ablation)
    assert frozen.score == view.score([0, 3]).score
    fresh = prepared.evaluation.shift_erasure(prepared.saes[0], direction, TEST)
    assert frozen.erasure.selective_erasure == fresh.score([0, 3]).score
    (kept,) = store.commits(made.id)
    assert (kept.who, kept.ids) == ("Ada", (0, 3)) and read_shift(kept) == frozen
    assert (frozen.settings.part, frozen.settings.ablation, frozen.settings.protocol) == ("test", ablation, "robust")


def test_the_classes_of_a_tpp_set_are_committed_together(prepared, store):
    texts, latents = prepared.task_set.texts.name, prepared.saes[0]
    tea, soup = (tpp_place(texts, name, latents) for name in prepared.evaluation.tpp_task.classes)
    first = new_set(store, tea, "Ada", "mine", {7: "ablate"})
    frozen = commit_set(store, prepared.evaluation, latents, first, "Ada", ablation="zero", n=2)
    view = prepared.evaluation.tpp_view(latents, TEST)
    top = [[int(i) for i in ranking[:2]] for ranking in view.rankings]
    expected = [sorted({*top[0], 7}), sorted(top[1])]
    second = open_set(store, soup, "Ada")
    assert [list(store.commits(s.id)[0].ids) for s in (first, second)] == expected
    assert read_tpp(store.commits(first.id)[0]).batch == frozen.batch
    assert frozen.score == view.score(expected).score


def test_a_set_is_found_by_number_then_among_ones_own_then_by_its_name(prepared, store):
    _, place = place_of(prepared, 0)
    first = new_set(store, place, "Ada", "pronouns")
    bobs = new_set(store, place, "Bob", "pronouns")
    numbered = new_set(store, place, "Bob", str(first.id))
    assert named_set(store, str(first.id), "Bob").id == first.id != numbered.id
    assert named_set(store, "pronouns", "Ada").id == first.id
    assert named_set(store, "pronouns", "Bob").id == bobs.id
    with pytest.raises(DataError, match=rf"several.*{first.id}: SHIFT.*Ada; {bobs.id}: SHIFT.*Bob.*give the number"):
        named_set(store, "pronouns", "Eve")
    with pytest.raises(DataError, match=r"'prononus'.*pronouns \(Ada\)"):
        named_set(store, "prononus", "Ada")


def test_first_sets_of_several_places_are_not_mixed_up(prepared, store):
    latents, texts = prepared.saes[0], prepared.task_set.texts.name
    tea, soup = (new_set(store, tpp_place(texts, c, latents), "Ada", "mine") for c in ("tea", "soup"))
    assert named_set(store, "mine", "Ada").id == soup.id != tea.id  # the classes of TPP belong together
    new_set(store, place_of(prepared, 0)[1], "Ada", "mine")
    with pytest.raises(DataError, match="several decision sets are called 'mine'"):
        named_set(store, "mine", "Ada")


def test_an_empty_tpp_set_leaves_no_sets_behind(prepared, store):
    latents, texts = prepared.saes[0], prepared.task_set.texts.name
    made = new_set(store, tpp_place(texts, "tea", latents), "Ada", "mine")
    with pytest.raises(DataError, match="nothing is ablated"):
        commit_set(store, prepared.evaluation, latents, made, "Ada", ablation="zero", n=0)
    assert [s.id for s in store.list_sets()] == [made.id]


def test_a_set_made_elsewhere_is_not_scored_here(prepared, store):
    _, place = place_of(prepared, 0)
    elsewhere = type(place)("shift", "other: pair", place.direction, place.sae_fingerprint, "r")
    made = new_set(store, elsewhere, "Ada", "pronouns", {1: "ablate"})
    with pytest.raises(DataError, match="'pronouns' was made on 'other: pair'"):
        commit_set(store, prepared.evaluation, prepared.saes[0], made, "Ada", ablation="zero", n=20)
    assert not store.commits(made.id)


def test_a_set_is_committed_by_its_owner_only_and_without_latents_that_the_sae_lacks(prepared, store):
    texts, latents = prepared.task_set.texts.name, prepared.saes[0]
    direction, place = place_of(prepared, 0)
    wide = {1: "ablate", latents.n_latents: "ablate"}
    shift = new_set(store, place, "Ada", "pronouns", wide)
    tpp = new_set(store, tpp_place(texts, "tea", latents), "Ada", "drinks", wide)
    for made in (shift, tpp):
        with pytest.raises(DataError, match="belongs to Ada"):
            commit_set(store, prepared.evaluation, latents, made, "Bob", ablation="zero", n=2)
    assert store.commits() == [] and len(store.list_sets()) == 2
    commit_set(store, prepared.evaluation, latents, shift, "Ada", ablation="zero", n=2)
    assert store.commits(shift.id)[0].ids == (1,)
