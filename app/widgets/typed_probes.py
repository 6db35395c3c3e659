"""The probes that typed texts are shown to, each with the latents that the sets on screen ablate."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app import state
from app.deciding.desk import shift_place
from app.services import ledger, scoring
from app.services.loading import Loaded
from app.widgets import bulk, shift_pickers, shift_sets, tpp_sets
from saeeval_core.evaluation.boards import Direction
from saeeval_core.evidence.live_text import TextReading, TextVerdict, contributions, probe_verdict
from saeeval_core.ledger.places import find_set
from saeeval_core.scores.probes import Probe
from saeeval_core.wording import plural

CANDIDATES = 100
"""Latents of each ranking that are looked for in a typed text."""


@dataclass(frozen=True)
class TypedProbe:
    """One probe and what is ablated for it."""

    name: str
    probe: Probe
    decoder: np.ndarray
    """float32[latents, d_model]"""
    ids: tuple[int, ...]
    """Latents ablated."""
    set_to: np.ndarray
    """float64[latents]: what an ablated latent is set to under the ablation chosen."""
    positive: str
    negative: str
    candidates: tuple[int, ...]
    """The first latents of its ranking."""
    place: str
    """Where a decision goes: see ``bulk.places``."""
    what: str
    """What is ablated, and how, in a sentence."""

    def verdict(self, reading: TextReading) -> TextVerdict:
        """Before and after ablation."""
        return probe_verdict(
            reading,
            self.probe,
            self.decoder,
            self.ids,
            name=self.name,
            positive=self.positive,
            negative=self.negative,
            set_to=self.set_to,
        )

    def by_contribution(self, reading: TextReading, ids: Sequence[int]) -> list[tuple[int, float]]:
        """(latent, what ablating it takes from the logit), the largest first."""
        values = contributions(reading, self.probe, self.decoder, ids, self.set_to)
        return sorted(zip(map(int, ids), values.tolist(), strict=True), key=lambda p: -abs(p[1]))


def typed_probes(loaded: Loaded, direction: Direction | None) -> dict[str, TypedProbe]:
    """Name -> probe: the three of the direction, then one for each class of TPP."""
    found = ([] if direction is None else _shift(loaded, direction)) + (
        [] if loaded.task_set.tpp is None else _tpp(loaded)
    )
    return {p.name: p for p in found}


def _shift(loaded: Loaded, direction: Direction) -> list[TypedProbe]:
    """With the person's set ablated, or the top N where there is none yet."""
    task, who, ablation = direction.task, state.who(), shift_pickers.ablation()
    view = scoring.shift_view(loaded, direction.pair, task.target.column, scoring.live_part(loaded)).under(ablation)
    stored = find_set(ledger.store(), shift_place(loaded, direction), who, shift_sets.choice(loaded, direction, who))
    own = ledger.store().ablated(stored.id, loaded.latents.n_latents) if stored else []
    ids = tuple(own or [int(i) for i in view.attribute_ranking[: shift_pickers.n(loaded)]])
    chosen = f"{plural(len(ids), 'latent')}: your set" if own else f"the top {len(ids)}"
    what = f"Ablated {_TO[ablation]}: {chosen}."
    candidates, probes = tuple(int(i) for i in view.attribute_ranking[:CANDIDATES]), view.board.probes
    return [
        TypedProbe(
            *(f"SHIFT {name}", probe, loaded.latents.decoder, ids, view.set_to),
            *(c.positive, c.negative, candidates, bulk.SHIFT, what),
        )
        for name, probe, c in (
            ("biased probe (C_b)", probes.base, task.target),
            ("oracle", probes.oracle, task.target),
            ("spurious-label probe", probes.attribute, task.spurious),
        )
    ]


def _tpp(loaded: Loaded) -> list[TypedProbe]:
    """Every class's probe, with its own latents of the current set ablated."""
    page = tpp_sets.page(loaded)
    view = page.view.under(page.ablation)
    return [
        TypedProbe(
            *(f"TPP {c}", probe, loaded.latents.decoder, ids, view.set_to, c, f"not {c}"),
            *(tuple(int(i) for i in ranking[:CANDIDATES]), f"{bulk.TPP}{c}"),
            f"Ablated {_TO[page.ablation]}: {plural(len(ids), 'latent')} of {c}.",
        )
        for c, probe, ids, ranking in zip(
            view.board.task.classes, view.board.probes, page.ids, view.rankings, strict=True
        )
    ]


_TO = {"mean": "to the mean over the training texts", "zero": "to zero"}
