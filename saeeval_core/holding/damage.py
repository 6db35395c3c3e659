"""What ablating a set costs the language model itself on text that is not about the task."""

from collections.abc import Sequence

import torch

from saeeval_core.errors import DataError
from saeeval_core.holding.ablated_pass import OnTokens, SetEdit
from saeeval_core.holding.held import Damage
from saeeval_core.models.batches import padded_batches
from saeeval_core.models.language_model import LanguageModel
from saeeval_core.sweep.loss_recovered import summed_loss

_TOKENS_PER_BATCH = 512
"""Logits over the whole vocabulary are held for each, twice."""


@torch.inference_mode()
def damage_of(
    model: LanguageModel, edit: SetEdit, texts: Sequence[str], about: str, on_tokens: OnTokens | None = None
) -> Damage:
    """The damage of an edit on ``texts``; DataError if none has two tokens."""
    clean = changed = divergence = 0.0
    count = 0
    for _, ids, mask in padded_batches(model.tokenize(texts).ids, _TOKENS_PER_BATCH):
        ids, mask = ids.to(model.device), mask.to(model.device)
        before = _logits(model, ids, mask)
        with model.changed(edit.change(model, ids, mask), ids.shape):
            after = _logits(model, ids, mask)
        clean += summed_loss(before, ids, mask)
        changed += summed_loss(after, ids, mask)
        divergence += _summed_divergence(before, after, mask)
        count += int(mask[:, 2:].sum())
        if on_tokens:
            on_tokens(int(mask[:, 1:].sum()))
    if not count:
        raise DataError("change of loss needs texts of at least two tokens")
    return Damage(about, count, clean / count, (changed - clean) / count, divergence / count)


def _logits(model: LanguageModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return model.hf(input_ids=ids, attention_mask=mask, use_cache=False).logits.float()


def _summed_divergence(before: torch.Tensor, after: torch.Tensor, mask: torch.Tensor) -> float:
    """Over the positions that predict tokens 2.., as ``summed_loss``; logits [texts, positions, vocabulary]."""
    p, q = (x[:, 1:-1].log_softmax(-1) for x in (before, after))
    per_token = (p.exp() * (p - q)).sum(-1)
    return float((per_token * mask[:, 2:]).sum(dtype=torch.float64))
