"""Rows of decisions: named sets, the decisions on latents, undo, and which dev scores were shown.

The newest row per latent is the current decision; older ones are the history.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from saeeval_core.config import fingerprint
from saeeval_core.errors import DataError
from saeeval_core.ledger.connection import Database, given, insert, is_sound, sound

DECISIONS = ("ablate", "keep", "unsure", "none")
METRICS = ("shift", "tpp")


@dataclass(frozen=True)
class DecisionSet:
    """A named set of decisions of one person about one SAE in one direction (SHIFT) or for one class (TPP)."""

    id: int
    name: str
    who: str
    metric: str
    """One of METRICS."""
    task: str
    direction: str
    sae_fingerprint: str
    recording_fingerprint: str
    copied_from: int | None
    """Id of the set whose decisions it started with."""
    created: str
    """UTC, ISO 8601, as all times here."""


@dataclass(frozen=True)
class Decision:
    """One row of the decision log."""

    id: int
    set_id: int
    who: str
    at: str
    latent: int
    old: str
    """One of DECISIONS, as ``new``."""
    new: str
    reason: str
    batch: str
    """Shared by decisions taken together; "" in rows older than batches."""
    undoes: int | None
    """Id of the row that this one undoes."""


class DecisionRows(Database):
    """Sets, decisions and looks."""

    def create_set(
        self,
        name: str,
        who: str,
        *,
        metric: str,
        task: str,
        direction: str,
        sae_fingerprint: str,
        recording_fingerprint: str,
    ) -> DecisionSet:
        """A new empty set. Names need not be unique; DataError for an empty name or an unknown metric."""
        values = {
            "name": _named(name),
            "who": who,
            "metric": metric,
            "task": task,
            "direction": direction,
            "sae_fingerprint": sae_fingerprint,
            "recording_fingerprint": recording_fingerprint,
            "copied_from": None,
        }
        with self._write() as c:
            return self._insert_set(c, values)

    def list_sets(
        self,
        *,
        metric: str | None = None,
        task: str | None = None,
        direction: str | None = None,
        sae_fingerprint: str | None = None,
    ) -> list[DecisionSet]:
        """Sets that match every given value, oldest first."""
        wanted = given(metric=metric, task=task, direction=direction, sae_fingerprint=sae_fingerprint)
        with self._read() as c:
            return self._sets(c, " and ".join(["1 = 1", *(f"s.{k} = :{k}" for k in wanted)]), wanted)

    def rename_set(self, set_id: int, name: str, who: str) -> DecisionSet:
        """Give a set another name; earlier names stay in the file."""
        with self._write() as c:
            self._set(c, set_id)
            insert(c, "set_names", {"set_id": set_id, "name": _named(name), "who": who})
            return self._set(c, set_id)

    def duplicate_set(self, set_id: int, name: str, who: str) -> DecisionSet:
        """A new set that starts with the current decisions of another one."""
        with self._write() as c:
            source = self._set(c, set_id)
            values = {k: getattr(source, k) for k in _SET_COLUMNS}
            new = self._insert_set(c, values | {"name": _named(name), "who": who, "copied_from": set_id})
            self._append(c, new.id, who, self._current(c, set_id), f"copied from {source.name}")
            return new

    def decide(self, set_id: int, who: str, decisions: Mapping[int, str], reason: str = "") -> list[Decision]:
        """Record latent -> decision, without those that change nothing. Decisions of one call are undone together.

        DataError for an unknown decision or set; then nothing is recorded.
        """
        for latent, new in decisions.items():
            if new not in DECISIONS:
                raise DataError(f"decision '{new}' for latent {latent} is unknown; use one of {', '.join(DECISIONS)}")
        with self._write() as c:
            self._set(c, set_id)
            return self._append(c, set_id, who, {int(i): new for i, new in decisions.items()}, reason)

    def undo(self, set_id: int, who: str) -> list[Decision]:
        """Undo this person's last decision and those recorded with it; [] if nothing is left to undo."""
        with self._write() as c:
            self._set(c, set_id)
            log = self._log(c, set_id)
            undone = {d.undoes for d in log}
            own = (d for d in reversed(log) if d.who == who and d.undoes is None and d.id not in undone)
            last = next(own, None)
            if last is None:
                return []
            # Rows written before batches were recorded have none: they stand alone.
            together = [d for d in log if d.undoes is None and (d.id == last.id or d.batch == last.batch != "")]
            return self._append(c, set_id, who, {}, "", undone=together[::-1])

    def decisions(self, set_id: int, n_latents: int | None = None) -> dict[int, str]:
        """Current decision per latent; latents set back to "none" are left out.

        ``n_latents``: width of the SAE. Rows of earlier versions, which did not check, may name latents from there on:
        those are left out too, and ``beyond`` lists them.
        """
        with self._read() as c:
            found = self._current(c, set_id)
        return found if n_latents is None else {i: d for i, d in found.items() if i < n_latents}

    def beyond(self, set_id: int, n_latents: int) -> list[int]:
        """Latents with a decision that an SAE of this width does not have, ascending."""
        return sorted(i for i in self.decisions(set_id) if i >= n_latents)

    def ablated(self, set_id: int, n_latents: int | None = None) -> list[int]:
        """Ids currently marked "ablate", ascending; ``n_latents``: as in ``decisions``."""
        return sorted(i for i, d in self.decisions(set_id, n_latents).items() if d == "ablate")

    def history(self, set_id: int, latent: int | None = None) -> list[Decision]:
        """The log of a set (or of one latent in it), oldest first."""
        with self._read() as c:
            return self._log(c, set_id, latent)

    def note_look(self, set_id: int, who: str, ids: Sequence[int]) -> int:
        """Record that the dev score of exactly these latents was shown; returns the number of different ones so far.

        The same score shown again (a page redrawn) counts once.
        """
        shown = fingerprint(sorted(int(i) for i in ids))
        with self._write() as c:
            self._set(c, set_id)
            look = {"set_id": set_id, "ids_fingerprint": shown}
            known = "select 1 from looks where set_id = :set_id and ids_fingerprint = :ids_fingerprint"
            if c.execute(text(known), look).first() is None:
                insert(c, "looks", look | {"who": who})
            return self._looks(c, set_id)

    def dev_looks(self, set_id: int) -> int:
        """Number of different dev scores of this set that have been shown."""
        with self._read() as c:
            return self._looks(c, set_id)

    def _insert_set(self, c: Connection, values: Mapping[str, object]) -> DecisionSet:
        if values["metric"] not in METRICS:
            raise DataError(f"metric '{values['metric']}' is unknown; use one of {', '.join(METRICS)}")
        return self._set(c, insert(c, "decision_sets", values))

    def _set(self, c: Connection, set_id: int) -> DecisionSet:
        found = self._sets(c, "s.id = :id", {"id": set_id})
        if not found:
            raise DataError(f"decision set {set_id} does not exist in {self.path}; choose one from the list")
        return found[0]

    def _sets(self, c: Connection, where: str, wanted: Mapping[str, object]) -> list[DecisionSet]:
        """Sets ``s`` that match, oldest first, each with its newest name."""
        own = c.execute(text(f"select s.* from decision_sets s where {where} order by s.id"), wanted)
        query = f"select n.* from set_names n join decision_sets s on n.set_id = s.id where {where} order by n.id"
        names = {n["set_id"]: n["name"] for n in sound("set_names", c.execute(text(query), wanted))}
        return [DecisionSet(**r | {"name": names.get(r["id"], r["name"])}) for r in sound("decision_sets", own)]

    def _log(self, c: Connection, set_id: int, latent: int | None = None) -> list[Decision]:
        wanted = given(set_id=set_id, latent=latent)
        where = " and ".join(f"{k} = :{k}" for k in wanted)
        rows = c.execute(text(f"select * from decisions where {where} order by id"), wanted)
        return [Decision(**r) for r in sound("decisions", rows)]

    def _current(self, c: Connection, set_id: int) -> dict[int, str]:
        query = (
            "select * from decisions where id in "
            "(select max(id) from decisions where set_id = :s group by latent) order by latent"
        )
        rows = c.execute(text(query), {"s": set_id}).fetchall()
        newest = [(r.latent, r.new) for r in rows if is_sound("decisions", r)]
        if len(newest) < len(rows):  # of a damaged row even the latent may be wrong: the sound ones decide
            log = {d.latent: d.new for d in self._log(c, set_id)}
            newest = sorted(log.items())
        return {latent: new for latent, new in newest if new != "none"}

    def _append(
        self,
        c: Connection,
        set_id: int,
        who: str,
        wanted: Mapping[int, str],
        reason: str,
        undone: Sequence[Decision] = (),
    ) -> list[Decision]:
        now = self._current(c, set_id)
        batch = uuid.uuid4().hex
        rows = [(latent, new, None) for latent, new in wanted.items() if now.get(latent, "none") != new]
        rows += [(d.latent, d.old, d.id) for d in undone]
        shared = {"set_id": set_id, "who": who, "reason": reason, "batch": batch}
        added = [
            insert(c, "decisions", shared | {"latent": i, "old": now.get(i, "none"), "new": new, "undoes": undoes})
            for i, new, undoes in rows
        ]
        query = text("select * from decisions where id >= :i order by id")
        return [Decision(**r) for r in sound("decisions", c.execute(query, {"i": added[0]}))] if added else []

    def _looks(self, c: Connection, set_id: int) -> int:
        return int(c.execute(text("select count(*) from looks where set_id = :s"), {"s": set_id}).scalar_one())


_SET_COLUMNS = ("metric", "task", "direction", "sae_fingerprint", "recording_fingerprint")


def _named(name: str) -> str:
    if not name.strip():
        raise DataError("a decision set needs a name; type at least one letter")
    return name.strip()
