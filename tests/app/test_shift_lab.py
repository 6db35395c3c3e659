"""SHIFT lab: what the component is given, what presses do to the store, empty and error states."""

import json
from dataclasses import replace

import numpy as np
import pytest
from viewing import opened, verdict

from app import state
from app.deciding.desk import shift_place
from app.deciding.judged import judge_sets
from app.deciding.lab import Lab
from app.deciding.presses import Made, PressLog
from app.payloads import matrix
from app.payloads.as_json import as_json
from app.payloads.queue import queue_rows
from app.payloads.score_card import Look, record, score_card, shares
from app.payloads.shift_lab import Asked, Seen, lab_payload, read_asked
from app.services import ledger, scoring
from app.widgets import shift_pickers
from app.widgets.provenance import plain
from saeeval_core.config import RunConfig
from saeeval_core.ledger.places import find_set, new_set, open_set, reset
from saeeval_core.scores.contributions import share
from saeeval_core.scores.selections import Rule
from saeeval_core.texts.parts import DEV

WIDTH = 100_000
"""More latents than are decided on here."""
PAIR = "professor/teacher x female/male"


@pytest.fixture
def loaded(planted_app):
    """The planted bundle, as views get it."""
    return opened(RunConfig())


@pytest.fixture
def view(loaded):
    d = scoring.shift_directions(loaded)[0]
    return scoring.shift_view(loaded, d.pair, d.task.target.column, DEV)


def lab_of(loaded, who="Ada", choice="mine", **more):
    """The lab of the first direction."""
    given = {"rank": "attribute", "ablation": "zero", "n": 5, "rule": Rule()} | more
    return Lab(loaded, scoring.shift_directions(loaded)[0], DEV, who, choice, **given)


def decide(loaded, latents, **more):
    """Latents decided on in Ada's own set; the place."""
    place = shift_place(loaded, scoring.shift_directions(loaded)[0])
    store = ledger.store()
    store.decide(open_set(store, place, "Ada").id, "Ada", latents, **more)
    return place


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


def test_the_lab_opens_as_the_task_names_it_and_the_link_says_so(planted_app):
    test = planted_app("shift_lab")
    assert test.query_params["target"] in ("profession", ["profession"])
    assert not any("names the other" in h.value for h in test.main if h.type == "html")


def test_a_link_without_a_target_opens_the_larger_gap_and_says_so(planted_app, loaded):
    wider = scoring.wider_direction(loaded, PAIR).task.target.column
    test = planted_app("shift_lab", n="5")
    assert test.session_state["view"]["target"] == wider


def test_why_another_direction_than_the_named_one_is_shown(loaded, monkeypatch):
    named, other = (d for d in scoring.shift_directions(loaded) if d.pair == PAIR)
    assert shift_pickers.why_direction(loaded, named) == ""
    assert "names the other direction, target profession / spurious gender; choose" in shift_pickers.why_direction(
        loaded, other
    )
    with_reason = lambda d, why: replace(d, boards={**d.boards, DEV: replace(d.boards[DEV], reason=why)})  # noqa: E731
    flat, other = with_reason(named, "gap < .001"), with_reason(other, None)
    monkeypatch.setattr(scoring, "shift_directions", lambda _: (flat, other))
    assert scoring.default_direction(loaded, PAIR) is other
    assert "S is not defined: gap < .001" in shift_pickers.why_direction(loaded, other)


def test_rows_say_what_the_judge_rated_for_each_label_and_which_fire_on_the_same_texts(loaded, view):
    top = [int(i) for i in view.attribute_ranking[:3]]
    said = {"gender": 4, "professor": 1, "teacher": 2}
    ledger.store().add_verdicts([verdict(loaded, i, "judge", "llm", said) for i in top])
    rows, _ = queue_rows(loaded, view, "attribute", ())
    by_id = {r[0]: r for r in rows}
    assert all(by_id[i][5:7] == (2, 4) and "gender 4 of 4" in by_id[i][7] for i in top)
    for row in rows:
        first = by_id[row[8]]
        assert first[8] == first[0] and first[1] <= row[1], "the strongest of a group stands for it"


def test_what_an_undo_took_back_is_said(loaded, view):
    place = decide(loaded, {5: "ablate"})
    store, mine = ledger.store(), find_set(ledger.store(), place, "Ada")
    assert record(store, mine, (5,), DEV).undone is None
    store.undo(mine.id, "Ada")
    assert record(store, mine, (), DEV).undone.text == "undone: latent 5, ablate \u2192 none"
    store.decide(mine.id, "Ada", {1: "keep", 2: "keep"})
    store.undo(mine.id, "Ada")
    undone = record(store, mine, (), DEV).undone
    assert set(undone.latents) == {1, 2} and undone.text == "undone: one step over 2 latents"


def test_nonsense_in_a_link_falls_back(planted_app):
    test = planted_app(
        "shift_lab", pair="x", target="<b>", rank="?", n="-3", latent="99999", shift_set="77", ablation="what"
    )
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


def test_reset_is_one_undoable_step(loaded):
    store, place = ledger.store(), shift_place(loaded, scoring.shift_directions(loaded)[0])
    mine = open_set(store, place, "Ada")
    store.decide(mine.id, "Ada", {1: "ablate", 2: "keep"})
    reset(store, mine.id, "Ada", np.array([2, 3]), "reset", WIDTH)
    assert store.decisions(mine.id, WIDTH) == {2: "ablate", 3: "ablate"}
    store.undo(mine.id, "Ada")
    assert store.decisions(mine.id, WIDTH) == {1: "ablate", 2: "keep"}


def test_score_card_agrees_with_the_engine(view):
    ids = (5, 17)
    card = score_card(view, Look(ids, (5,), "mine", 2, n=5, carry=True), [])
    expected = view.score(list(ids))
    assert card.score == expected.score and card.accuracy == expected.accuracy
    assert card.delta.value == pytest.approx(expected.score.value - view.score([5]).score.value)
    assert [p.n for p in card.curve.points] == [0, 1, 2, 3, 5, 10, 20, 50, 100]
    assert {c.latent for c in card.carry} == {5, 17}
    assert score_card(view, Look(ids, None, "mine", 2), []).carry is None
    assert card.sets[0].mine and card.sets[-1].name.startswith("random")


def test_leave_one_out_and_solo_by_hand(view):
    whole = view.score([5, 17])
    s = share(view, (5, 17), 17, whole=whole)
    assert s.inside and s.change.value == pytest.approx(whole.score.value - view.score([5]).score.value)
    assert s.solo.value == view.score([17]).score.value
    out = shares(view, (5,), 17, "zero")
    assert not out.inside and out.change.value == pytest.approx(s.change.value)
    assert scoring.set_score(view, (5,), "mean").score == view.under("mean").score([5]).score


def test_what_the_browser_gets_is_what_it_lacks(loaded):
    decide(loaded, {5: "ablate"})
    lab, log, seen = lab_of(loaded), PressLog(), Seen()
    first = lab_payload(lab, log, seen, Asked(), present=False)
    assert first.queue and first.current == first.queue[0][0] and len(first.cards) == 3
    assert first.made == Made(
        lab.desk.name, "mine", loaded.config.model, loaded.config.saes[0], "bios", "robust", 0, "zero", 5
    ) and log.desks == {lab.desk.name: lab.desk}
    asked = Asked(first.current, frozenset(map(int, first.cards)), first.queue_hash, pressed=True)
    again = lab_payload(lab, log, seen, asked, present=False)
    assert again.queue is None and not again.cards and again.score == first.score and again.score.delta is None
    decide(loaded, {6: "ablate"})
    moved = lab_payload(lab, log, seen, replace(asked, have=frozenset()), present=False)
    assert list(moved.cards) == [str(first.current)] and moved.score.delta is not None
    assert moved.record.log[0][2] == "6" and moved.record.looks == "2 dev looks"


def test_a_card_carries_the_decisions_on_its_latent(loaded):
    decide(loaded, {5: "ablate"}, reason="pronouns")
    sent = as_json(lab_payload(lab_of(loaded), PressLog(), Seen(), Asked(current=5), present=False))
    assert sent["cards"]["5"]["history"][0][1:] == ["Ada", "none → ablate", "pronouns"]
    assert sent["made"]["task"] == "bios" and sent["queueHash"] and json.dumps(sent)


def test_nonsense_about_the_page_is_as_if_nothing_had_been_said():
    nonsense = {"current": "5", "have": "x", "queue": 3, "carry": "yes", "parts": 1, "alpha": 0.5, "log": []}
    assert read_asked(nonsense) == Asked()
    sent = {"current": 5, "have": [1, "2"], "queue": "h", "carry": True, "parts": True, "alpha": "0.5", "log": [{}]}
    assert read_asked(sent) == Asked(5, frozenset({1}), "h", True, True, "0.5", True)


def test_alpha_scales_every_score_of_the_card_and_counts_as_a_look_of_its_own(loaded):
    place = decide(loaded, {5: "ablate", 17: "ablate"})
    whole, half = (
        lab_payload(lab_of(loaded, alpha=a), PressLog(), Seen(), Asked(current=5), present=False) for a in (1.0, 0.5)
    )
    view = scoring.shift_view(loaded, PAIR, scoring.shift_directions(loaded)[0].task.target.column, DEV)
    board, removed = view.board, view.removed([5, 17])
    assert whole.score.alpha == 1 and whole.score.score == board.score(removed, 2).score
    assert half.score.alpha == 0.5 and half.score.score == board.score(removed / 2, 2).score
    assert half.shares.solo == board.score(view.removed([5]) / 2, 1).score
    top = [int(i) for i in view.attribute_ranking[:5]]
    assert half.score.curve.points[4].score == board.score(view.removed(top) / 2, 5).score
    assert half.score.sets[1].score == half.score.curve.points[4].score
    assert "a commit is always of the whole ablation" in half.score.how and "\u03b1" not in whole.score.how
    assert ledger.store().dev_looks(find_set(ledger.store(), place, "Ada").id) == 2


def test_a_link_carries_alpha_and_one_that_cannot_be_used_is_named(planted_app):
    assert planted_app("shift_lab", alpha="0.35").session_state["view"]["alpha"] == "0.35"
    test = planted_app("shift_lab", alpha="2")
    assert test.session_state["view"]["alpha"] == "1" and "alpha" in test.session_state["unusable"]


@pytest.mark.parametrize(("n", "shown"), [("30", 30), ("4", 4), ("0", 1), ("-3", 1), ("99999", 256), ("20", 20)])
def test_the_n_box_shows_the_n_that_is_computed(planted_app, n, shown):
    test = planted_app("shift_lab", n=n)
    assert not test.exception and test.selectbox(key="w_n").value == shown
    assert any(b.label == f"Reset to the top {shown} by attribution" for b in test.button)


def test_the_n_box_agrees_with_every_step_of_the_tpp_slider(planted_app, loaded):
    for step in matrix.steps(loaded)[1:]:
        assert planted_app("shift_lab", n=str(step)).selectbox(key="w_n").value == step


def test_url_never_carries_a_name():
    assert "who" not in state.DEFAULTS


def test_peak_tokens_are_those_at_the_strongest_place_of_each_context():
    from types import SimpleNamespace

    from saeeval_core.recordings.context_windows import ContextRef
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
    assert two[0].name == "Judge A: related to gender" and two[0].about == "judge, judge: top 5 related to gender"
    assert two[1].name == "Judge A: everything but profession"
    assert two[1].whole_name.startswith("task-unrelated, judge: biased probe's top 5, everything but profession")
    # ablated there: judged, and rated below 2 for both professions
    assert set(two[1].ids) == set(top) & {int(i) for i in view.base_ranking[:5]}
    assert judge_sets(loaded, view, 5, Rule(1, True))[0].ids == tuple(top)  # 1 is their highest rating


def test_nothing_passed_is_a_state_in_the_comparison(loaded):
    view, top = judged_gender(loaded)
    ledger.store().add_verdicts(
        [verdict(loaded, i, "strict", "llm", {"gender": 0, "professor": 0, "teacher": 0}) for i in top]
    )
    strict = next(s for s in judge_sets(loaded, view, 5, Rule()) if s.about.startswith("judge, strict"))
    assert strict.ids is None and strict.name.endswith("nothing passed")
    card = score_card(view, Look((5,), None, "mine", 1, n=5), [strict])
    row = next(r for r in card.sets if r.name == strict.name)
    assert row.n == "–" and row.score.value is None and row.score.reason.startswith("nothing passed")


def test_use_the_judges_set_and_another_rule_change_the_score(loaded, planted_app):
    view, top = judged_gender(loaded)
    test = planted_app("shift_lab", n="5", target="profession")
    place = shift_place(
        loaded, next(d for d in scoring.shift_directions(loaded) if d.task.target.column == "profession")
    )
    use = next(b for b in test.button if b.label.startswith(plain("Use Judge A: related")))
    use.click().run()
    assert not test.exception
    mine = find_set(ledger.store(), place, test.session_state["guest"])
    assert ledger.store().ablated(mine.id, WIDTH) == sorted(top[:2])
    assert view.score(top[:2]).score.value != view.score([]).score.value
    test.radio(key="w_rule_threshold").set_value(1).run()
    assert test.session_state["view"]["judge_threshold"] == "1" and any(
        "rates it 1 or more" in c.value for c in test.caption
    )
    next(b for b in test.button if b.label.startswith(plain("Use Judge A: related"))).click().run()
    assert ledger.store().ablated(mine.id, WIDTH) == sorted(top)


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
    store, place = ledger.store(), shift_place(loaded, scoring.default_direction(loaded, PAIR))
    new_set(store, place, state.DEFAULTS.get("who") or "me", "mine", {0: "ablate", 1: "ablate"}, "test")
    test = planted_app("shift_lab", shift_set=str(store.list_sets(**place.scope)[-1].id))
    test = test.button(key="w_shift_controls").click().run()
    shown = " ".join(str(h.value) for h in [*test.get("html"), *test.text])
    assert not test.exception and not test.error and "This set:" in shown and "random latents" in shown
    test = test.button(key="w_shift_refits").click().run()
    shown = " ".join(str(t.value) for t in test.text)
    assert not test.exception and not test.error and "train and dev texts" in shown and "minus top" in shown


def test_a_probe_retrained_on_ablated_texts_is_scored_when_asked_for(planted_app, loaded):
    test = planted_app("shift_lab")
    test = test.button(key="w_shift_retrain").click().run()
    assert "the set is empty" in test.error[0].value
    direction = scoring.default_direction(loaded, PAIR)
    made = new_set(ledger.store(), shift_place(loaded, direction), "me", "mine", {0: "ablate", 1: "ablate"})
    test = planted_app("shift_lab", shift_set=str(made.id))
    test = test.button(key="w_shift_retrain").click().run()
    view = scoring.shift_view(loaded, PAIR, direction.task.target.column, DEV)
    expected = view.board.retrain_score(loaded.residuals, loaded.latents, (0, 1))
    assert not test.exception and not test.error and expected.ci is not None
    assert any(f"Retrained: {expected}" in t.value for t in test.text)
    assert any("new probe with C_b's regularisation" in c.value for c in test.caption)


def test_other_protocols_say_why_nothing_is_retrained(planted_app):
    test = planted_app("shift_lab", protocol="saebench")
    button = test.button(key="w_shift_retrain")
    assert button.disabled and "robust protocol" in button.help and not test.button(key="w_shift_controls").disabled
