"""Overview, SHIFT: selective erasure first, the four quadrants before and after, and the SAE between its controls."""

import html

import numpy as np
import streamlit as st

from app.figures import pictures
from app.figures.pictures import Bar
from app.payloads.evidence_card import QUADRANTS
from app.services import scoring
from app.services.loading import Loaded
from app.views.overview.read import still_read
from app.views.overview.trust_strip import trust_strip
from app.views.overview.words import number, said, title
from app.widgets import provenance
from app.widgets.figure_link import linked
from app.widgets.trust_box import Headline
from saeeval_core.config import ERASURE_N
from saeeval_core.evaluation.boards import Direction
from saeeval_core.formats import sentences
from saeeval_core.scores.ablation import MEAN
from saeeval_core.scores.area import RECOMMENDED
from saeeval_core.scores.erasure import ERASURE
from saeeval_core.texts.parts import TEST


def draw(loaded: Loaded) -> None:
    """The card of the left; a sentence where the task has no pair."""
    title("Does the probe stop cheating? (SHIFT)")
    found = scoring.shift_variants(loaded, TEST)
    if found is None:
        said("This task defines no SHIFT pair.")
        return
    area = found.headlines()[0].score
    erasure = still_read(loaded, "shift", ERASURE_N)
    headlines = [Headline(RECOMMENDED, None, area, "S, average over N = 1 to 20")]
    if erasure is not None:
        st.html(number(f"Selective erasure E, top {ERASURE_N}, test", erasure.selective_erasure))
        said(sentences.erased(erasure))
        headlines.insert(0, Headline(ERASURE, ERASURE_N, erasure.selective_erasure, f"E, N = {ERASURE_N}"))
    direction = shown_direction(loaded)
    _quadrants(loaded, direction)
    trust_strip(loaded, "shift", headlines, "gone")


def shown_direction(loaded: Loaded) -> Direction:
    """The direction that stands for the task here: of its first pair, as the lab opens it. The task must have a pair."""
    return scoring.default_direction(loaded, scoring.shift_directions(loaded)[0].pair)


def _quadrants(loaded: Loaded, direction: Direction) -> None:
    """Accuracy of the biased probe in each quadrant on test, before and after the top N are set to their mean."""
    task = direction.task
    view = scoring.shift_view(loaded, direction.pair, task.target.column, TEST).under(MEAN)
    n = min(ERASURE_N, len(view.attribute_ranking))
    top = view.attribute_ranking[:n]
    before = view.board.in_each_quadrant(np.zeros(len(view.board.rows)))
    after = view.board.in_each_quadrant(view.removed(top))
    bars = [Bar(task.quadrant_name(q), before[q], after[q]) for q in QUADRANTS]
    score = scoring.set_score(view, tuple(int(i) for i in top), MEAN).score
    head = f"The probe should read {task.target.column}; it was trained to cheat on {task.spurious.column}. Accuracy before and after:"
    picture = f"<div class='how'>{html.escape(head)}</div>{pictures.before_and_after(bars, dark=provenance.dark())}"
    values = {"pair": direction.pair, "target": task.target.column}
    linked("quadrants", picture, f"Open the SHIFT lab: {direction.pair}", "shift_lab", **values)
    said(sentences.gap_closed(f"the {n} strongest of {loaded.latents.n_latents:,} latents", score))
