"""How far a judge can be trusted: its verdicts beside people's own decisions, and beside people's and imported ratings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from saeeval_core.config import RunConfig
from saeeval_core.errors import ConfigError, DataError
from saeeval_core.judging.agreement import Agreement, agreement, ratings_by_rater
from saeeval_core.judging.select import ratings_of
from saeeval_core.judging.verdict import contrast_concepts
from saeeval_core.judging.verdict_files import load_shipped
from saeeval_core.ledger.decisions import RESET, DecisionSet
from saeeval_core.ledger.store import Store
from saeeval_core.recordings.known_saes import KnownSae, identify
from saeeval_core.recordings.obtain import task_set_of
from saeeval_core.scores.selections import Ratings, Rule
from saeeval_core.texts.tasks import TaskSet

_YES_NO = {"ablate": 1, "keep": 0}


@dataclass(frozen=True)
class OnDecisions:
    """A judge on one person's decisions in one set: ablating is "related to the spurious label, or to the class"."""

    who: str
    set_id: int
    set_name: str
    about: str
    """Direction or class."""
    agreement: Agreement
    """Of the yes (1) and no (0) of both; its ``kappa_ge1`` is the kappa of the decision."""
    not_judged: tuple[int, ...]
    """Latents decided on that the judge has not rated."""
    taken_over: int
    """Decisions that were made with the judge's own proposal, which would agree by themselves: left out."""

    def to_dict(self) -> dict[str, object]:
        """JSON values."""
        a = self.agreement
        return {
            "who": self.who,
            "set": self.set_id,
            "name": self.set_name,
            "about": self.about,
            "n": a.n,
            "same": a.exact.to_dict(),
            "kappa": a.kappa_ge1.to_dict(),
            "ablated_by_both": int(a.confusion[1, 1]),
            "ablated_by_person_only": int(a.confusion[1, 0]),
            "ablated_by_judge_only": int(a.confusion[0, 1]),
            "kept_by_both": int(a.confusion[0, 0]),
            "not_judged": list(self.not_judged),
            "taken_over": self.taken_over,
        }


@dataclass(frozen=True)
class Trust:
    """A judge beside everybody who is no judge."""

    judge: str
    sae: str
    task: str
    rule: Rule
    """What makes the judge's ratings a yes or no."""
    decisions: tuple[OnDecisions, ...]
    ratings: tuple[Agreement, ...]
    """With every person and every imported rater that rated a cell the judge rated too."""

    def to_dict(self) -> dict[str, object]:
        """JSON values, as ``saeeval agreement --judge`` writes them."""
        return {
            "judge": self.judge,
            "sae": self.sae,
            "task": self.task,
            "rule": str(self.rule),
            "interval": {"level": 0.95, "unit": "latents"},
            "decisions": [d.to_dict() for d in self.decisions],
            "ratings": [a.to_dict() for a in self.ratings],
            "rate_these_too": sorted({i for d in self.decisions for i in d.not_judged}),
        }


def trust_command(
    judge: str, sae: str, task: str, *, rule: Rule = Rule(), store: Store | None = None, resamples: int = 1000
) -> Trust:
    """A stored judge's agreement, by its name or a part of it that only one judge has.

    ConfigError for a judge without verdicts on this SAE (the message names those with); DataError where there is
    nothing to compare it with.
    """
    known, store = identify(sae), store or Store()
    task_set = task_set_of(RunConfig(saes=(sae,), task=task))
    load_shipped(store, known)
    found = trust(store, known, task_set, _judge_named(judge, store, known), rule=rule, resamples=resamples)
    if not found.decisions and not found.ratings:
        raise DataError(
            f"nobody has decided on or rated a latent that {found.judge} could be compared on; decide or rate blind in "
            "the dashboard, or import ratings with saeeval import-explanations"
        )
    return found


def trust(
    store: Store, sae: KnownSae, task_set: TaskSet, judge: str, *, rule: Rule = Rule(), resamples: int = 1000
) -> Trust:
    """Agreement of one rater's stored verdicts with people's decisions and with people's and imported ratings."""
    texts = task_set.texts.name
    verdicts = store.verdicts(sae.fingerprint, task=texts)
    ratings, kinds = ratings_of(verdicts, judge), {v.rater: v.rater_kind for v in verdicts}
    sets = (
        _on_set(store, s, ratings, concepts, rule, judge, sae.n_latents, resamples)
        for s, concepts in _sets(store, sae, task_set)
    )
    cells = ratings_by_rater(verdicts)
    own = cells.pop(judge, {})
    others = (n for n in cells if kinds[n] in ("human", "imported"))
    beside = (agreement(name, judge, cells[name], own, resamples=resamples) for name in others)
    return Trust(
        judge,
        sae.id,
        texts,
        rule,
        tuple(d for d in sets if d.agreement.n or d.not_judged),
        tuple(a for a in beside if a.n),
    )


def _judge_named(name: str, store: Store, sae: KnownSae) -> str:
    judges = [rater for rater, kind, n in store.raters(sae.fingerprint) if kind in ("llm", "local") and n]
    near = [j for j in judges if name.lower() in j.lower()]
    if name in judges or len(near) == 1:
        return name if name in judges else near[0]
    raise ConfigError(
        f"--judge '{name}' names {len(near) or 'no'} judges with verdicts on {sae.id}; give one of: "
        f"{', '.join(near or judges) or 'none yet, run saeeval judge first'}"
    )


def _sets(store: Store, sae: KnownSae, task_set: TaskSet) -> Iterator[tuple[DecisionSet, tuple[Sequence[str], ...]]]:
    """Every decision set on this SAE and task, with (the concepts that speak for ablating, those that compete)."""
    texts, classes = task_set.texts.name, task_set.tpp[1] if task_set.tpp is not None else ()
    places: dict[tuple[str, str, str], tuple[Sequence[str], ...]] = {}
    for a, b in task_set.pairs:
        for target, spurious in ((a, b), (b, a)):
            cue, task = (contrast_concepts(task_set, c) for c in (spurious, target))
            direction = f"target {target.column} / spurious {spurious.column}"
            for pair in (
                f"{target} x {spurious}",
                f"{spurious} x {target}",
            ):  # a set names its pair in its own direction
                places["shift", f"{texts}: {pair}", direction] = cue, (*task, *cue)
    places |= {("tpp", texts, name): ((name,), classes) for name in classes}
    for s in store.list_sets(sae_fingerprint=sae.fingerprint):
        if (s.metric, s.task, s.direction) in places:
            yield s, places[s.metric, s.task, s.direction]


def _on_set(
    store: Store,
    s: DecisionSet,
    ratings: Mapping[int, Ratings],
    concepts: tuple[Sequence[str], ...],
    rule: Rule,
    judge: str,
    n_latents: int,
    resamples: int,
) -> OnDecisions:
    decided = {i: _YES_NO[d] for i, d in store.decisions(s.id, n_latents).items() if d in _YES_NO}
    reasons = {d.latent: d.reason for d in store.history(s.id)}
    proposed = {i for i, why in reasons.items() if why.startswith(RESET) and judge in why}
    own = {i: d for i, d in decided.items() if i not in proposed}
    answers = {i: rule.related(ratings.get(i, {}), *concepts) for i in own}
    persons = {(i, "ablate"): d for i, d in own.items()}
    judges = {(i, "ablate"): int(a) for i, a in answers.items() if a is not None}
    found = agreement(s.who, judge, persons, judges, resamples=resamples)
    missing = tuple(sorted(i for i, a in answers.items() if a is None))
    return OnDecisions(s.who, s.id, s.name, s.direction, found, missing, len(decided) - len(own))
