"""A property that is computed once per object, whichever thread asks first."""

from collections.abc import Callable
from threading import RLock
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_LOCK = "_once_lock"


class once(Generic[T]):  # noqa: N801  # used as a decorator, like functools.cached_property
    """As ``functools.cached_property``, with one lock per object.

    Training probes takes seconds: two sessions that need the same must not both do it (there is no lock from Python 3.12
    on), and those that need others must not wait (one lock for all objects before).
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self.make, self.__doc__ = make, make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> T:
        known = instance.__dict__
        with known.setdefault(_LOCK, RLock()):
            if self.name not in known:
                known[self.name] = self.make(instance)  # found before this descriptor from now on
        return known[self.name]
