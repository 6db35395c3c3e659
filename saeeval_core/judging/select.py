"""Selections for a task: which latents to ablate, from rankings, one rater's verdicts and a rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from saeeval_core.errors import ConfigError, unknown_name
from saeeval_core.judging.verdict import contrast_concepts
from saeeval_core.ledger.decisions import DecisionSet
from saeeval_core.ledger.places import Place, say_left_out, shift_place, tpp_place
from saeeval_core.ledger.verdicts import Verdict
from saeeval_core.scores.selections import (
    SELECTIONS,
    Ratings,
    Rule,
    Selected,
    by_attribution,
    by_judge,
    by_person,
    task_unrelated,
)
from saeeval_core.scores.shift import ShiftLatents
from saeeval_core.scores.tpp import TppLatents
from saeeval_core.texts.tasks import TaskSet


@dataclass(frozen=True)
class VerdictSelector:
    """A selector for each of SELECTIONS, with everything it needs."""

    task_set: TaskSet
    selection: str = "attribution"
    """One of SELECTIONS."""
    rater: str = ""
    """Whose verdicts are used; shown with the result."""
    ratings: Mapping[int, Ratings] = field(default_factory=dict)
    """Latent -> ratings, usable verdicts only (``ratings_of``)."""
    rule: Rule = field(default_factory=Rule)
    human: Sequence[tuple[DecisionSet, Sequence[int]]] = ()
    """Decision sets and the ids marked in them, for "human"; each is used only for the SAE and task it was made for."""

    def __post_init__(self) -> None:
        if self.selection not in SELECTIONS:
            raise ConfigError(unknown_name("selection", self.selection, SELECTIONS))

    def __str__(self) -> str:
        if self.selection in ("judge", "task-unrelated"):
            return f"{self.selection} ({self.rater}; {self.rule})"
        return self.selection

    @property
    def texts(self) -> str:
        """Name of the texts."""
        return self.task_set.texts.name

    def shift(self, view: ShiftLatents, ns: Sequence[int]) -> list[Selected]:
        """The latents to ablate in one direction, for every N."""
        task = view.board.task
        target, spurious = (contrast_concepts(self.task_set, c) for c in (task.target, task.spurious))
        # The paper's judge rates the concepts of the pair; only these compete when lower ratings are zeroed.
        among = (*target, *spurious)
        if self.selection == "judge":
            return by_judge(view.attribute_ranking, self.ratings, spurious, ns, self.rule, among=among)
        if self.selection == "task-unrelated":
            return task_unrelated(view.base_ranking, self.ratings, target, ns, self.rule, among=among)
        if self.selection == "human":
            pairs = (task.name, task.swapped().name)  # a set names the pair in its own direction
            places = [shift_place(self.texts, pair, task.direction, view.recording) for pair in pairs]
            return by_person(self._marked(places, view.recording.n_latents), ns)
        return by_attribution(view.attribute_ranking, ns)

    def tpp(self, view: TppLatents, ns: Sequence[int]) -> list[list[Selected]]:
        """The latents to ablate, [class][N]. ConfigError for a selection that TPP does not have."""
        classes = view.board.task.classes
        if self.selection == "judge":
            return [
                by_judge(ranking, self.ratings, (name,), ns, self.rule, among=classes)
                for name, ranking in zip(classes, view.rankings, strict=True)
            ]
        if self.selection == "attribution":
            return [by_attribution(ranking, ns) for ranking in view.rankings]
        if self.selection == "human":
            places = [tpp_place(self.texts, name, view.recording) for name in classes]
            return [by_person(self._marked([place], view.recording.n_latents), ns) for place in places]
        raise ConfigError(
            f"selection '{self.selection}' is not defined for TPP; use attribution, judge or human, or --metrics shift"
        )

    def _marked(self, places: Sequence[Place], n_latents: int) -> Sequence[int]:
        """Ids marked in the newest set of one of these places; those that the SAE does not have are left out."""
        for found, ids in sorted(self.human, key=lambda x: -x[0].id):
            if any(place.holds(found) for place in places):
                say_left_out(found.name, [i for i in ids if i >= n_latents], n_latents)
                return [i for i in ids if i < n_latents]
        return ()


def ratings_of(verdicts: Sequence[Verdict], rater: str) -> dict[int, dict[str, int]]:
    """Latent -> ratings of one rater, from usable verdicts; a later verdict adds its concepts to earlier ones."""
    out: dict[int, dict[str, int]] = {}
    for v in verdicts:
        if v.ok and v.rater == rater and v.ratings:
            out.setdefault(v.latent, {}).update(v.ratings)
    return out
