"""What the TPP page is about at one moment: an SAE, a named set over all classes, N, and how latents are ablated."""

from dataclasses import dataclass
from functools import cached_property

from app.deciding.class_sets import ClassSets, class_desk
from app.deciding.desk import Desk
from app.services import scoring
from app.services.loading import Loaded
from saeeval_core.errors import DataError
from saeeval_core.scores.tpp import TppLatents, TppScore
from saeeval_core.scores.tpp_cells import chosen_sets
from saeeval_core.texts.parts import PART_NAMES


@dataclass(frozen=True)
class TppPage:
    """Everything a link says about the page, looked up."""

    loaded: Loaded
    part: int
    who: str
    sets: ClassSets
    n: int
    """Latents taken from each class's ranking."""
    ablation: str

    @property
    def view(self) -> TppLatents:
        """Live matrices, zero ablation."""
        return scoring.tpp_view(self.loaded, self.part)

    @property
    def part_name(self) -> str:
        """ "dev", or "test" where the protocol has no dev part."""
        return PART_NAMES[self.part]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of rows and columns."""
        return tuple(self.view.board.task.classes)

    @cached_property
    def ids(self) -> tuple[tuple[int, ...], ...]:
        """Latents ablated, per class."""
        return tuple(chosen_sets(self.view.rankings, self.n, self.sets.decisions))

    @property
    def score(self) -> TppScore:
        """The matrix on screen."""
        return scoring.tpp_set_score(self.loaded, self.part, self.ids, self.ablation)

    @property
    def fresh_score(self) -> TppScore | None:
        """The same of fresh probes, read now where the background has not; None where nothing is ablated."""
        view = scoring.tpp_erasure(self.loaded, self.part)
        return scoring.fresh_matrix(view, self.ids) if any(self.ids) else None

    @property
    def desk(self) -> Desk:
        """Where presses go."""
        return class_desk(self.loaded, self.sets, self.who)

    def ids_or_raise(self) -> tuple[tuple[int, ...], ...]:
        """As ``ids``; DataError when nothing is ablated for any class."""
        if not any(self.ids):
            raise DataError("no latent of any class is ablated; choose N or toggle one first")
        return self.ids

    def ranked(self, n: int) -> TppScore:
        """The matrix of the top n of every class, nothing changed by hand."""
        sets = tuple(chosen_sets(self.view.rankings, n, [{}] * len(self.classes)))
        return scoring.tpp_set_score(self.loaded, self.part, sets, self.ablation)
