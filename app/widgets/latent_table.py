"""The Latents page's table over all latents, with its filters."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from app.services import scoring, searched, verdicts
from app.services.loading import Loaded
from app.services.shared import shared
from saeeval_core.evaluation.boards import Direction
from saeeval_core.recordings.known_saes import neuronpedia_page

NONE = "none"
STRENGTHS = ("", "top 20", "top 50", "top 100", "top 200", "top 500", "> 0", "< 0")
"""Filters by effect on the chosen probe; "" is no filter."""


def effect_columns(loaded: Loaded, direction: Direction | None) -> dict[str, np.ndarray]:
    """Name -> effect of every latent on one probe: the SHIFT direction's two probes, and every class's probe."""
    found: dict[str, np.ndarray] = {}
    if direction is not None:
        view = scoring.shift_view(loaded, direction.pair, direction.task.target.column, scoring.live_part(loaded))
        found[f"SHIFT spurious-label probe ({direction.task.spurious})"] = view.attribute_effect
        found[f"SHIFT biased probe C_b ({direction.task.target})"] = view.base_effect
    if loaded.task_set.tpp is not None:
        tpp = scoring.tpp_view(loaded, scoring.live_part(loaded))
        found |= {f"TPP probe of {c}": tpp.effects[:, j] for j, c in enumerate(tpp.board.task.classes)}
    return found


def frame(loaded: Loaded, effect: np.ndarray | None, decisions: dict[int, str]) -> pd.DataFrame:
    """One row per latent: id, explanation, decision, best rating, density, effect, promoted tokens, what is searched."""
    n = loaded.latents.n_latents
    names, ratings = verdicts.latents_named(loaded), _ratings(loaded)
    table = pd.DataFrame({"latent": np.arange(n), "density": np.asarray(loaded.latents.density, dtype=float)})
    if effect is not None:
        table["effect"] = effect
    table["explanation"] = [names.get(i, ("", ""))[0] for i in range(n)]
    table["promotes"] = _promoted(loaded)
    table["words"] = _words(loaded, verdicts.newest(loaded))
    table["verdict"] = [ratings.get(i, NONE) for i in range(n)]
    table["decision"] = [decisions.get(i, NONE) for i in range(n)]
    if neuronpedia_page(loaded.latents.sae, 0):
        table["page"] = [neuronpedia_page(loaded.latents.sae, i) for i in range(n)]
    return table


@dataclass(frozen=True)
class Filters:
    """Which rows are shown; the defaults let every row pass."""

    search: str = ""
    """Words that ``searched.finds``."""
    density: tuple[float, float] = (0.0, 1.0)
    """Shares of tokens, both ends included."""
    decisions: Sequence[str] = ()
    verdicts: Sequence[str] = ()
    firing: bool = False
    """Leave out latents that never fire on these texts."""
    strength: str = ""
    """One of STRENGTHS, about the effect shown; ranks are among all latents, before the other filters."""


def filtered(table: pd.DataFrame, filters: Filters) -> pd.DataFrame:
    """Rows that pass every filter, strongest effect first, without the column that is only searched."""
    keep = table["density"].between(*filters.density)
    if filters.firing:
        keep &= table["density"] > 0
    if "effect" in table and filters.strength:
        keep &= _strong(table["effect"], filters.strength)
    if filters.decisions:
        keep &= table["decision"].isin(filters.decisions)
    if filters.verdicts:
        keep &= table["verdict"].isin(filters.verdicts)
    if filters.search.strip():
        rows = zip(table["latent"], table["words"], strict=True)
        keep &= np.array([searched.finds(filters.search, latent, words) for latent, words in rows], dtype=bool)
    found = table[keep].drop(columns="words")
    if "effect" in found:
        found = found.iloc[np.argsort(-found["effect"].abs().to_numpy(), kind="stable")]
    return found


def decimals(table: pd.DataFrame) -> int:
    """Digits behind the point with which every effect of the table is shown: four figures of the largest, at least 3."""
    largest = float(table["effect"].abs().max()) if "effect" in table and len(table) else 0.0
    return 3 if not 0 < largest < np.inf else min(max(3, 3 - int(np.floor(np.log10(largest)))), 12)


def _strong(effect: pd.Series, strength: str) -> pd.Series:
    if strength in ("> 0", "< 0"):
        return effect > 0 if strength == "> 0" else effect < 0
    return effect.abs().rank(ascending=False, method="first") <= int(strength.removeprefix("top "))


@shared(max_entries=8)
def _promoted(loaded: Loaded) -> list[str]:
    return searched.promoted(loaded, range(loaded.latents.n_latents))


@shared(max_entries=8)
def _words(loaded: Loaded, _newest_verdict: int) -> list[str]:
    return searched.words_of(loaded, range(loaded.latents.n_latents))


def _ratings(loaded: Loaded) -> dict[int, str]:
    """latent -> its highest rating by any rater in words; a failed verdict is "no verdict", never 0."""
    best: dict[int, int] = {}
    failed: set[int] = set()
    for v in verdicts.current(loaded):
        if v.ok and v.ratings:
            best[v.latent] = max(best.get(v.latent, 0), *v.ratings.values())
        elif not v.ok:
            failed.add(v.latent)
    return {i: "no verdict" for i in failed} | {i: f"{r}/4" for i, r in best.items()}
