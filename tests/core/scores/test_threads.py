"""One thread for linear algebra, whoever asks for it, and as many as before when all have left."""

from contextlib import ExitStack

import numpy as np  # noqa: F401  # loads the library that is limited
import scipy.linalg  # noqa: F401
from threadpoolctl import ThreadpoolController

from saeeval_core.scores.threads import one_thread


def threads() -> set[int]:
    return {library.num_threads for library in ThreadpoolController().select(user_api="blas").lib_controllers}


def test_callers_may_leave_in_any_order():
    before = threads()
    first, second = ExitStack(), ExitStack()
    first.enter_context(one_thread())
    second.enter_context(one_thread())
    assert threads() == {1}
    first.close()
    assert threads() == {1}, "the second is still inside"
    second.close()
    assert threads() == before


def test_an_error_leaves_no_limit_behind():
    before = threads()
    try:
        with one_thread():
            raise ValueError
    except ValueError:
        pass
    assert threads() == before
