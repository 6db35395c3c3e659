"""What a browser can send over the websocket in place of a press, a wish or an open latent."""

import pytest
from refusals import is_one_line, refused, refused_or, shown
from viewing import opened, view

from app.deciding.presses import MOST_LATENTS, Press, Refused, read_press, read_presses
from app.payloads.wishes import read_cell, read_wishes
from app.services import ledger
from saeeval_core.config import RunConfig

pytestmark = pytest.mark.hostile

ODD = [
    None,
    True,
    -1,
    0,
    3.7,
    float("nan"),
    float("inf"),
    2**53,
    2**70,
    "",
    "3",
    "²",
    "\ud800",
    "a\0b",
    "x" * 20_000,
    [],
    [1],
    [[]],
    {},
    {"a": 1},
]
MADE = {"desk": "d", "choice": "mine", "task": "bios", "protocol": "robust", "seed": 0, "ablation": "mean", "n": 20}
PRESS = {
    "client": "c",
    "seq": 1,
    "made": MADE,
    "kind": "decide",
    "of": "",
    "latents": [1],
    "decision": "ablate",
    "reason": "",
}


def check(press: Press) -> None:
    assert type(press.seq) is int and all(type(i) is int and 0 <= i < 2**53 for i in press.latents)
    for text in (press.client, press.of, press.reason, press.made.desk, press.made.choice, press.made.task):
        text.encode("utf-8")


@pytest.mark.parametrize("odd", ODD, ids=shown)
@pytest.mark.parametrize("key", PRESS)
def test_an_odd_value_in_a_press(key, odd):
    if press := refused_or(lambda: read_press(PRESS | {key: odd})):
        check(press)


@pytest.mark.parametrize("odd", ODD, ids=shown)
@pytest.mark.parametrize("key", MADE)
def test_an_odd_value_in_where_it_was_made(key, odd):
    if press := refused_or(lambda: read_press(PRESS | {"made": MADE | {key: odd}})):
        check(press)


@pytest.mark.parametrize("odd", ODD, ids=shown)
def test_a_message_that_is_none(odd):
    refused_or(lambda: read_presses(odd))
    for press in refused_or(lambda: read_presses({"log": odd})) or ():
        is_one_line(str(press.why)) if isinstance(press, Refused) else check(press)


@pytest.mark.parametrize(
    "latents",
    [[-1], [3.7], ["3"], [True], [2**60], [None], [[1]], list(range(MOST_LATENTS + 1)), "123", {"0": 1}],
    ids=shown,
)
def test_latents_that_are_none(latents):
    refused(lambda: read_press(PRESS | {"latents": latents}))


@pytest.mark.parametrize("odd", ODD, ids=shown)
@pytest.mark.parametrize("key", ["n", "cell", "scale", "ablation", "read", "open", "client", "seq"])
def test_an_odd_wish(key, odd):
    got = read_wishes({key: odd})
    got.client.encode("utf-8")
    assert type(got.seq) is int and got.read is (key == "read" and odd is True)
    assert got.open is None or 0 <= got.open <= 10**6
    assert read_cell(got.link.get("cell") or "0,0") is not None


@pytest.fixture(scope="module")
def sent() -> list:
    return [*ODD, {"log": ODD}, {"log": [PRESS | {"made": {}}]}, {"latent": 2**40}, {"latent": -1}, {"log": [PRESS]}]


MESSAGES = [
    ("shift_lab", "lab", "did", "_did"),
    ("tpp_matrix", "tpp", "did", "_did"),
    ("latents", "latent_card", "go", "_go"),
]


@pytest.mark.parametrize("at", range(0, len(ODD) + 5, 2))
@pytest.mark.parametrize(("name", "key", "field", "call"), MESSAGES)
def test_a_page_that_is_sent_this_stays_up(planted_app, sent, name, key, field, call, at):
    opened(RunConfig())
    page = view(name, {}, {key: {field: sent[at]}}, before=f"{name}.{call}()")
    assert not page.exception
    assert ledger.store().list_sets() == [], "nothing is decided by what is no press of this page"
