"""What can be said of an SAE before it is loaded, for lists and pickers. Unknown is None, never a guess."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from saeeval_core.models.layouts import canonical
from saeeval_core.models.machine import memory_bytes
from saeeval_core.saes.asked import Asked, HubPlace
from saeeval_core.saes.registry import SaeInfo, bundled_dirs
from saeeval_core.saes.release_names import parameters_said, short_model_name
from saeeval_core.saes.releases import RegistryRow

BUNDLED, FOLDER, REGISTRY, HUB = "bundled", "folder", "SAELens registry (download)", "Hub (download)"
"""Where an SAE is."""
LOADED_BYTES = 4
"""Of a weight in memory: SAEs are used in float32, whatever precision they are stored in."""
READING = 2
"""While an SAE is read its weights are in memory twice: as the file gives them, and as they are used."""
_SMALLEST_BYTES = 2
"""Of a weight of the language model, with --dtype bfloat16."""


@dataclass(frozen=True)
class SaeFacts:
    """One SAE that can be picked."""

    id: str
    where: str
    architecture: str | None = None
    """Inference class in SAELens."""
    hook: str | None = None
    """Hook it reads."""
    writes: str | None = None
    """Hook its decoder rows add to."""
    n_latents: int | None = None
    l0: float | None = None
    model: str | None = None
    """Language model it was made for."""
    gigabytes: float | None = None
    """Size of its weights in memory, 10^9 bytes, in float32."""
    trained_as: str | None = None
    """Architecture of its training, where another class than that one is used since."""
    inexact: str = ""
    """Why its latents cannot be scored on any machine; "" where they can."""

    def is_for(self, model: str) -> bool:
        """False where it says that it was made for another model than the one of this name."""
        return self.model is None or short_model_name(self.model) == short_model_name(model)

    def matches(self, hook: str = "", architecture: str = "", widths: tuple[int, int] | None = None) -> bool:
        """Whether it is of these; "" and None match all, and what is not known of it matches none.

        ``hook``: what it reads or writes, or the block or the last part of that, or a glob. ``architecture``:
        SAELens's name or class, of its training too, or a glob. ``widths``: fewest and most latents.
        """
        return (
            (not hook or any(_is_hook(own, hook) for own in (self.hook, self.writes) if own))
            and (not architecture or any(fnmatchcase(_plain(own), _plain(architecture)) for own in self._architectures))
            and (widths is None or (self.n_latents is not None and widths[0] <= self.n_latents <= widths[1]))
        )

    @property
    def _architectures(self) -> list[str]:
        return [own for own in (self.architecture, self.trained_as) if own]

    @property
    def kind(self) -> str | None:
        """Architecture in words: the class, and how it was trained where the class does not say it."""
        if self.architecture is None or self.trained_as is None or _plain(self.trained_as) in _plain(self.architecture):
            return self.architecture
        return f"{self.architecture} ({self.trained_as})"

    @property
    def reason(self) -> str:
        """Why it cannot be scored on this machine; "" where nothing that is known speaks against it."""
        return self.inexact or self._too_large()

    def _too_large(self) -> str:
        here, parameters = memory_bytes(), parameters_said(self.model or "")
        own = READING * (self.gigabytes or 0)
        model = 0.0 if parameters is None else _SMALLEST_BYTES * parameters / 1e9
        if here is None or own + model <= here / 1e9:
            return ""
        needed = f"{own:.1f} GB to read it" if own else ""
        with_model = f"{model:.1f} GB for {self.model} in bfloat16" if model else ""
        return f"needs {' and '.join(filter(None, (needed, with_model)))}; this machine has {here / 1e9:.1f} GB"


def facts(spec: str, asked: Asked, l0: float | None = None) -> SaeFacts:
    """What is known of an SAE. ``l0``: mean number of active latents per token where it was measured here."""
    if isinstance(asked, HubPlace):
        return SaeFacts(spec, HUB, l0=l0)
    if isinstance(asked, RegistryRow):
        return SaeFacts(
            spec,
            REGISTRY,
            asked.architecture,
            asked.hook,
            asked.hook_out,
            asked.n_latents,
            asked.expected_l0 if l0 is None else l0,
            asked.model,
            _gigabytes(asked.n_latents, asked.widths),
            inexact=asked.not_scorable,
        )
    return _of_folder(spec, asked, l0)


def _is_hook(own: str, wanted: str) -> bool:
    block, _, last = own.rpartition(".")
    names = (own, block, last, last.removeprefix("hook_"), ".".join(own.split(".")[:2]), ".".join(own.split(".")[2:]))
    return canonical(wanted) in names or fnmatchcase(own, wanted)


def _plain(architecture: str) -> str:
    """ "TopKSAE" and "topk", "jumprelu_transcoder" and "JumpReLUTranscoder" are the same."""
    return architecture.lower().replace("_", "").removesuffix("sae")


def _of_folder(spec: str, info: SaeInfo, l0: float | None) -> SaeFacts:
    return SaeFacts(
        spec,
        BUNDLED if Path(info.location).parent in bundled_dirs() else FOLDER,
        info.architecture,
        info.hook,
        info.hook_out,
        info.n_latents,
        l0,
        info.model,
        _gigabytes(info.n_latents, (info.d_in, info.d_out)),
        info.training_architecture,
        "" if info.hook else "its files do not say which hook it reads; give it with --hook",
    )


def _gigabytes(n_latents: int | None, widths: tuple[int, int] | None) -> float | None:
    """Encoder and decoder together; biases are a thousandth of them."""
    return None if n_latents is None or widths is None else LOADED_BYTES * n_latents * sum(widths) / 1e9
