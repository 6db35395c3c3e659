"""What each judge would ablate under a rule: the paper's judged selections, from the verdicts in the store."""

from app.services import verdicts
from app.services.loading import Loaded
from app.services.scoring import NamedSet
from app.services.shared import shared
from saeeval_core.judging.select import VerdictSelector, ratings_of
from saeeval_core.scores.selections import NOT_JUDGED, Rule
from saeeval_core.scores.shift import ShiftLatents


def judges(loaded: Loaded) -> list[str]:
    """Raters, people left out, with ratings for these texts; the one who rated most comes first."""
    counts: dict[str, int] = {}
    for v in verdicts.current(loaded):
        if v.ok and v.ratings and v.rater_kind != "human":
            counts[v.rater] = counts.get(v.rater, 0) + 1
    return sorted(counts, key=lambda name: (-counts[name], name))


def judge_selector(loaded: Loaded, selection: str, rater: str, rule: Rule) -> VerdictSelector:
    """The selection "judge" or "task-unrelated" by one rater."""
    return VerdictSelector(loaded.task_set, selection, rater, ratings_of(verdicts.current(loaded), rater), rule)


def judge_sets(loaded: Loaded, view: ShiftLatents, n: int, rule: Rule) -> list[NamedSet]:
    """Both judged selections of every judge, "Judge A: related to gender", whatever the view is ranked by.

    A reason where nothing is left. ``about`` names the judge.

    ``judge``: of the attribute probe's ranking what is related to the spurious label. ``task-unrelated`` (the original
    SHIFT): of the biased probe's ranking what is related to nothing of the target label.
    """
    return _judge_sets(loaded, view, n, rule, verdicts.newest(loaded))


@shared(max_entries=256)
def _judge_sets(loaded: Loaded, view: ShiftLatents, n: int, rule: Rule, _newest: int) -> list[NamedSet]:
    task = view.board.task
    related, unrelated = f"related to {task.spurious.column}", f"everything but {task.target.column}"
    kinds = {
        "judge": (related, f"top {n} {related}"),
        "task-unrelated": (unrelated, f"biased probe's top {n}, {unrelated}"),
    }
    out = []
    for k, rater in enumerate(judges(loaded)):
        for selection, (short, about) in kinds.items():
            (chosen,) = judge_selector(loaded, selection, rater, rule).shift(view, [n])
            note = f", {chosen.not_judged} not judged" if chosen.not_judged else ""
            why = "none of them has a verdict" if chosen.state == NOT_JUDGED else f"none of them passes ({rule})"
            empty = "" if chosen.ids else f": {chosen.state}"
            name, whole = f"Judge {_letter(k)}: {short}{empty}", f"{selection}, {rater}: {about}{note}{empty}"
            out.append(NamedSet(name, chosen.ids or None, f"{chosen.state}: {why}", whole))
    return out


def _letter(k: int) -> str:
    """A to Z, then numbers."""
    return chr(ord("A") + k) if k < 26 else str(k + 1)
