"""Selectors choose the latents to ablate at every N. A score depends on the chosen set alone, not on the selector."""

from collections.abc import Sequence
from typing import Protocol

from saeeval_core.scores.selections import Selected, by_attribution
from saeeval_core.scores.shift import ShiftLatents
from saeeval_core.scores.tpp import TppLatents


class Selector(Protocol):
    """Chooses which latents are ablated; ``str`` of it names the selection in results."""

    def shift(self, view: ShiftLatents, ns: Sequence[int]) -> list[Selected]:
        """The latents to ablate in one direction, for every N."""
        ...

    def tpp(self, view: TppLatents, ns: Sequence[int]) -> list[list[Selected]]:
        """The latents to ablate, [class][N]. ConfigError for a selection that TPP does not have."""
        ...


class TopByAttribution:
    """The default selection: the first N of each ranking."""

    def shift(self, view: ShiftLatents, ns: Sequence[int]) -> list[Selected]:
        """The first N by |I| of the attribute probe."""
        return by_attribution(view.attribute_ranking, ns)

    def tpp(self, view: TppLatents, ns: Sequence[int]) -> list[list[Selected]]:
        """The first N eligible latents of every class."""
        return [by_attribution(ranking, ns) for ranking in view.rankings]

    def __str__(self) -> str:
        return "attribution"
