"""Take what another store holds into this one: once, with who and when, and never over what is here.

A row has one identity wherever it is copied to: the seal that it had where it was written, which table ``origins`` keeps
for copies. So merging twice, or there and back, adds nothing.

Rows lost from this store come back under their own ids from a backup of it. A set that went on differently in both
stores stays two sets: the other's whole history becomes a set of its own, named after where it is from. The same holds
for ratings: where both stores have another newest one, the other's are kept under "rater (from ...)".
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from saeeval_core.config import fingerprint
from saeeval_core.ledger.connection import Database, insert
from saeeval_core.ledger.exchange import Contents, Rows, rows_in
from saeeval_core.ledger.tables import TABLES, Row, Value
from saeeval_core.ledger.verdicts import Verdict

Values = dict[str, Value]
_OF_SETS = ("set_names", "set_owners", "set_origins", "decisions", "looks", "commits", "stories")
_NEWEST_COUNTS = ("set_names", "set_owners", "decisions", "stories")
"""Tables of a set in which the newest row decides."""
_RENAMED = "0" * 16
"""Identity of a name that a merge gave; it stays in the store that it was given in."""
_TRACES = ("decision_sets", *_OF_SETS, "presses")
"""A row that two stores share in one of these says that one began as a copy of the other."""


@dataclass(frozen=True)
class Merged:
    """What a merge added."""

    added: Mapping[str, int]
    """Table -> rows."""
    apart: tuple[str, ...]
    """Names of sets, and raters, that were kept beside those of the same name here."""
    left_out: int
    """Rows whose set the other file does not hold (a damaged store)."""


@dataclass
class _Side:
    """One of the two stores."""

    rows: dict[str, dict[int, Values]]
    identity: dict[tuple[str, int], str]
    written_here: set[tuple[str, int, str]]
    """(table, id, identity) of rows that are no copies."""
    known: dict[str, dict[str, int]]
    """Table -> identity -> the newest row that has it."""

    @classmethod
    def of(cls, rows: Rows) -> "_Side":
        values = {n: {i: dict(zip(TABLES[n].columns, r, strict=True)) for i, r in rows[n].items()} for n in TABLES}
        copied = {(str(o["table_name"]), int(o["row_id"] or 0)): str(o["identity"]) for o in values["origins"].values()}
        own = {(n, i): copied.get((n, i)) or _identity(n, r) for n in rows for i, r in rows[n].items()}
        written = {(*key, identity) for key, identity in own.items() if key not in copied}
        side = cls(values, own, written, {n: {} for n in TABLES})
        for (name, i), identity in sorted(own.items(), key=lambda item: item[0][1]):
            side.known[name][identity] = i
        return side

    def without_given_names(self) -> "_Side":
        """As its sets were named by people."""
        for key in [k for k, identity in self.identity.items() if identity == _RENAMED]:
            del self.identity[key], self.rows[key[0]][key[1]]
        return self

    def given_name(self, set_id: int) -> bool:
        """Whether a merge named this set; then it does not follow names given elsewhere."""
        return any(self.identity["set_names", i] == _RENAMED for i in self.of_set("set_names", set_id))

    def of_set(self, table: str, set_id: int) -> list[int]:
        """Ids of the rows of one set, oldest first."""
        return sorted(i for i, r in self.rows[table].items() if r["set_id"] == set_id)

    def name(self, set_id: int) -> str:
        """The newest name of a set."""
        names = [self.rows["set_names"][i]["name"] for i in self.of_set("set_names", set_id)]
        return str(names[-1] if names else self.rows["decision_sets"][set_id]["name"])


def _identity(table: str, row: Row) -> str:
    """What a judge or an import said is the same in every store, whenever it was put there."""
    if table == "presses":
        return fingerprint(row[1:3])
    if table == "judge_batches":
        return fingerprint(["batch", row[1], *row[3:]])
    if table == "verdicts" and row[7] != "human":
        return fingerprint(["verdict", *row[1:-1]])
    return TABLES[table].seal(row)


def merge(store: Database, other: Contents) -> Merged:
    """Add what ``other`` holds and the store does not; all or nothing."""
    with store.together() as c:
        here = rows_in(c.connection.driver_connection)  # type: ignore[arg-type]
        work = _Merge(c, _Side.of(here), _Side.of(other.rows).without_given_names(), other.label)
        work.sets()
        work.verdicts()
        work.others()
    left_out = sum(r["set_id"] not in work.theirs.rows["decision_sets"] for t in _OF_SETS for r in work.missing(t))
    return Merged(dict(work.added), tuple(work.apart), left_out)


def _way(missing: Sequence[int], known: Sequence[int], only_here: Sequence[int], at_own_ids: bool) -> str:
    """Where rows go of which the newest decides: "place" (under their own ids), "append", or "apart".

    All arguments are ids: of rows that are missing here and of those known here, as the other store numbers them, and
    of rows that only this store has.
    """
    if not missing:
        return "append"
    if at_own_ids and (not only_here or max(missing) < min(only_here)):
        return "place"
    if not only_here and (not known or min(missing) > max(known)):
        return "append"
    return "apart"


class _Merge:
    """One merge under way; the rows of both sides lie in memory."""

    def __init__(self, c: Connection, ours: _Side, theirs: _Side, label: str) -> None:
        self.c, self.ours, self.theirs, self.label = c, ours, theirs, label
        self.added: Counter[str] = Counter()
        self.apart: list[str] = []
        self.set_ids: dict[int, int] = {}
        self.same_origin = any(table in _TRACES for table, _, _ in ours.written_here & theirs.written_here)

    def missing(self, table: str) -> list[Values]:
        """Rows of theirs that are not here, oldest first."""
        rows = self.theirs.rows[table]
        return [rows[i] for i in sorted(rows) if not self._known(table, i)]

    def sets(self) -> None:
        """Decision sets with all that belongs to them; those of one TPP name and person go the same way."""
        groups: dict[tuple[object, ...], list[int]] = {}
        for i in sorted(self.theirs.rows["decision_sets"]):
            groups.setdefault(self._group(i), []).append(i)
        ways = {i: self._way_of_set(i) for own in groups.values() for i in own}
        apart = {i for own in groups.values() if any(ways[k] == "apart" for k in own) for i in own}
        renamed = apart | {i for own in groups.values() if any(self._name_taken(k) for k in own) for i in own}
        for i in sorted(ways):
            if ways[i] == "new" or i in apart:
                self._copy_set(i, rename=i in renamed)
            else:
                self._fill_set(i)

    def verdicts(self) -> None:
        """Ratings, one rater on one SAE and task at a time."""
        groups: dict[tuple[object, ...], list[Values]] = {}
        for row in self.missing("verdicts"):
            groups.setdefault(_rated(row), []).append(row)
        for rows in groups.values():
            self._add_verdicts(rows)

    def others(self) -> None:
        """Presses and a judge's batches."""
        for table in ("presses", "judge_batches"):
            for row in self.missing(table):
                self._add(table, row, keep=True)

    def _group(self, set_id: int) -> tuple[object, ...]:
        s = self.theirs.rows["decision_sets"][set_id]
        together = (s["task"], s["sae_fingerprint"], s["who"], self.theirs.name(set_id))
        return together if s["metric"] == "tpp" else (set_id,)

    def _way_of_set(self, set_id: int) -> str:
        target = self.ours.known["decision_sets"].get(self.theirs.identity["decision_sets", set_id])
        if target is None:
            return "new"
        self.set_ids[set_id] = target
        tables = [t for t in self._followed(target) if t in _NEWEST_COUNTS]
        return "apart" if "apart" in [self._way_of_rows(t, set_id, target) for t in tables] else "known"

    def _followed(self, target: int) -> list[str]:
        return [t for t in _OF_SETS if t != "set_names" or not self.ours.given_name(target)]

    def _way_of_rows(self, table: str, set_id: int, target: int) -> str:
        theirs = self.theirs.of_set(table, set_id)
        missing = [i for i in theirs if not self._known(table, i)]
        shared = {self.theirs.identity[table, i] for i in theirs}
        only_here = [i for i in self.ours.of_set(table, target) if self.ours.identity[table, i] not in shared]
        at_own_ids = set_id == target and all(self._free(table, i) for i in missing)
        return _way(missing, [i for i in theirs if self._known(table, i)], only_here, at_own_ids)

    def _name_taken(self, set_id: int) -> bool:
        """Whether a new set would stand in the way of one here: same place, person and name."""
        if set_id in self.set_ids:
            return False
        scope = ("metric", "task", "direction", "sae_fingerprint", "who")
        new, sets = self.theirs.rows["decision_sets"][set_id], self.ours.rows["decision_sets"]
        same = (i for i, s in sets.items() if all(s[k] == new[k] for k in scope))
        return any(self.ours.name(i) == self.theirs.name(set_id) for i in same)

    def _copy_set(self, set_id: int, *, rename: bool) -> None:
        """A set that is not here, or one that went on differently, with its whole history."""
        values = dict(self.theirs.rows["decision_sets"][set_id])
        is_new = set_id not in self.set_ids
        values["copied_from"] = self.set_ids.get(int(values["copied_from"] or 0))
        new = self._add("decision_sets", values, keep=is_new)
        self.set_ids[set_id] = new
        for table in _OF_SETS:
            self._add_rows(table, set_id, self.theirs.of_set(table, set_id), keep=is_new)
        if rename:
            name = f"{self.theirs.name(set_id)} (from {self.label})"
            given = insert(self.c, "set_names", {"set_id": new, "name": name, "who": values["who"]})
            self._note_origin("set_names", given, _RENAMED)
            self.apart.append(name)

    def _fill_set(self, set_id: int) -> None:
        target = self.set_ids[set_id]
        for table in self._followed(target):
            keep = self._way_of_rows(table, set_id, target) == "place" or table not in _NEWEST_COUNTS
            self._add_rows(table, set_id, self.theirs.of_set(table, set_id), keep=keep and set_id == target)

    def _add_rows(self, table: str, set_id: int, ids: Iterable[int], *, keep: bool) -> None:
        target = self.set_ids[set_id]
        here = {self.ours.identity[table, i]: i for i in self.ours.of_set(table, target)}
        looks = {self.ours.rows["looks"][i]["ids_fingerprint"] for i in self.ours.of_set("looks", target)}
        moved: dict[int, int] = {}
        for i in ids:
            identity = self.theirs.identity[table, i]
            row = self.theirs.rows[table][i] | {"set_id": target}
            if (
                identity in here
                or (table == "looks" and row["ids_fingerprint"] in looks)
                or (table == "set_origins" and here)
            ):
                moved[i] = here.get(identity, i)
                continue
            if table == "decisions":
                row["undoes"] = moved.get(int(row["undoes"] or 0))
            moved[i] = self._add(table, row, keep=keep)

    def _add_verdicts(self, rows: Sequence[Values]) -> None:
        latents = {r["latent"] for r in rows if r["status"] == "ok"}
        about = _rated(rows[0])

        def usable(side: _Side, known_to: Callable[[str], bool]) -> list[int]:
            own = (i for i, r in side.rows["verdicts"].items() if r["latent"] in latents and _rated(r) == about)
            ok = (i for i in own if side.rows["verdicts"][i]["status"] == "ok")
            return sorted(i for i in ok if known_to(side.identity["verdicts", i]))

        only_here = usable(self.ours, lambda identity: identity not in self.theirs.known["verdicts"])
        known = usable(self.theirs, lambda identity: identity in self.ours.known["verdicts"])
        ids = [int(r["id"] or 0) for r in rows]
        free = self.same_origin and all(self._free("verdicts", i) for i in ids)
        way = _way(ids, known, only_here, free)
        rater = f"{rows[0]['rater']} (from {self.label})"
        if way == "apart":
            self.apart.append(rater)
        for row in rows:
            self._add("verdicts", _renamed(row, rater) if way == "apart" else row, keep=way == "place")

    def _known(self, table: str, i: int) -> bool:
        return self.theirs.identity[table, i] in self.ours.known[table]

    def _free(self, table: str, i: int) -> bool:
        return self.same_origin and i not in self.ours.rows[table]

    def _add(self, table: str, row: Values, *, keep: bool) -> int:
        """Add one row of theirs, under its own id if ``keep`` and it is free; where from is noted unless it came home."""
        their_id = int(row["id"] or 0)
        home = keep and self._free(table, their_id) and row == self.theirs.rows[table][their_id]
        values: dict[str, Any] = row if home else {k: v for k, v in row.items() if k != "id"}
        new = insert(self.c, table, values)
        identity = self.theirs.identity[table, their_id]
        if not home and table != "presses":
            self._note_origin(table, new, identity)
        self.ours.rows[table][new] = row | {"id": new}
        self.ours.identity[table, new] = identity
        self.ours.known[table][identity] = new
        self.added[table] += 1
        return new

    def _note_origin(self, table: str, row: int, identity: str) -> None:
        origin = {"table_name": table, "row_id": row, "identity": identity, "source": self.label}
        insert(self.c, "origins", origin)


def _rated(row: Values) -> tuple[object, ...]:
    return row["sae_fingerprint"], row["task"], row["rater"]


def _renamed(row: Values, rater: str) -> Values:
    """The same verdict of a rater of another name, so of another question."""
    given = {k: v for k, v in row.items() if k not in ("key", "ratings", "rater")}
    verdict = Verdict(**given, rater=rater, ratings=json.loads(str(row["ratings"])))  # type: ignore[arg-type]
    return row | {"rater": rater, "key": verdict.key}
