"""Loss recovered: how much of the language model's next-token loss survives when the SAE's reconstruction replaces the hook.

    (L_zero - L_sae) / (L_zero - L_clean)           L in nats per predicted token

1 for a perfect reconstruction, 0 for one as bad as zeros. The beginning-of-sequence position is left as it is in both
replacements: no SAE here is trained on it.
"""

from collections.abc import Sequence

import numpy as np
import torch

from saeeval_core.errors import DataError, UnsupportedSAE
from saeeval_core.models import LanguageModel, padded_batches
from saeeval_core.saes import LoadedSAE, check_fits


@torch.inference_mode()
def loss_recovered(model: LanguageModel, sae: LoadedSAE, hook: str, texts: Sequence[str]) -> float:
    """Over all predicted tokens of ``texts`` but the first. UnsupportedSAE for an SAE that does not rebuild its input.

    DataError when the hook hardly matters on these texts (zeros change the loss by less than .001 nats).
    """
    model.check_hook(hook)
    check_fits(sae.info, model.d_model, [hook])
    totals, count = np.zeros(3), 0
    for _, ids, mask in padded_batches(model.tokenize(texts).ids):
        ids, mask = ids.to(model.device), mask.to(model.device)
        x = model.activations(ids, mask, [hook])[hook].float()
        rebuilt = sae.reconstruct(x[:, 1:], sae.encode(x[:, 1:]))
        if rebuilt is None:
            raise UnsupportedSAE(f"SAE '{sae.info.id}' does not rebuild the activation it reads; loss recovered is not defined")
        for k, other in enumerate((x[:, 1:], rebuilt, torch.zeros_like(rebuilt))):
            totals[k] += _loss(model, ids, mask, hook, torch.cat([x[:, :1], other.to(x)], dim=1))
        count += int(mask[:, 2:].sum())
    if not count:
        raise DataError("loss recovered needs texts of at least two tokens")
    clean, with_sae, zero = totals / count
    if abs(zero - clean) < 1e-3:
        raise DataError(f"replacing {hook} by zeros costs {zero - clean:.4f} nats on these texts: too little; use others")
    return float((zero - with_sae) / (zero - clean))


def _loss(model: LanguageModel, ids: torch.Tensor, mask: torch.Tensor, hook: str, replaced: torch.Tensor) -> float:
    """Summed loss of tokens 2.. when the hook's activation is replaced (token 1 sees only the first position)."""

    def put(value: torch.Tensor, hook: object) -> torch.Tensor:  # noqa: ARG001 (TransformerLens passes it by name)
        return replaced.to(value.dtype)

    logits = model.bridge.run_with_hooks(ids, attention_mask=mask, fwd_hooks=[(hook, put)])
    nll = torch.nn.functional.cross_entropy(logits[:, 1:-1].float().transpose(1, 2), ids[:, 2:], reduction="none")
    return float((nll * mask[:, 2:]).sum(dtype=torch.float64))
