"""Loss recovered: how well the SAE's reconstruction replaces the hook's activation, by the model's next-token loss.

    (L_zero - L_sae) / (L_zero - L_clean)           L in nats per predicted token

1 for a perfect reconstruction, 0 for one as bad as zeros. bos keeps its activation in both replacements: no SAE here is
trained on it. See docs/method.md, "Reconstruction figures".
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import torch

from saeeval_core.errors import DataError
from saeeval_core.models.language_model import LanguageModel, load_model, padded_batches
from saeeval_core.recordings.known_saes import identify
from saeeval_core.saes.loaded import LoadedSAE, load_sae
from saeeval_core.saes.registry import check_fits
from saeeval_core.storage.kept import KeptJson, Shelves

TEXTS = 24
"""Number of texts on which a stored figure is measured: a few thousand tokens."""
_LOSSES = KeptJson(Shelves("loss", shipped=False), "loss", version=1)


@torch.inference_mode()
def loss_recovered(
    model: LanguageModel, saes: Sequence[LoadedSAE], hook: str, texts: Sequence[str]
) -> list[float | None]:
    """Per SAE, over all predicted tokens of ``texts`` but the first; None for an SAE without a reconstruction.

    DataError for texts of one token, or when zeros at the hook change the loss by less than .001 nats; ModelError or
    UnsupportedSAE when hook or widths do not fit.
    """
    model.check_hook(hook)
    for sae in saes:
        check_fits(sae.info, model.d_model, [hook])
    clean, zero, count = 0.0, 0.0, 0
    with_sae: list[float | None] = [0.0] * len(saes)
    for _, ids, mask in padded_batches(model.tokenize(texts).ids):
        ids, mask = ids.to(model.device), mask.to(model.device)
        x = model.activations(ids, mask, [hook])[hook].float()

        def loss(other: torch.Tensor, x: torch.Tensor = x, ids: torch.Tensor = ids, mask: torch.Tensor = mask) -> float:
            return _loss(model, ids, mask, hook, torch.cat([x[:, :1], other.to(x)], dim=1))

        clean, zero = clean + loss(x[:, 1:]), zero + loss(torch.zeros_like(x[:, 1:]))
        for i, sae in enumerate(saes):
            rebuilt = sae.reconstruct(x[:, 1:], sae.encode(x[:, 1:]))
            so_far = with_sae[i]
            with_sae[i] = None if rebuilt is None or so_far is None else so_far + loss(rebuilt)
        count += int(mask[:, 2:].sum())
    if not count:
        raise DataError("loss recovered needs texts of at least two tokens")
    if abs(zero - clean) < 1e-3 * count:
        raise DataError(
            f"replacing {hook} by zeros costs {(zero - clean) / count:.4f} nats on these texts: too little; use others"
        )
    return [None if total is None else (zero - total) / (zero - clean) for total in with_sae]


def stored_loss_recovered(
    model: str, saes: Sequence[str], hook: str, texts: Sequence[str], *, device: str = "auto"
) -> Mapping[str, float | None]:
    """SAE -> loss recovered on the first TEXTS texts; those not stored in the cache folder are measured together."""
    sample = list(texts[:TEXTS])
    keys = {sae: [model, identify(sae).fingerprint, hook, sample] for sae in saes}
    found: dict[str, float | None] = {}
    for sae, key in keys.items():
        with suppress(LookupError):
            found[sae] = _LOSSES.find(key)
    missing = [sae for sae in saes if sae not in found]
    if missing:
        language_model = load_model(model, device=device)
        loaded = [load_sae(sae, device=language_model.device) for sae in missing]
        found |= dict(zip(missing, loss_recovered(language_model, loaded, hook, sample), strict=True))
        for sae in missing:
            _LOSSES.keep(keys[sae], found[sae])
    return {sae: found[sae] for sae in saes}


def _loss(model: LanguageModel, ids: torch.Tensor, mask: torch.Tensor, hook: str, replaced: torch.Tensor) -> float:
    """Summed loss of tokens 2.. when the hook's activation is replaced (token 1 sees only the first position)."""

    with model.changed((hook, lambda _: replaced), ids.shape):
        logits = model.hf(input_ids=ids, attention_mask=mask, use_cache=False).logits
    nll = torch.nn.functional.cross_entropy(logits[:, 1:-1].float().transpose(1, 2), ids[:, 2:], reduction="none")
    return float((nll * mask[:, 2:]).sum(dtype=torch.float64))
