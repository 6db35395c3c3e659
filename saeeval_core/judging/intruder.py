"""The intruder task for judges and people: its question, what counts as an answer, and how often each rater is right.

How well people or models find the intruder says how clearly a latent responds to one thing, without a rubric. Each
rater's figure stands under its own name and kind.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from saeeval_core.config import derive_rng
from saeeval_core.evidence.intruder import CHANCE, WINDOWS, Trial
from saeeval_core.judging.verdict import INVALID, MAX_TEXT, Question
from saeeval_core.ledger.verdicts import INTRUDER, OK, Verdict
from saeeval_core.scores.uncertainty import Estimate, Resamples, interval, undefined, wilson

SHAPE_OF_CHOICE = f'{{"explanation": "<one sentence>", "intruder": <whole number from 1 to {WINDOWS}>}}'
"""The reply's JSON in words, for servers that may not know a schema."""


_FEWEST = 10
"""Latents from which an interval over latents is given."""


class Choice(BaseModel):
    """The reply: one sentence and the number of a window; nothing else is accepted."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    explanation: str = Field(description="one sentence: what the four windows have in common")
    intruder: StrictInt = Field(ge=1, le=WINDOWS, description="number of the window that does not belong")


@dataclass(frozen=True)
class IntruderQuestion(Question):
    """One trial as it is asked; the place of the intruder is known here and is no part of the prompt."""

    trial: Trial

    @classmethod
    def of(cls, trial: Trial, texts: str, rater: str, kind: str, model: str, prompt: str) -> "IntruderQuestion":
        """``texts``: name of the texts of the task; ``prompt``: what is sent, or how the rater answers."""
        about = (trial.latent, trial.sae_fingerprint, trial.sae, INTRUDER + texts, rater, kind)
        return cls(Verdict(*about, model=model, prompt=prompt, evidence_hash=trial.hash), (), trial)

    def reply_model(self) -> type[BaseModel]:
        """As ``Question.reply_model``."""
        return Choice

    def parse(self, text: str) -> Verdict:
        """As ``Question.parse``."""
        try:
            said = Choice.model_validate_json(text)
        except ValidationError:
            return self.failed(INVALID, text)
        return replace(self.picked(said.intruder - 1, said.explanation), raw=text)

    def picked(self, place: int, explanation: str = "", reason: str = "") -> Verdict:
        """The verdict of who took the window at ``place``, from 0, for the intruder."""
        ratings = {"picked": place, "intruder": self.trial.intruder}
        said = {"explanation": explanation.strip()[:MAX_TEXT], "reason": reason[:MAX_TEXT]}
        return replace(self.blank, status=OK, ratings=ratings, **said)


@dataclass(frozen=True)
class Finder:
    """How often one rater finds the intruder."""

    rater: str
    rater_kind: str
    picks: Mapping[tuple[int, str], tuple[int, int]]
    """(latent, hash of the trial) -> (place picked, place of the intruder), of usable answers."""
    failed: int = 0
    """Trials without a usable answer; they count neither as right nor as wrong."""

    @property
    def trials(self) -> int:
        """Trials answered."""
        return len(self.picks)

    def by_latent(self) -> dict[int, tuple[int, int]]:
        """Latent -> (right, trials answered)."""
        out: dict[int, tuple[int, int]] = {}
        for (latent, _), (picked, intruder) in sorted(self.picks.items()):
            right, n = out.get(latent, (0, 0))
            out[latent] = right + (picked == intruder), n + 1
        return out

    def accuracy(self, resamples: int = 1000) -> Estimate:
        """Share of trials that are right; the 95 % interval resamples latents, from _FEWEST on. Guessing gives CHANCE."""
        return _over_latents(self.by_latent(), f"accuracy/{self.rater}", resamples)

    def to_dict(self) -> dict[str, object]:
        """JSON values: accuracy with interval, and per latent its own with Wilson's interval."""
        own = {
            str(i): {"right": right, "n": n, "accuracy": wilson(right, n).to_dict()}
            for i, (right, n) in self.by_latent().items()
        }
        about = {"rater": self.rater, "rater_kind": self.rater_kind, "trials": self.trials, "no_answer": self.failed}
        return about | {
            "latents": len(own),
            "accuracy": self.accuracy().to_dict(),
            "chance": CHANCE,
            "interval": {"level": 0.95, "unit": "latents"},
            "by_latent": own,
        }


def finders(answers: Iterable[Verdict]) -> list[Finder]:
    """Every rater with an answer among stored ones, oldest first; the first usable answer to a trial counts.

    The first, because whoever is told the right place could answer again.
    """
    kinds: dict[str, str] = {}
    picks: dict[str, dict[tuple[int, str], tuple[int, int]]] = {}
    asked: dict[str, set[tuple[int, str]]] = {}
    for a in answers:
        kinds.setdefault(a.rater, a.rater_kind)
        trial = (a.latent, a.evidence_hash)
        asked.setdefault(a.rater, set()).add(trial)
        own = picks.setdefault(a.rater, {})
        if a.ok and {"picked", "intruder"} <= a.ratings.keys():
            own.setdefault(trial, (a.ratings["picked"], a.ratings["intruder"]))
    return [Finder(name, kind, picks[name], len(asked[name]) - len(picks[name])) for name, kind in kinds.items()]


def same_picks(found: Sequence[Finder], resamples: int = 1000) -> list[tuple[str, str, int, Estimate]]:
    """(rater, rater, trials both answered, share on which they picked the same window) of every pair that shares one."""
    out = []
    for a, b in combinations(found, 2):
        both = sorted(a.picks.keys() & b.picks.keys())
        counts: dict[int, tuple[int, int]] = {}
        for key in both:
            same, n = counts.get(key[0], (0, 0))
            counts[key[0]] = same + (a.picks[key][0] == b.picks[key][0]), n + 1
        if both:
            out.append((a.rater, b.rater, len(both), _over_latents(counts, f"{a.rater}/{b.rater}", resamples)))
    return out


def _over_latents(counts: Mapping[int, tuple[int, int]], name: str, resamples: int) -> Estimate:
    """Share over all trials of latent -> (hits, trials), with an interval over resampled latents."""
    if not counts:
        return undefined("no trial was answered")
    hits, n = np.array(list(counts.values()), dtype=float).T
    if len(n) < _FEWEST:  # resamples of a handful would all be alike
        return Estimate(float(hits.sum() / n.sum()))
    draws = Resamples.stratified(np.zeros(len(n), int), resamples, derive_rng(0, "intruder", name))
    return Estimate(float(hits.sum() / n.sum()), interval(draws.sums(hits) / draws.sums(n)))
