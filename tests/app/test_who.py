"""Who is deciding: a guest of the browser until a name is given, names exactly as typed, and taking over."""

import pytest
from streamlit.testing.v1 import AppTest
from viewing import opened

from app.deciding.desk import shift_desk, shift_place
from app.deciding.presses import PressLog
from app.services import ledger, scoring
from saeeval_core.config import RunConfig
from saeeval_core.ledger.places import new_set

SCRIPT = """
import streamlit as st
from app import state
from app.widgets import who
state.restore()
who.draw()
st.session_state["is"] = state.who()
"""


@pytest.fixture
def loaded(planted_app):
    return opened(RunConfig())


@pytest.fixture
def place(loaded):
    return shift_place(loaded, scoring.shift_directions(loaded)[0])


def page(**session) -> AppTest:
    at = AppTest.from_string(SCRIPT, default_timeout=30)
    for k, v in session.items():
        at.session_state[k] = v
    return at.run()


def named(at: AppTest, name: str) -> AppTest:
    return at.text_input(key="w_who").set_value(name).run()


def test_no_two_guests_are_the_same(loaded):
    first, second = page(), page()
    assert first.session_state["is"].startswith("guest ") and first.session_state["is"] != second.session_state["is"]


@pytest.mark.parametrize("name", ["Name", "Namea", "name", "Ann  Lee", "Ångström; é=ü, 100 %", "guest of honour"])
def test_names_are_kept_as_typed(loaded, name):
    at = named(page(), f"  {name} ")
    assert at.session_state["is"] == name and not at.error


def test_the_name_of_a_guest_is_no_name(loaded):
    at = page()
    guest = at.session_state["is"]
    at = named(at, "guest 0123456789")
    assert "name of a guest" in at.error[0].value and at.session_state["is"] == guest


def test_giving_no_name_again_is_being_the_same_guest(loaded):
    at = page()
    guest = at.session_state["is"]
    assert named(named(at, "Ada"), "").session_state["is"] == guest


def test_a_name_offers_what_was_decided_before_it(loaded, place):
    at = page(guest="guest 0123456789")
    made = new_set(ledger.store(), place, "guest 0123456789", "mine", {1: "ablate", 2: "keep"})
    new_set(ledger.store(), place, "guest 9876543210", "mine", {1: "ablate"})
    at = named(at, "Ada")
    assert "2 decisions made" in at.caption[0].value
    at = at.button(key="w_take_over").click().run()
    assert "Yours now" in at.success[0].value and not at.caption
    assert [(s.id, s.who) for s in ledger.store().list_sets()][0] == (made.id, "Ada")
    assert not at.run().success


def test_what_is_left_to_the_guest_is_not_offered_again(loaded, place):
    at = page(guest="guest 0123456789")
    new_set(ledger.store(), place, "guest 0123456789", "mine", {1: "ablate"})
    at = named(at, "Ada").button(key="w_leave_guest").click().run()
    assert not at.caption and ledger.store().list_sets()[0].who == "guest 0123456789"


def test_a_damaged_store_leaves_the_field(loaded, monkeypatch, tmp_path):
    bad = tmp_path / "bad.sqlite"
    bad.write_bytes(b"this is not a database" * 100)
    monkeypatch.setenv("SAEEVAL_STORE", str(bad))
    assert not named(page(), "Ada").exception


def test_a_tab_that_was_not_first_passes_what_it_decided_to_the_browsers_guest(loaded, place):
    script = (
        SCRIPT
        + """
from app.widgets import pressing
st.session_state["desks"] = {n: d.who for n, d in pressing.press_log().desks.items()}
"""
    )
    at = AppTest.from_string(script.replace("who.draw()", "who._other_guest(); who.draw()"), default_timeout=30)
    desk = shift_desk(loaded, scoring.shift_directions(loaded)[0], "guest 0123456789", "mine")
    log = PressLog()
    log.sit(desk, loaded, "mean", 20)
    new_set(ledger.store(), place, "guest 0123456789", "mine", {1: "ablate"})
    for name, value in (
        ("guest", "guest 0123456789"),
        ("press_log", log),
        ("who_is_deciding", {"guest": "9876543210"}),
    ):
        at.session_state[name] = value
    at.run()
    assert not at.exception and at.session_state["is"] == "guest 9876543210"
    assert at.session_state["desks"] == {desk.name: "guest 9876543210"}
    assert [s.who for s in ledger.store().list_sets()] == ["guest 9876543210"]


@pytest.mark.parametrize("odd", [3, "x", "9876543210' or 1=1", None, {"a": 1}], ids=repr)
def test_an_odd_id_of_a_guest_is_none(loaded, odd):
    at = AppTest.from_string(SCRIPT.replace("who.draw()", "who._other_guest(); who.draw()"), default_timeout=30)
    at.session_state["guest"] = "guest 0123456789"
    at.session_state["who_is_deciding"] = {"guest": odd}
    assert at.run().session_state["is"] == "guest 0123456789"
