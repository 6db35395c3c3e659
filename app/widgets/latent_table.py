"""The Latents page's table over all latents, with its filters."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from app.services import scoring, verdicts
from app.services.loading import Loaded
from app.services.shared import shared
from saeeval_core.evidence.tokens import find_token_table

NONE = "none"
STRENGTHS = ("", "top 20", "top 50", "top 100", "top 200", "top 500", "> 0", "< 0")
"""Filters by effect on the chosen probe; "" is no filter."""


def effect_columns(loaded: Loaded, direction: Any) -> dict[str, np.ndarray]:
    """Name -> effect of every latent on one probe: the SHIFT direction's two probes, and every class's probe."""
    found: dict[str, np.ndarray] = {}
    if direction is not None:
        view = scoring.shift_view(loaded, direction.pair, direction.task.target.column, scoring.live_part(loaded))
        found[f"SHIFT attribute probe ({direction.task.spurious})"] = view.attribute_effect
        found[f"SHIFT biased probe ({direction.task.target})"] = view.base_effect
    if loaded.task_set.tpp is not None:
        tpp = scoring.tpp_view(loaded, scoring.live_part(loaded))
        found |= {f"TPP probe of {c}": tpp.effects[:, j] for j, c in enumerate(tpp.board.task.classes)}
    return found


def frame(loaded: Loaded, effect: np.ndarray | None, decisions: dict[int, str]) -> pd.DataFrame:
    """One row per latent: id, explanation, decision, best rating, density, effect, promoted tokens."""
    n = loaded.latents.n_latents
    names, ratings = verdicts.latents_named(loaded), _ratings(loaded)
    table = pd.DataFrame({"latent": np.arange(n), "density": np.asarray(loaded.latents.density, dtype=float)})
    if effect is not None:
        table["effect"] = effect
    table["explanation"] = [names.get(i, ("", ""))[0] for i in range(n)]
    table["promotes"] = _promoted(loaded)
    table["verdict"] = [ratings.get(i, NONE) for i in range(n)]
    table["decision"] = [decisions.get(i, NONE) for i in range(n)]
    return table


def filtered(
    table: pd.DataFrame,
    *,
    search: str,
    density: tuple[float, float],
    decisions: Sequence[str],
    verdicts: Sequence[str],
    firing: bool,
    strength: str = "",
) -> pd.DataFrame:
    """Rows that pass every filter, strongest effect first. ``search``: an id, or text of the explanation or tokens.

    ``strength``: one of STRENGTHS, about the effect shown; ranks are among all latents, before the other filters.
    """
    keep = table["density"].between(*density)
    if firing:
        keep &= table["density"] > 0
    if "effect" in table and strength:
        effect = table["effect"]
        if strength in ("> 0", "< 0"):
            keep &= effect > 0 if strength == "> 0" else effect < 0
        else:
            keep &= effect.abs().rank(ascending=False, method="first") <= int(strength.removeprefix("top "))
    if decisions:
        keep &= table["decision"].isin(decisions)
    if verdicts:
        keep &= table["verdict"].isin(verdicts)
    if words := search.strip().lower():
        text = table["explanation"].str.lower().str.contains(words, regex=False)
        text |= table["promotes"].str.lower().str.contains(words, regex=False)
        keep &= text | (table["latent"].astype(str) == words.removeprefix("#"))
    found = table[keep]
    if "effect" in found:
        found = found.iloc[np.argsort(-found["effect"].abs().to_numpy(), kind="stable")]
    return found


@shared(max_entries=8)
def _promoted(loaded: Loaded) -> list[str]:
    """The tokens each latent promotes most, as one line."""
    table = find_token_table(loaded.latents.sae, loaded.latents.sae_fingerprint)
    if table is None:
        return [""] * loaded.latents.n_latents
    return [" ".join(t.token.strip() for t in table.of(i)[0][:5]) for i in range(loaded.latents.n_latents)]


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
