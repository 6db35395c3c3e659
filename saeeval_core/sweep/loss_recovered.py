"""Loss recovered: how well the SAE's reconstruction replaces the activation where it writes, by the model's next-token loss.

    (L_zero - L_sae) / (L_zero - L_clean)           L in nats per predicted token

1 for a perfect reconstruction, 0 for one as bad as zeros. bos keeps its activation in both replacements: no SAE here is
trained on it. See docs/method.md, "Reconstruction figures".
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch

from saeeval_core.config import RunConfig
from saeeval_core.errors import DataError
from saeeval_core.models.batches import padded_batches
from saeeval_core.models.language_model import LanguageModel, load_model
from saeeval_core.recordings.known_saes import identify
from saeeval_core.recordings.recorder import place_of
from saeeval_core.saes.loaded import LoadedSAE, load_sae
from saeeval_core.storage.kept import KeptJson, Shelves

TEXTS = 24
"""Number of texts on which a stored figure is measured: a few thousand tokens."""
_LOSSES = KeptJson(Shelves("loss", shipped=False), "loss", version=1)


@torch.inference_mode()
def loss_recovered(model: LanguageModel, saes: Sequence[LoadedSAE], texts: Sequence[str]) -> list[float | None]:
    """Per SAE, over all predicted tokens of ``texts`` but the first; None for an SAE without a reconstruction.

    What stands at the hook that it writes is replaced. DataError for texts of one token, or when zeros there change the
    loss by less than .001 nats; ModelError or UnsupportedSAE when hooks or widths do not fit.
    """
    places = [place_of(model, sae) for sae in saes]
    writes = list(dict.fromkeys(p.exact.write for p in places))
    hooks = list(dict.fromkeys([*writes, *(p.read for p in places)]))
    clean, count = 0.0, 0
    zero = dict.fromkeys(writes, 0.0)
    with_sae: list[float | None] = [0.0] * len(saes)
    for _, ids, mask in padded_batches(model.tokenize(texts).ids):
        ids, mask = ids.to(model.device), mask.to(model.device)
        x = {hook: value.float() for hook, value in model.activations(ids, mask, hooks).items()}
        clean += _loss(model, ids, mask)
        for hook in writes:
            zero[hook] += _loss(model, ids, mask, hook, _after_first(x[hook], torch.zeros_like(x[hook][:, 1:])))
        for i, place in enumerate(places):
            read, so_far = x[place.read][:, 1:], with_sae[i]
            rebuilt = place.sae.reconstruct(read, place.sae.encode(read))
            hook = place.exact.write
            lost = None if rebuilt is None else _loss(model, ids, mask, hook, _after_first(x[hook], rebuilt))
            with_sae[i] = None if lost is None or so_far is None else so_far + lost
        count += int(mask[:, 2:].sum())
    if not count:
        raise DataError("loss recovered needs texts of at least two tokens")
    for hook in writes:
        if abs(zero[hook] - clean) < 1e-3 * count:
            raise DataError(
                f"replacing {hook} by zeros costs {(zero[hook] - clean) / count:.4f} nats on these texts: too little; "
                "use others"
            )
    zeros = [zero[p.exact.write] for p in places]
    return [None if s is None else (z - s) / (z - clean) for s, z in zip(with_sae, zeros, strict=True)]


def stored_loss_recovered(config: RunConfig, saes: Sequence[str], texts: Sequence[str]) -> Mapping[str, float | None]:
    """SAE -> loss recovered on the first TEXTS texts; those not stored in the cache folder are measured together.

    ``config``: model, device, precision and kernel.
    """
    sample = list(texts[:TEXTS])
    keys = _keys(config, saes, sample)
    found = known_losses(config, saes, texts)
    missing = [sae for sae in saes if sae not in found]
    if missing:
        language_model = load_model(config.model, device=config.device, dtype=config.dtype, kernel=config.kernel)
        loaded = [load_sae(sae, device=language_model.device, kernel=language_model.kernel) for sae in missing]
        found |= dict(zip(missing, loss_recovered(language_model, loaded, sample), strict=True))
        for sae in missing:
            _LOSSES.keep(keys[sae], found[sae])
    return {sae: found[sae] for sae in saes}


def known_losses(config: RunConfig, saes: Sequence[str], texts: Sequence[str]) -> dict[str, float | None]:
    """Those of ``stored_loss_recovered`` that are stored."""
    found: dict[str, float | None] = {}
    for sae, key in _keys(config, saes, list(texts[:TEXTS])).items():
        with suppress(LookupError):
            found[sae] = _LOSSES.find(key)
    return found


def loss_files(config: RunConfig, saes: Sequence[str], texts: Sequence[str]) -> tuple[str, ...]:
    """Files below the cache folder in which ``stored_loss_recovered`` keeps the figures of these SAEs."""
    keys = _keys(config, saes, list(texts[:TEXTS]))
    return tuple(f"{_LOSSES.shelves.folder}/{_LOSSES.name(key)}.json" for key in keys.values())


def _keys(config: RunConfig, saes: Sequence[str], sample: list[str]) -> dict[str, list[Any]]:
    known = {sae: identify(sae) for sae in saes}
    dtype = [] if config.dtype == "float32" else [config.dtype]
    return {sae: [config.model, own.fingerprint, own.hook, sample, *dtype] for sae, own in known.items()}


def _after_first(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """x [texts, positions, width] with everything but its first position replaced by other [texts, positions - 1, width]."""
    return torch.cat([x[:, :1], other.to(x)], dim=1)


def _loss(
    model: LanguageModel, ids: torch.Tensor, mask: torch.Tensor, hook: str = "", replaced: torch.Tensor | None = None
) -> float:
    """``summed_loss`` with the activation at a hook replaced."""
    with model.changed(None if replaced is None else (hook, lambda _: replaced), ids.shape):
        logits = model.hf(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return summed_loss(logits, ids, mask)


def summed_loss(logits: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> float:
    """Summed loss in nats of tokens 2.. (token 1 sees only the first position).

    logits [texts, positions, vocabulary], ids and mask int64[texts, positions].
    """
    nll = torch.nn.functional.cross_entropy(logits[:, 1:-1].float().transpose(1, 2), ids[:, 2:], reduction="none")
    return float((nll * mask[:, 2:]).sum(dtype=torch.float64))
