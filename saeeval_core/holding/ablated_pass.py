"""A pass through the plain model with a set of latents ablated where the SAE writes, its reconstruction error kept.

Token by token an ablated latent is set to 0, or to its mean pooled value; the first position is never touched, because
it is never pooled. Averaged over a text this is the exact route of ``scores.ablation`` at every exact probe hook.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from saeeval_core.errors import ConfigError, ModelError
from saeeval_core.models.batches import padded_batches
from saeeval_core.models.language_model import Change, LanguageModel
from saeeval_core.models.layouts import layer_of
from saeeval_core.recordings.pooled import scaled_codes
from saeeval_core.recordings.recorder import Place, codes_at_once
from saeeval_core.saes.loaded import LoadedSAE

OnTokens = Callable[[int], None]
"""Called after every batch with its number of valid tokens; an exception it raises stops the pass."""


@dataclass(frozen=True, eq=False)
class SetEdit:
    """The ablation of one set of latents."""

    place: Place
    ids: tuple[int, ...]
    set_to: np.ndarray
    """float64[set]: what s*f of each is set to."""

    @torch.inference_mode()
    def change(self, model: LanguageModel, ids: Tensor, mask: Tensor) -> Change:
        """What replaces the activation at the write hook in a pass of these texts; ids, mask int64[texts, positions]."""
        read = model.activations(ids, mask, [self.place.read])[self.place.read]
        taken = self.removed(read, mask)
        return self.place.exact.write, lambda x: x.float() - taken.to(x.device)

    def removed(self, read: Tensor, mask: Tensor) -> Tensor:
        """float32[texts, positions, width]: what the ablation takes from the activation at the write hook.

        read [texts, positions, width], the activation at the read hook; 0 at the first position and at padding.
        """
        valid = mask.bool().clone()
        valid[:, 0] = False
        rows = self.place.sae.decoder[list(self.ids)].to(read.device)
        out = torch.zeros(*mask.shape, rows.shape[1], device=read.device)
        held = torch.as_tensor(self.set_to, dtype=torch.float32, device=read.device)
        out[valid] = (self._codes(read, valid) - held) @ rows
        return out

    def _codes(self, read: Tensor, valid: Tensor) -> Tensor:
        """s*f of the set, float32[valid tokens, set]."""
        ids = list(self.ids)
        return torch.cat([codes[:, ids] for _, codes in codes_in_parts(self.place.sae, read, valid)]).to(read.device)


def codes_in_parts(sae: LoadedSAE, read: Tensor, valid: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """(which of the valid tokens, their s*f float32[tokens, latents]), as many at once as are held while encoding.

    read [texts, positions, width], the activation at the read hook; valid bool[texts, positions].
    """
    if sae.needs_sequences:
        yield slice(None), sae.encode(read[:, 1:].float()).float()[valid[:, 1:]]
        return
    x = read[valid].float()
    room = max(1, codes_at_once(str(read.device)) // sae.info.n_latents)
    for start in range(0, max(1, len(x)), room):
        part = slice(start, start + room)
        yield part, scaled_codes(sae, x[part])[1]


@torch.inference_mode()
def pooled_activations(
    model: LanguageModel,
    texts: Sequence[str],
    hooks: Sequence[str],
    edit: SetEdit | None = None,
    on_tokens: OnTokens | None = None,
) -> dict[str, np.ndarray]:
    """Hook -> float64[texts, width]: mean over the valid tokens of each text, with ``edit`` made on the way.

    NaN for a text without tokens. ModelError for a hook that the plain model does not know.
    """
    found = {hook: np.full((len(texts), w), np.nan) for hook, w in zip(hooks, model.widths(hooks), strict=True)}
    for rows, ids, mask in padded_batches(model.tokenize(texts).ids):
        ids, mask = ids.to(model.device), mask.to(model.device)
        change = None if edit is None else edit.change(model, ids, mask)
        valid = mask[:, 1:, None]
        for hook, x in model.activations(ids, mask, hooks, change=change).items():
            mean = (x[:, 1:].double() * valid).sum(1) / valid.sum(1)
            found[hook][rows] = mean.cpu().numpy()
        if on_tokens:
            on_tokens(int(valid.sum()))
    return found


def check_later(model: LanguageModel, write: str, hooks: Sequence[str]) -> None:
    """ConfigError for a hook before the one that is written; ModelError for one that the plain model does not know."""
    for hook in hooks:
        model.check_hook(hook)
        if model.site(hook) is None:
            raise ModelError(f"hook '{hook}' of {model.name} is not known to the plain model; use hook_resid_post")
        at, from_ = layer_of(hook), layer_of(write)
        if at is None or from_ is None or at < from_:
            raise ConfigError(f"hook '{hook}' does not come after {write}, where the set is ablated; name a later one")
