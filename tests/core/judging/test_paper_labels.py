"""The marks of the paper's label file are read in time that grows with the length alone."""

import time

import pytest

from saeeval_core.judging.paper_labels import _marked_context


@pytest.mark.parametrize(
    ("text", "tokens", "activations"),
    [
        ("a << b>>(1.5) c", ("a ", " b", " c"), (0.0, 1.5, 0.0)),
        ("<<a>>(2)<<\nb>>(-.5)", ("", "a", "", "\nb", ""), (0.0, 2.0, 0.0, -0.5, 0.0)),
        ("a >>(1) <<b>> <<c>>(3.)", ("a >>(1) ", "b>> <<c", ""), (0.0, 3.0, 0.0)),
        ("<<>>(1)", ("", "", ""), (0.0, 1.0, 0.0)),
        ("plain << text >>(1.2.3)", ("plain << text >>(1.2.3)",), (0.0,)),
    ],
)
def test_marks(text, tokens, activations):
    found = _marked_context(text)
    assert (found.tokens, found.activations) == (tokens, activations)


@pytest.mark.parametrize("text", ["<<" * 200_000, ">>(1" * 100_000, ">>(1)" * 100_000 + "<<", "<<>>(" + "1" * 400_000])
def test_marks_that_do_not_close_take_no_time(text):
    started = time.perf_counter()
    assert len(_marked_context(text).tokens) == 1
    assert time.perf_counter() - started < 2
