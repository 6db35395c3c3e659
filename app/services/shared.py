"""Results shared by all sessions: the decorator of everything that is loaded or computed once per process."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False)
class _Same:
    """Wraps a value that cannot be hashed; it is kept alive, so that no other value gets its id."""

    value: Any

    @classmethod
    def of(cls, value: Any) -> Any:
        try:
            hash(value)
        except TypeError:
            return cls(value)
        return value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value


class _Kept:
    """The last values by key. A caller waits for a value that is being made; errors are not kept."""

    def __init__(self, max_entries: int) -> None:
        self._max = max_entries
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._guard = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        with self._guard:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            lock = self._making.setdefault(key, threading.Lock())
        with lock:
            with self._guard:
                if key in self._values:
                    return self._values[key]
            value = make()
            with self._guard:
                self._values[key] = value
                self._making.pop(key, None)
                while len(self._values) > self._max:
                    self._values.popitem(last=False)
            return value


_FOLDERS = ("SAEEVAL_ASSETS", "SAEEVAL_CACHE", "SAEEVAL_STORE")
"""Variables that set the folders; part of every key, so that tests with other folders get other values."""


def shared(max_entries: int, key: Callable[..., Hashable] | None = None) -> Callable[[F], F]:
    """Keep the last results of a function for all sessions; two sessions asking at once wait for one computation.

    Arguments are compared by value where they are hashable, else by identity, unless ``key`` gives the key. Errors are
    not kept. Results are read-only.
    """
    make_key = key or (lambda *args: tuple(_Same.of(a) for a in args))

    def decorate(function: F) -> F:
        kept = _Kept(max_entries)

        @wraps(function)
        def call(*args: Any) -> Any:
            return kept.get((make_key(*args), *map(os.environ.get, _FOLDERS)), lambda: function(*args))

        return call  # type: ignore[return-value]

    return decorate
