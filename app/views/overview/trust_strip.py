"""Overview: the SAE on one axis with its controls and references, and what that allows to say."""

from collections.abc import Sequence

from app.figures import pictures
from app.figures.pictures import Mark
from app.services.loading import Loaded
from app.views.overview.words import said
from app.widgets import provenance, trust_box
from app.widgets.figure_link import linked
from app.widgets.trust_box import Headline
from saeeval_core.controls.about import REFERENCES
from saeeval_core.evaluation.result import Control
from saeeval_core.formats import sentences


def trust_strip(loaded: Loaded, metric: str, headlines: Sequence[Headline], tab: str) -> None:
    """The first of ``headlines`` that has controls; a button where some have not been scored. It opens Compare at ``tab``."""
    trust_box.button(loaded, metric)
    found = trust_box.beside(loaded, metric, headlines).controls
    for headline in headlines:
        own = [p.control for p in found if (p.variant, p.n) == (headline.variant, headline.n)]
        if own and headline.score.value is not None:
            _strip(metric, headline, own, tab)
            return


def _strip(metric: str, headline: Headline, controls: Sequence[Control], tab: str) -> None:
    marks = [
        Mark(sentences.known_as(c.name), c.score, sentences.standing(headline.score, c), bound=c.name in REFERENCES)
        for c in controls
    ]
    picture = pictures.strip(headline.score, marks, dark=provenance.dark())
    legend = f"<div class='how'>{headline.label}, test</div>"
    label = f"Open the comparison with other dictionaries ({metric})"
    linked(f"strip_{metric}", f"{legend}{picture}", label, "compare", compare_tab=tab)
    said(sentences.beside(headline.score, controls))
