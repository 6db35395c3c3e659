"""Fresh probes in the background: nobody waits, the newest set counts, and what cannot be read says why."""

import threading
import time

import pytest
from synthetic import make_loaded

from app.services import fresh_matrix, fresh_reader, scoring
from saeeval_core.errors import DataError
from saeeval_core.texts.parts import DEV


@pytest.fixture(scope="module")
def loaded():
    return make_loaded(600)


@pytest.fixture
def ask(loaded, request):
    direction = scoring.shift_directions(loaded)[0]
    place = request.node.name

    def asked(ids, *, wait=True):
        end = time.monotonic() + 60
        while True:
            found = fresh_reader.still(place, loaded, direction.pair, direction.task.target.column, DEV, ids)
            if found is not None or not wait or time.monotonic() > end:
                return found
            time.sleep(0.01)

    return asked


def test_it_is_what_a_run_reads_and_the_probes_lean_on_nothing_that_is_ablated(loaded, ask):
    direction = scoring.shift_directions(loaded)[0]
    view = scoring.shift_erasure(loaded, direction.pair, direction.task.target.column, DEV)
    found = ask((12, 13))
    assert found.readable is scoring.fresh(view, (12, 13)) and not found.problem
    assert found.carriers == tuple(view.carriers((12, 13)))
    assert not {12, 13} & {latent for latent, _ in found.carriers}


def test_of_sets_that_follow_each_other_quickly_only_the_newest_is_read(ask, monkeypatch):
    read, go = [], threading.Event()

    def slow(loaded, pair, target, part, ids):
        go.wait(30)
        read.append(ids)
        return fresh_reader.Still(problem=str(ids))

    monkeypatch.setattr(fresh_reader, "_read", slow)
    for ids in [(1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)]:
        assert ask(ids, wait=False) is None, "nobody waits"
    go.set()
    assert ask((1, 2, 3, 4)).problem == "(1, 2, 3, 4)"
    assert read[-1] == (1, 2, 3, 4) and read[:-1] in ([], [(1,)]), (
        "the first may have begun; those between were never read"
    )


def test_a_set_that_another_tab_took_the_place_of_is_asked_for_again(ask, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr(fresh_reader, "_read", lambda *a: go.wait(30) and fresh_reader.Still(problem=str(a[-1])))
    ask((9,), wait=False)  # keeps the reader busy
    ask((1,), wait=False)

    class Overtaken(fresh_reader.Future):
        """Cancelled by the other tab just before this one looks."""

        def done(self) -> bool:
            self.cancel()
            return True

    key, future = next(reversed(fresh_reader._newest.values()))
    future.__class__ = Overtaken
    assert key[-1] == (1,) and ask((1,), wait=False) is None
    go.set()
    assert ask((2,)).problem == "(2,)"


def test_what_cannot_be_read_says_why(ask, monkeypatch):
    def refuse(*_):
        raise DataError("no direction of that name")

    monkeypatch.setattr(scoring, "shift_erasure", refuse)
    found = ask((3,))
    assert found.readable is None and found.problem == "no direction of that name"


def test_a_bug_is_not_hidden(ask, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(scoring, "shift_erasure", broken)
    with pytest.raises(ZeroDivisionError):
        ask((4,))


@pytest.fixture
def ask_matrix(loaded, request):
    def asked(sets, *, wait=True):
        end = time.monotonic() + 60
        while True:
            found = fresh_matrix.still_matrix(request.node.name, loaded, DEV, sets)
            if found is not None or not wait or time.monotonic() > end:
                return found
            time.sleep(0.01)

    return asked


def test_a_matrix_is_what_a_run_reads_with_what_is_read_of_clean_texts(loaded, ask_matrix):
    sets = ((0, 1), (4,), ())
    view = scoring.tpp_erasure(loaded, DEV)
    found = ask_matrix(sets)
    assert found.score.score == view.score(sets).score and found.score.n_ablated == (2, 1, 0)
    assert [c.value for c in found.clean] == list(view.board.clean.value) and found.reader == "ridge"
    assert all(e.value == pytest.approx(0) for e in found.score.matrix[2]), "an empty set takes nothing away"


def test_a_matrix_that_is_overtaken_is_given_up_after_the_class_being_read(loaded, ask_matrix, monkeypatch):
    begun, go, rows = threading.Event(), threading.Event(), []

    def slow(view, ids):
        begun.set()
        go.wait(30)
        rows.append(ids)
        return view.row(ids)

    monkeypatch.setattr(scoring, "fresh_row", slow)
    assert ask_matrix(((10,), (11,), (12,)), wait=False) is None, "nobody waits"
    begun.wait(30)
    assert ask_matrix(((20,), (21,), (22,)), wait=False) is None
    go.set()
    assert ask_matrix(((20,), (21,), (22,))).score is not None
    assert rows[0] == (10,) and (11,) not in rows and (22,) in rows


def test_a_matrix_is_given_up_when_a_move_comes_in_between(request, ask_matrix, monkeypatch):
    begun, go, rows = threading.Event(), threading.Event(), []

    def slow(view, ids):
        rows.append(ids)
        begun.set()
        go.wait(30)
        return view.row(ids)

    monkeypatch.setattr(scoring, "fresh_row", slow)
    ask_matrix(((30,), (31,), (32,)), wait=False)
    begun.wait(30)
    fresh_reader.drop(request.node.name)
    go.set()
    assert ask_matrix(((30,), (33,), (34,))).score is not None
    assert rows[0] == (30,) and (31,) not in rows and (34,) in rows


def test_a_matrix_that_cannot_be_read_says_why(ask_matrix, monkeypatch):
    def refuse(*_):
        raise DataError("no classes")

    monkeypatch.setattr(scoring, "tpp_erasure", refuse)
    assert ask_matrix(((1,), (2,), (3,))).problem == "no classes"
