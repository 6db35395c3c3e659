"""Named TPP sets: one stored decision set per class, holding what a person changed on top of the ranking."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.deciding import class_refs, judged
from app.deciding.class_refs import ATTRIBUTION, JUDGE, Owned
from app.deciding.desk import Desk, tpp_place
from app.services import access, ledger, scoring, verdicts
from app.services.loading import Loaded
from app.services.shared import shared
from saeeval_core.errors import DataError
from saeeval_core.ledger.commit_rows import Commit
from saeeval_core.ledger.commits import TppCommit, read_tpp
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.places import MINE, looks_words, own_set
from saeeval_core.ledger.store import Store
from saeeval_core.scores.selections import SELECTED, Rule
from saeeval_core.scores.uncertainty import say
from saeeval_core.wording import short_time


@dataclass(frozen=True)
class ClassSets:
    """One named set over all classes."""

    value: str
    """What the URL carries."""
    name: str
    who: str
    mine: bool
    """The person looking may change it."""
    task: str
    classes: tuple[str, ...]
    by_class: dict[str, DecisionSet]
    decisions: list[dict[int, str]]
    """Per class: latent -> decision."""
    options: list[tuple[str, str]]
    """(value, label) of every set there is."""
    states: tuple[str, ...] = ()
    """A judge's set: per class "ok" or why nothing is ablated ("nothing passed", "not judged"); else empty."""
    rule: Rule | None = None
    """A judge's set: what made it."""

    @property
    def label(self) -> str:
        """Name shown."""
        return dict(self.options)[self.value]

    @property
    def empty(self) -> bool:
        """Nothing was changed on top of the ranking."""
        return not any(self.decisions)

    @property
    def summary(self) -> str:
        """Such as "2 added, 1 kept"."""
        every = [d for own in self.decisions for d in own.values()]
        words = [
            f"{every.count(k)} {name}" for k, name in (("ablate", "added"), ("keep", "kept"), ("unsure", "unsure"))
        ]
        return ", ".join(w for w in words if not w.startswith("0 ")) or "no changes"

    @property
    def note(self) -> str:
        """What the set changes, in a line; for a judge's also the rule and the classes it leaves empty."""
        if self.empty:
            return ""
        rule = f"; {self.rule}" if self.rule else ""
        left = [f"{c}: {s}" for c, s in zip(self.classes, self.states, strict=False) if s != SELECTED]
        named = f"'{self.label}'" if self.rule else f"'{self.name}' of {self.who}"
        return f"set {named}: {self.summary}{rule}" + (f"; {', '.join(left)}" if left else "")

    @property
    def nothing(self) -> str:
        """For a judge's set that leaves every row empty, why: then there is nothing to score. "" otherwise."""
        if not self.states or any(s == SELECTED for s in self.states):
            return ""
        return ", ".join(f"{c}: {s}" for c, s in zip(self.classes, self.states, strict=True))

    @property
    def stored(self) -> list[tuple[str, DecisionSet]]:
        """(class, its stored set) for classes that have one."""
        return [(c, self.by_class[c]) for c in self.classes if c in self.by_class]

    def note_look(self, who: str, ids: Sequence[Sequence[int]]) -> None:
        """Remember which dev scores of one's own changed sets were seen (the store counts each set of latents once)."""
        for c, own, changed in zip(self.classes, ids, self.decisions, strict=True):
            if changed and c in self.by_class and who == self.who:
                ledger.store().note_look(self.by_class[c].id, who, own)

    def committed(self) -> list["ClassCommit"]:
        """Every commit of every class, oldest first within a class."""
        rows = [(name, c) for name, stored in self.stored for c in ledger.store().commits(stored.id)]
        return [ClassCommit(name, c, read_tpp(c)) for name, c in rows]

    def commits(self) -> list[str]:
        """Committed test scores of this set, newest first, one line each (the classes are committed together)."""
        before = None if any(s.looks_before is None for _, s in self.stored) else 0
        batches = {made.frozen.batch: (made.row, made.frozen) for made in self.committed()}
        return [
            f"{short_time(c.at)}  {c.who}: test {say(frozen.score)}, N = {frozen.n}, after {looks_words(frozen.dev_looks, before)}; "
            f"{frozen.gone}"
            for c, frozen in sorted(batches.values(), key=lambda pair: pair[0].id, reverse=True)
        ]


@dataclass(frozen=True)
class ClassCommit:
    """The part of one class in a commit of all."""

    name: str
    """Of the class."""
    row: Commit
    frozen: TppCommit


def class_sets(loaded: Loaded, value: str, who: str, n: int = 20, rule: Rule | None = None) -> ClassSets:
    """The set a link or picker names; a name nobody has used yet is an empty set of one's own.

    ``n`` and ``rule`` decide what a judge's set changes on top of the top N.
    """
    assert loaded.task_set.tpp is not None
    classes = loaded.task_set.tpp[1]
    task = tpp_place(loaded, classes[0]).task
    every = ledger.store().list_sets(metric="tpp", task=task, sae_fingerprint=loaded.latents.sae_fingerprint)
    judges = {f"{JUDGE}{name}": f"kept by {name}" for name in judged.judges(loaded)}
    found = None if value == ATTRIBUTION or value in judges else class_refs.meant(value, who, every)
    if found is None and value != ATTRIBUTION and value not in judges:
        value, found = MINE, Owned(MINE, who)
    options = [(ATTRIBUTION, "top N by attribution, nothing changed")]
    options += [*class_refs.options(found, value, who, every), *judges.items()]
    if value in judges:
        rater = value.removeprefix(JUDGE)
        rule = rule or Rule()
        kept, states = _judged(loaded, rater, n, rule, verdicts.newest(loaded))
        return ClassSets(value, rater, rater, False, task, tuple(classes), {}, kept, options, states, rule)
    owned = found or Owned(ATTRIBUTION, who)
    chosen = {s.direction: s for s in every if found == Owned(s.name, s.who)}
    width = loaded.latents.n_latents
    decisions = [ledger.store().decisions(chosen[c].id, width) if c in chosen else {} for c in classes]
    return ClassSets(value, owned.name, owned.who, owned.who == who, task, tuple(classes), chosen, decisions, options)


@shared(max_entries=128)
def _judged(
    loaded: Loaded, rater: str, n: int, rule: Rule, _newest: int
) -> tuple[list[dict[int, str]], tuple[str, ...]]:
    """Per class what the judge changes on top of the top N: keep where it says no or was not asked; and the states."""
    rankings = scoring.tpp_view(loaded, scoring.live_part(loaded)).rankings
    found = judged.judge_selector(loaded, "judge", rater, rule).tpp(
        scoring.tpp_view(loaded, scoring.live_part(loaded)), [n]
    )
    changes = []
    for ranking, (chosen,) in zip(rankings, found, strict=True):
        top, kept = [int(i) for i in ranking[:n]], set(chosen.ids)
        changes.append({i: "keep" for i in top if i not in kept} | {i: "ablate" for i in kept - set(top)})
    return changes, tuple(chosen.state for (chosen,) in found)


def class_desk(loaded: Loaded, sets: ClassSets, who: str) -> Desk:
    """The desk at this set: changes of the ranking alone go to a set of one's own; those of others take none."""
    places = tuple(tpp_place(loaded, c) for c in sets.classes)
    return Desk(
        loaded.config, places, who, sets.value, _target(sets), loaded.latents.n_latents, _locked(sets), sets.rule
    )


def open_sets(store: Store, desk: Desk, sets: ClassSets) -> list[DecisionSet]:
    """One stored set per class: those of ``sets``, and the desk's own for classes that have none.

    DataError for a set of somebody else: a commit is its owner's.
    """
    if sets.by_class and not sets.mine:
        raise DataError(_locked(sets))
    return [sets.by_class.get(p.direction) or own_set(store, p, desk.who, _target(sets)) for p in desk.places]


def _target(sets: ClassSets) -> str:
    """Name of the set that decisions go to."""
    return sets.name if sets.mine and sets.value != ATTRIBUTION else MINE


def _locked(sets: ClassSets) -> str:
    if off := access.why_not("deciding"):
        return off
    return "" if sets.mine else f"this set belongs to {sets.who}; duplicate it and change your copy"
