"""Values in links: the parser of every name, and every view on combinations of them."""

import pytest
from streamlit.testing.v1 import AppTest

from app import shell, state

pytestmark = pytest.mark.hostile

NUMBERS = "-1 --5 ² 9² ٣ 1e3 3.7 nan -inf 99999999999 1,2,3 9²,0 -1,0 ,1 nan,nan 1e99,1"
ODD = [
    *NUMBERS.split(),
    *("", " ", "9" * 5000, "None", "[]", "<b>", "%00", "'; drop table sets", "a\nb", "a\0b", "\ud800", "\u202e"),
    *("x" * 300, "x" * 20_000, "~nobody/x", "../../etc", "hub:", "a/b/c/d", "judge:", "@", "x@y", "judge:nobody@x"),
    *("javascript:alert(1)", "![x](http://127.0.0.1:1/x)", "{{7*7}}", "${7*7}", "$(id)", "\x1b[31m"),
]
ON_PAGES = ["-1", "9²,0", "nan,nan", "99999999999", "", "9" * 5000, "a\nb", "a\0b", "\u202e", "x" * 300, "x" * 20_000]
ON_PAGES += ["~nobody/x", "judge:nobody@x", "<b>", "![x](http://127.0.0.1:1/x)", "{{7*7}}"]
"""Half characters are not among them: the encoding of an address has none."""
PLAIN = [name for name in state.DEFAULTS if name not in ("model", "sae", "task", "present")]


@pytest.mark.parametrize("text", ODD, ids=lambda t: ascii(t)[:24])
def test_a_value_is_read_or_it_is_not(text, record_property):
    for name, kind in state.KINDS.items():
        read = kind.read(text)
        if read is not None:
            read.encode("utf-8")
            assert "\0" not in read and len(read) <= 8000 and kind.read(read) == read, name
    record_property("tried", len(state.KINDS))


VIEWS = list(shell.VIEWS)


def on_views() -> list:
    """(view, text): every text on two views, in the long form on all."""
    cases = []
    for i, text in enumerate(ON_PAGES):
        for j, view in enumerate(VIEWS):
            marks = [] if (j - i) % len(VIEWS) < 2 else [pytest.mark.soak]
            cases.append(pytest.param(view, text, id=f"{view}-{ascii(text)[:24]}", marks=marks))
    return cases


@pytest.mark.parametrize(("view", "text"), on_views())
def test_a_view_stays_up(planted_app, view, text):
    test = planted_app(view, **dict.fromkeys(PLAIN, text))
    assert not test.exception and test.session_state["ran"]
    for box in (*test.warning, *test.error):
        assert "\n" not in box.value and "Traceback" not in box.value


SIDEBAR = {
    "model": ("\0", "../..", "~nobody/x", "hub:a/b", "<b>"),
    "sae": ("", "../..", "hub:a/b", "<b>"),
    "task": ("", "\0", "../..", "~nobody/x", "hub:a/b", "<b>"),
}
"""Those that tests/app/test_odd_links.py has not."""


@pytest.mark.parametrize(("name", "text"), [(n, t) for n in SIDEBAR for t in SIDEBAR[n]], ids=lambda v: ascii(v)[:12])
def test_the_sidebar_stays_up(planted_app, name, text):
    test = AppTest.from_function(_sidebar, default_timeout=30)
    test.query_params[name] = text
    test.run()
    assert not test.exception and test.sidebar.number_input(key="w_seed").value == 0


def _sidebar() -> None:
    from app import shell

    shell.main()


UNKNOWN = {
    "who": "Ada",
    "__class__": "x",
    "own_texts": "/etc/passwd",
    "set": "../../x",
    "streamlit": "1",
    "embed": "true",
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_name_that_no_link_carries_changes_nothing(planted_app, name):
    test = planted_app("shift_lab", **{name: UNKNOWN[name]})
    assert not test.exception and "who" not in test.session_state
    named = {"target": "profession"} | ({"tpp_set": "../../x"} if name == "set" else {})
    assert test.session_state["view"] == dict(state.DEFAULTS) | named
