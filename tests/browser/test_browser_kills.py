"""kill -9 of the server at random moments while a person decides, undoes and commits; no page is ever reloaded."""

import random
import sqlite3
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Page, TimeoutError, expect
from test_browser_presses import WAIT, lab

from saeeval_core.ledger.store import Store

pytestmark = pytest.mark.faults
KEYS = {"a": 6, "k": 3, "u": 2, "z": 3, "ArrowDown": 9}
"""Ablate, keep, unsure, undo and the next latent, and how often each is pressed."""
RECORD = """() => {
  window.everyPress = [];
  const out = window.saeevalPresses;
  const watched = (list) => {
    list.push = (press) => {
      window.everyPress.push(JSON.parse(JSON.stringify(press)));
      return Array.prototype.push.call(list, press);
    };
    return list;
  };
  let list = watched(out.pending);
  Object.defineProperty(out, "pending", { get: () => list, set: (next) => { list = watched(next); } });
}"""


@dataclass
class Ledger:
    """What must be stored after these presses, each carried out once and in order."""

    now: dict[int, str] = field(default_factory=dict)
    log: list[tuple[int, str]] = field(default_factory=list)
    """(latent, decision) of every row."""
    commits: list[tuple[int, ...]] = field(default_factory=list)
    _undoable: list[list[tuple[int, str]]] = field(default_factory=list)

    def press(self, kind: str, latents: list[int], decision: str) -> None:
        if kind == "decide":
            changed = [(i, self.now.get(i, "none")) for i in latents if self.now.get(i, "none") != decision]
            self._write([(i, decision) for i, _ in changed])
            if changed:
                self._undoable.append(changed)
        elif kind == "undo" and self._undoable:
            self._write(self._undoable.pop())
        elif kind == "commit":
            self.commits.append(self.ablated)

    @property
    def ablated(self) -> tuple[int, ...]:
        return tuple(sorted(i for i, d in self.now.items() if d == "ablate"))

    @property
    def to_commit(self) -> bool:
        """Whether there is a set that was not committed yet: a committed one has its test score, and keeps it."""
        return bool(self.ablated) and self.ablated not in self.commits

    def _write(self, rows: list[tuple[int, str]]) -> None:
        self.log += rows
        self.now |= dict(rows)


class Person:
    """Decides, undoes and commits on one page."""

    def __init__(self, page: Page, who: str, rng: random.Random) -> None:
        self.page, self.who, self.rng = page, who, rng
        self.button = page.get_by_role("button", name="Commit: compute the test score once")
        page.evaluate(RECORD)

    def act(self, times: int) -> None:
        """So many presses, some as fast as keys repeat and some after a thought."""
        for _ in range(times):
            # The button is there once the page has heard of a decision, and below a notice while there is no server.
            if self.rng.random() < 0.2 and self.expected().to_commit and self.button.is_visible():
                with suppress(TimeoutError):
                    self.button.click(timeout=1000)
            else:
                self.page.keyboard.press(self.rng.choices(list(KEYS), list(KEYS.values()))[0])
            self.page.wait_for_timeout(self.rng.choice((0, 0, 30, 250)))

    def pressed(self) -> list[dict]:
        return self.page.evaluate("window.everyPress")

    def expected(self) -> Ledger:
        found = Ledger()
        for p in self.pressed():
            found.press(p["kind"], p["latents"], p["decision"])
        return found

    def check(self, store: Store) -> int:
        """The store holds exactly this person's presses; how many there were."""
        expected, pressed = self.expected(), self.pressed()
        with sqlite3.connect(store.path) as db:
            presses = db.execute(
                "select client, seq, kind from presses where who = ? order by id", (self.who,)
            ).fetchall()
        assert presses == [(p["client"], p["seq"], p["kind"]) for p in pressed]
        sets = [s for s in store.list_sets() if s.who == self.who]
        own = [d for s in sets for d in store.history(s.id)]
        assert {d.who for d in own} <= {self.who} and len(sets) == 1
        assert [(d.latent, d.new) for d in own] == expected.log
        assert store.decisions(sets[0].id, sys.maxsize) == {i: d for i, d in expected.now.items() if d != "none"}
        assert [c.ids for c in store.commits(sets[0].id)] == expected.commits
        return len(pressed)


def kills(open_page, server, record_property, times: int, seed: int) -> None:
    """So many kills under two people; every second time they press on before the page has its server back."""
    rng = random.Random(seed)
    people = [
        Person(lab(open_page("/shift", who=who)), who, rng) for who in (f"ann{times}-{seed}", f"bob{times}-{seed}")
    ]
    for i in range(times):
        killer = threading.Timer(rng.uniform(0, 1.5), server.kill)
        killer.start()
        for person in people:
            person.act(rng.randint(6, 12))
        killer.join()
        server.start()
        for person in people:
            if i % 2:
                lab(person.page)
            person.act(rng.randint(3, 6))
    for person in people:
        lab(person.page)
        expect(person.page.locator("#saeeval-presses")).to_be_hidden(timeout=WAIT)
    store = Store(server.store)
    presses = sum(person.check(store) for person in people)
    store.close()
    assert presses >= 4 * times
    record_property("tried", times)
    record_property("presses", presses)


@pytest.mark.parametrize(
    ("times", "seed"), [(8, 1), *(pytest.param(n, k, marks=pytest.mark.soak) for n, k in ((8, 2), (40, 0)))]
)
def test_kills_lose_double_and_misplace_no_press(open_page, server, record_property, times, seed):
    kills(open_page, server, record_property, times, seed)
