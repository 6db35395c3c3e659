"""Results kept for all sessions: the decorator behind everything that is loaded or computed once a process."""

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
    """Stands for a value that cannot be hashed; holds it, so that its identity is not given to another one."""

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


def shared(max_entries: int, key: Callable[..., Hashable] | None = None) -> Callable[[F], F]:
    """Keep the last results of a function for all sessions; two sessions asking at once wait for one computation.

    Arguments are told apart by value where they are hashable, else by identity; ``key`` says otherwise. Errors are not
    kept. Results are read-only.
    """
    make_key = key or (lambda *args: tuple(_Same.of(a) for a in args))

    def decorate(function: F) -> F:
        kept: OrderedDict[Hashable, Any] = OrderedDict()
        locks: dict[Hashable, threading.Lock] = {}
        guard = threading.Lock()

        @wraps(function)
        def call(*args: Any) -> Any:
            key = (
                make_key(*args),
                os.environ.get("SAEEVAL_ASSETS"),
                os.environ.get("SAEEVAL_CACHE"),
                os.environ.get("SAEEVAL_STORE"),
            )
            with guard:
                if key in kept:
                    kept.move_to_end(key)
                    return kept[key]
                lock = locks.setdefault(key, threading.Lock())
            with lock:
                with guard:
                    if key in kept:
                        return kept[key]
                value = function(*args)
                with guard:
                    kept[key] = value
                    locks.pop(key, None)
                    while len(kept) > max_entries:
                        kept.popitem(last=False)
                return value

        return call  # type: ignore[return-value]

    return decorate
