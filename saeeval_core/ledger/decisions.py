"""Rows of decisions: named sets, the decisions on latents, undo, and which dev scores were shown.

The newest row per latent is the current decision; older ones are the history.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, text

from saeeval_core.config import fingerprint
from saeeval_core.errors import DataError
from saeeval_core.ledger.connection import Database, given, insert, is_sound, sound

DECISIONS = ("ablate", "keep", "unsure", "none")
METRICS = ("shift", "tpp")
RESET = "reset to "
"""Start of the reason of decisions that were taken over from a ranking or a judge: no person judged them."""


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
    looks_before: int | None = 0
    """Dev scores seen before the set came into this store, as its file says; None for an import that does not say."""


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


@dataclass(frozen=True)
class Step:
    """One decision that is to be recorded."""

    latent: int
    new: str
    """One of DECISIONS."""
    reason: str = ""


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
        """Give one's own set another name; earlier names stay in the file. DataError for a set of somebody else."""
        with self._write() as c:
            self._own(c, set_id, who)
            insert(c, "set_names", {"set_id": set_id, "name": _named(name), "who": who})
            return self._set(c, set_id)

    def duplicate_set(self, set_id: int, name: str, who: str, n_latents: int) -> DecisionSet:
        """A new set that starts as another one stands, with its log and the dev scores seen of it.

        Who decided what, when and why stays as it was; only what one decided oneself can be undone. ``n_latents``: as
        in ``decisions``.
        """
        with self._write() as c:
            source = self._set(c, set_id)
            values = {k: getattr(source, k) for k in _SET_COLUMNS}
            new = self._insert_set(c, values | {"name": _named(name), "who": who, "copied_from": set_id})
            self._copy_log(c, set_id, new.id, n_latents)
            self._copy_looks(c, set_id, new.id)
            if source.looks_before != 0:
                insert(c, "set_origins", {"set_id": new.id, "dev_looks": source.looks_before})
            return self._set(c, new.id)

    def note_origin(self, set_id: int, dev_looks: int | None) -> None:
        """Remember once that a set came from a file, and how many dev scores the file says were seen; None: unknown."""
        with self._write() as c:
            insert(c, "set_origins", {"set_id": set_id, "dev_looks": dev_looks})

    def take_over(self, was: str, who: str) -> list[DecisionSet]:
        """All sets of one person become another's: of a guest who gave a name. Numbers, and so links, stay.

        A name that the new owner has already in the same place (in TPP: for any class) gets "(as guest)".
        """
        with self._write() as c:
            every = self._sets(c, "1 = 1", {})
            taken = {_kin(s, s.name) for s in every if s.who == who}
            for s in (s for s in every if s.who == was):
                insert(c, "set_owners", {"set_id": s.id, "who": who})
                if _kin(s, s.name) in taken:
                    marks = (f"{s.name} (as guest{k})" for k in ("", *(f" {n}" for n in range(2, len(every) + 3))))
                    free = next(name for name in marks if _kin(s, name) not in taken)
                    insert(c, "set_names", {"set_id": s.id, "name": free, "who": who})
            return [self._set(c, s.id) for s in every if s.who == was]

    def decide(self, set_id: int, who: str, decisions: Mapping[int, str], reason: str = "") -> list[Decision]:
        """Record latent -> decision, without those that change nothing. Decisions of one call are undone together.

        DataError for an unknown decision or set, and for a set of somebody else; then nothing is recorded.
        """
        return self.replay(set_id, who, [Step(int(i), new, reason) for i, new in decisions.items()])

    def replay(self, set_id: int, who: str, steps: Sequence[Step]) -> list[Decision]:
        """As ``decide``, one step after the other: a latent may change more than once. All of them are undone together."""
        for step in steps:
            if step.new not in DECISIONS:
                raise DataError(
                    f"decision '{step.new}' for latent {step.latent} is unknown; use one of {', '.join(DECISIONS)}"
                )
        with self._write() as c:
            self._own(c, set_id, who)
            return self._append(c, set_id, who, [(step, None) for step in steps])

    def undo(self, set_id: int, who: str) -> list[Decision]:
        """Undo this person's last decision and those recorded with it; [] if nothing is left to undo.

        What was decided in the set before it passed to this person counts as theirs. DataError for a set of somebody else.
        """
        with self._write() as c:
            self._own(c, set_id, who)
            log, own = self._log(c, set_id), self._owners(c, set_id) | {who}
            undone = {d.undoes for d in log}
            last = next((d for d in reversed(log) if d.who in own and d.undoes is None and d.id not in undone), None)
            if last is None:
                return []
            # Rows written before batches were recorded have none: they stand alone.
            together = [d for d in log if d.undoes is None and (d.id == last.id or d.batch == last.batch != "")]
            return self._append(c, set_id, who, [(Step(d.latent, d.old), d.id) for d in reversed(together)])

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
        with self._read() as c:
            return self._log(c, set_id, latent)

    def note_look(self, set_id: int, who: str, ids: Sequence[int], strength: float = 1.0) -> int:
        """Record that the dev score of exactly these latents was shown; returns the number of different ones so far.

        The same score shown again (a page redrawn) counts once; one of another ``strength`` of ablation is another one.
        DataError for a set of somebody else: what others see of it does not make it better.
        """
        latents = sorted(int(i) for i in ids)
        shown = fingerprint(latents if strength == 1 else [latents, strength])
        with self._write() as c:
            self._own(c, set_id, who)
            look = {"set_id": set_id, "ids_fingerprint": shown}
            known = "select 1 from looks where set_id = :set_id and ids_fingerprint = :ids_fingerprint"
            if c.execute(text(known), look).first() is None:
                insert(c, "looks", look | {"who": who})
            return self._looks(c, set_id)

    def dev_looks(self, set_id: int) -> int:
        """Number of different dev scores of this set that are known to have been shown, here or before an import."""
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
        """Sets ``s`` that match, oldest first, each with its newest name and owner."""
        own = sound(
            "decision_sets", c.execute(text(f"select s.* from decision_sets s where {where} order by s.id"), wanted)
        )

        def newest(table: str, column: str) -> dict[int, Any]:
            query = f"select n.* from {table} n join decision_sets s on n.set_id = s.id where {where} order by n.id"
            return {n["set_id"]: n[column] for n in sound(table, c.execute(text(query), wanted))}

        names, owners = newest("set_names", "name"), newest("set_owners", "who")
        looks = newest("set_origins", "dev_looks")
        return [
            DecisionSet(
                **r
                | {
                    "name": names.get(r["id"], r["name"]),
                    "who": owners.get(r["id"], r["who"]),
                    "looks_before": looks.get(r["id"], 0),
                }
            )
            for r in own
        ]

    def _log(self, c: Connection, set_id: int, latent: int | None = None) -> list[Decision]:
        wanted = given(set_id=set_id, latent=latent)
        where = " and ".join(f"{k} = :{k}" for k in wanted)
        rows = c.execute(text(f"select * from decisions where {where} order by id"), wanted)
        return [Decision(**r) for r in sound("decisions", rows)]

    def _own(self, c: Connection, set_id: int, who: str) -> DecisionSet:
        """The set, for its owner to change. DataError for everybody else, by whatever way they came here."""
        found = self._set(c, set_id)
        if found.who != who:
            raise DataError(f"set '{found.name}' belongs to {found.who}; duplicate it and change your copy")
        return found

    def _owners(self, c: Connection, set_id: int) -> set[str]:
        """Everybody whose set it has been; empty where it never passed to another."""
        passed = list(sound("set_owners", c.execute(text("select * from set_owners where set_id = :i"), {"i": set_id})))
        made = sound("decision_sets", c.execute(text("select * from decision_sets where id = :i"), {"i": set_id}))
        return {str(row["who"]) for row in (*passed, *made)} if passed else set()

    def _current(self, c: Connection, set_id: int, n_latents: int | None = None) -> dict[int, str]:
        query = (
            "select * from decisions where id in "
            "(select max(id) from decisions where set_id = :s group by latent) order by latent"
        )
        rows = c.execute(text(query), {"s": set_id}).fetchall()
        newest = [(r.latent, r.new) for r in rows if is_sound("decisions", r)]
        if len(newest) < len(rows):  # of a damaged row even the latent may be wrong: the sound ones decide
            log = {d.latent: d.new for d in self._log(c, set_id)}
            newest = sorted(log.items())
        return {i: new for i, new in newest if new != "none" and (n_latents is None or i < n_latents)}

    def _append(self, c: Connection, set_id: int, who: str, steps: Sequence[tuple[Step, int | None]]) -> list[Decision]:
        """Rows for steps, each with the id of the row that it undoes; a step that changes nothing and undoes none has none."""
        now, added = self._current(c, set_id), []
        shared = {"set_id": set_id, "who": who, "batch": uuid.uuid4().hex}
        for step, undoes in steps:
            old = now.get(step.latent, "none")
            if undoes is not None or old != step.new:
                added.append(insert(c, "decisions", shared | asdict(step) | {"old": old, "undoes": undoes}))
                now[step.latent] = step.new
        query = text("select * from decisions where id >= :i order by id")
        return [Decision(**r) for r in sound("decisions", c.execute(query, {"i": added[0]}))] if added else []

    def _copy_log(self, c: Connection, old: int, new: int, n_latents: int) -> None:
        ids: dict[int, int] = {}
        for d in self._log(c, old):
            if d.latent < n_latents:
                values = asdict(d) | {"set_id": new, "undoes": None if d.undoes is None else ids.get(d.undoes)}
                del values["id"]  # the copy gets a number of its own
                ids[d.id] = insert(c, "decisions", values)

    def _copy_looks(self, c: Connection, old: int, new: int) -> None:
        rows = c.execute(text("select * from looks where set_id = :s order by id"), {"s": old})
        for look in sound("looks", rows):
            insert(c, "looks", {k: v for k, v in look.items() if k != "id"} | {"set_id": new})

    def _looks(self, c: Connection, set_id: int) -> int:
        here = c.execute(text("select count(*) from looks where set_id = :s"), {"s": set_id}).scalar_one()
        return int(here) + (self._set(c, set_id).looks_before or 0)


_SET_COLUMNS = ("metric", "task", "direction", "sae_fingerprint", "recording_fingerprint")


def _named(name: str) -> str:
    """Exactly as given, without spaces around it."""
    if not name.strip():
        raise DataError("a decision set needs a name; type at least one letter")
    return name.strip()


def _kin(s: DecisionSet, name: str) -> tuple[str, ...]:
    """Equal for sets that a name would not tell apart: in TPP those of all classes."""
    return s.metric, s.task, s.sae_fingerprint, s.direction if s.metric == "shift" else "", name
