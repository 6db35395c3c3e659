"""Rows of verdicts: raters' ratings and explanations of latents, and the batches of questions sent to a judge.

The newest usable verdict per task, rater and latent is the current one; all others stay in the history.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text

from saeeval_core.config import fingerprint
from saeeval_core.errors import DataError
from saeeval_core.ledger.connection import Database, given, insert, sound

RATER_KINDS = ("llm", "local", "human", "imported")
OK = "ok"
"""Status of a usable verdict; every other status says why there is no verdict."""
SERVED = " served as "
"""In a verdict's model: between the model that was asked for and what the server says that it is."""
INTRUDER = "intruder:"
"""Begins the task of an answer to the intruder task, whose ratings are the places "picked" and "intruder", from 0. Such
an answer is no rating: what does not ask for such a task does not see it."""
_SERVED = re.compile(rf"(.*?){SERVED}(.*) at (\S+?)(?: by (\w+), request ([0-9a-f]+))?", re.DOTALL)


@dataclass(frozen=True)
class Served:
    """Who answered a judge's question and what exactly was sent: the text of a verdict's model, both ways."""

    asked: str
    """The model that was asked for."""
    model: str
    """The model as the server reports it."""
    host: str
    """Host, and port where there is one."""
    protocol: str = ""
    """How the server was spoken to: "messages" or "chat"; "" in verdicts of earlier versions."""
    request: str = ""
    """Fingerprint of the whole request (``config.fingerprint`` of its body); "" as above."""

    def __str__(self) -> str:
        how = f" by {self.protocol}, request {self.request}" if self.protocol else ""
        return f"{self.asked}{SERVED}{self.model} at {self.host}{how}"

    @classmethod
    def of(cls, text: str) -> "Served | None":
        """The same from a verdict's model; None where no server named itself."""
        found = _SERVED.fullmatch(text)
        return None if found is None else cls(*(part or "" for part in found.groups()))


@dataclass(frozen=True)
class Verdict:
    """One rater's verdict on one latent; with a status other than "ok" there are no ratings."""

    latent: int
    sae_fingerprint: str
    sae: str
    task: str
    """Name of the texts it is about; "" for a verdict that holds for any texts."""
    rater: str
    rater_kind: str
    """One of RATER_KINDS; only a person in the app is "human"."""
    ratings: Mapping[str, int] = field(default_factory=dict)
    """Concept -> 0..4; empty unless status is "ok". A concept that is absent was not rated."""
    explanation: str = ""
    reason: str = ""
    model: str = ""
    """As asked for, or a ``Served`` in words."""
    prompt: str = ""
    """The text sent to the judge."""
    evidence_hash: str = ""
    status: str = OK
    raw: str = ""
    """The reply, word for word."""
    at: str = ""
    id: int | None = None

    @property
    def ok(self) -> bool:
        """True when there are ratings to use."""
        return self.status == OK

    @property
    def key(self) -> str:
        """Identity of the question: equal when the same rater is asked the same about the same evidence."""
        model = self.model.partition(SERVED)[0]
        asked = (self.sae_fingerprint, self.latent, self.task, self.rater, model, self.prompt, self.evidence_hash)
        return fingerprint(asked)


class VerdictRows(Database):
    """Verdicts, raters and a judge's batches."""

    def add_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Append verdicts, all or none. DataError for an unknown rater kind or ratings that are not valid."""
        for v in verdicts:
            _check(v)
        with self._write() as c:
            for v in verdicts:
                values = {k: getattr(v, k) for k in _COLUMNS}
                values |= {"ratings": json.dumps(dict(v.ratings)), "key": v.key}
                insert(c, "verdicts", values | ({"at": v.at} if v.at else {}))

    def find_verdict(self, key: str) -> Verdict | None:
        """The newest usable answer to exactly this question, or None."""
        query = text("select * from verdicts where key = :k and status = 'ok' order by id desc")
        with self._read() as c:
            return next((_verdict(r) for r in sound("verdicts", c.execute(query, {"k": key}))), None)

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
        """Id of the newest verdict on this SAE, 0 without any; it changes whenever verdicts are added."""
        with self._read() as c:
            query = text("select coalesce(max(id), 0) from verdicts where sae_fingerprint = :s")
            return int(c.execute(query, {"s": sae_fingerprint}).scalar_one())

    def verdict_history(
        self, sae_fingerprint: str, *, task: str | None = None, rater: str | None = None, latent: int | None = None
    ) -> list[Verdict]:
        """All verdicts that match, oldest first. Those with task "" match every task, but not that of an intruder.

        Answers to the intruder task are only found by their task.
        """
        wanted = given(sae_fingerprint=sae_fingerprint, task=task, rater=rater, latent=latent)
        intruders = bool(task and task.startswith(INTRUDER))
        ours = "task = :task" if intruders else "task in (:task, '')"
        where = " and ".join(ours if k == "task" else f"{k} = :{k}" for k in wanted)
        if not intruders:
            where += f" and substr(task, 1, {len(INTRUDER)}) != '{INTRUDER}'"
        with self._read() as c:
            rows = c.execute(text(f"select * from verdicts where {where} order by id"), wanted)
            return [_verdict(r) for r in sound("verdicts", rows)]

    def raters(self, sae_fingerprint: str) -> list[tuple[str, str, int]]:
        """(rater, rater kind, latents with a usable verdict), the most complete first."""
        usable: dict[tuple[str, str], set[int]] = {}
        for v in self.verdict_history(sae_fingerprint):
            usable.setdefault((v.rater, v.rater_kind), set()).update([v.latent] if v.ok else [])
        found = [(rater, kind, len(latents)) for (rater, kind), latents in usable.items()]
        return sorted(found, key=lambda r: (-r[2], r[0]))

    def note_batch(self, batch_id: str, event: str, content: Mapping[str, object]) -> None:
        """Record that a batch was "created" (``content``: its questions, as plain JSON values) or "collected"."""
        with self._write() as c:
            insert(c, "judge_batches", {"batch_id": batch_id, "event": event, "content": json.dumps(dict(content))})

    def open_batches(self) -> dict[str, dict[str, Any]]:
        """Batches created and not yet collected: id -> the ``content`` given to ``note_batch``."""
        with self._read() as c:
            rows = list(sound("judge_batches", c.execute(text("select * from judge_batches order by id"))))
        collected = {r["batch_id"] for r in rows if r["event"] == "collected"}
        return {r["batch_id"]: json.loads(r["content"]) for r in rows if r["batch_id"] not in collected}


_COLUMNS = (
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


def _check(v: Verdict) -> None:
    if v.rater_kind not in RATER_KINDS:
        raise DataError(f"rater kind '{v.rater_kind}' is unknown; use one of {', '.join(RATER_KINDS)}")
    if bad := {k: r for k, r in v.ratings.items() if type(r) is not int or not 0 <= r <= 4}:
        raise DataError(f"latent {v.latent}: ratings {bad} are not whole numbers from 0 to 4")
    if v.ratings and not v.ok:
        raise DataError(f"latent {v.latent}: status '{v.status}' cannot carry ratings")


def _verdict(row: Mapping[str, Any]) -> Verdict:
    return Verdict(**{k: v for k, v in row.items() if k != "key"} | {"ratings": json.loads(row["ratings"])})
