"""Rows of decisions: named sets, the decisions on latents, undo, and which dev scores were shown.

The newest row per latent is the current decision; older ones are the history.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from saeeval_core.config import fingerprint
from saeeval_core.errors import DataError
from saeeval_core.ledger.connection import Database, given, insert

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
        where = " and ".join(["1 = 1", *(f"s.{k} = :{k}" for k in wanted)])
        with self._read() as c:
            rows = c.execute(text(f"{_SELECT_SET} where {where} order by s.id"), wanted).mappings()
            return [DecisionSet(**row) for row in rows]

    def rename_set(self, set_id: int, name: str, who: str) -> DecisionSet:
        """Give one's own set another name; earlier names stay in the file. DataError for a set of somebody else."""
        with self._write() as c:
            self._own(c, set_id, who)
            insert(c, "set_names", {"set_id": set_id, "name": _named(name), "who": who})
            return self._set(c, set_id)

    def duplicate_set(self, set_id: int, name: str, who: str, n_latents: int) -> DecisionSet:
        """A new set that starts with the current decisions of another one; ``n_latents``: as in ``decisions``."""
        with self._write() as c:
            source = self._set(c, set_id)
            values = {k: getattr(source, k) for k in _SET_COLUMNS}
            new = self._insert_set(c, values | {"name": _named(name), "who": who, "copied_from": set_id})
            self._append(c, new.id, who, self._current(c, set_id, n_latents), f"copied from {source.name}")
            return new

    def decide(self, set_id: int, who: str, decisions: Mapping[int, str], reason: str = "") -> list[Decision]:
        """Record latent -> decision, without those that change nothing. Decisions of one call are undone together.

        DataError for an unknown decision or set, and for a set of somebody else; then nothing is recorded.
        """
        for latent, new in decisions.items():
            if new not in DECISIONS:
                raise DataError(f"decision '{new}' for latent {latent} is unknown; use one of {', '.join(DECISIONS)}")
        with self._write() as c:
            self._own(c, set_id, who)
            return self._append(c, set_id, who, {int(i): new for i, new in decisions.items()}, reason)

    def undo(self, set_id: int, who: str) -> list[Decision]:
        """Undo this person's last decision and those recorded with it; [] if nothing is left to undo.

        DataError for a set of somebody else.
        """
        with self._write() as c:
            self._own(c, set_id, who)
            last = c.execute(text(_LAST_NOT_UNDONE), {"s": set_id, "w": who}).first()
            if last is None:
                return []
            # Rows written before batches were recorded have none: they stand alone.
            query = (
                "select * from decisions where set_id = :s and undoes is null and (id = :i or batch = :b and :b != '')"
            )
            rows = c.execute(text(f"{query} order by id desc"), {"s": set_id, "i": last.id, "b": last.batch}).mappings()
            return self._append(c, set_id, who, {}, "", undone=[Decision(**r) for r in rows])

    def decisions(self, set_id: int, n_latents: int) -> dict[int, str]:
        """Current decision per latent; latents set back to "none" are left out.

        ``n_latents``: width of the SAE. Rows of earlier versions, which did not check, may name latents from there on:
        those are left out too, and ``beyond`` lists them.
        """
        with self._read() as c:
            return self._current(c, set_id, n_latents)

    def beyond(self, set_id: int, n_latents: int) -> list[int]:
        """Latents with a decision that an SAE of this width does not have, ascending."""
        with self._read() as c:
            return sorted(i for i in self._current(c, set_id) if i >= n_latents)

    def ablated(self, set_id: int, n_latents: int) -> list[int]:
        """Ids currently marked "ablate", ascending; ``n_latents``: as in ``decisions``."""
        return sorted(i for i, d in self.decisions(set_id, n_latents).items() if d == "ablate")

    def check_owner(self, set_id: int, who: str) -> None:
        """DataError for a set of somebody else: only its owner changes it."""
        with self._read() as c:
            self._own(c, set_id, who)

    def history(self, set_id: int, latent: int | None = None) -> list[Decision]:
        """The log of a set (or of one latent in it), oldest first."""
        wanted = given(set_id=set_id, latent=latent)
        where = " and ".join(f"{k} = :{k}" for k in wanted)
        with self._read() as c:
            rows = c.execute(text(f"select * from decisions where {where} order by id"), wanted).mappings()
            return [Decision(**r) for r in rows]

    def note_look(self, set_id: int, who: str, ids: Sequence[int]) -> int:
        """Record that the dev score of exactly these latents was shown; returns the number of different ones so far.

        The same score shown again (a page redrawn) counts once. DataError for a set of somebody else: what others see
        of it does not make it better.
        """
        shown = fingerprint(sorted(int(i) for i in ids))
        with self._write() as c:
            self._own(c, set_id, who)
            insert(c, "looks", {"set_id": set_id, "who": who, "ids_fingerprint": shown}, "or ignore")
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
        row = c.execute(text(f"{_SELECT_SET} where s.id = :i"), {"i": set_id}).mappings().first()
        if row is None:
            raise DataError(f"decision set {set_id} does not exist in {self.path}; choose one from the list")
        return DecisionSet(**row)

    def _own(self, c: Connection, set_id: int, who: str) -> DecisionSet:
        """The set, for its owner to change. DataError for everybody else, by whatever way they came here."""
        found = self._set(c, set_id)
        if found.who != who:
            raise DataError(f"set '{found.name}' belongs to {found.who}; duplicate it and change your copy")
        return found

    def _current(self, c: Connection, set_id: int, n_latents: int | None = None) -> dict[int, str]:
        rows = c.execute(
            text(
                "select latent, new from decisions where id in "
                "(select max(id) from decisions where set_id = :s group by latent) order by latent"
            ),
            {"s": set_id},
        )
        return {r.latent: r.new for r in rows if r.new != "none" and (n_latents is None or r.latent < n_latents)}

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
        ids = [
            insert(c, "decisions", shared | {"latent": i, "old": now.get(i, "none"), "new": new, "undoes": undoes})
            for i, new, undoes in rows
        ]
        return [
            Decision(**c.execute(text("select * from decisions where id = :i"), {"i": i}).mappings().one()) for i in ids
        ]

    def _looks(self, c: Connection, set_id: int) -> int:
        return int(c.execute(text("select count(*) from looks where set_id = :s"), {"s": set_id}).scalar_one())


_SET_COLUMNS = ("metric", "task", "direction", "sae_fingerprint", "recording_fingerprint")
_SELECT_SET = (
    "select s.id, "
    "coalesce((select n.name from set_names n where n.set_id = s.id order by n.id desc limit 1), s.name) as name, "
    "s.who, s.metric, s.task, s.direction, s.sae_fingerprint, s.recording_fingerprint, s.copied_from, s.created "
    "from decision_sets s"
)
_LAST_NOT_UNDONE = (
    "select id, batch from decisions d where set_id = :s and who = :w and undoes is null "
    "and not exists (select 1 from decisions u where u.undoes = d.id) order by id desc limit 1"
)


def _named(name: str) -> str:
    if not name.strip():
        raise DataError("a decision set needs a name; type at least one letter")
    return name.strip()
