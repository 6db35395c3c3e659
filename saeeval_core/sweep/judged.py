"""Judged selections for a sweep, from one rater's stored or shipped verdicts on each SAE."""

from collections.abc import Mapping, Sequence

from saeeval_core.config import fingerprint
from saeeval_core.errors import ConfigError, unknown_name
from saeeval_core.judging.select import VerdictSelector, ratings_of
from saeeval_core.judging.verdict_files import load_shipped_verdicts
from saeeval_core.ledger.store import Store
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.scores.selections import Ratings, Rule
from saeeval_core.sweep.rows import JudgedSelection
from saeeval_core.texts.tasks import TaskSet

JUDGED = ("judge", "task-unrelated")


def judged_selections(
    names: Sequence[str], rater: str, rule: Rule | None = None, *, store: Store | None = None
) -> tuple[JudgedSelection, ...]:
    """One selection per name of JUDGED; an SAE without verdicts of the rater gets rows with the reason "not judged".

    ConfigError for another name, or without a rater.
    """
    for name in names:
        if name not in JUDGED:
            raise ConfigError(unknown_name("selection", name, JUDGED))
    if names and not rater:
        raise ConfigError("judged selections need to know whose verdicts they use; name the judge with --rater")
    rule, opened = rule or Rule(), store or Store()

    def ratings(latents: LatentRecording) -> Mapping[int, Ratings]:
        load_shipped_verdicts(opened, latents)
        return ratings_of(opened.verdicts(latents.sae_fingerprint, rater=rater), rater)

    def selection(name: str) -> JudgedSelection:
        return JudgedSelection(
            name,
            f"{rater} ({rule})",
            lambda task_set, latents: _chooser(task_set, name, rater, ratings(latents), rule),
            lambda latents: fingerprint(
                [name, rater, str(rule), sorted((i, dict(r)) for i, r in ratings(latents).items())]
            ),
        )

    return tuple(selection(name) for name in names)


def _chooser(task_set: TaskSet, name: str, rater: str, ratings: Mapping[int, Ratings], rule: Rule) -> VerdictSelector:
    return VerdictSelector(task_set, name, rater, ratings, rule)
