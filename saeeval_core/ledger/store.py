"""What people and judges decided, in one SQLite file: append-only, with history, shared by threads and processes.

Nothing is updated or deleted (triggers see to it): the newest row per latent, or per latent and rater, is the current one.
"""

import json
import os
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError

from saeeval_core.config import fingerprint
from saeeval_core.errors import ArtifactError, DataError
from saeeval_core.ledger.migrations import migrate

DECISIONS = ("ablate", "keep", "unsure", "none")
METRICS = ("shift", "tpp")
RATER_KINDS = ("llm", "local", "human", "imported")
OK = "ok"
"""Status of a verdict that carries ratings; every other status names why there is none."""
_BUSY_MS = 30_000


@dataclass(frozen=True)
class DecisionSet:
    """A named set of decisions of one person about one SAE in one direction (SHIFT) or for one class (TPP)."""

    id: int
    name: str
    who: str
    metric: str
    task: str
    direction: str
    sae_fingerprint: str
    recording_fingerprint: str
    copied_from: int | None
    created: str
    """UTC, ISO 8601, as all times here."""


@dataclass(frozen=True)
class Decision:
    """One row of the log. ``undoes`` names the row that this one takes back."""

    id: int
    set_id: int
    who: str
    at: str
    latent: int
    old: str
    new: str
    reason: str
    batch: str
    undoes: int | None


@dataclass(frozen=True)
class Commit:
    """A set frozen together with its test score and the number of dev scores seen before."""

    id: int
    set_id: int
    who: str
    at: str
    ids: tuple[int, ...]
    test: dict[str, Any]
    dev_looks: int


@dataclass(frozen=True)
class Verdict:
    """What one rater said about one latent; with a status other than "ok" there are no ratings."""

    latent: int
    sae_fingerprint: str
    sae: str
    task: str
    rater: str
    rater_kind: str
    """One of RATER_KINDS; only a person in the app is "human"."""
    ratings: Mapping[str, int] = field(default_factory=dict)
    """Concept -> 0..4; empty unless status is "ok". A concept that is absent was not rated."""
    explanation: str = ""
    reason: str = ""
    model: str = ""
    prompt: str = ""
    """The text that was asked, as sent."""
    evidence_hash: str = ""
    status: str = OK
    raw: str = ""
    """What came back, word for word."""
    at: str = ""
    id: int | None = None

    @property
    def ok(self) -> bool:
        """True when there are ratings to use."""
        return self.status == OK

    @property
    def key(self) -> str:
        """Identity of the question: the same rater asked the same thing about the same evidence."""
        asked = (self.sae_fingerprint, self.latent, self.task, self.rater, self.model, self.prompt, self.evidence_hash)
        return fingerprint(asked)


def default_path() -> Path:
    """$SAEEVAL_STORE, or store.sqlite in the user's data folder."""
    if given := os.environ.get("SAEEVAL_STORE"):
        return Path(given)
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "saeeval" / "store.sqlite"


class Store:
    """One open store. Safe to share between threads; other processes may use the same file at the same time."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()
        with self._clear_errors("opened"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._engine = create_engine(f"sqlite:///{self.path}", connect_args={"timeout": _BUSY_MS / 1000})
            event.listen(self._engine, "connect", _on_connect)
            event.listen(self._engine, "begin", _on_begin)
            _use_wal(self._engine)
        with self._write() as c:
            newer = migrate(c)
        if newer:
            self.close()
            raise ArtifactError(
                f"{self.path} was written by a newer version; update saeeval or point SAEEVAL_STORE elsewhere"
            )

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    # Sets

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
        """A new empty set. Names need not be unique."""
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
        """Sets that fit every given value, oldest first."""
        wanted = {"metric": metric, "task": task, "direction": direction, "sae_fingerprint": sae_fingerprint}
        wanted = {k: v for k, v in wanted.items() if v is not None}
        where = " and ".join(["1 = 1", *(f"s.{k} = :{k}" for k in wanted)])
        with self._read() as c:
            rows = c.execute(text(f"{_SELECT_SET} where {where} order by s.id"), wanted).mappings()
            return [DecisionSet(**row) for row in rows]

    def get_set(self, set_id: int) -> DecisionSet:
        """DataError if there is no such set."""
        with self._read() as c:
            return self._set(c, set_id)

    def rename_set(self, set_id: int, name: str, who: str) -> DecisionSet:
        """Give a set another name; earlier names stay in the file."""
        with self._write() as c:
            self._set(c, set_id)
            _insert(c, "set_names", {"set_id": set_id, "name": _named(name), "who": who})
            return self._set(c, set_id)

    def duplicate_set(self, set_id: int, name: str, who: str) -> DecisionSet:
        """A new set that starts with the current decisions of another one."""
        with self._write() as c:
            source = self._set(c, set_id)
            values = {k: getattr(source, k) for k in _SET_COLUMNS}
            new = self._insert_set(c, values | {"name": _named(name), "who": who, "copied_from": set_id})
            self._append(c, new.id, who, self._current(c, set_id), f"copied from {source.name}")
            return new

    # Decisions

    def decide(self, set_id: int, who: str, decisions: Mapping[int, str], reason: str = "") -> list[Decision]:
        """Record latent -> decision; what changes nothing is not recorded. Decisions given together are undone together."""
        for latent, new in decisions.items():
            if new not in DECISIONS:
                raise DataError(f"decision '{new}' for latent {latent} is unknown; use one of {', '.join(DECISIONS)}")
        with self._write() as c:
            self._set(c, set_id)
            return self._append(c, set_id, who, {int(i): new for i, new in decisions.items()}, reason)

    def undo(self, set_id: int, who: str) -> list[Decision]:
        """Take back this person's last decision, with those given together with it; [] if nothing is left to take back."""
        with self._write() as c:
            self._set(c, set_id)
            last = c.execute(text(_LAST_NOT_UNDONE), {"s": set_id, "w": who}).first()
            if last is None:
                return []
            # Rows written before batches were recorded have none: they stand alone.
            query = (
                "select * from decisions where set_id = :s and undoes is null and (id = :i or batch = :b and :b != '')"
            )
            rows = c.execute(text(f"{query} order by id desc"), {"s": set_id, "i": last.id, "b": last.batch}).mappings()
            return self._append(c, set_id, who, {}, "", undone=[Decision(**r) for r in rows])

    def decisions(self, set_id: int) -> dict[int, str]:
        """Current decision per latent; latents set back to "none" are left out."""
        with self._read() as c:
            return self._current(c, set_id)

    def ablated(self, set_id: int) -> list[int]:
        """Ids currently marked "ablate", ascending."""
        return sorted(i for i, d in self.decisions(set_id).items() if d == "ablate")

    def history(self, set_id: int, latent: int | None = None) -> list[Decision]:
        """The log of a set (or of one latent in it), oldest first."""
        query = (
            "select * from decisions where set_id = :s"
            + ("" if latent is None else " and latent = :i")
            + " order by id"
        )
        with self._read() as c:
            return [Decision(**r) for r in c.execute(text(query), {"s": set_id, "i": latent}).mappings()]

    # Looks and commits

    def note_look(self, set_id: int, who: str, ids: Sequence[int]) -> int:
        """Remember that the dev score of exactly these latents was shown; returns the number of different ones so far.

        Showing the same score again (a page redrawn) tells nothing new and counts once.
        """
        with self._write() as c:
            self._set(c, set_id)
            _insert(c, "looks", {"set_id": set_id, "who": who, "ids_fingerprint": _ids_fingerprint(ids)}, "or ignore ")
            return _count(c, "looks", set_id)

    def dev_looks(self, set_id: int) -> int:
        """How many different dev scores of this set have been shown."""
        with self._read() as c:
            return _count(c, "looks", set_id)

    def commit(self, set_id: int, who: str, ids: Sequence[int], test: Mapping[str, Any]) -> Commit:
        """Freeze these latents with their test score (plain JSON values) and the dev looks so far."""
        content = {"ids": json.dumps(sorted(int(i) for i in ids)), "test": json.dumps(dict(test), allow_nan=False)}
        with self._write() as c:
            self._set(c, set_id)
            row = _insert(
                c, "commits", {"set_id": set_id, "who": who, "dev_looks": _count(c, "looks", set_id), **content}
            )
            return _commit(c.execute(text("select * from commits where id = :i"), {"i": row}).mappings().one())

    def commits(self, set_id: int | None = None) -> list[Commit]:
        """Commits of one set or of all, oldest first."""
        where = "" if set_id is None else "where set_id = :s"
        with self._read() as c:
            rows = c.execute(text(f"select * from commits {where} order by id"), {"s": set_id}).mappings()
            return [_commit(r) for r in rows]

    # Verdicts

    def add_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Append verdicts, all or none."""
        for v in verdicts:
            if v.rater_kind not in RATER_KINDS:
                raise DataError(f"rater kind '{v.rater_kind}' is unknown; use one of {', '.join(RATER_KINDS)}")
            if bad := {k: r for k, r in v.ratings.items() if type(r) is not int or not 0 <= r <= 4}:
                raise DataError(f"latent {v.latent}: ratings {bad} are not whole numbers from 0 to 4")
            if v.ratings and not v.ok:
                raise DataError(f"latent {v.latent}: status '{v.status}' cannot carry ratings")
        with self._write() as c:
            for v in verdicts:
                values = {k: getattr(v, k) for k in _VERDICT_COLUMNS}
                values |= {"ratings": json.dumps(dict(v.ratings)), "key": v.key}
                _insert(c, "verdicts", values | ({"at": v.at} if v.at else {}))

    def find_verdict(self, key: str) -> Verdict | None:
        """The newest usable answer to exactly this question, or None."""
        with self._read() as c:
            row = (
                c.execute(
                    text("select * from verdicts where key = :k and status = 'ok' order by id desc limit 1"), {"k": key}
                )
                .mappings()
                .first()
            )
            return None if row is None else _verdict(row)

    def verdicts(
        self, sae_fingerprint: str, *, task: str | None = None, rater: str | None = None, latent: int | None = None
    ) -> list[Verdict]:
        """One verdict per (task, rater, latent): the newest usable one, or the newest failure if there is none."""
        newest: dict[tuple[str, str, int], Verdict] = {}
        for v in self.verdict_history(sae_fingerprint, task=task, rater=rater, latent=latent):
            place = (v.task, v.rater, v.latent)
            if v.ok or place not in newest or not newest[place].ok:
                newest[place] = v
        return sorted(newest.values(), key=lambda v: (v.latent, v.rater, v.task))

    def newest_verdict(self, sae_fingerprint: str) -> int:
        """Number of the newest verdict on this SAE, 0 without any: whoever keeps verdicts sees whether there are new ones."""
        with self._read() as c:
            query = text("select coalesce(max(id), 0) from verdicts where sae_fingerprint = :s")
            return int(c.execute(query, {"s": sae_fingerprint}).scalar_one())

    def verdict_history(
        self, sae_fingerprint: str, *, task: str | None = None, rater: str | None = None, latent: int | None = None
    ) -> list[Verdict]:
        """Every verdict ever given that fits, oldest first. Those about no task ("", the SAE as such) fit every task."""
        wanted = {"sae_fingerprint": sae_fingerprint, "task": task, "rater": rater, "latent": latent}
        wanted = {k: v for k, v in wanted.items() if v is not None}
        where = " and ".join("task in (:task, '')" if k == "task" else f"{k} = :{k}" for k in wanted)
        with self._read() as c:
            rows = c.execute(text(f"select * from verdicts where {where} order by id"), wanted).mappings()
            return [_verdict(r) for r in rows]

    def raters(self, sae_fingerprint: str) -> list[tuple[str, str, int]]:
        """(rater, rater kind, latents with a usable verdict), the most complete first."""
        query = (
            "select rater, rater_kind, count(distinct case when status = 'ok' then latent end) as n from verdicts "
            "where sae_fingerprint = :s group by rater, rater_kind order by n desc, rater"
        )
        with self._read() as c:
            return [(r.rater, r.rater_kind, r.n) for r in c.execute(text(query), {"s": sae_fingerprint})]

    # Batches of a judge, and runs

    def note_batch(self, batch_id: str, event: str, content: Mapping[str, Any]) -> None:
        """Remember that a batch was "created" (with what was asked) or "collected"."""
        with self._write() as c:
            _insert(c, "judge_batches", {"batch_id": batch_id, "event": event, "content": json.dumps(dict(content))})

    def open_batches(self) -> dict[str, dict[str, Any]]:
        """Batches created and not yet collected: id -> what was asked."""
        query = (
            "select batch_id, content from judge_batches b where event = 'created' and not exists "
            "(select 1 from judge_batches e where e.batch_id = b.batch_id and e.event = 'collected') order by id"
        )
        with self._read() as c:
            return {r.batch_id: json.loads(r.content) for r in c.execute(text(query))}

    def add_run(self, who: str, kind: str, config: Mapping[str, Any], result: Mapping[str, Any]) -> int:
        """Keep the settings and result of a run (plain JSON values); returns its id."""
        content = {"config": json.dumps(dict(config)), "result": json.dumps(dict(result), allow_nan=False)}
        with self._write() as c:
            return _insert(c, "runs", {"who": who, "kind": kind, **content})

    def runs(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Kept runs, newest first: id, at, who, kind, config, result."""
        where = "" if kind is None else "where kind = :k"
        with self._read() as c:
            rows = c.execute(text(f"select * from runs {where} order by id desc"), {"k": kind}).mappings()
            return [dict(r) | {"config": json.loads(r["config"]), "result": json.loads(r["result"])} for r in rows]

    # Inside one transaction

    def _insert_set(self, c: Connection, values: Mapping[str, Any]) -> DecisionSet:
        if values["metric"] not in METRICS:
            raise DataError(f"metric '{values['metric']}' is unknown; use one of {', '.join(METRICS)}")
        return self._set(c, _insert(c, "decision_sets", values))

    def _set(self, c: Connection, set_id: int) -> DecisionSet:
        row = c.execute(text(f"{_SELECT_SET} where s.id = :i"), {"i": set_id}).mappings().first()
        if row is None:
            raise DataError(f"decision set {set_id} does not exist in {self.path}; choose one from the list")
        return DecisionSet(**row)

    def _current(self, c: Connection, set_id: int) -> dict[int, str]:
        rows = c.execute(
            text(
                "select latent, new from decisions where id in "
                "(select max(id) from decisions where set_id = :s group by latent) order by latent"
            ),
            {"s": set_id},
        )
        return {r.latent: r.new for r in rows if r.new != "none"}

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
            _insert(c, "decisions", shared | {"latent": i, "old": now.get(i, "none"), "new": new, "undoes": undoes})
            for i, new, undoes in rows
        ]
        return [
            Decision(**c.execute(text("select * from decisions where id = :i"), {"i": i}).mappings().one()) for i in ids
        ]

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        # The lock is taken before reading, so "old" in a decision is true even when ten sessions write.
        with self._clear_errors("written"), self._engine.connect().execution_options(begin="immediate") as c, c.begin():
            yield c

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with self._clear_errors("read"), self._engine.connect() as c:
            yield c

    @contextmanager
    def _clear_errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except (DatabaseError, sqlite3.Error, OSError) as error:
            why = getattr(error, "orig", None) or error
            raise ArtifactError(
                f"{self.path} cannot be {verb}: {why}; check the disk or point SAEEVAL_STORE elsewhere"
            ) from None


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
_VERDICT_COLUMNS = (
    "latent",
    "sae_fingerprint",
    "sae",
    "task",
    "rater",
    "rater_kind",
    "explanation",
    "reason",
    "model",
    "prompt",
    "evidence_hash",
    "status",
    "raw",
)


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun by _on_begin, not guessed by the driver
    connection.execute(f"pragma busy_timeout = {_BUSY_MS}")
    connection.execute("pragma foreign_keys = on")
    connection.execute("pragma synchronous = normal")


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql(f"begin {connection.get_execution_options().get('begin', 'deferred')}")


def _use_wal(engine: Any) -> None:
    """Switching to WAL ignores the busy timeout, so several processes that open a new file retry by hand."""
    for attempt in range(50):
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("pragma journal_mode = wal")
            return
        except raw.driver_connection.OperationalError as error:
            if "locked" not in str(error) or attempt == 49:
                raise OperationalError("pragma journal_mode", {}, error) from None
        finally:
            raw.close()
        time.sleep(0.05)


def _insert(c: Connection, table: str, values: Mapping[str, Any], how: str = "") -> int:
    names = ", ".join(values)
    marks = ", ".join(f":{k}" for k in values)
    return int(c.execute(text(f"insert {how}into {table} ({names}) values ({marks})"), dict(values)).lastrowid)


def _count(c: Connection, table: str, set_id: int) -> int:
    return int(c.execute(text(f"select count(*) from {table} where set_id = :s"), {"s": set_id}).scalar_one())


def _ids_fingerprint(ids: Sequence[int]) -> str:
    return fingerprint(sorted(int(i) for i in ids))


def _named(name: str) -> str:
    if not name.strip():
        raise DataError("a decision set needs a name; type at least one letter")
    return name.strip()


def _commit(row: Mapping[str, Any]) -> Commit:
    return Commit(**dict(row) | {"ids": tuple(json.loads(row["ids"])), "test": json.loads(row["test"])})


def _verdict(row: Mapping[str, Any]) -> Verdict:
    return Verdict(**{k: v for k, v in row.items() if k != "key"} | {"ratings": json.loads(row["ratings"])})
