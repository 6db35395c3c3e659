"""The paper's selections for a real task: which latents to ablate, from rankings, one rater's verdicts and a rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from saeeval_core.errors import ConfigError, unknown_name
from saeeval_core.judging.verdict import contrast_concepts
from saeeval_core.selections import (
    SELECTIONS,
    Ratings,
    Rule,
    Selected,
    by_attribution,
    by_judge,
    by_person,
    task_unrelated,
)
from saeeval_core.shift import ShiftLatents
from saeeval_core.sources import TaskSet
from saeeval_core.store import Verdict
from saeeval_core.tpp import TppLatents


@dataclass(frozen=True)
class Selector:
    """One way to select, with everything it needs."""

    task_set: TaskSet
    selection: str = "attribution"
    """One of SELECTIONS."""
    rater: str = ""
    """Whose verdicts are used; shown beside the result."""
    ratings: Mapping[int, Ratings] = field(default_factory=dict)
    """Latent -> ratings, usable verdicts only (``ratings_of``)."""
    rule: Rule = field(default_factory=Rule)
    human: Sequence[int] = ()
    """Ids a person marked, for "human"."""

    def __post_init__(self) -> None:
        if self.selection not in SELECTIONS:
            raise ConfigError(unknown_name("selection", self.selection, SELECTIONS))

    def __str__(self) -> str:
        if self.selection in ("judge", "task-unrelated"):
            return f"{self.selection} ({self.rater}; {self.rule})"
        return self.selection

    def shift(self, view: ShiftLatents, ns: Sequence[int]) -> list[Selected]:
        """What to ablate in one direction, for every N."""
        task = view.board.task
        target, spurious = (contrast_concepts(self.task_set, c) for c in (task.target, task.spurious))
        # The paper's judge rates the concepts of the pair; only these compete when lower ratings are zeroed.
        among = (*target, *spurious)
        if self.selection == "judge":
            return by_judge(view.attribute_ranking, self.ratings, spurious, ns, self.rule, among=among)
        if self.selection == "task-unrelated":
            return task_unrelated(view.base_ranking, self.ratings, target, ns, self.rule, among=among)
        if self.selection == "human":
            return by_person(self.human, ns)
        return by_attribution(view.attribute_ranking, ns)

    def tpp(self, view: TppLatents, ns: Sequence[int]) -> list[list[Selected]]:
        """What to ablate, [class][N]. ConfigError for a selection that TPP does not have."""
        classes = view.board.task.classes
        if self.selection == "judge":
            return [
                by_judge(ranking, self.ratings, (name,), ns, self.rule, among=classes)
                for name, ranking in zip(classes, view.rankings, strict=True)
            ]
        if self.selection == "attribution":
            return [by_attribution(ranking, ns) for ranking in view.rankings]
        raise ConfigError(
            f"selection '{self.selection}' is not defined for TPP; use attribution or judge, or --metrics shift"
        )


def ratings_of(verdicts: Sequence[Verdict], rater: str) -> dict[int, dict[str, int]]:
    """Latent -> ratings of one rater; latents without a usable verdict are absent. A later verdict adds its concepts."""
    out: dict[int, dict[str, int]] = {}
    for v in verdicts:
        if v.ok and v.rater == rater and v.ratings:
            out.setdefault(v.latent, {}).update(v.ratings)
    return out
