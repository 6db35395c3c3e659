"""Fresh probes in the background: nobody waits, the newest set counts, and what cannot be read says why."""

import threading
import time
from dataclasses import replace

import pytest
from synthetic import make_loaded

from app.services import fresh_matrix, fresh_reader, quiet, scoring
from saeeval_core.errors import DataError
from saeeval_core.scores.survivors import BESIDES, LATENTS
from saeeval_core.texts.parts import DEV


@pytest.fixture(scope="module")
def loaded():
    return make_loaded(600)


@pytest.fixture(scope="module")
def where(loaded):
    """The first direction, the whole of every latent ablated."""
    direction = scoring.shift_directions(loaded)[0]
    return fresh_reader.Where(loaded, direction.pair, direction.task.target.column, DEV)


def read(question):
    """The answer once there is one."""
    end = time.monotonic() + 60
    while (found := question()) is None and time.monotonic() < end:
        time.sleep(0.01)
    return found


@pytest.fixture
def ask(where, request):
    place = request.node.name

    def asked(ids, *, wait=True):
        def question():
            return fresh_reader.still(place, where, ids)

        return read(question) if wait else question()

    return asked


def test_it_is_what_a_run_reads_and_the_probes_lean_on_nothing_that_is_ablated(loaded, ask):
    direction = scoring.shift_directions(loaded)[0]
    view = scoring.shift_erasure(loaded, direction.pair, direction.task.target.column, DEV)
    found = ask((12, 13))
    assert found.readable is scoring.fresh(view, (12, 13), 1.0) and not found.problem
    assert found.carriers == tuple(view.carriers((12, 13)))
    assert not {12, 13} & {latent for latent, _ in found.carriers}


def test_partial_ablation_is_read_as_such(where, loaded):
    view = scoring.shift_erasure(loaded, where.pair, where.target, DEV)
    half = replace(where, alpha=0.5)
    found = read(lambda: fresh_reader.still("half", half, (12, 13)))
    assert found.readable.fresh == view.score((12, 13), 0.5).fresh
    assert found.carriers == tuple(view.carriers((12, 13), 0.5)) != tuple(view.carriers((12, 13)))
    nothing = read(lambda: fresh_reader.still("none", replace(where, alpha=0.0), (12, 13)))
    assert nothing.readable.score.value == 0 and nothing.readable.recoverability.value == 1


def test_where_it_survived_is_read_in_every_part(where, loaded):
    found = read(lambda: fresh_reader.parts("parts", where, (12, 13)))
    whole = scoring.shift_survivors(loaded, where.pair, where.target, DEV)
    assert [s.part for s in found.survivors] == [LATENTS, BESIDES] and not found.missing and not found.problem
    assert list(found.survivors) == whole.read((12, 13))
    half = read(lambda: fresh_reader.parts("parts", replace(where, alpha=0.5), (12, 13)))
    assert half.survivors[0] == whole.read((12, 13), 0.5)[0] and half.survivors[1] == found.survivors[1]


def test_the_ranking_is_read_at_every_n_and_puts_off_for_a_press(where, loaded, monkeypatch):
    def asked(**more):
        return fresh_reader.erased("curve", where, "attribute", (1, 2, 5, 10**6), **more)

    assert asked(wait=True) is None and asked(wait=True) is None, "nothing begins while presses come"
    monkeypatch.setattr(quiet, "pressed_since", lambda _: True)
    assert asked() is None
    time.sleep(0.2)
    assert asked() is None, "put off, and begun again"
    monkeypatch.undo()
    found = read(asked)
    view = scoring.shift_erasure(loaded, where.pair, where.target, DEV)
    order = scoring.shift_view(loaded, where.pair, where.target, DEV).attribute_ranking
    assert [(n, r.score.value) for n, r in found.points] == [(n, view.score(order[:n]).score.value) for n in (1, 2, 5)]
    assert asked(wait=True) is found


def test_of_sets_that_follow_each_other_quickly_only_the_newest_is_read(ask, monkeypatch):
    read, go = [], threading.Event()

    def slow(_where, ids):
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
    monkeypatch.setattr(fresh_reader, "_read", lambda _, ids: go.wait(30) and fresh_reader.Still(problem=str(ids)))
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
