"""A text typed by a person, read by the model and the SAE: which latents fire where, and what probes predict.

The numbers equal those of a recording of the text, so a prediction here is the one that a score would count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saeeval_core.config import MAX_TOKENS
from saeeval_core.scores import ablation
from saeeval_core.scores.probes import Probe

if TYPE_CHECKING:
    from saeeval_core.models.language_model import LanguageModel
    from saeeval_core.saes.loaded import LoadedSAE


@dataclass(frozen=True)
class TextReading:
    """One text at one hook, encoded by one SAE."""

    text: str
    spans: list[tuple[int, int]]
    """Character span of each token read."""
    activations: np.ndarray
    """float32[tokens, latents]: s*f."""
    residual: np.ndarray
    """float64[d_model]: mean over tokens."""
    truncated: bool
    """The text is longer than a recording reads; the rest was ignored."""

    @property
    def pooled(self) -> np.ndarray:
        """float64[latents]: mean over tokens of s*f."""
        return self.activations.mean(0, dtype=np.float64)

    def active(self, ids: Sequence[int]) -> list[int]:
        """Those of ``ids`` (int[set]) that fire anywhere in the text, the strongest first."""
        ids = np.asarray(ids, dtype=int)
        peak = np.abs(self.activations[:, ids]).max(0) if len(ids) else np.empty(0)
        return [int(ids[k]) for k in np.argsort(-peak, kind="stable") if peak[k] > 0]


@dataclass(frozen=True)
class TextVerdict:
    """One probe's prediction for the text, before and after ablation."""

    probe: str
    positive: str
    """The label predicted when the logit is above 0."""
    negative: str
    before: float
    """Logit before ablation."""
    after: float

    @property
    def changed(self) -> bool:
        """The prediction is another one after ablation."""
        return (self.before > 0) != (self.after > 0)

    def says(self, logit: float) -> str:
        """The predicted label."""
        return self.positive if logit > 0 else self.negative


def read_text(model: "LanguageModel", sae: "LoadedSAE", hook: str, text: str) -> TextReading:
    """Run the model to ``hook`` and encode every token. DataError for a text without tokens."""
    from saeeval_core.recordings.recorder import token_latents

    activations, residuals, spans = token_latents(model, hook, text, sae)
    cut = len(spans) >= MAX_TOKENS - 1 and bool(text[spans[-1][1] :].strip())
    return TextReading(text, spans, activations, residuals.mean(0, dtype=np.float64), cut)


def contributions(
    reading: TextReading, probe: Probe, decoder: np.ndarray, ids: Sequence[int], set_to: np.ndarray | None = None
) -> np.ndarray:
    """float64[set]: what ablating each of ``ids`` alone takes from the probe's logit, (pooled f_i - m_i) (D_i . w).

    decoder float32[latents, d_model]: D. set_to float64[latents]: m, what an ablated latent is set to; None is 0.
    """
    ids = np.asarray(ids, dtype=int)
    pooled = reading.pooled[ids] - (0.0 if set_to is None else set_to[ids])
    return pooled * ablation.dot(decoder[ids], probe.weight)


def probe_verdict(
    reading: TextReading,
    probe: Probe,
    decoder: np.ndarray,
    ids: Sequence[int],
    *,
    name: str,
    positive: str,
    negative: str,
    set_to: np.ndarray | None = None,
) -> TextVerdict:
    """The probe's logit, and the logit after ablating ``ids`` (int[set]): minus the sum of their ``contributions``."""
    before = float(probe.logits(reading.residual[None])[0])
    removed = float(contributions(reading, probe, decoder, ids, set_to).sum()) if len(ids) else 0.0
    return TextVerdict(name, positive, negative, before, before - removed)
