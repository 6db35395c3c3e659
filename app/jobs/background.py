"""Background work: a thread whose progress every session can read."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from saeeval_core.errors import Cancelled, SaeEvalError

one_pass = threading.Lock()
"""Held while a language model reads texts: one pass at a time per process."""


@dataclass(eq=False, kw_only=True)
class Background:
    """One piece of work. Its fields can be read from any session."""

    status: str = "waiting"
    """waiting | running | done | failed | cancelled"""
    error: str = ""
    _stop: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def active(self) -> bool:
        """Still waiting or running."""
        return self.status in ("waiting", "running")

    @property
    def cancelling(self) -> bool:
        """Asked to stop, and still on the way to the next ``check``."""
        return self.active and self._stop.is_set()

    def cancel(self) -> None:
        """Ask it to stop at the next ``check``."""
        self._stop.set()

    def check(self, message: str) -> None:
        """Raise Cancelled with the message after ``cancel``."""
        if self._stop.is_set():
            raise Cancelled(message)

    def carry_out(self, work: Callable[[], None]) -> None:
        """Run ``work`` in the calling thread; ``status`` and ``error`` say how it ended."""
        try:
            work()
            self.status = "done"
        except Cancelled as error:
            self.status, self.error = "cancelled", str(error)
        except SaeEvalError as error:
            self.status, self.error = "failed", str(error)
        except Exception:
            # A bug: the page must not wait for ever; the traceback goes to the server's log.
            self.status, self.error = "failed", "internal error; the server's log has the details"
            raise
