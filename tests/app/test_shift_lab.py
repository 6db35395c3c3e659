"""SHIFT lab: what the component is given, what presses do to the store, empty and error states."""

import numpy as np
import pytest

from app import decisions, services, state
from app.views import shift_lab
from app.widgets.score_card import Look, score_json, shares_json
from saeeval_core.config import RunConfig
from saeeval_core.contributions import score_set, share
from saeeval_core.texts import DEV


@pytest.fixture
def loaded(planted_app):
    """The planted bundle, as views get it."""
    return services.load_or_raise(RunConfig())


@pytest.fixture
def view(loaded):
    d = services.shift_directions(loaded)[0]
    return services.shift_view(loaded, d.pair, d.task.target.column, DEV)


def press(seq, kind="decide", **more):
    return {"seq": seq, "kind": kind, **more}


def test_full_view_draws_without_error(planted_app):
    test = planted_app("shift_lab")
    assert not test.exception and not test.error
    assert test.session_state["ran"]
    assert test.selectbox(key="w_pair").value == "professor/teacher x female/male"


def test_link_restores_pair_direction_ranking_and_n(planted_app):
    test = planted_app("shift_lab", pair="surgeon/nurse x female/male", target="gender", rank="base", n="5", latent="33")
    assert not test.exception and not test.error
    assert test.selectbox(key="w_pair").value == "surgeon/nurse x female/male"
    assert test.selectbox(key="w_rank").value == "base" and test.selectbox(key="w_n").value == 5
    assert test.query_params["latent"] == ["33"] or test.query_params["latent"] == "33"


def test_nonsense_in_a_link_falls_back(planted_app):
    test = planted_app("shift_lab", pair="x", target="<b>", rank="?", n="-3", latent="99999", set="77", ablation="what")
    assert not test.exception


def test_aggregate_over_pairs(planted_app):
    test = planted_app("shift_lab", pair="all")
    assert not test.exception and len(test.dataframe[0].value) == 4


def test_task_without_pairs_says_so(planted_app, monkeypatch):
    monkeypatch.setattr(services, "shift_directions", lambda loaded: ())
    test = planted_app("shift_lab")
    assert not test.exception and "no SHIFT pair" in test.info[0].value


def test_a_store_that_cannot_be_written_is_one_box(planted_app, tmp_path, monkeypatch):
    bad = tmp_path / "store.sqlite"
    bad.write_bytes(b"this is not a database" * 100)
    test = planted_app("shift_lab")
    assert not test.exception
    assert "store.sqlite" in test.error[0].value.replace("\\", "")


def test_presses_are_saved_once_and_in_order(loaded):
    store, place = services.store(), decisions.shift_place(loaded, services.shift_directions(loaded)[0])
    log = [press(2, latents=[17], decision="keep"), press(1, latents=[5], decision="ablate", reason="pronouns")]
    done, commit = decisions.apply(store, place, "Ada", "mine", log, 0)
    assert (done, commit) == (2, False)
    done, _ = decisions.apply(store, place, "Ada", "mine", [*log, press(3, latents=[33], decision="ablate")], done)
    mine = decisions.find_set(store, place, "Ada")
    assert store.decisions(mine.id) == {5: "ablate", 17: "keep", 33: "ablate"}
    assert [(d.latent, d.reason) for d in store.history(mine.id)] == [(5, "pronouns"), (17, ""), (33, "")]
    decisions.apply(store, place, "Ada", "mine", [press(4, "undo")], done)
    assert store.ablated(mine.id) == [5]


def test_sets_of_others_and_other_directions_stay_apart(loaded):
    store, both = services.store(), services.shift_directions(loaded)
    a, b = (decisions.shift_place(loaded, d) for d in both[:2])
    decisions.apply(store, a, "Ada", "mine", [press(1, latents=[5], decision="ablate")], 0)
    assert decisions.find_set(store, a, "Bob") is None and decisions.find_set(store, b, "Ada") is None


def test_reset_is_one_undoable_step(loaded):
    store, place = services.store(), decisions.shift_place(loaded, services.shift_directions(loaded)[0])
    mine = decisions.open_set(store, place, "Ada")
    store.decide(mine.id, "Ada", {1: "ablate", 2: "keep"})
    decisions.reset(store, mine.id, "Ada", np.array([2, 3]), "reset")
    assert store.decisions(mine.id) == {2: "ablate", 3: "ablate"}
    store.undo(mine.id, "Ada")
    assert store.decisions(mine.id) == {1: "ablate", 2: "keep"}


def test_score_card_agrees_with_the_engine(view):
    ids = (5, 17)
    card = score_json(view, Look(ids, (5,), "mine", 2, n=5, carry=True), [])
    expected = view.score(list(ids))
    assert card["score"] == expected.score.to_dict() and card["accuracy"] == expected.accuracy.to_dict()
    assert card["delta"]["value"] == pytest.approx(expected.score.value - view.score([5]).score.value)
    assert [p["n"] for p in card["curve"]["points"]] == [0, 1, 2, 3, 5, 10, 20, 50, 100]
    assert {c["latent"] for c in card["carry"]} == {5, 17} and score_json(view, Look(ids, None, "mine", 2), [])["carry"] is None
    assert card["sets"][0]["mine"] and card["sets"][-1]["name"].startswith("random")


def test_leave_one_out_and_solo_by_hand(view):
    whole = view.score([5, 17])
    s = share(view, (5, 17), 17, whole=whole)
    assert s.inside and s.change.value == pytest.approx(whole.score.value - view.score([5]).score.value)
    assert s.solo.value == view.score([17]).score.value
    out = shares_json(view, (5,), 17, "zero")
    assert not out["inside"] and out["change"]["value"] == pytest.approx(s.change.value)
    assert score_set(view, (5,), "mean").score == view.score_mean_ablated([5]).score


def test_a_commit_stores_the_test_score_and_the_looks(loaded):
    store, direction = services.store(), services.shift_directions(loaded)[0]
    place = decisions.shift_place(loaded, direction)
    decisions.apply(store, place, "Ada", "mine", [press(1, latents=[5], decision="ablate")], 0)
    mine = decisions.find_set(store, place, "Ada")
    store.note_look(mine.id, "Ada", [5])
    shift_lab._commit(loaded, place, "Ada", "mine", "zero")
    kept = store.commits(mine.id)[0]
    test = services.shift_view(loaded, direction.pair, direction.task.target.column, 2).score([5])
    assert kept.ids == (5,) and kept.dev_looks == 1
    assert kept.test["part"] == "test" and kept.test["score"]["value"] == pytest.approx(test.score.value)


def test_url_never_carries_a_name():
    assert "who" not in state.DEFAULTS


def test_peak_tokens_are_those_at_the_strongest_place_of_each_context():
    from types import SimpleNamespace

    from saeeval_core.contributions import peak_tokens
    from saeeval_core.recording import ContextRef

    text = "she sat down"
    residuals = SimpleNamespace(token_spans=lambda _: [(0, 3), (3, 7), (7, 12)])
    refs = [ContextRef(0, 0, np.array([0.5, 3.0, 0.1]), "top"), ContextRef(0, 2, np.array([2.0, 0, 0]), "top")]
    assert peak_tokens([text], residuals, refs) == ("sat", "down")
