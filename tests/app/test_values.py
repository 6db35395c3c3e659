"""Values from a browser or an old store that name what is not there: read as nothing, shown as such, no page fails."""

import pytest
from sqlalchemy import text
from viewing import opened, texts, view

from app.deciding.desk import shift_place, tpp_place
from app.payloads.wishes import read_cell, read_wishes
from app.services import ledger, scoring
from saeeval_core.config import RunConfig
from saeeval_core.ledger.places import new_set

BEYOND = 99_999


@pytest.fixture
def loaded(planted_app):
    return opened(RunConfig())


@pytest.fixture
def old_rows(loaded):
    """Sets as an earlier version stored them: one latent of this SAE, one beyond its width."""
    store = ledger.store()
    places = [shift_place(loaded, d) for d in scoring.shift_directions(loaded)]
    places += [tpp_place(loaded, c) for c in loaded.task_set.tpp[1]]
    return [new_set(store, place, "Ada", "mine", {5: "ablate", BEYOND: "ablate"}) for place in places]


@pytest.mark.parametrize("name", ["shift_lab", "tpp_matrix", "latents", "overview", "compare", "judge"])
def test_a_stored_latent_beyond_the_width_kills_no_page(loaded, old_rows, name):
    at = view(name, {"latent": "5"}, {"who": "Ada"})
    assert not at.exception and not at.error, [*at.exception, *at.error]
    if name in ("shift_lab", "tpp_matrix"):
        assert str(BEYOND) in texts(at) and "left out" in texts(at)


def test_a_stored_latent_beyond_the_width_stays_in_the_log_and_out_of_the_set(loaded, old_rows):
    store, width = ledger.store(), loaded.latents.n_latents
    assert store.ablated(old_rows[0].id, width) == [5] and store.beyond(old_rows[0].id, width) == [BEYOND]
    with store._read() as c:
        assert c.execute(text("select count(*) from decisions where latent = :i"), {"i": BEYOND}).scalar_one() > 1


ODD = [None, True, -1, 3.7, "3", "²", [1], {"a": 1}, 2**70, "\ud800", "x" * 10_000]


@pytest.mark.parametrize("odd", ODD, ids=lambda o: repr(o)[:20])
def test_odd_values_of_the_tpp_page_are_no_wishes(odd):
    got = read_wishes({k: odd for k in ("n", "cell", "scale", "ablation", "open", "client", "seq")})
    assert got.link == {} and got.open is None
    assert got.read is False and len(got.client) <= 80


def test_wishes_are_read():
    sent = {
        "n": 8,
        "cell": "1,2",
        "scale": "relative",
        "ablation": "zero",
        "open": 0,
        "read": True,
        "client": "a",
        "seq": 3,
    }
    got = read_wishes(sent)
    assert got.link == {"n": "8", "cell": "1,2", "scale": "relative", "ablation": "zero"}
    assert (got.open, got.read, got.client, got.seq) == (0, True, "a", 3)


@pytest.mark.parametrize("cell", ["", "9²,0", "1,", "-1,0", "1,2,3", "1.0,2", "1, 2", "٣,1"])
def test_what_is_no_cell(cell):
    assert read_cell(cell) is None


MESSAGES = [
    ("shift_lab", "lab", "did", "_did"),
    ("tpp_matrix", "tpp", "did", "_did"),
    ("latents", "latent_card", "go", "_go"),
]


@pytest.mark.parametrize("odd", [3, [1], {"log": 3}, {"log": [[]]}, {"latent": 3.7}], ids=repr)
@pytest.mark.parametrize(("name", "key", "field", "call"), MESSAGES)
def test_odd_messages_of_components_kill_no_page(loaded, odd, name, key, field, call):
    at = view(name, {}, {key: {field: odd}}, before=f"{name}.{call}()")
    assert not at.exception
