"""Sessions of pages that were closed: kept for a reconnect, then ended at a fixed time.

Streamlit's own storage forgets them and leaves it to Python's collector to close what they hold, an event loop with three
open files each, of which a server has a limited number.
"""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamlit.runtime.session_manager import SessionInfo

MOST = 128
"""Closed pages that are kept; beyond them the first closed is ended early. As many as Streamlit's own storage keeps."""


class ClosedPages:
    """Sessions without a connection: a SessionStorage of Streamlit. To be used in the server's event loop alone."""

    def __init__(self, seconds: float, most: int = MOST) -> None:
        """``seconds``: after which a session is ended."""
        self._seconds, self._most = seconds, most
        self._kept: dict[str, tuple[SessionInfo, asyncio.TimerHandle]] = {}

    def get(self, session_id: str) -> "SessionInfo | None":
        """The session; None for one that was never kept or has ended."""
        found = self._kept.get(session_id)
        return None if found is None else found[0]

    def save(self, session_info: "SessionInfo") -> None:
        """Keep a session, from now for the whole time."""
        name = session_info.session.id
        self.delete(name)
        self._kept[name] = session_info, asyncio.get_running_loop().call_later(self._seconds, self._end, name)
        while len(self._kept) > self._most:
            self._end(next(iter(self._kept)))

    def delete(self, session_id: str) -> None:
        """Forget a session without ending it: it is connected again, or the caller ends it."""
        if (found := self._kept.pop(session_id, None)) is not None:
            found[1].cancel()

    def list(self) -> list["SessionInfo"]:
        """All of them."""
        return [session for session, _ in self._kept.values()]

    def _end(self, name: str) -> None:
        found = self.get(name)
        self.delete(name)
        if found is not None:
            found.session.shutdown()
