"""The smallest set that does it: the search's answer, its progress, stopping it, and taking the set over."""

import time

import pytest
from viewing import opened

from app.deciding import set_presses
from app.deciding.desk import shift_place
from app.jobs import coalition
from app.jobs.coalition import ERASURE, SHIFT, CoalitionJob, Search
from app.services import ledger, quiet, scoring
from app.widgets import export
from saeeval_core.config import RunConfig
from saeeval_core.ledger.places import find_set
from saeeval_core.ledger.store import PressId
from saeeval_core.scores.coalitions import by_erasure, by_shift
from saeeval_core.texts.parts import DEV


@pytest.fixture
def loaded(planted_app):
    """The planted bundle, as views get it."""
    return opened(RunConfig())


def search(loaded, score: str) -> Search:
    d = scoring.default_direction(loaded, scoring.shift_directions(loaded)[0].pair)
    return Search(loaded, d.pair, d.task.target.column, DEV, "mean", score)


def test_it_finds_what_the_core_finds(loaded):
    asked = search(loaded, SHIFT)
    job = CoalitionJob(asked)
    job.run()
    view = scoring.shift_view(loaded, asked.pair, asked.target, DEV).mean_ablated
    assert job.status == "done" and job.found == by_shift(view)
    assert job.whole == view.score(job.found.ids).score and 0 < job.share < 1
    job = CoalitionJob(search(loaded, ERASURE))
    job.run()
    erasure = scoring.shift_erasure(loaded, asked.pair, asked.target, DEV)
    assert job.found == by_erasure(erasure, [int(i) for i in view.attribute_ranking[:100]])
    assert job.whole == erasure.score(job.found.ids).score


def test_it_can_be_stopped_and_keeps_what_it_found(loaded):
    job = CoalitionJob(search(loaded, ERASURE))
    watch = job._watch

    def stops(found, share):
        if found.ids:
            job.cancel()
        return watch(found, share)

    job._watch = stops
    job.run()
    assert job.status == "done" and job.found.cancelled and len(job.found.ids) == 1 and job.whole.value is not None


def test_it_steps_aside_for_presses(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(quiet.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(quiet.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))
    quiet.note_press()
    assert quiet.pressed_since(99.0) and not quiet.pressed_since(100.0)
    quiet.wait(lambda: False)
    assert now[0] == pytest.approx(100.4, abs=0.06)
    quiet.note_press()
    quiet.wait(lambda: True)
    assert now[0] == pytest.approx(100.4, abs=0.06), "whoever stops it does not wait"


def test_a_set_of_a_search_is_never_a_persons_judgement(loaded):
    store, place = ledger.store(), shift_place(loaded, scoring.shift_directions(loaded)[0])
    given = PressId("button", 1, "Ada", "set")
    made = set_presses.found_by_search(store, given, place, (5, 17), "S, dev")
    assert made.name == "found by greedy search (S, dev)" and store.ablated(made.id, 100) == [5, 17]
    assert set_presses.found_by_search(store, given, place, (5, 17), "S, dev") is None
    again = set_presses.found_by_search(store, PressId("button", 2, "Ada", "set"), place, (5,), "S, dev")
    assert again.name == "found by greedy search (S, dev) 2"
    out = export.exported(loaded, made.name, "shift", place.task, [("", made)])
    assert {d.rater_kind for d in out.decisions} == {"search"}
    assert all(d.reason == "found by greedy search (S, dev)" for d in out.decisions)


def test_the_page_searches_shows_the_path_and_takes_the_set_over(planted_app, loaded):
    test = planted_app("shift_lab")
    test = test.button(key="w_coalition").click().run()
    assert not test.exception
    job = coalition.job_of(search(loaded, SHIFT))
    end = time.monotonic() + 60
    while job.active and time.monotonic() < end:
        time.sleep(0.02)
    test = test.run()
    assert not test.exception and any(job.found.words == t.value for t in test.text)
    shown = test.dataframe[0].value
    assert list(shown["latent"]) == list(job.found.ids) and shown["gain"].sum() == pytest.approx(
        job.found.scores[-1], abs=0.01
    )
    test = test.button(key="w_coalition_use").click().run()
    place = shift_place(loaded, scoring.default_direction(loaded, job.search.pair))
    made = find_set(ledger.store(), place, test.session_state["guest"], test.session_state["view"]["shift_set"])
    assert not test.exception and made.name == "found by greedy search (S, dev)"
    assert ledger.store().ablated(made.id, 10**6) == sorted(job.found.ids)
    assert find_set(ledger.store(), place, test.session_state["guest"]) is None, "what was decided stays as it is"
