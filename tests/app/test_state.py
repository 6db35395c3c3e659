"""The link: every value restored, links of earlier versions resolved to the view they meant, nothing else carried."""

import pytest
from streamlit.testing.v1 import AppTest


def link(**url: str) -> AppTest:
    """A page that restores its values from a link and mirrors them back."""
    at = AppTest.from_string("from app import state\nstate.restore()\nstate.write_url()")
    for name, value in url.items():
        at.query_params[name] = value
    return at.run()


@pytest.mark.parametrize(
    ("old", "shift", "tpp"),
    [
        ("7", "7", "mine"),
        ("mine", "mine", "mine"),
        ("attribution", "mine", "attribution"),
        ("my own set", "mine", "my own set"),
        ("mine@Bob", "mine", "mine@Bob"),
        ("judge:LocalJudge", "mine", "judge:LocalJudge"),
        ("", "mine", "mine"),
    ],
)
def test_the_set_of_an_old_link_goes_to_the_view_it_meant(old, shift, tpp):
    at = link(set=old, n="5")
    found = at.session_state["view"]
    assert (found["shift_set"], found["tpp_set"], found["n"]) == (shift, tpp, "5")
    assert "set" not in at.query_params and "set" not in found


def test_what_a_link_says_itself_comes_before_its_old_spelling():
    found = link(set="7", shift_set="9", tpp_set="attribution").session_state["view"]
    assert (found["shift_set"], found["tpp_set"]) == ("9", "attribution")


def test_the_two_views_keep_their_sets_apart():
    at = link(shift_set="7", tpp_set="drafts")
    assert at.query_params["shift_set"] in ("7", ["7"]) and at.query_params["tpp_set"] in ("drafts", ["drafts"])
