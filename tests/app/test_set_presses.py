"""Presses on whole sets and ratings: once each, all of one or nothing, with what was typed before the press."""

from dataclasses import asdict, replace

import pytest
from streamlit.testing.v1 import AppTest
from viewing import opened, store_decisions, texts, verdict, view

from app.deciding import set_presses
from app.deciding.class_refs import ATTRIBUTION
from app.deciding.class_sets import class_desk, class_sets
from app.deciding.desk import shift_place, tpp_place
from app.deciding.presses import Press, PressLog, apply, carry_out, read_presses
from app.services import ledger, scoring, verdicts
from app.widgets import export
from saeeval_core.config import RunConfig
from saeeval_core.errors import DataError
from saeeval_core.formats.decision_sets import ExportedDecision, ExportedSet
from saeeval_core.judging.agreement import Conflict
from saeeval_core.ledger.connection import StoreError
from saeeval_core.ledger.places import MINE, find_set, new_set, own_set
from saeeval_core.ledger.store import PressId

ODD_NAMES = ["x@y", "judge:LocalJudge", ATTRIBUTION, MINE + "@Ada", "set:1", "name:mine", "12", "Über & <b>"]


@pytest.fixture
def loaded(planted_app):
    """The planted bundle, as views get it."""
    return opened(RunConfig())


@pytest.fixture
def place(loaded):
    """Of SHIFT's default direction."""
    pair = scoring.shift_directions(loaded)[0].pair
    return shift_place(loaded, scoring.default_direction(loaded, pair))


def given(k: int = 1, who: str = "Ada") -> PressId:
    return PressId("button", k, who, "set")


def exported(loaded, metric: str, *decisions: ExportedDecision, name: str = "mine", task: str = "") -> ExportedSet:
    prints = loaded.latents.sae_fingerprint, loaded.residuals.fingerprint
    return ExportedSet(name, metric, task or loaded.task_set.texts.name, loaded.latents.sae, *prints, decisions)


def at(loaded, place, **link) -> AppTest:
    """The lab as Ada has it open."""
    return view("shift_lab", {"pair": scoring.shift_directions(loaded)[0].pair, **link}, {"who": "Ada"})


ONCE = {
    "new": lambda store, press, place, loaded: set_presses.new(store, press, place, "twice"),
    "duplicate": lambda store, press, place, loaded: set_presses.duplicate(store, press, place, MINE, "twice", 99),
    "rename": lambda store, press, place, loaded: set_presses.rename(store, press, place, MINE, "twice"),
    "reset": lambda store, press, place, loaded: set_presses.reset_to(store, press, place, MINE, [3], "reset", 99),
    "save": lambda store, press, place, loaded: set_presses.save_as(
        store, press, loaded, class_sets(loaded, MINE, "Ada"), "twice"
    ),
    "rename classes": lambda store, press, place, loaded: set_presses.rename_classes(
        store, press, loaded, class_sets(loaded, MINE, "Ada"), "twice"
    ),
    "import": lambda store, press, place, loaded: set_presses.import_set(
        store, press, [place], exported(loaded, "shift", ExportedDecision(4, "keep"))
    ),
    "rate": lambda store, press, place, loaded: verdicts.rate(loaded, 4, "Ada", {"nurse": 1}, press=press),
    "settle": lambda store, press, place, loaded: verdicts.settle(
        loaded, Conflict(4, "nurse", 1, 2), 1, "Ada", ("a", "b"), press
    ),
}


def everything(store, loaded):
    """All that presses leave in the store."""
    rated = store.verdict_history(loaded.latents.sae_fingerprint)
    return store.list_sets(), [store.history(s.id) for s in store.list_sets()], rated


@pytest.mark.parametrize("kind", ONCE)
def test_a_repeated_press_is_answered_and_not_done_again(loaded, place, kind):
    store = ledger.store()
    new_set(store, place, "Ada", MINE, {1: "ablate"})
    new_set(store, tpp_place(loaded, "nurse"), "Ada", MINE, {1: "ablate"})
    before = everything(store, loaded)
    ONCE[kind](store, given(), place, loaded)
    after = everything(store, loaded)
    assert after != before
    assert ONCE[kind](store, given(), place, loaded) is None and everything(store, loaded) == after


@pytest.mark.parametrize("kind", ONCE)
def test_a_press_that_the_store_cannot_take_leaves_nothing_behind(loaded, place, kind, monkeypatch):
    store = ledger.store()
    new_set(store, place, "Ada", MINE, {1: "ablate"})
    for c in ("nurse", "teacher"):
        new_set(store, tpp_place(loaded, c), "Ada", MINE, {1: "ablate"})
    before, calls = everything(store, loaded), []

    def fails(*_args, **_more):
        calls.append(1)
        raise StoreError("disk full")

    with monkeypatch.context() as m:
        for door in ("replay", "rename_set", "duplicate_set", "add_verdicts"):
            m.setattr(store, door, fails)
        if kind == "new":
            m.setattr(store, "create_set", fails)
        with pytest.raises(StoreError):
            ONCE[kind](store, given(), place, loaded)
    assert calls and everything(store, loaded) == before
    ONCE[kind](store, given(), place, loaded)
    assert everything(store, loaded) != before


def test_an_import_of_several_classes_is_all_or_nothing(loaded, monkeypatch):
    store, classes = ledger.store(), loaded.task_set.tpp[1]
    found = exported(loaded, "tpp", *(ExportedDecision(k, "ablate", c) for k, c in enumerate(classes)))
    replay, seen = store.replay, []

    def fails_at_the_third(*args):
        seen.append(args)
        if len(seen) == 3:
            raise StoreError("disk full")
        return replay(*args)

    places = [tpp_place(loaded, c) for c in classes]
    with monkeypatch.context() as m:
        m.setattr(store, "replay", fails_at_the_third)
        with pytest.raises(StoreError):
            set_presses.import_set(store, given(), places, found)
    assert store.list_sets() == []
    assert set_presses.import_set(store, given(), places, found).stored == 4


def test_an_import_says_what_was_stored_and_what_was_left_out(loaded):
    store, places = ledger.store(), [tpp_place(loaded, c) for c in loaded.task_set.tpp[1]]
    decisions = [ExportedDecision(k, "ablate", c) for k, c in enumerate(["nurse", "pilot", "pilot", "", "teacher"])]
    made = set_presses.import_set(store, given(), places, exported(loaded, "tpp", *decisions))
    assert made.stored == 2 == sum(len(store.history(s.id)) for s in store.list_sets())
    assert made.notes == ("3 decisions left out, for classes that are not here: 'pilot' (2), no class (1)",)
    with pytest.raises(DataError, match=r"nothing was imported: 2 decisions left out.*'pilot' \(2\)"):
        set_presses.import_set(store, given(2), places, exported(loaded, "tpp", *decisions[1:3]))
    with pytest.raises(DataError, match="holds no decision"):
        set_presses.import_set(store, given(3), places, exported(loaded, "tpp"))


def test_decisions_of_a_class_are_none_of_a_shift_set(loaded, place):
    decisions = ExportedDecision(1, "ablate"), ExportedDecision(2, "keep", "nurse")
    made = set_presses.import_set(ledger.store(), given(), [place], exported(loaded, "shift", *decisions))
    assert made.stored == 1 and "'nurse' (1)" in made.notes[0] and len(ledger.store().list_sets()) == 1


@pytest.mark.parametrize("name", ODD_NAMES)
def test_no_name_is_taken_for_another_set(loaded, name):
    """Saved, imported or typed: each name is a set of its own, reached by a value that means no other."""
    ledger.store().add_verdicts([verdict(loaded, 9, "LocalJudge", "local", {"nurse": 3})])
    store_decisions(loaded, class_sets(loaded, MINE, "Ada"), 0, {3: "ablate"}, "Ada")
    store_decisions(loaded, class_sets(loaded, MINE, "Bob"), 0, {4: "ablate"}, "Bob")
    before = [class_sets(loaded, v, "Ada").decisions for v in (MINE, "mine@Bob", ATTRIBUTION, "judge:LocalJudge")]
    store, sets = ledger.store(), class_sets(loaded, MINE, "Ada")
    saved = set_presses.save_as(store, given(), loaded, sets, name)
    found = exported(loaded, "tpp", ExportedDecision(7, "keep", "nurse"), name=name)
    imported = set_presses.import_set(store, given(2), [tpp_place(loaded, "nurse")], found)
    assert class_sets(loaded, saved, "Ada").name == name and class_sets(loaded, saved, "Ada").mine
    assert class_sets(loaded, f"set:{imported.first.id}", "Ada").decisions[0] == {7: "keep"}
    after = [class_sets(loaded, v, "Ada").decisions for v in (MINE, "mine@Bob", ATTRIBUTION, "judge:LocalJudge")]
    assert after == before
    values = [v for v, _ in class_sets(loaded, saved, "Ada").options]
    assert len(set(values)) == len(values) and all(class_sets(loaded, v, "Ada").value == v for v in values)
    theirs = class_sets(loaded, saved, "Bob")
    assert theirs.name == name and not theirs.mine and theirs.decisions == class_sets(loaded, saved, "Ada").decisions


def test_a_name_that_is_there_already_is_not_saved_over(loaded):
    store_decisions(loaded, class_sets(loaded, MINE, "Ada"), 0, {3: "ablate"}, "Ada")
    with pytest.raises(DataError, match="you have a set 'mine' already"):
        set_presses.save_as(ledger.store(), given(), loaded, class_sets(loaded, MINE, "Ada"), " mine ")
    with pytest.raises(DataError, match="changes nothing"):
        set_presses.save_as(ledger.store(), given(2), loaded, class_sets(loaded, ATTRIBUTION, "Ada"), "x")
    found = exported(loaded, "tpp", ExportedDecision(7, "keep", "nurse"), name="mine\n\x07 ")
    names = [
        set_presses.import_set(ledger.store(), given(k), [tpp_place(loaded, "nurse")], found).first.name for k in (3, 4)
    ]
    assert names == ["mine (imported)", "mine (imported 2)"]


def test_old_links_open_what_they_did(loaded):
    store_decisions(loaded, class_sets(loaded, "drafts", "Ada"), 0, {3: "ablate"}, "Ada")
    assert class_sets(loaded, "drafts", "Ada").decisions[0] == {3: "ablate"}
    assert class_sets(loaded, "drafts@Ada", "Bob").decisions[0] == {3: "ablate"}
    assert class_sets(loaded, "drafts", "Bob").empty
    for gone in ("nothing@Eve", "judge:nobody", "set:999", "name:", "set:x@y"):
        assert class_sets(loaded, gone, "Ada").value == MINE


@pytest.mark.parametrize(
    ("key", "expected"), [("w_new", "typed"), ("w_dup", "typed"), ("w_rename", "typed")], ids=["new", "dup", "rename"]
)
def test_a_name_typed_right_before_the_press_is_the_one_used(loaded, place, key, expected):
    new_set(ledger.store(), place, "Ada", MINE, {1: "ablate"})
    page = at(loaded, place)
    page.text_input(key="w_set_name").set_value("typed")
    page.button(key=key).click().run()
    assert not page.exception and not page.error
    newest = ledger.store().list_sets()[-1]
    assert newest.name == expected and page.session_state["view"]["shift_set"] == str(newest.id)
    page.text_input(key="w_set_name").set_value("again")
    page.button(key=key).click().run()
    assert ledger.store().list_sets()[-1].name == "again"


def test_a_set_chosen_right_before_the_press_is_the_one_renamed(loaded, place):
    new_set(ledger.store(), place, "Ada", MINE, {1: "ablate"})
    other = new_set(ledger.store(), place, "Ada", "other", {1: "ablate"})
    page = at(loaded, place)
    next(s for s in page.selectbox if s.label == "Set").set_value(str(other.id))
    page.text_input(key="w_set_name").set_value("typed")
    page.button(key="w_rename").click().run()
    assert [s.name for s in ledger.store().list_sets()] == [MINE, "typed"]


def test_a_tpp_name_typed_right_before_the_press_is_the_one_saved(loaded):
    store_decisions(loaded, class_sets(loaded, MINE, "Ada"), 0, {3: "ablate"}, "Ada")
    page = view("tpp_matrix", session={"who": "Ada"})
    page.text_input(key="w_tpp_name").set_value("judge:x")
    page.button(key="w_tpp_save").click().run()
    assert not page.exception and not page.error
    newest = ledger.store().list_sets()[-1]
    assert newest.name == "judge:x" and page.session_state["view"]["tpp_set"] == f"set:{newest.id}"
    assert page.selectbox(key="w_tpp_set").value == f"set:{newest.id}"


def test_a_tpp_set_is_renamed_in_every_class_and_keeps_its_number_and_log(loaded):
    for row in (0, 1):
        store_decisions(loaded, class_sets(loaded, MINE, "Ada"), row, {3 + row: "ablate"}, "Ada")
    before = class_sets(loaded, MINE, "Ada")
    page = view("tpp_matrix", session={"who": "Ada"})
    page.text_input(key="w_tpp_name").set_value(" verbs ")
    page.button(key="w_tpp_rename").click().run()
    assert not page.exception and not page.error
    now = class_sets(loaded, page.session_state["view"]["tpp_set"], "Ada")
    assert (now.name, now.value, now.decisions) == ("verbs", f"set:{before.stored[0][1].id}", before.decisions)
    assert [s.id for _, s in now.stored] == [s.id for _, s in before.stored]
    assert class_sets(loaded, MINE, "Ada").empty
    page.text_input(key="w_tpp_name").set_value("  ")
    page.button(key="w_tpp_rename").click().run()
    assert "needs a name" in page.error[0].value


def test_only_ones_own_stored_tpp_set_is_renamed_and_to_a_free_name(loaded):
    store = ledger.store()
    for value in (MINE, "drafts"):
        store_decisions(loaded, class_sets(loaded, value, "Ada"), 0, {3: "ablate"}, "Ada")
    ways = [("drafts", "Ada", MINE, "have a set 'mine'"), ("drafts@Ada", "Bob", "his", "belongs to Ada"),
            (ATTRIBUTION, "Ada", "x", "nothing is stored"), ("name:new", "Ada", "x", "nothing is stored")]  # fmt: skip
    for k, (value, who, name, said) in enumerate(ways):
        with pytest.raises(DataError, match=said):
            set_presses.rename_classes(store, given(k, who), loaded, class_sets(loaded, value, who), name)
    assert [s.name for s in store.list_sets()] == [MINE, "drafts"]
    assert view("tpp_matrix", {"tpp_set": ATTRIBUTION}, {"who": "Ada"}).button(key="w_tpp_rename").disabled


def test_a_press_on_a_numbered_set_lands_in_it_though_it_was_renamed_meanwhile(loaded):
    store_decisions(loaded, class_sets(loaded, "drafts", "Ada"), 0, {3: "ablate"}, "Ada")
    sets = class_sets(loaded, f"set:{ledger.store().list_sets()[0].id}", "Ada")
    log, desk = PressLog(), class_desk(loaded, sets, "Ada")  # of a tab that does not know the new name
    made = log.sit(desk, loaded, "mean", 5)
    set_presses.rename_classes(ledger.store(), given(), loaded, sets, "verbs")
    classes = {"of": sets.classes[0], "latents": (4,)}, {"of": sets.classes[1], "latents": (5,)}
    apply(ledger.store(), log, [Press("p", k, made, "decide", decision="keep", **c) for k, c in enumerate(classes, 1)])
    apply(ledger.store(), log, [Press("p", 3, made, "undo", of=sets.classes[1])])
    now = class_sets(loaded, sets.value, "Ada")
    assert now.decisions[:2] == [{3: "ablate", 4: "keep"}, {}]
    assert {s.name for s in ledger.store().list_sets()} == {"verbs"}


def test_a_rating_chosen_right_before_the_press_is_the_one_saved(loaded):
    rows = [verdict(loaded, 3, who, "llm", {"gender": k}) for who, k in (("A", 4), ("B", 0))]
    ledger.store().add_verdicts(rows)
    page = view("judge", session={"who": "Ada"})
    page.button(key="w_settle_save").click().run()
    assert "choose a rating first" in page.error[0].value
    page.segmented_control(key="w_settle_3_gender").set_value(2)
    page.button(key="w_settle_save").click().run()
    (kept,) = ledger.store().verdicts(loaded.latents.sae_fingerprint, rater=verdicts.ADJUDICATED)
    assert kept.ratings == {"gender": 2} and not page.error


def test_a_name_of_a_person_typed_right_before_the_press_owns_the_set(loaded, place):
    script = """
import streamlit as st
from viewing import opened
from app import state
from app.views import shift_lab
from app.widgets import who
state.restore()
who.draw()
shift_lab.render(opened(state.config()))
"""
    page = AppTest.from_string(script, default_timeout=60).run()
    page.text_input(key="w_who").set_value("Eve")
    page.button(key="w_new").click().run()
    assert [s.who for s in ledger.store().list_sets()] == ["Eve"]


def test_rows_that_changed_with_the_press_are_not_decided_on(loaded, place):
    page = view("latents", {"strength": "top 20", "of": "shift"}, {"who": "Ada"})
    page.text_input(key="w_search").set_value("17")
    page.button(key="w_bulk_ablate").click().run()
    assert "changed before it was pressed" in page.error[0].value and ledger.store().list_sets() == []
    page.button(key="w_bulk_ablate").click().run()
    assert not page.error and len(ledger.store().list_sets()) == 1


def test_a_reset_is_to_the_latents_on_its_label(loaded, place):
    page = at(loaded, place, n="5")
    page.selectbox(key="w_n").set_value(10)
    page.button(key="w_top").click().run()
    assert "changed before it was pressed" in page.error[0].value and ledger.store().list_sets() == []
    page.button(key="w_top").click().run()
    assert len(ledger.store().ablated(find_set(ledger.store(), place, "Ada").id, 10**6)) == 10


@pytest.mark.parametrize("key", ["w_rename", "w_top"])
def test_a_set_of_somebody_else_is_refused_on_the_page(loaded, place, key):
    theirs = new_set(ledger.store(), place, "Bob", "his", {1: "ablate"})
    page = at(loaded, place, shift_set=str(theirs.id))
    page.text_input(key="w_set_name").set_value("mine now")
    page.button(key=key).click().run()
    assert "belongs to Bob" in page.error[0].value.replace("\\", "")
    assert ledger.store().list_sets() == [theirs] and len(ledger.store().history(theirs.id)) == 1
    assert ledger.store().dev_looks(theirs.id) == 0
    page.text_input(key="w_set_name").set_value("copy of his")
    page.button(key="w_dup").click().run()
    assert [(s.name, s.who, s.copied_from) for s in ledger.store().list_sets()[1:]] == [
        ("copy of his", "Ada", theirs.id)
    ]


def test_a_file_is_imported_once_and_its_numbers_are_said(loaded):
    store_decisions(loaded, class_sets(loaded, MINE, "Ada"), 0, {3: "ablate"}, "Ada")
    sets = class_sets(loaded, MINE, "Ada")
    made = export.exported(loaded, "x@y", "tpp", sets.task, sets.stored)
    made = replace(made, decisions=(*made.decisions, ExportedDecision(8, "keep", "pilot")))
    page = view("tpp_matrix", session={"who": "Ada"})
    page.button(key="w_import_tpp_go").click().run()
    assert "choose a file first" in page.error[0].value
    page.file_uploader(key="w_import_tpp").set_value(("set.json", export.set_to_json(made).encode(), "text/json"))
    page.button(key="w_import_tpp_go").click().run()
    said = texts(page).replace("\\", "")
    assert "1 decision imported as 'x@y (imported)'; 1 decision left out" in said and "'pilot' (1)" in said
    assert "their log before the export: unknown; dev looks before it: 0, as the file says" in said
    assert class_sets(loaded, page.session_state["view"]["tpp_set"], "Ada").name == "x@y (imported)"
    assert class_sets(loaded, MINE, "Ada").decisions[0] == {3: "ablate"}


def test_an_export_holds_no_latent_that_the_sae_lacks(loaded, place):
    wide = new_set(ledger.store(), place, "Ada", MINE, {5: "ablate", 99_999: "ablate"})
    made = export.exported(loaded, MINE, "shift", place.task, [("", wide)])
    assert [d.latent for d in made.decisions] == [5] and [step.latent for step in made.log] == [5]


def test_a_verdict_on_a_latent_that_the_sae_lacks_kills_no_page(loaded):
    ledger.store().add_verdicts([verdict(loaded, 99_999, "old import", "imported", {"nurse": 3})])
    for name in ("judge", "latents", "shift_lab"):
        assert not view(name, {"latent": "99999"}).exception
    assert verdicts.current(loaded) == []


def test_what_was_refused_is_shown_at_its_desk_alone_and_goes_once_something_succeeds(loaded, place):
    def sent(seq: int, latent: int, made) -> dict[str, object]:
        press = {"client": "p", "seq": seq, "made": asdict(made), "kind": "decide", "of": "", "latents": [latent]}
        return {"client": "p", "seq": seq, "log": [press | {"decision": "ablate", "reason": ""}]}

    page = at(loaded, place)
    log: PressLog = page.session_state["press_log"]
    desk = log.desks[log.at]
    made = log.sit(desk, loaded, "mean", 20)
    session = {"who": "Ada", "press_log": log}
    refused = view("shift_lab", session=session | {"lab": {"did": sent(1, 10**6, made)}}, before="shift_lab._did()")
    assert "none of this SAE" in refused.error[0].value
    kept = {"press_problems": refused.session_state["press_problems"]}
    assert not view("tpp_matrix", session=session | kept).error
    fine = session | {"press_problems": {desk.name: (DataError("not there"), True)}, "lab": {"did": sent(2, 5, made)}}
    assert not view("shift_lab", session=fine, before="shift_lab._did()").error
    done, _ = carry_out(ledger.store(), log, read_presses(sent(2, 5, made)))
    assert done == [] and ledger.store().ablated(own_set(ledger.store(), place, "Ada").id, 10**6) == [5]
