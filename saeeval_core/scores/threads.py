"""Linear algebra in one thread: products of small matrices take longer when threads share them, and far longer when the
processor is busy with something else, because the threads wait for each other by spinning.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock

from threadpoolctl import ThreadpoolController

_guard = Lock()
_limits: list[object] = []
"""One per caller inside; the first is what is lifted when the last has left."""


@contextmanager
def one_thread() -> Iterator[None]:
    """numpy's and scipy's products in one thread, in the whole process, until every caller has left.

    Callers on several threads may come and go in any order, which threadpoolctl's own limits do not allow: each of those
    restores what it found, so that one that found another's limit leaves it behind.
    """
    with _guard:
        _limits.append(None if _limits else _blas().limit(limits=1))
    try:
        yield
    finally:
        with _guard:
            first = _limits[0]
            _limits.pop()
            if not _limits:
                first.restore_original_limits()  # type: ignore[attr-defined]


@cache
def _blas() -> ThreadpoolController:
    """Looking through the loaded libraries takes as long as a small fit, so it is done once, when scipy's own is there."""
    import scipy.linalg  # noqa: F401

    return ThreadpoolController().select(user_api="blas")
