"""Several people: how many each decided, how far two sets agree, the next conflict, an adjudicated set and its provenance."""

import pytest
from viewing import opened, texts, view

from app.deciding import team
from app.deciding.desk import shift_place, tpp_place
from app.services import ledger, scoring
from saeeval_core.config import RunConfig
from saeeval_core.errors import DataError
from saeeval_core.ledger.decisions import Step
from saeeval_core.ledger.places import new_set
from saeeval_core.ledger.store import PressId

ADA = {1: "ablate", 2: "ablate", 3: "keep", 4: "ablate", 5: "unsure", 7: "keep"}
BOB = {1: "ablate", 2: "keep", 3: "keep", 4: "keep", 5: "ablate", 6: "ablate"}


@pytest.fixture
def loaded(planted_app):
    return opened(RunConfig())


@pytest.fixture
def place(loaded):
    return shift_place(loaded, scoring.shift_directions(loaded)[0])


@pytest.fixture
def two(loaded, place):
    """Sets of two people."""
    hers = new_set(ledger.store(), place, "Ada", "mine")
    reasons = {2: "pronouns"}
    ledger.store().replay(hers.id, "Ada", [Step(i, new, reasons.get(i, "")) for i, new in ADA.items()])
    new_set(ledger.store(), place, "Bob", "mine", BOB)
    return team.decided(ledger.store(), place, loaded.latents.n_latents)


def test_agreement_is_of_what_both_ablate_or_keep(two):
    a, b = two
    assert [d.label for d in two] == ["mine (Ada)", "mine (Bob)"]
    assert (a.counts["ablate"], a.counts["keep"], a.counts["unsure"]) == (3, 2, 1)
    found = team.agreed(a, b)
    assert found.n == 4 and found.exact.value == 0.5 and found.exact.ci is not None
    assert team.same(a, b) == {1: "ablate", 3: "keep"} and team.conflicts(a, b) == [2, 4]


def test_a_copy_is_no_second_opinion(two, loaded, place):
    store = ledger.store()
    store.duplicate_set(two[0].stored.id, "copy", "Eve", 256)
    a, b, copy = team.decided(store, place, 256)
    assert team.copied(a, copy) is copy is team.copied(copy, a) and team.copied(a, b) is None
    at = view("judge", {"tab": "team"}, {"who": "Eve"})
    at.selectbox(key="w_team_B").set_value(copy.stored.id).run()
    assert any("what was copied agrees by itself" in w.value for w in at.warning)


def test_an_adjudicated_set_says_who_had_said_what(two, loaded, place):
    a, b = two
    store, press = ledger.store(), PressId("button", 1, "Eve", "settle")
    made = team.start(store, press, place, a, b)
    assert team.start(store, press, place, a, b) is None
    every = team.decided(store, place, loaded.latents.n_latents)
    ruling = team.ruling_on(every, a, b, "Eve")
    assert ruling.stored.id == made.id and team.ruling_on(every, a, b, "Ada") is None
    for _ in range(2):
        team.settle(store, PressId("button", 2, "Eve", "settle"), ruling, a, b, 2, "keep")
    log = {d.latent: (d.who, d.new, d.reason) for d in store.history(made.id)}
    assert len(store.history(made.id)) == 3 and made.who == "Eve"
    assert log[1] == ("Eve", "ablate", "agreed by mine (Ada) and mine (Bob)")
    assert log[2] == ("Eve", "keep", "settled by Eve: mine (Ada) said ablate, mine (Bob) said keep")


def test_sets_that_agree_on_nothing_start_none(loaded, place):
    store = ledger.store()
    sets = [new_set(store, place, who, "mine", {1: d}) for who, d in (("Ada", "keep"), ("Bob", "ablate"))]
    a, b = team.decided(store, place, loaded.latents.n_latents)
    with pytest.raises(DataError, match="agree on no latent"):
        team.start(store, PressId("button", 1, "Eve", "settle"), place, a, b)
    assert store.list_sets() == sets


def test_conflicts_are_settled_one_after_the_other_on_the_page(two, loaded):
    at = view("judge", {"tab": "team"}, {"who": "Eve"})
    said = texts(at)
    assert not at.exception and "n = 4" in said and "same decision: 0.5" in said and "2 conflicts" in said
    at.button(key="w_team_start").click().run()
    assert "Next conflict: latent 2" in texts(at) and "mine (Ada) says ablate: pronouns" in texts(at)
    at.button(key="w_team_keep").click().run()
    assert "Next conflict: latent 4" in texts(at)
    at.button(key="w_team_ablate").click().run()
    assert not at.exception and not at.error and "Every conflict is settled" in texts(at)
    made = ledger.store().list_sets()[-1]
    assert made.who == "Eve" and ledger.store().decisions(made.id, 256) == {
        1: "ablate",
        2: "keep",
        3: "keep",
        4: "ablate",
    }
    at.button(key="w_team_open").click().run()
    assert at.session_state["view"]["shift_set"] == str(made.id) and at.session_state["view"]["pair"]


def test_one_person_alone_and_nobody(loaded):
    assert "Nobody has decided" in texts(view("judge", {"tab": "team"}))
    new_set(ledger.store(), tpp_place(loaded, "nurse"), "Ada", "mine", {1: "ablate"})
    at = view("judge", {"tab": "team"})
    assert at.selectbox(key="w_team_place").value == "TPP latents of nurse"  # where somebody decided
    assert not at.exception and "needs two sets" in texts(at)
