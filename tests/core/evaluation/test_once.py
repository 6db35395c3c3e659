"""Values that are made once per object, by one thread, while other objects do not wait."""

import threading
import time
from dataclasses import dataclass, field

import pytest

from saeeval_core.evaluation.once import once


@dataclass(frozen=True, eq=False)
class Thing:
    made: list[int] = field(default_factory=list)
    wait: threading.Event | None = None

    @once
    def value(self) -> int:
        """Documented."""
        self.made.append(1)
        time.sleep(0.02)
        if self.wait is not None:
            assert self.wait.wait(10)
        if len(self.made) == 1 and self.wait is None:
            return 7
        return 8


def test_threads_that_ask_at_once_get_one_value():
    thing, found = Thing(), []
    threads = [threading.Thread(target=lambda: found.append(thing.value)) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == [7] * 4 and thing.made == [1]


def test_another_object_does_not_wait():
    slow, quick = Thing(wait=threading.Event()), Thing()
    thread = threading.Thread(target=lambda: slow.value)
    thread.start()
    assert quick.value == 7 and thread.is_alive()
    slow.wait.set()
    thread.join()


def test_an_error_is_not_kept():
    class Failing:
        tries = 0

        @once
        def value(self) -> int:
            self.tries += 1
            raise ValueError(self.tries)

    failing = Failing()
    for n in (1, 2):
        with pytest.raises(ValueError, match=str(n)):
            _ = failing.value
