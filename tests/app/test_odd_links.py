"""Links with odd values: the parsers of app.state for hundreds of them, and whole pages that stay up and say which."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import shell, state

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = (
    "-1 --5 +-1 ² 9² ٣ 1_0 1e3 3.7 0x10 nan inf -inf 99999999999 007 1,2,3 9²,0 -1,0 0,-1 1, ,1 nan,nan 50,5 1e99,1"
)
ODD = [
    *NUMBERS.split(),
    *("", " ", "9" * 30, "9" * 5000, "None", "True", "[]", "{}", "<b>", "%00", "'; drop table sets", "a\nb"),
    *("a\0b", "\0", "\ud800", "x" * 300, "x" * 20_000, "~nobody/x", "../../etc", "hub:", "hub:/", "a/b/c/d", "~"),
    *("judge:", "@", "x@", "@y", "judge:nobody"),
]
PLAIN = [name for name in state.DEFAULTS if name not in ("model", "sae", "task")]


@pytest.mark.parametrize("name", state.DEFAULTS)
def test_a_kind_gives_a_value_that_can_be_used_or_none(name):
    kind = state.KINDS[name]
    for text in ODD:
        read = kind.read(text)
        if read is None:
            continue
        read.encode()
        assert "\0" not in read and len(read) <= 8000 and kind.read(read) == read
        if isinstance(kind, state.Whole):
            assert kind.low <= int(read) <= kind.high
        if isinstance(kind, state.TwoNumbers):
            assert all(0 <= float(x) <= kind.high for x in read.split(","))


def test_numbers_are_read_as_people_mean_them():
    assert [state.Whole(0, 10).read(t) for t in ("7", " 7", "007", "+7", "11", "-1", "²", "٣")] == ["7"] * 4 + [
        None
    ] * 4
    assert [state.Whole(1, 10, clamp=True).read(t) for t in ("0", "-5", "99", "x")] == ["1", "1", "10", None]
    assert [state.TwoNumbers(100, whole=False).read(t) for t in ("0.5, 20", "1e1,5", "5", "1,101")] == [
        *("0.5,20", "1e1,5"),
        *(None, None),
    ]
    assert [state.TwoNumbers(9, whole=True).read(t) for t in ("0,9", "0.5,1", "9²,0")] == ["0,9", None, None]


@pytest.mark.parametrize("name", state.DEFAULTS)
def test_every_default_is_taken_from_a_link_without_a_word(name):
    at = AppTest.from_string("from app import state\nstate.restore()")
    at.query_params[name] = state.DEFAULTS[name]
    assert at.run().session_state["view"] == state.DEFAULTS and not at.session_state["unusable"]


@pytest.mark.parametrize("view", shell.VIEWS)
@pytest.mark.parametrize("text", ["-1", "99999", "a\0b"])
def test_odd_values_of_all_names_at_once_leave_a_view_up(planted_app, view, text):
    test = planted_app(view, **dict.fromkeys([n for n in PLAIN if n != "present"], text))
    assert not test.exception and test.session_state["ran"]
    assert any("seed=" in w.value.replace("\\", "") for w in test.warning) == (state.KINDS["seed"].read(text) is None)


def test_a_presented_view_stays_up_too(planted_app):
    for view in shell.VIEWS:
        test = planted_app(view, present="1", latent="99999", cell="7,7", n="0", of="x", tpp_set="@")
        assert not test.exception


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("seed", "-1"),
        ("seed", "99999"),
        ("n", "²"),
        ("latent", "--5"),
        ("sae", "~nobody/x"),
        ("sae", "x" * 300),
        ("sae", "a\0b"),
        ("model", "x" * 300),
        ("model", ""),
        ("task", "x" * 300),
        ("protocol", "robst"),
    ],
)
def test_the_sidebar_stays_up_so_that_the_value_can_be_repaired(planted_app, name, text):
    test = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=30)
    test.query_params[name] = text
    test.run()
    assert not test.exception
    assert test.sidebar.number_input(key="w_seed").value == 0 and test.sidebar.selectbox(key="w_task")
    said = [w.value for w in test.warning if name in w.value] + [e.value for e in test.error]
    said += [s.value for s in test.subheader if s.value == "Not run yet"]
    assert len(said) == 1 and "\n" not in said[0]
    if name == "seed":
        test.sidebar.number_input(key="w_seed").set_value(3).run()
        assert not test.exception and not test.warning, "a value chosen since then is no longer named"
