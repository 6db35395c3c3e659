"""The intruder task on the loaded SAE: the trials of each person, answers, and how often every rater is right."""

from app.services import ledger, verdicts
from app.services.evidence import trials
from app.services.loading import Loaded
from app.services.shared import shared
from saeeval_core.evidence.intruder import TRIALS, Trial
from saeeval_core.judging.intruder import Finder, IntruderQuestion, finders, same_picks
from saeeval_core.ledger.store import PressId
from saeeval_core.ledger.verdicts import INTRUDER
from saeeval_core.scores.uncertainty import Estimate

_BY_A_PERSON = "five windows, blind, by key"


def next_trial(loaded: Loaded, who: str) -> Trial | None:
    """The next trial: one of every candidate in the person's own order, then the second of each; None at the end."""
    done = _answered(loaded, who)
    for number in range(TRIALS):
        for latent in verdicts.blind_queue(loaded, who):
            own = trials(loaded, latent)
            if number < len(own) and own[number].hash not in done:
                return own[number]
    return None


def answered(loaded: Loaded, who: str) -> int:
    """Trials that a person has answered on this SAE and these texts."""
    return len(_answered(loaded, who))


def answer(loaded: Loaded, trial: Trial, place: int, who: str, seconds: float, press: PressId | None = None) -> None:
    """Store which window a person took for the intruder, and after how many seconds; once for a press."""
    question = IntruderQuestion.of(trial, loaded.task_set.texts.name, who, "human", "", _BY_A_PERSON)
    with ledger.store().once(press) as fresh:
        if fresh:
            ledger.store().add_verdicts([question.picked(place, reason=f"after {seconds:.1f} s")])


@shared(max_entries=16)
def found(loaded: Loaded, _newest: int) -> list[Finder]:
    """Every rater who answered a trial, people first."""
    answers = ledger.store().verdict_history(loaded.latents.sae_fingerprint, task=_task(loaded))
    return sorted(finders(answers), key=lambda f: f.rater_kind != "human")


@shared(max_entries=16)
def pairs(loaded: Loaded, newest: int) -> list[tuple[str, str, int, Estimate]]:
    """As ``same_picks`` of all raters."""
    return same_picks(found(loaded, newest))


def _answered(loaded: Loaded, who: str) -> set[str]:
    answers = ledger.store().verdict_history(loaded.latents.sae_fingerprint, task=_task(loaded), rater=who)
    return {a.evidence_hash for a in answers if a.ok}


def _task(loaded: Loaded) -> str:
    return INTRUDER + loaded.task_set.texts.name
