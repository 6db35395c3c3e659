"""Which latents to ablate: the selections (docs/method.md, "Selections") as pure functions from a ranking to ids.

    attribution      top-N of the attribute probe's ranking (SHIFT) or of class i's ranking (TPP)
    judge            the same, kept only where the judge rates the spurious concept (or class i) as related
    task-unrelated   top-N of C_b's ranking, kept only where no target concept is rated as related (the original SHIFT)
    human            the latents a person marked, the same for every N

A selection that ends empty has a named state and no score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from saeeval_core.errors import ConfigError, unknown_name

SELECTIONS = ("attribution", "judge", "task-unrelated", "human")
ORDERS = ("top-then-filter", "filter-then-top")
SELECTED, NOTHING_PASSED, NOT_JUDGED, NOTHING_MARKED = "ok", "nothing passed", "not judged", "nothing marked"

Ratings = Mapping[str, int]


@dataclass(frozen=True)
class Rule:
    """How ratings become a yes or no. The paper's choices are PAPERS_RULE."""

    threshold: int = 2
    """"Related" means a rating of at least this: 1 or 2. In the rubric 1 says that no example is directly about it."""
    zero_non_maximum: bool = False
    """Set every rating that is not the latent's highest to 0 first, as the paper's code does; ties are kept."""
    order: str = "top-then-filter"
    """"top-then-filter": at most N latents. "filter-then-top": the first N that pass."""

    def __post_init__(self) -> None:
        if self.threshold not in (1, 2):
            raise ConfigError(
                f"threshold is {self.threshold}; use 1 (related at all) or 2 (some contexts directly related)"
            )
        if self.order not in ORDERS:
            raise ConfigError(unknown_name("order", self.order, ORDERS))

    def __str__(self) -> str:
        zeroed = ", lower ratings zeroed" if self.zero_non_maximum else ""
        return f"related at >= {self.threshold}{zeroed}, {self.order}"

    @property
    def words(self) -> str:
        """The rule in two sentences, for the interface."""
        zeroed = ", after every rating below its highest is set to 0" if self.zero_non_maximum else ""
        taken = (
            "Of the N strongest latents those that pass are ablated: at most N."
            if self.order == "top-then-filter"
            else "The first N latents of the ranking that pass are ablated, however far down they stand."
        )
        return f"A latent counts as related to a concept when the judge rates it {self.threshold} or more of 4{zeroed}. {taken}"

    def related(self, ratings: Ratings, concepts: Sequence[str], among: Sequence[str]) -> bool | None:
        """Whether any of ``concepts`` reaches the threshold; None if one of them has no rating.

        ``among``: the concepts whose highest rating counts when lower ratings are set to 0.
        """
        if any(c not in ratings for c in concepts):
            return None
        highest = max((ratings[c] for c in among if c in ratings), default=0)
        values = [ratings[c] if not self.zero_non_maximum or ratings[c] == highest else 0 for c in concepts]
        return max(values, default=0) >= self.threshold


PAPERS_RULE = Rule(1, True, "top-then-filter")
"""What the paper's code does."""


@dataclass(frozen=True)
class Selected:
    """The latents to ablate for one N, and how many the filter rejected."""

    n: int
    ids: tuple[int, ...]
    state: str
    """"ok", or why there is nothing to ablate: "nothing passed", "not judged", "nothing marked"."""
    considered: int
    """Latents of the ranking that were examined."""
    rejected: int
    """Of these: judged, and filtered out."""
    not_judged: int
    """Of these: without a usable verdict, so not ablated."""


def by_attribution(ranking: Sequence[int], ns: Sequence[int]) -> list[Selected]:
    """The first N of the ranking, unfiltered."""
    out = []
    for n in ns:
        ids = tuple(int(i) for i in ranking[:n])
        out.append(Selected(n, ids, SELECTED if ids else NOTHING_PASSED, len(ids), 0, 0))
    return out


def by_judge(
    ranking: Sequence[int],
    verdicts: Mapping[int, Ratings],
    concepts: Sequence[str],
    ns: Sequence[int],
    rule: Rule,
    *,
    among: Sequence[str] | None = None,
) -> list[Selected]:
    """Keep latents that are related to any of ``concepts``: the spurious concept (SHIFT) or the class (TPP).

    ``verdicts``: latent -> ratings of those with a usable verdict.
    """
    return _filtered(ranking, verdicts, concepts, ns, rule, among or concepts, keep_related=True)


def task_unrelated(
    ranking: Sequence[int],
    verdicts: Mapping[int, Ratings],
    concepts: Sequence[str],
    ns: Sequence[int],
    rule: Rule,
    *,
    among: Sequence[str] | None = None,
) -> list[Selected]:
    """Keep latents of C_b's ranking that are related to none of the task's ``concepts``."""
    return _filtered(ranking, verdicts, concepts, ns, rule, among or concepts, keep_related=False)


def by_person(ids: Sequence[int], ns: Sequence[int]) -> list[Selected]:
    """The latents a person marked, the same for every N."""
    marked = tuple(sorted(int(i) for i in ids))
    return [Selected(n, marked, SELECTED if marked else NOTHING_MARKED, len(marked), 0, 0) for n in ns]


def _filtered(
    ranking: Sequence[int],
    verdicts: Mapping[int, Ratings],
    concepts: Sequence[str],
    ns: Sequence[int],
    rule: Rule,
    among: Sequence[str],
    *,
    keep_related: bool,
) -> list[Selected]:
    answers = {int(i): rule.related(verdicts.get(int(i), {}), concepts, among) for i in ranking}
    return [_take([int(i) for i in ranking], answers, n, rule.order, keep_related) for n in ns]


def _take(
    ranking: Sequence[int], answers: Mapping[int, bool | None], n: int, order: str, keep_related: bool
) -> Selected:
    passed = [i for i in ranking if answers[i] is keep_related]
    if order == "top-then-filter":
        looked = ranking[:n]
        ids = [i for i in looked if answers[i] is keep_related]
    else:
        ids = passed[:n]
        looked = ranking[: ranking.index(ids[-1]) + 1] if len(ids) == n else ranking
    unknown = sum(answers[i] is None for i in looked)
    state = SELECTED if ids else NOT_JUDGED if unknown == len(looked) else NOTHING_PASSED
    return Selected(n, tuple(ids), state, len(looked), len(looked) - unknown - len(ids), unknown)
