"""A language model that reads every batch once: its activations are kept on disk for SAEs that are loaded later."""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from saeeval_core.models.language_model import Change, LanguageModel
from saeeval_core.storage.notices import try_to_store


@dataclass(frozen=True)
class KeptActivations(LanguageModel):
    """The same model; what it once gave at ``hooks`` for a batch comes from ``folder`` from then on."""

    folder: Path = Path()
    hooks: tuple[str, ...] = ()
    """All hooks that are kept, whichever are asked for first."""

    @torch.inference_mode()
    def activations(
        self, ids: torch.Tensor, mask: torch.Tensor, hooks: Sequence[str], *, change: Change | None = None
    ) -> dict[str, torch.Tensor]:
        """As of the model. Padded positions are 0 where it comes from disk."""
        if change is not None or not set(hooks) <= set(self.hooks):
            return super().activations(ids, mask, hooks, change=change)
        path = self.folder / f"{_name(ids, mask)}.safetensors"
        inside = mask.bool()
        if path.exists():
            kept = load_file(path, device=str(ids.device))
            return {hook: _padded(kept[hook], inside) for hook in hooks}
        found = super().activations(ids, mask, self.hooks)
        tensors = {hook: found[hook][inside].contiguous().cpu() for hook in self.hooks}
        try_to_store(f"activations in {self.folder}", lambda: save_file(tensors, path))
        return {hook: found[hook] for hook in hooks}


@contextmanager
def keeping(model: LanguageModel, hooks: Sequence[str], folder: Path) -> Iterator[KeptActivations]:
    """The model with its activations at these hooks kept inside a new folder in ``folder``, which is removed at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="activations-") as own:
        named = {f.name: getattr(model, f.name) for f in fields(model)}
        yield KeptActivations(**named, folder=Path(own), hooks=tuple(dict.fromkeys(hooks)))


def _padded(values: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """[texts, positions, width] of values [real positions, width]; inside bool[texts, positions]."""
    out = values.new_zeros((*inside.shape, values.shape[-1]))
    out[inside] = values
    return out


def _name(ids: torch.Tensor, mask: torch.Tensor) -> str:
    digest = hashlib.sha256(str(tuple(ids.shape)).encode())
    digest.update((ids * mask).cpu().numpy().tobytes() + mask.cpu().numpy().tobytes())
    return digest.hexdigest()[:32]
