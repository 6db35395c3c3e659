"""Attribution at a later layer by one backward pass, for ranking latents by what they do to a probe behind the SAE's layer.

    e_i(d) = sum_t s_t f_{t,i} (D_i . dz_d/dy_t)     z_d: the probe's logit of text d, y_t: the activation that is written
    I_i = (mean of e_i over positives - mean over negatives)                    on the probe's own training texts

Attribution patching as in the code of Karvonen et al., arXiv 2411.18895, with the difference of the two sides in place of
the mean over texts. Where the probe reads what the SAE writes, dz_d/dy_t = w / T, and I is ``scores.attribution``'s.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict

import numpy as np
import torch

from saeeval_core.config import RunConfig
from saeeval_core.errors import ModelError
from saeeval_core.evaluation.boards import Direction, Evaluation
from saeeval_core.holding.ablated_pass import OnTokens, check_later, codes_in_parts
from saeeval_core.holding.asked import check_protocol
from saeeval_core.holding.follow import probes_at, training_rows
from saeeval_core.holding.passes import Reader, residuals_at
from saeeval_core.models.batches import padded_batches
from saeeval_core.models.language_model import LanguageModel, load_model
from saeeval_core.models.sites import StopForward, captured
from saeeval_core.recordings.recorder import OnProgress, Place, place_of
from saeeval_core.recordings.recording import LatentRecording
from saeeval_core.saes.loaded import LoadedSAE, load_sae
from saeeval_core.storage.kept import KeptJson, Shelves

_TOKENS_PER_BATCH = 1024
"""What every block computes is held for the way back."""
_EFFECTS = KeptJson(Shelves("holding", shipped=False), "attribution", version=1)


def effects_at(
    config: RunConfig,
    evaluation: Evaluation,
    latents: LatentRecording,
    direction: Direction,
    hook: str,
    on_progress: OnProgress | None = None,
) -> np.ndarray:
    """float64[latents]: I of the attribute probe at a later hook, stored or new, for which model and SAE are loaded.

    Errors of ``later_effects``, and those of loading.
    """
    task, scored = direction.task, [asdict(evaluation.protocol), evaluation.seed]

    def make() -> list[float]:
        model = load_model(config.model, device=config.device, dtype=config.dtype)
        sae = load_sae(config.saes[0], device=model.device)
        return [float(v) for v in later_effects(model, sae, evaluation, direction, hook, on_progress)]

    key = [latents.scored_fingerprint, task.identity, task.direction, *scored, hook]
    return np.asarray(_EFFECTS.get(key, make), dtype=np.float64)


def later_effects(
    model: LanguageModel,
    sae: LoadedSAE,
    evaluation: Evaluation,
    direction: Direction,
    hook: str,
    on_progress: OnProgress | None = None,
) -> np.ndarray:
    """float64[latents]: I of the direction's attribute probe, trained at ``hook`` on clean activations.

    ConfigError for a hook before the one written, or a protocol that no pass can follow; ModelError for an unknown hook.
    """
    check_protocol(evaluation)
    place = place_of(model, sae)
    check_later(model, place.exact.write, [hook])
    board = next(iter(direction.boards.values()))
    balanced, biased = training_rows(board)
    every = np.union1d(balanced, biased)
    reader = Reader(model, evaluation, [hook], on_progress)
    reader.plan(every)
    reader.plan(balanced)
    probes = probes_at(evaluation, direction, residuals_at(evaluation.residuals, hook, reader.read(every)))
    texts, positive = (
        evaluation.draw.task_set.texts.texts,
        direction.task.spurious_label[board.probes.training.balanced],
    )
    own = [texts[i] for i in balanced]
    return backward_effects(model, place, own, positive, hook, probes.attribute.weight, reader.did)


def backward_effects(
    model: LanguageModel,
    place: Place,
    texts: Sequence[str],
    positive: np.ndarray,
    hook: str,
    weight: np.ndarray,
    on_tokens: OnTokens | None = None,
) -> np.ndarray:
    """float64[latents]: I of the probe with ``weight`` float64[width] at ``hook``, positive bool[texts]."""
    signed = torch.from_numpy(np.where(positive, 1 / positive.sum(), -1 / (~positive).sum()))
    rows = place.sae.decoder.float()
    found = torch.zeros(len(rows), dtype=torch.float64)
    for batch, ids, mask in padded_batches(model.tokenize(texts).ids, _TOKENS_PER_BATCH):
        ids, mask = ids.to(model.device), mask.to(model.device)
        valid = mask.bool().clone()
        valid[:, 0] = False
        read, pull = _pull(model, place, ids, mask, hook, weight, signed[batch])
        with torch.inference_mode():
            pull = pull[valid].float().to(rows.device)
            for part, codes in codes_in_parts(place.sae, read, valid):
                found += (codes.to(rows.device) * (pull[part] @ rows.T)).sum(0, dtype=torch.float64).cpu()
        if on_tokens:
            on_tokens(int(valid.sum()))
    return found.numpy()


def _pull(
    model: LanguageModel,
    place: Place,
    ids: torch.Tensor,
    mask: torch.Tensor,
    hook: str,
    weight: np.ndarray,
    signed: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(activation that is read, gradient at the one written of sum_d signed_d z_d), both [texts, positions, width]."""
    site, read_site = model.site(hook), model.site(place.read)
    if site is None or read_site is None:
        raise ModelError(f"attribution at {hook} needs hooks that the plain model knows; use hook_resid_post")
    written: list[torch.Tensor] = []

    def cut(value: torch.Tensor) -> torch.Tensor:
        written[:] = [value.detach().requires_grad_()]
        return written[0]

    sites = {"probe": site, "read": read_site}
    with torch.enable_grad():
        change = (place.exact.write, cut)
        with model.changed(change, ids.shape), captured(sites, ids.shape) as found, suppress(StopForward):
            model.hf.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
        inside = mask[:, 1:, None].float()
        pooled = (found["probe"][:, 1:].float() * inside).sum(1) / inside.sum(1).clamp_min(1)
        w = torch.from_numpy(weight).to(pooled)
        (gradient,) = torch.autograd.grad(((pooled @ w) * signed.to(pooled)).sum(), written)
    return found["read"].detach(), gradient
