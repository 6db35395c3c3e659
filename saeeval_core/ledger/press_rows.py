"""Rows of presses: which presses of which page were carried out, so that none is carried out twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, text

from saeeval_core.ledger.connection import Database, insert


@dataclass(frozen=True)
class PressId:
    """One press of a key or button. ``client`` and ``seq`` together are given once, whoever sends them how often."""

    client: str
    """Id of the page it was made on."""
    seq: int
    """Number on that page."""
    who: str
    kind: str
    """What was asked for, such as "undo"."""


class PressRows(Database):
    """The presses that were carried out."""

    def carried_out(self, press: PressId) -> bool:
        """Whether this press is stored, with its effect."""
        with self._read() as c:
            return _known(c, press)

    @contextmanager
    def once(self, press: PressId | None) -> Iterator[bool]:
        """One transaction for all that is read and written inside, and for the press itself.

        False where the press was carried out before: then nothing may be written. An error inside takes everything
        back, so the press can be sent again. Without a press it is always True.
        """
        with self.together() as c:
            fresh = press is None or not _known(c, press)
            if press is not None and fresh:
                insert(c, "presses", asdict(press))
            yield fresh


def _known(c: Connection, press: PressId) -> bool:
    given = {"client": press.client, "seq": press.seq}
    return c.execute(text("select 1 from presses where client = :client and seq = :seq"), given).first() is not None
