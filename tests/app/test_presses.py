"""Presses: read from what a browser sent, carried out once and in order, and always where they were made."""

from dataclasses import asdict, replace
from functools import partial

import pytest
from streamlit.testing.v1 import AppTest
from viewing import opened, view

from app.deciding.class_refs import ATTRIBUTION
from app.deciding.class_sets import class_desk, class_sets
from app.deciding.desk import shift_desk, shift_place, tpp_place
from app.deciding.presses import Press, PressLog, Refused, apply, carry_out, read_press, read_presses
from app.deciding.reopened import desk_of
from app.services import ledger, loading, scoring
from app.views import tpp_matrix
from saeeval_core.config import RunConfig
from saeeval_core.errors import ArtifactError, DataError
from saeeval_core.ledger.commits import read_shift, read_tpp
from saeeval_core.ledger.connection import StoreError
from saeeval_core.ledger.places import find_set, new_set
from saeeval_core.scores.selections import Rule
from saeeval_core.texts.parts import TEST

WIDTH = 100_000
"""More latents than are decided on here."""


@pytest.fixture
def loaded(planted_app):
    """The planted bundle, as views get it."""
    return opened(RunConfig())


class Browser:
    """A page: it numbers presses, and sends each as the component's script does."""

    def __init__(self, loaded, log=None):
        self.loaded, self.log, self.seq = loaded, log or PressLog(), 0

    def shift(self, k=0, who="Ada", choice="mine", **settings):
        """A desk of SHIFT, shown once; what presses made at it are marked with."""
        direction = scoring.shift_directions(self.loaded)[k]
        return self.sit(shift_desk(self.loaded, direction, who, choice), **settings)

    def tpp(self, choice="mine", who="Ada", **settings):
        return self.sit(class_desk(self.loaded, class_sets(self.loaded, choice, who), who), **settings)

    def sit(self, desk, ablation="zero", n=5, protocol="robust", seed=0):
        made = self.log.sit(desk, self.loaded, ablation, n)
        return replace(made, protocol=protocol, seed=seed)

    def press(self, made, kind="decide", seq=None, **more):
        self.seq = seq or self.seq + 1
        given = {"of": "", "latents": [], "decision": "", "reason": ""} | more
        return {"client": "browser", "seq": self.seq, "made": asdict(made), "kind": kind, **given}

    def send(self, *presses, commit=None):
        return apply(ledger.store(), self.log, read_presses({"client": "browser", "log": list(presses)}), commit)


@pytest.fixture
def browser(loaded):
    return Browser(loaded)


def shift_set(loaded, k=0, who="Ada"):
    return find_set(ledger.store(), shift_place(loaded, scoring.shift_directions(loaded)[k]), who)


def test_presses_are_carried_out_once_and_in_order(loaded, browser):
    here, store = browser.shift(), ledger.store()
    late = browser.press(here, seq=2, latents=[17], decision="keep")
    log = [late, browser.press(here, seq=1, latents=[5], decision="ablate", reason="pronouns")]
    browser.send(*log)
    assert browser.log.acks == {"browser": 2}
    browser.send(*log, browser.press(here, seq=3, latents=[33], decision="ablate"))
    mine = shift_set(loaded)
    assert store.decisions(mine.id, WIDTH) == {5: "ablate", 17: "keep", 33: "ablate"}
    assert [(d.latent, d.reason) for d in store.history(mine.id)] == [(5, "pronouns"), (17, ""), (33, "")]
    browser.send(browser.press(here, "undo", seq=4))
    assert store.ablated(mine.id, WIDTH) == [5] and browser.log.acks == {"browser": 4}


def test_a_press_lands_where_it_was_made_whatever_is_on_screen(loaded, browser):
    here = browser.shift(0)
    late = browser.press(here, latents=[5], decision="ablate")
    browser.shift(1)  # another direction is opened before the press arrives
    browser.send(late)
    assert ledger.store().ablated(shift_set(loaded, 0).id, WIDTH) == [5] and shift_set(loaded, 1) is None


def test_a_press_of_one_view_may_arrive_through_another(loaded, browser):
    shift = browser.press(browser.shift(), latents=[5], decision="ablate")
    tpp = browser.press(browser.tpp(), of="nurse", latents=[7], decision="keep")
    browser.send(shift, tpp)
    assert ledger.store().ablated(shift_set(loaded).id, WIDTH) == [5]
    assert class_sets(loaded, "mine", "Ada").decisions[0] == {7: "keep"}


def test_a_press_from_a_page_this_session_never_saw_is_told_once(loaded, browser):
    elsewhere = Browser(loaded).shift()
    late = browser.press(elsewhere, latents=[5], decision="ablate")
    with pytest.raises(DataError, match="belongs to another SAE, texts, set or person"):
        browser.send(late)
    browser.send(late)
    assert browser.log.acks == {"browser": 1} and shift_set(loaded) is None


def test_a_toggle_lands_in_the_set_it_was_made_in_although_the_link_names_another(loaded, browser):
    mine = browser.tpp("mine")
    toggle = browser.press(mine, of="surgeon", latents=[9], decision="ablate")
    browser.tpp("other", n=20)  # the link is changed before the press arrives
    browser.send(toggle)
    assert class_sets(loaded, "mine", "Ada").decisions[class_sets(loaded, "mine", "Ada").classes.index("surgeon")] == {
        9: "ablate"
    }
    assert class_sets(loaded, "other", "Ada").empty


def test_a_toggle_on_the_ranking_goes_to_a_set_of_ones_own(loaded, browser):
    here = browser.tpp(ATTRIBUTION)
    (done,) = browser.send(browser.press(here, of="nurse", latents=[9], decision="ablate"))
    assert done.desk.choice == ATTRIBUTION and class_sets(loaded, "mine", "Ada").decisions[0] == {9: "ablate"}
    browser.send(browser.press(here, of="nurse", latents=[10], decision="ablate"))
    assert class_sets(loaded, "mine", "Ada").decisions[0] == {9: "ablate", 10: "ablate"}


def test_what_the_page_shows_of_the_ranking_follows_a_toggle(loaded, browser):
    here = browser.tpp(ATTRIBUTION, who="Ada")
    sent = {"client": "browser", "seq": 1, "log": [browser.press(here, of="nurse", latents=[9], decision="ablate")]}
    session = {"who": "Ada", "press_log": browser.log, "tpp": {"did": sent | {"n": 8}}}
    at = view("tpp_matrix", {"tpp_set": ATTRIBUTION, "n": "5"}, session, before="tpp_matrix._did()")
    assert not at.exception and at.session_state["view"]["tpp_set"] == "mine" and at.session_state["view"]["n"] == "8"
    assert at.selectbox(key="w_tpp_set").value == "mine" and at.session_state["tpp_heard"] == {"browser": 1}
    assert tpp_matrix.KEY == "tpp"


def test_the_link_is_left_alone_when_the_press_was_made_at_another_set(loaded, browser):
    here = browser.tpp("mine", who="Ada")
    sent = {"client": "browser", "seq": 1, "log": [browser.press(here, of="nurse", latents=[9], decision="ablate")]}
    session = {"who": "Ada", "press_log": browser.log, "tpp": {"did": sent}}
    at = view("tpp_matrix", {"tpp_set": ATTRIBUTION}, session, before="tpp_matrix._did()")
    assert at.session_state["view"]["tpp_set"] == ATTRIBUTION
    assert class_sets(loaded, "mine", "Ada").decisions[0] == {9: "ablate"}


def test_sets_of_others_refuse_presses_and_say_whose_they_are(loaded, browser):
    browser.send(browser.press(browser.tpp(), of="nurse", latents=[3], decision="ablate"))
    bob = Browser(loaded)
    theirs = bob.tpp("mine@Ada", who="Bob")
    with pytest.raises(DataError, match="belongs to Ada"):
        bob.send(bob.press(theirs, of="nurse", latents=[4], decision="ablate"), bob.press(theirs, "undo", of="nurse"))
    with pytest.raises(DataError, match="belongs to Ada"):
        bob.send(bob.press(theirs, "commit"))
    assert class_sets(loaded, "mine", "Ada").decisions[0] == {3: "ablate"} and bob.log.acks == {"browser": 3}
    assert ledger.store().commits() == [] and all(s.who == "Ada" for s in ledger.store().list_sets())


def test_a_class_or_a_latent_that_is_not_there_is_refused(loaded, browser):
    for made, more in (
        (browser.tpp(), {"of": "pilot", "latents": [1]}),
        (browser.shift(), {"of": "nurse", "latents": [1]}),
        (browser.shift(), {"latents": [loaded.latents.n_latents]}),
    ):
        with pytest.raises(DataError):
            browser.send(browser.press(made, decision="ablate", **more))
    assert ledger.store().list_sets() == [] and browser.log.acks == {"browser": 3}


def test_undoing_where_nothing_was_decided_makes_no_set(loaded, browser):
    (done,) = browser.send(browser.press(browser.shift(), "undo"))
    assert done.changed == [] and ledger.store().list_sets() == []


def test_a_failing_store_does_not_repeat_what_was_done_before_it_failed(loaded, browser, monkeypatch):
    store, here = ledger.store(), browser.shift()
    browser.send(*(browser.press(here, latents=[k], decision="ablate") for k in (1, 2, 3)))
    log = [browser.press(here, "undo"), browser.press(here, latents=[9], decision="ablate")]
    with monkeypatch.context() as m:
        m.setattr(store, "decide", lambda *_: (_ for _ in ()).throw(StoreError("disk full")))
        with pytest.raises(StoreError):
            browser.send(*log)
    assert browser.log.acks == {"browser": 4}
    browser.send(*log)
    assert store.ablated(shift_set(loaded).id, WIDTH) == [1, 2, 9]


def test_a_commit_is_done_in_its_turn_and_once(loaded, browser):
    here, seen = browser.shift(), []
    log = [browser.press(here, latents=[5], decision="ablate"), browser.press(here, "commit")]
    log.append(browser.press(Browser(loaded).shift(1), latents=[6], decision="ablate"))

    def commit(store, desk, press):
        seen.append((press.seq, store.ablated(shift_set(loaded).id, WIDTH)))
        raise ArtifactError("disk full of damaged recordings")

    with pytest.raises(ArtifactError):
        browser.send(*log, commit=commit)
    browser.send(*log, commit=commit)
    assert seen == [(2, [5])] and browser.log.acks == {"browser": 3}
    assert [(seq, "disk full" in why) for _, seq, why in browser.log.refused] == [(2, True), (3, False)]


def test_sets_of_others_and_other_directions_stay_apart(loaded, browser):
    browser.send(browser.press(browser.shift(), latents=[5], decision="ablate"))
    assert shift_set(loaded, who="Bob") is None and shift_set(loaded, 1) is None


def test_a_commit_scores_test_under_the_settings_of_its_press(loaded, browser):
    direction = scoring.shift_directions(loaded)[0]
    here = browser.shift(ablation="mean")
    browser.send(browser.press(here, latents=[5], decision="ablate"))
    mine = shift_set(loaded)
    ledger.store().note_look(mine.id, "Ada", [5])
    seeded = browser.shift(ablation="zero", seed=7)
    browser.send(browser.press(here, "commit"), browser.press(seeded, "commit"))
    first, second = ledger.store().commits(mine.id)
    test = scoring.shift_view(loaded, direction.pair, direction.task.target.column, TEST)
    assert first.ids == (5,) and first.dev_looks == 1 and first.test["part"] == "test"
    assert first.test["score"]["value"] == pytest.approx(test.mean_ablated.score([5]).score.value)
    sizes = scoring.sizes_of_edits(loaded, direction.pair, direction.task.target.column, TEST, [5], [1])
    assert first.test["edit_size"] == pytest.approx(sizes[0])
    assert (first.test["protocol"], first.test["seed"], first.test["ablation"]) == ("robust", 0, "mean")
    assert (second.test["seed"], second.test["ablation"]) == (7, "zero")
    other = loading.load(replace(loaded.config, seed=7))
    again = scoring.shift_view(other, direction.pair, direction.task.target.column, TEST)
    assert read_shift(second).score == again.score([5]).score


def test_a_commit_of_tpp_takes_the_n_of_its_press(loaded, browser):
    browser.send(browser.press(browser.tpp(), of="nurse", latents=[3], decision="ablate"))
    here = browser.tpp(n=2)
    browser.tpp(n=50)
    (done,) = browser.send(browser.press(here, "commit"))
    sets = class_sets(loaded, "mine", "Ada")
    frozen = [ledger.store().commits(s.id)[0] for _, s in sets.stored]
    assert len(frozen) == 4 and {read_tpp(c).batch for c in frozen} == {done.committed.batch}
    assert all(c.test["edit_size"] > 0 for c in frozen)
    assert frozen[0].test["n"] == 2 and frozen[0].test["seed"] == 0 and 3 in frozen[0].ids
    assert all(len(c.ids) == k for c, k in zip(frozen, done.committed.n_ablated, strict=True))


def test_an_empty_set_is_not_committed(loaded, browser):
    with pytest.raises(DataError, match="at least one latent"):
        browser.send(browser.press(browser.shift(), "commit"))
    with pytest.raises(DataError, match="at least one latent"):
        browser.send(browser.press(browser.tpp(n=0), "commit"))
    assert ledger.store().commits() == []


def test_a_number_names_a_set_of_shift_and_a_name_one_of_tpp(loaded, browser):
    direction = scoring.shift_directions(loaded)[0]
    other = new_set(ledger.store(), shift_place(loaded, direction), "Bob", "his")
    browser.send(browser.press(browser.shift(choice=str(other.id), who="Bob"), latents=[5], decision="ablate"))
    assert ledger.store().ablated(other.id, WIDTH) == [5]
    for kind in ("decide", "undo", "commit"):
        with pytest.raises(DataError, match="belongs to Bob"):
            browser.send(browser.press(browser.shift(choice=str(other.id)), kind, latents=[6], decision="ablate"))
    assert ledger.store().ablated(other.id, WIDTH) == [5] and ledger.store().commits() == []
    browser.send(browser.press(browser.tpp("2024"), of="nurse", latents=[5], decision="ablate"))
    assert class_sets(loaded, "2024", "Ada").decisions[0] == {5: "ablate"}
    with pytest.raises(DataError, match="does not belong"):
        browser.send(browser.press(browser.shift(choice="999"), latents=[5], decision="ablate"))


def test_reading_gives_back_what_was_sent(browser):
    made = browser.tpp(ablation="mean", n=3)
    press = read_press(browser.press(made, of="nurse", latents=[1, 2], decision="keep", reason="why"))
    assert press == Press("browser", 1, made, "decide", "nurse", (1, 2), "keep", "why")
    assert read_press(browser.press(made, "undo", of="nurse")) == Press("browser", 2, made, "undo", "nurse")


BAD = [
    {"kind": "delete"},
    {"decision": "maybe"},
    {"decision": 3},
    {"latents": "12"},
    {"latents": [1.5]},
    {"latents": [True]},
    {"latents": [-1]},
    {"latents": list(range(100_001))},
    {"of": None},
    {"of": "x" * 1001},
    {"reason": ["a"]},
    {"made": None},
    {"made": {"protocol": "none"}},
    {"made": {"seed": "0"}},
    {"made": {"ablation": "half"}},
    {"made": {"n": -1}},
    {"made": {"desk": 5}},
    {"made": {"choice": 5}},
    {"made": {"seed": 2**70}},
    {"latents": [3.7]},
    {"latents": [2**70]},
]


@pytest.mark.parametrize("wrong", BAD, ids=lambda w: str(w)[:40])
def test_what_is_no_press_is_one_line_and_is_not_asked_for_again(browser, wrong):
    good = browser.press(browser.shift(), latents=[5], decision="ablate")
    bad = good | {"seq": 2} | wrong
    if isinstance(wrong.get("made"), dict):
        bad["made"] = good["made"] | wrong["made"]
    with pytest.raises(DataError) as error:
        browser.send(good, bad)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
    assert browser.log.acks == {"browser": 2} and len(ledger.store().list_sets()) == 1
    (read,) = read_presses({"log": [bad]})
    assert isinstance(read, Refused)


@pytest.mark.parametrize("sent", [None, [], "x", {"log": [3]}, {"log": [{"seq": "1"}]}, {"log": [{"client": "a"}]}])
def test_a_message_without_numbers_is_one_line(sent):
    with pytest.raises(DataError) as error:
        read_presses(sent)
    assert "\n" not in str(error.value)


def test_a_message_without_presses_is_none(browser):
    assert read_presses({"client": "a", "seq": 3, "n": 5}) == []


def test_a_press_that_the_store_knows_is_answered_in_another_session_and_not_done_again(loaded, browser):
    here, store = browser.shift(), ledger.store()
    browser.send(*(browser.press(here, latents=[k], decision="ablate") for k in (1, 2, 3)))
    last = [browser.press(here, "undo"), browser.press(here, "commit")]
    browser.send(*last)
    mine = shift_set(loaded)
    assert store.ablated(mine.id, WIDTH) == [1, 2] and len(store.commits(mine.id)) == 1
    again = Browser(loaded)  # the server was started anew: nothing but the store knows
    again.shift()
    again.send(*last)
    assert again.log.acks == {"browser": 5} and again.log.refused == []
    assert store.ablated(mine.id, WIDTH) == [1, 2] and len(store.commits(mine.id)) == 1


def test_a_tpp_commit_that_the_store_knows_is_not_done_again(loaded, browser):
    commit = browser.press(browser.tpp(n=2), "commit")
    browser.send(commit)
    again = Browser(loaded)
    again.tpp(n=2)
    (done,) = again.send(commit)
    assert done.committed is None and len(ledger.store().commits()) == 4


def test_a_press_reaches_its_desk_in_a_session_that_never_drew_it(loaded, browser):
    presses = [
        browser.press(browser.shift(1), latents=[5], decision="ablate"),
        browser.press(browser.tpp("drafts"), of="nurse", latents=[7], decision="keep"),
    ]
    fresh = Browser(loaded)
    find = partial(desk_of, loaded, who="Ada", rule=Rule())
    apply(ledger.store(), fresh.log, read_presses({"log": presses}), find=find)
    assert ledger.store().ablated(shift_set(loaded, 1).id, WIDTH) == [5]
    assert class_sets(loaded, "drafts", "Ada").decisions[0] == {7: "keep"}


def test_a_press_of_one_person_is_not_done_in_the_session_of_another(loaded, browser):
    press = browser.press(browser.shift(), latents=[5], decision="ablate")
    bob = Browser(loaded)
    with pytest.raises(DataError, match="or person"):
        apply(
            ledger.store(),
            bob.log,
            read_presses({"log": [press]}),
            find=partial(desk_of, loaded, who="Bob", rule=Rule()),
        )
    assert ledger.store().list_sets() == [] and bob.log.refused[0][:2] == ("browser", 1)


def test_presses_kept_over_a_reload_come_before_those_made_after_it(loaded, browser):
    here = browser.shift()
    kept = [
        browser.press(here, seq=k, latents=[5], decision=d) | {"client": "before"}
        for k, d in ((8, "keep"), (9, "unsure"))
    ]
    browser.send(*kept, browser.press(here, seq=1, latents=[5], decision="ablate"))
    assert ledger.store().ablated(shift_set(loaded).id, WIDTH) == [5]
    assert browser.log.acks == {"before": 9, "browser": 1}


def test_presses_stay_open_while_the_store_is_away_and_are_done_when_it_is_back(loaded, browser):
    store, here = ledger.store(), browser.shift()
    browser.send(browser.press(here, latents=[1], decision="ablate"))
    log = [browser.press(here, latents=[2], decision="ablate"), browser.press(here, "commit")]
    away = store.path.rename(store.path.with_name("away.sqlite"))
    with pytest.raises(StoreError, match="moved or deleted"):
        browser.send(*log)
    assert browser.log.acks == {"browser": 1} and browser.log.refused == [] and not store.path.exists()
    away.rename(store.path)
    browser.send(*log)
    mine = shift_set(loaded)
    assert (
        browser.log.acks == {"browser": 3}
        and store.ablated(mine.id, WIDTH) == [1, 2]
        and len(store.commits(mine.id)) == 1
    )


def test_a_commit_that_the_store_cannot_take_stays_open(loaded, browser, monkeypatch):
    store, here = ledger.store(), browser.shift()
    browser.send(browser.press(here, latents=[1], decision="ablate"))
    commit = browser.press(here, "commit")
    with monkeypatch.context() as m:
        m.setattr(store, "commit", lambda *_: (_ for _ in ()).throw(StoreError("disk full")))
        with pytest.raises(StoreError):
            browser.send(commit)
    browser.send(commit)
    assert len(store.commits(shift_set(loaded).id)) == 1


def test_undo_on_the_ranking_leaves_ones_own_set_alone(loaded, browser):
    name = browser.loaded.task_set.tpp[1][0]
    browser.send(browser.press(browser.tpp(), of=name, latents=[7], decision="ablate"))
    (done,) = browser.send(browser.press(browser.tpp("attribution"), "undo", of=name))
    assert done.changed == []
    assert ledger.store().decisions(find_set(ledger.store(), tpp_place(loaded, name), "Ada").id, WIDTH) == {7: "ablate"}


def test_what_was_done_beside_a_refused_press_is_told(loaded, browser):
    here = browser.shift()
    presses = [
        browser.press(here, latents=[9], decision="ablate"),
        browser.press(here, latents=[10**6], decision="keep"),
    ]
    done, refused = carry_out(ledger.store(), browser.log, read_presses({"log": presses}))
    assert [d.latent for d in done[0].changed] == [9] and "none of this SAE" in str(refused[0].why)


RECEIVING = """
import streamlit as st
from app import state
from app.widgets import pressing
state.restore()
pressing.receive(st.session_state["sent"])
"""


def received(press, who="Ada", **link):
    """A fresh session at this link gets the press; its log."""
    at = AppTest.from_string(RECEIVING, default_timeout=60)
    for name, value in link.items():
        at.query_params[name] = value
    at.session_state["who"] = who
    at.session_state["sent"] = {"client": "browser", "log": [press]}
    at.run()
    assert not at.exception
    return at.session_state["press_log"]


def test_a_press_made_at_other_texts_is_carried_out_there(loaded, browser):
    press = browser.press(browser.shift(1), latents=[5], decision="ablate")
    log = received(press, task="reviews", sae="hub:nobody/nothing")
    assert log.refused == [] and log.acks == {"browser": 1}
    assert ledger.store().ablated(shift_set(loaded, 1).id, WIDTH) == [5] and shift_set(loaded, 0) is None


ELSEWHERE = [
    ({"sae": "no-such-sae"}, "no recording of 'bios'"),
    ({"task": "no-such-task"}, "no-such-task"),
    ({"task": "own"}, "earlier version"),
    ({"model": "x\0"}, "model is"),
    ({"desk": "another"}, "another SAE, texts, set or person"),
]


@pytest.mark.parametrize(("wrong", "why"), ELSEWHERE, ids=lambda w: str(w)[:30])
def test_a_press_whose_desk_cannot_be_found_is_refused_with_the_reason(browser, wrong, why):
    made = replace(browser.shift(), **wrong)
    log = received(browser.press(made, latents=[5], decision="ablate"), task="reviews")
    ((_, seq, said),) = log.refused
    assert why in said and "\n" not in said and seq == 1 and ledger.store().list_sets() == []


def test_a_press_that_an_earlier_version_kept_is_done_at_the_page_that_is_open(loaded, browser):
    press = browser.press(browser.shift(), latents=[5], decision="ablate")
    for name in ("model", "sae"):
        press["made"].pop(name)
    assert received(press).refused == [] and ledger.store().ablated(shift_set(loaded).id, WIDTH) == [5]
