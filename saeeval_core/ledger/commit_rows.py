"""Rows of commits: the latents of a set, stored for good together with their test score."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from saeeval_core.ledger.connection import insert, sound
from saeeval_core.ledger.decisions import DecisionRows


@dataclass(frozen=True)
class Commit:
    """The latents of a set, their test score, and the number of dev scores seen before."""

    id: int
    set_id: int
    who: str
    at: str
    ids: tuple[int, ...]
    """Latents ablated, ascending."""
    test: dict[str, Any]
    """JSON values of the test score and its settings."""
    dev_looks: int
    """Number of different dev scores of the set that had been shown."""


class CommitRows(DecisionRows):
    """Commits of decision sets."""

    def commit(self, set_id: int, who: str, ids: Sequence[int], test: Mapping[str, object]) -> Commit:
        """Store these latents with their test score (plain JSON values) and the number of dev looks so far.

        DataError if there is no such set; ValueError if ``test`` holds NaN.
        """
        content = {"ids": json.dumps(sorted(int(i) for i in ids)), "test": json.dumps(dict(test), allow_nan=False)}
        with self._write() as c:
            self._set(c, set_id)
            values = {"set_id": set_id, "who": who, "dev_looks": self._looks(c, set_id), **content}
            row = insert(c, "commits", values)
            return _commit(next(sound("commits", c.execute(text("select * from commits where id = :i"), {"i": row}))))

    def commits(self, set_id: int | None = None) -> list[Commit]:
        """Commits of one set or of all, oldest first."""
        where = "" if set_id is None else "where set_id = :s"
        with self._read() as c:
            rows = c.execute(text(f"select * from commits {where} order by id"), {"s": set_id})
            return [_commit(r) for r in sound("commits", rows)]


def _commit(row: Mapping[str, Any]) -> Commit:
    return Commit(**row | {"ids": tuple(json.loads(row["ids"])), "test": json.loads(row["test"])})
