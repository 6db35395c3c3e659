"""What can be said of an SAE before it is loaded, for lists and pickers. Unknown is None, never a guess."""

from dataclasses import dataclass
from pathlib import Path

from saeeval_core.saes.asked import Asked, HubPlace
from saeeval_core.saes.local import weights_of
from saeeval_core.saes.registry import RegistryRow, bundled_dirs
from saeeval_core.saes.release_names import short_model_name

BUNDLED, FOLDER, REGISTRY, HUB = "bundled", "folder", "SAELens registry (download)", "Hub (download)"
"""Where an SAE is."""


@dataclass(frozen=True)
class SaeFacts:
    """One SAE that can be picked."""

    id: str
    where: str
    architecture: str | None = None
    """Inference class in SAELens."""
    hook: str | None = None
    """Hook it reads."""
    n_latents: int | None = None
    l0: float | None = None
    model: str | None = None
    """Language model it was made for."""
    gigabytes: float | None = None
    """Size of its weights, 10^9 bytes."""

    def is_for(self, model: str) -> bool:
        """False where it says that it was made for another model than the one of this name."""
        return self.model is None or short_model_name(self.model) == short_model_name(model)


def facts(spec: str, asked: Asked, l0: float | None = None) -> SaeFacts:
    """What is known of an SAE. ``l0``: mean number of active latents per token where it was measured here."""
    if isinstance(asked, HubPlace):
        return SaeFacts(spec, HUB, l0=l0)
    if isinstance(asked, RegistryRow):
        return SaeFacts(
            spec, REGISTRY, None, asked.hook, asked.n_latents, asked.expected_l0 if l0 is None else l0, asked.model
        )
    folder = Path(asked.location)
    where = BUNDLED if folder.parent in bundled_dirs() else FOLDER
    size = weights_of(asked).stat().st_size / 1e9
    return SaeFacts(spec, where, asked.architecture, asked.hook, asked.n_latents, l0, asked.model, size)
