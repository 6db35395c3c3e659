"""Overview, TPP: the matrix as a thumbnail, and the SAE between its controls."""

import html

from app.figures import pictures
from app.services import scoring
from app.services.loading import Loaded
from app.views.overview.trust_strip import trust_strip
from app.views.overview.words import number, said, title
from app.widgets import provenance
from app.widgets.figure_link import linked
from app.widgets.trust_box import Headline
from saeeval_core.config import ERASURE_N
from saeeval_core.formats import sentences
from saeeval_core.scores.ablation import MEAN
from saeeval_core.scores.area import RECOMMENDED
from saeeval_core.texts.parts import TEST

_OPEN = "Open the TPP matrix"


def draw(loaded: Loaded) -> None:
    """The card of the right; a sentence where the task has no classes or its protocol has no live score."""
    title("Do concepts come apart? (TPP)")
    if loaded.task_set.tpp is not None and not scoring.evaluation(loaded).tpp_is_live:
        words = f"Protocol {loaded.protocol.name} draws new negatives for every TPP number: saeeval run scores it."
        linked("classes", f"<div class='said'>{html.escape(words)}</div>", _OPEN, "tpp_matrix")
        return
    found = scoring.tpp_variants_of(loaded, TEST)
    if found is None or loaded.task_set.tpp is None:
        said("This task defines no TPP classes.")
        return
    area = found.headlines()[0].score
    column, classes = loaded.task_set.tpp
    at = scoring.tpp_ablating(loaded, TEST, MEAN).at(ERASURE_N)
    sentence = sentences.classes_apart(at.score, at.intended, at.unintended)
    picture = pictures.matrix(classes, at.matrix, dark=provenance.dark())
    note = (
        f"{len(classes)} classes of {column}. Row: class whose top {ERASURE_N} latents are ablated; column: the probe that is "
        "hurt. The diagonal should stand out."
    )
    beside = f"<div class='said'>{html.escape(sentence)}</div><div class='how'>{html.escape(note)}</div>"
    words = f"<div>{number('TPP, average over N = 1 to 20, test', area)}{beside}</div>"
    markup = f"<div class='beside'>{picture}{words}</div>"
    linked("matrix", markup, _OPEN, "tpp_matrix", n=ERASURE_N)
    trust_strip(loaded, "tpp", [Headline(RECOMMENDED, None, area, "TPP, average over N = 1 to 20")], "")
