"""The steps of a story about SHIFT, made from a committed set: the cue, the cheat, the latents, the score, the test."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape

import numpy as np
import plotly.graph_objects as go

from app import report_page
from app.deciding.lab import Lab
from app.figures.compared import set_comparison
from app.figures.pictures import Bar, before_and_after
from app.figures.shift import score_curve
from app.figures.svg import to_svg
from app.payloads.evidence_card import QUADRANTS
from app.services import scoring, trust
from app.services.verdicts import latents_named
from app.stories.plan import Step
from saeeval_core.controls.controls import Control
from saeeval_core.formats import sentences
from saeeval_core.formats.report import latent_card
from saeeval_core.ledger.commit_rows import Commit
from saeeval_core.ledger.commits import read_shift
from saeeval_core.ledger.decisions import Decision
from saeeval_core.scores.shift import ShiftScore
from saeeval_core.scores.uncertainty import Estimate, difference
from saeeval_core.texts.parts import PART_NAMES, TEST
from saeeval_core.wording import head, plural

WIDTH = 660
"""Of a picture, in its own pixels."""
LETTERS = 260
"""Of an example text."""
MAX_FRAMES = 12
"""Most states in which the set is shown growing."""


@dataclass(frozen=True)
class ShiftStory:
    """A committed set, its log, and what its steps are made of; everything but the test score is on the lab's part."""

    lab: Lab
    commit: Commit
    log: tuple[Decision, ...]
    """Of the set, oldest first."""

    @cached_property
    def ordered(self) -> tuple[int, ...]:
        """The committed latents in the order in which they were decided; those the log does not name last."""
        at = {d.latent: d.id for d in self.log if d.new == "ablate"}
        return tuple(sorted(self.commit.ids, key=lambda k: (k not in at, at.get(k, 0), k)))

    @cached_property
    def strongest(self) -> int:
        """The committed latent whose ablation alone changes S most; where S is undefined, with the largest effect."""
        alone = {k: self.scored([k]).score.value for k in self.commit.ids}
        effects = self.lab.view.base_effect
        return max(alone, key=lambda k: (abs(alone[k] or 0.0), abs(float(effects[k]))))

    def scored(self, ids: Sequence[int]) -> ShiftScore:
        """Score of some latents under the commit's ablation."""
        return scoring.set_score(self.lab.view, tuple(sorted(ids)), self.ablation)

    @property
    def ablation(self) -> str:
        """ "zero" or "mean", as committed."""
        return read_shift(self.commit).settings.ablation

    def reasons(self, latents: Sequence[int]) -> tuple[str, ...]:
        """What was typed with the decisions on these latents."""
        own = [d for d in self.log if d.latent in latents and d.reason and d.new != "none"]
        return tuple(f"{d.latent}, {d.new}: {d.reason} ({d.who})" for d in own)


def shift_steps(story: ShiftStory) -> list[Step]:
    """The story from the texts to the test; what cannot be computed is left out, never made up."""
    steps = [_data(story), _cheats(story)]
    if story.commit.ids:
        steps += [_latent(story), _ablated(story), _rest(story), _against(story)]
    steps.append(_test(story))
    if story.commit.ids:
        steps.append(_trusted(story))
    return steps


def _data(story: ShiftStory) -> Step:
    task, texts = story.lab.direction.task, story.lab.loaded.task_set.texts
    cells = []
    for quadrant in (3, 2, 1, 0):
        rows = task.rows[np.flatnonzero(task.quadrant == quadrant)]
        known = "in the probe's training texts" if quadrant in (0, 3) else "never in its training texts"
        text = head(texts.texts[int(rows[0])], LETTERS) if len(rows) else ""
        cells.append(
            f"<div class='cell'><b>{escape(task.quadrant_name(quadrant))}</b> "
            f"<span class='how'>{plural(len(rows), 'text')}, {known}</span><p class='context'>{escape(text)}</p></div>"
        )
    t, a = task.target, task.spurious
    said = (
        f"The probe learns {t.column} only from texts where {t.positive} is always {a.positive} and {t.negative} always "
        f"{a.negative}: it can read {a.column} instead."
    )
    composed = " The texts are composed." if texts.composed else ""
    return Step("data", "Biased texts", said + composed, (f"<div class='cells'>{''.join(cells)}</div>",))


def _cheats(story: ShiftStory) -> Step:
    board = story.lab.view.board
    worst = story.scored([]).worst_group
    said = f"On {story.lab.part_name} texts of all four kinds the probe is right in {_percent(board.base)}"
    said += f", in its worst group ({story.scored([]).worst_group_name}) in {_percent(worst)}"
    said += f"; a probe trained on balanced texts reaches {_percent(board.oracle)}."
    return Step("cheats", "The probe cheats", said, (_bars(story),))


def _latent(story: ShiftStory) -> Step:
    k, loaded = story.strongest, story.lab.loaded
    effect = float(story.lab.view.base_effect[k])
    name = latents_named(loaded).get(k, ("", ""))[0]
    said = f"Latent {k}: {name.rstrip('.')}." if name else f"Latent {k} carries most of what the set takes away."
    card = latent_card(report_page.evidence(loaded, k, "ablate", effect=effect))
    return Step(f"latent:{k}", "The latent that carries it", said, (card,), story.reasons([k]))


def _ablated(story: ShiftStory) -> Step:
    k = story.strongest
    frames = (_bars(story), _bars(story, [k]))
    said = sentences.gap_closed(f"latent {k} alone", story.scored([k]).score)
    return Step(f"ablate:{k}", "Ablate it", said, frames, story.reasons([k]))


def _rest(story: ShiftStory) -> Step:
    """S of the first 1, 2, ... latents in the order decided, on one pair of axes for all frames."""
    ids = story.ordered
    counts = sorted({round(v) for v in np.linspace(1, len(ids), min(len(ids), MAX_FRAMES))})
    points = [(n, story.scored(ids[:n]).score) for n in counts]
    ends = [v for _, e in points for v in (e.value, *(e.ci or ())) if v is not None] or [0.0]
    low, high = min(0.0, *ends), max(0.1, *ends)
    frames = [_grown(points[: k + 1], counts, (low - 0.03, high + 0.03)) for k in range(len(points))]
    said = sentences.gap_closed(f"all {plural(len(ids), 'latent')} of the set", points[-1][1])
    return Step("rest", "The rest of the set", said, tuple(map(picture, frames)), story.reasons(ids))


def _grown(points: Sequence[tuple[int, Estimate]], counts: Sequence[int], y: tuple[float, float]) -> go.Figure:
    figure = score_curve({"the set in the order decided": points}, title="S as the set grows", y="S")
    figure.update_xaxes(type="linear", range=[counts[0] - 0.5, counts[-1] + 0.5], tickvals=list(counts))
    figure.update_yaxes(range=list(y))
    return figure


def _against(story: ShiftStory) -> Step:
    lab, mine = story.lab, story.scored(story.commit.ids)
    n = len(story.commit.ids)
    others = [(f"the top {n} by attribution", lab.top(n)), *((r.name, r.ids) for r in lab.judged() if r.ids)]
    scored = [(name, story.scored(ids)) for name, ids in others]
    random = scoring.random_score(lab.view, n, story.ablation)
    rows = [
        ("the set", mine.score, None),
        *((name, s.score, difference(mine, s)) for name, s in scored),
        (f"random sets of {plural(n, 'latent')}", random.score, difference(mine, random)),
    ]
    named = [(name, d) for name, _, d in rows if d is not None]
    said = " ".join(sentences.compared("The set", name, d) for name, d in (named[0], named[-1]))
    figure = set_comparison(rows, title=f"S on {lab.part_name} texts", x="S")
    return Step("against", "Against judge and random", said, (picture(figure),))


def _test(story: ShiftStory) -> Step:
    made = read_shift(story.commit)
    part, seen = made.settings.part, story.commit.dev_looks
    rows = [(f"{part}, scored once", made.score, None)]
    if part == PART_NAMES[TEST]:
        rows.insert(0, (f"{story.lab.part_name}, seen while choosing", story.scored(story.commit.ids).score, None))
    once = (
        f"Scored once on {part} texts after {seen} {'score was' if seen == 1 else 'scores were'} seen while choosing. "
    )
    figure = set_comparison(rows, title="S of the committed set", x="S")
    said = once + sentences.gap_closed(f"the {made.n_ablated} committed latents", made.score)
    gone = () if made.erasure is None else (sentences.erased(made.erasure),)
    return Step("test", "Test once", said, (picture(figure),), gone)


def _trusted(story: ShiftStory) -> Step:
    """The set between its controls and references."""
    lab, ids = story.lab, tuple(sorted(story.commit.ids))
    controls: list[Control] = trust.shift_set_controls(lab.loaded, lab.view, ids, story.ablation)
    mine = story.scored(ids).score
    rows = [("the set", mine, None), *((sentences.known_as(c.name), c.score, c.difference) for c in controls)]
    rows.sort(key=lambda r: -(r[1].value if r[1].value is not None else -np.inf))
    figure = set_comparison(rows, title=f"S between controls and references, {lab.part_name} texts", x="S")
    notes = tuple(f"{sentences.known_as(c.name)}: {c.about}" for c in controls)
    return Step("trust", "Can it be trusted?", sentences.beside(mine, controls), (picture(figure),), notes)


def picture(figure: go.Figure) -> str:
    """Narrow, so that its words are large where it fills a screen."""
    return to_svg(figure, width=WIDTH)


def _bars(story: ShiftStory, ids: Sequence[int] = ()) -> str:
    """Accuracy of the biased probe in each quadrant, before these latents are ablated and, where there are any, after."""
    task, before = story.lab.direction.task, _quadrants(story, [])
    after = _quadrants(story, ids) if ids else [None] * len(before)
    drawn = before_and_after([Bar(task.quadrant_name(q), before[q], after[q]) for q in QUADRANTS])
    states = "grey: before; blue: higher after the ablation; orange: lower; " if ids else ""
    how = (
        f"Accuracy on {task.target.column}, {story.lab.part_name} texts, from 0 to 1; {states}thin line: 95 % interval"
    )
    return f"{drawn}<p class='how'>{escape(how)}</p>"


def _quadrants(story: ShiftStory, ids: Sequence[int]) -> list[Estimate]:
    view = story.lab.view.under(story.ablation)
    return view.board.in_each_quadrant(view.removed(ids) if ids else np.zeros(len(view.board.rows)))


def _percent(e: Estimate) -> str:
    return "n/a" if e.value is None else f"{sentences.percent(e.value)} ({sentences.percent_interval(e)})"
