"""SHIFT lab: what the component is given, what presses do to the store, empty and error states."""

import numpy as np
import pytest
from viewing import opened, verdict

from app import state
from app.deciding import desk as decisions
from app.deciding.desk import Desk
from app.deciding.judged import judge_sets
from app.payloads.score_card import Look, score_json, shares_json
from app.services import ledger, scoring
from app.views import shift_lab
from saeeval_core.config import RunConfig
from saeeval_core.errors import ArtifactError, DataError
from saeeval_core.scores.contributions import share
from saeeval_core.scores.selections import Rule
from saeeval_core.texts.parts import DEV

PAIR = "professor/teacher x female/male"


@pytest.fixture
def loaded(planted_app):
    """The planted bundle, as views get it."""
    return opened(RunConfig())


@pytest.fixture
def view(loaded):
    d = scoring.shift_directions(loaded)[0]
    return scoring.shift_view(loaded, d.pair, d.task.target.column, DEV)


def press(seq, kind="decide", **more):
    return {"seq": seq, "kind": kind, **more}


def apply(store, place, log, acks):
    """Ada's presses on her own set of one place."""
    desk = Desk(place, "Ada", "mine")
    commits = []
    decisions.apply(store, {desk.name: desk}, [p | {"desk": desk.name} for p in log], acks, "browser", commits.append)
    return commits


def test_full_view_draws_without_error(planted_app):
    test = planted_app("shift_lab")
    assert not test.exception and not test.error
    assert test.session_state["ran"]
    assert test.selectbox(key="w_pair").value == "professor/teacher x female/male"


def test_link_restores_pair_direction_ranking_and_n(planted_app):
    test = planted_app(
        "shift_lab", pair="surgeon/nurse x female/male", target="gender", rank="base", n="5", latent="33"
    )
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
    monkeypatch.setattr(scoring, "shift_directions", lambda loaded: ())
    test = planted_app("shift_lab")
    assert not test.exception and "no SHIFT pair" in test.info[0].value


def test_a_store_that_cannot_be_written_is_one_box(planted_app, tmp_path, monkeypatch):
    bad = tmp_path / "store.sqlite"
    bad.write_bytes(b"this is not a database" * 100)
    test = planted_app("shift_lab")
    assert not test.exception
    assert "store.sqlite" in test.error[0].value.replace("\\", "")


def test_presses_are_saved_once_and_in_order(loaded):
    store, place = ledger.store(), decisions.shift_place(loaded, scoring.shift_directions(loaded)[0])
    log = [press(2, latents=[17], decision="keep"), press(1, latents=[5], decision="ablate", reason="pronouns")]
    acks = {}
    assert apply(store, place, log, acks) == [] and acks == {"browser": 2}
    apply(store, place, [*log, press(3, latents=[33], decision="ablate")], acks)
    mine = decisions.find_set(store, place, "Ada")
    assert store.decisions(mine.id) == {5: "ablate", 17: "keep", 33: "ablate"}
    assert [(d.latent, d.reason) for d in store.history(mine.id)] == [(5, "pronouns"), (17, ""), (33, "")]
    apply(store, place, [press(4, "undo")], acks)
    assert store.ablated(mine.id) == [5] and acks == {"browser": 4}


def test_a_press_lands_where_it_was_made_whatever_is_on_screen(loaded):
    store, both = ledger.store(), scoring.shift_directions(loaded)
    a, b = (Desk(decisions.shift_place(loaded, d), "Ada", "mine") for d in both[:2])
    late = press(1, latents=[5], decision="ablate") | {"desk": a.name}
    decisions.apply(store, {a.name: a, b.name: b}, [late], {}, "browser", pytest.fail)
    assert store.ablated(decisions.find_set(store, a.place, "Ada").id) == [5]
    assert decisions.find_set(store, b.place, "Ada") is None
    acks = {}
    with pytest.raises(DataError, match="belongs to another page"):
        decisions.apply(store, {b.name: b}, [late], acks, "browser", pytest.fail)
    assert acks == {"browser": 1}  # told once, not for ever


def test_a_commit_is_done_in_its_turn_and_not_lost_to_a_failing_press(loaded):
    store, place = ledger.store(), decisions.shift_place(loaded, scoring.shift_directions(loaded)[0])
    desk, acks, seen = Desk(place, "Ada", "mine"), {}, []
    log = [press(1, latents=[5], decision="ablate"), press(2, "commit"), press(3, latents=[6], decision="ablate")]
    log = [p | {"desk": desk.name} for p in log[:2]] + [log[2] | {"desk": "elsewhere"}]

    def commit(at):
        seen.append(store.ablated(decisions.find_set(store, at.place, at.who).id))

    with pytest.raises(DataError):
        decisions.apply(store, {desk.name: desk}, log, acks, "browser", commit)
    decisions.apply(store, {desk.name: desk}, log, acks, "browser", commit)
    assert seen == [[5]] and acks == {"browser": 3}


def test_a_failing_press_does_not_repeat_those_before_it(loaded, monkeypatch):
    store, place = ledger.store(), decisions.shift_place(loaded, scoring.shift_directions(loaded)[0])
    acks = {}
    apply(store, place, [press(k, latents=[k], decision="ablate") for k in (1, 2, 3)], acks)
    log = [press(4, "undo"), press(5, latents=[9], decision="ablate")]
    with monkeypatch.context() as m:
        m.setattr(store, "decide", lambda *_: (_ for _ in ()).throw(ArtifactError("disk full")))
        with pytest.raises(ArtifactError):
            apply(store, place, log, acks)
    apply(store, place, log, acks)
    assert store.ablated(decisions.find_set(store, place, "Ada").id) == [1, 2, 9]


def test_sets_of_others_and_other_directions_stay_apart(loaded):
    store, both = ledger.store(), scoring.shift_directions(loaded)
    a, b = (decisions.shift_place(loaded, d) for d in both[:2])
    apply(store, a, [press(1, latents=[5], decision="ablate")], {})
    assert decisions.find_set(store, a, "Bob") is None and decisions.find_set(store, b, "Ada") is None


def test_reset_is_one_undoable_step(loaded):
    store, place = ledger.store(), decisions.shift_place(loaded, scoring.shift_directions(loaded)[0])
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
    assert {c["latent"] for c in card["carry"]} == {5, 17} and score_json(view, Look(ids, None, "mine", 2), [])[
        "carry"
    ] is None
    assert card["sets"][0]["mine"] and card["sets"][-1]["name"].startswith("random")


def test_leave_one_out_and_solo_by_hand(view):
    whole = view.score([5, 17])
    s = share(view, (5, 17), 17, whole=whole)
    assert s.inside and s.change.value == pytest.approx(whole.score.value - view.score([5]).score.value)
    assert s.solo.value == view.score([17]).score.value
    out = shares_json(view, (5,), 17, "zero")
    assert not out["inside"] and out["change"]["value"] == pytest.approx(s.change.value)
    assert scoring.set_score(view, (5,), "mean").score == view.under("mean").score([5]).score


def test_a_commit_stores_the_test_score_and_the_looks(loaded):
    store, direction = ledger.store(), scoring.shift_directions(loaded)[0]
    place = decisions.shift_place(loaded, direction)
    apply(store, place, [press(1, latents=[5], decision="ablate")], {})
    mine = decisions.find_set(store, place, "Ada")
    store.note_look(mine.id, "Ada", [5])
    shift_lab._commit(loaded, Desk(place, "Ada", "mine"), "zero")
    kept = store.commits(mine.id)[0]
    test = scoring.shift_view(loaded, direction.pair, direction.task.target.column, 2).score([5])
    assert kept.ids == (5,) and kept.dev_looks == 1
    assert kept.test["part"] == "test" and kept.test["score"]["value"] == pytest.approx(test.score.value)


def test_url_never_carries_a_name():
    assert "who" not in state.DEFAULTS


def test_peak_tokens_are_those_at_the_strongest_place_of_each_context():
    from types import SimpleNamespace

    from saeeval_core.recordings.recording import ContextRef
    from saeeval_core.scores.contributions import peak_tokens

    text = "she sat down"
    residuals = SimpleNamespace(token_spans=lambda _: [(0, 3), (3, 7), (7, 12)])
    refs = [ContextRef(0, 0, np.array([0.5, 3.0, 0.1]), "top"), ContextRef(0, 2, np.array([2.0, 0, 0]), "top")]
    assert peak_tokens([text], residuals, refs) == ("sat", "down")


def judged_gender(loaded):
    """Verdicts on the attribute probe's strongest latents: the gender ones 4 and 1, the biased probe's own about professions."""
    view = scoring.shift_view(loaded, PAIR, "profession", DEV)
    top = [int(i) for i in view.attribute_ranking[:5]]
    ratings = {i: {"gender": 4 if k < 2 else 1, "professor": 0, "teacher": 0} for k, i in enumerate(top)}
    ledger.store().add_verdicts([verdict(loaded, i, "judge", "llm", r) for i, r in ratings.items()])
    return view, top


def test_the_rule_changes_the_judges_set_and_both_judged_selections_are_compared(loaded):
    view, top = judged_gender(loaded)
    two, one = (judge_sets(loaded, view, 5, Rule(t)) for t in (2, 1))
    assert two[0].ids == tuple(top[:2]) and one[0].ids == tuple(top)
    assert two[0].name == "judge, judge: top 5 related to gender"
    assert two[1].name.startswith("task-unrelated, judge: biased probe's top 5 not related to profession")
    # ablated there: judged, and rated below 2 for both professions
    assert set(two[1].ids) == set(top) & {int(i) for i in view.base_ranking[:5]}
    assert judge_sets(loaded, view, 5, Rule(1, True))[0].ids == tuple(top)  # 1 is their highest rating


def test_nothing_passed_is_a_state_in_the_comparison(loaded):
    view, top = judged_gender(loaded)
    ledger.store().add_verdicts(
        [verdict(loaded, i, "strict", "llm", {"gender": 0, "professor": 0, "teacher": 0}) for i in top]
    )
    strict = next(s for s in judge_sets(loaded, view, 5, Rule()) if s.name.startswith("judge, strict"))
    assert strict.ids is None and strict.name.endswith("nothing passed")
    card = score_json(view, Look((5,), None, "mine", 1, n=5), [strict])
    row = next(r for r in card["sets"] if r["name"] == strict.name)
    assert row["n"] == "–" and row["score"]["value"] is None and row["score"]["reason"].startswith("nothing passed")


def test_use_the_judges_set_and_another_rule_change_the_score(loaded, planted_app):
    view, top = judged_gender(loaded)
    test = planted_app("shift_lab", n="5", target="profession")
    place = decisions.shift_place(
        loaded, next(d for d in scoring.shift_directions(loaded) if d.task.target.column == "profession")
    )
    use = next(b for b in test.button if b.label.startswith("Use judge, judge"))
    use.click().run()
    assert not test.exception
    mine = decisions.find_set(ledger.store(), place, "anonymous")
    assert ledger.store().ablated(mine.id) == sorted(top[:2])
    assert view.score(top[:2]).score.value != view.score([]).score.value
    test.radio(key="w_rule_threshold").set_value(1).run()
    assert test.session_state["view"]["judge_threshold"] == "1" and any(
        "rates it 1 or more" in c.value for c in test.caption
    )
    next(b for b in test.button if b.label.startswith("Use judge, judge")).click().run()
    assert ledger.store().ablated(mine.id) == sorted(top)


def test_a_link_carries_the_rule(planted_app):
    test = planted_app("shift_lab", judge_threshold="1", judge_zero="1", judge_order="filter-then-top")
    assert test.radio(key="w_rule_threshold").value == 1 and test.toggle(key="w_rule_zero").value
    assert test.radio(key="w_rule_order").value == "filter-then-top"
    test.button(key="w_rule_paper").click().run()
    assert test.radio(key="w_rule_order").value == "top-then-filter" and "judge_order" not in test.query_params
    assert not planted_app("shift_lab", judge_threshold="9", judge_order="?").exception


def test_an_empty_set_has_nothing_to_be_checked(planted_app):
    test = planted_app("shift_lab")
    test = test.button(key="w_shift_controls").click().run()
    assert not test.exception and "the set is empty" in test.error[0].value


def test_controls_and_refits_of_the_set_are_shown_when_pressed(planted_app, loaded, view):
    store, place = ledger.store(), decisions.shift_place(loaded, scoring.default_direction(loaded, PAIR))
    decisions.new_set(store, place, state.DEFAULTS.get("who") or "me", "mine", {0: "ablate", 1: "ablate"}, "test")
    test = planted_app("shift_lab", set=str(store.list_sets(**place.scope)[-1].id))
    test = test.button(key="w_shift_controls").click().run()
    shown = " ".join(str(h.value) for h in [*test.get("html"), *test.text])
    assert not test.exception and not test.error and "This set:" in shown and "random latents" in shown
    test = test.button(key="w_shift_refits").click().run()
    shown = " ".join(str(t.value) for t in test.text)
    assert not test.exception and not test.error and "train and dev texts" in shown and "minus top" in shown
