"""Any Python object with ``encode`` and decoder rows, or of SAELens, as a dictionary that can be recorded and scored."""

import copy
import hashlib
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from saeeval_core.errors import UnsupportedSAE
from saeeval_core.models.layouts import canonical
from saeeval_core.models.memory_names import memory_name
from saeeval_core.saes.loaded import LoadedSAE, of_module, verify_affine
from saeeval_core.saes.registry import UNFOLDED, SaeInfo, parse_cfg

_TRIED = 64
"""Random activations on which an object is asked for its codes."""


class Encoder(Protocol):
    """What an object must have; ``decode(codes) -> activations`` is checked against its rows where it has that too."""

    def encode(self, x: Tensor, /) -> Tensor | np.ndarray:
        """Codes [tokens, latents] of activations float32[tokens, d_in], each token by itself."""
        ...


def from_object(
    obj: Encoder,
    rows: Tensor | np.ndarray,
    hook: str,
    *,
    name: str,
    read_hook: str = "",
    d_in: int | None = None,
    model: str | None = None,
    device: str = "cpu",
) -> LoadedSAE:
    """The object as an SAE: ``recordings.recorder.record`` takes it as it takes the ones of ``load_sae``.

    ``rows`` [latents, d_out] is what one unit of each latent adds at ``hook``; ``read_hook`` and ``d_in`` are the hook that
    it reads and its width, where that is another. Its identity is its rows, its hooks and its codes of random activations.
    UnsupportedSAE for codes of another shape, for NaN, for other codes when it is asked again, and for a ``decode`` that
    does not add codes times rows.
    """
    decoder = torch.as_tensor(rows, device=device).detach().float()
    if decoder.ndim != 2 or 0 in decoder.shape or not bool(torch.isfinite(decoder).all()):
        raise UnsupportedSAE(f"SAE '{name}': rows are {tuple(decoder.shape)}; expected finite ones, [latents, d_out]")
    n_latents, d_out = decoder.shape
    transcoder = bool(read_hook) and canonical(read_hook) != canonical(hook)
    info = SaeInfo(
        id=name,
        location=f"a {type(obj).__name__} in memory",
        architecture="ObjectTranscoder" if transcoder else "ObjectSAE",
        d_in=d_in or d_out,
        n_latents=n_latents,
        hook=canonical(read_hook or hook),
        hook_out=canonical(hook),
        d_out=d_out,
        model=model,
    )
    adapted = _Adapted(obj, device, _dtype_of(obj))
    x = torch.randn(_TRIED, info.d_in, generator=torch.Generator().manual_seed(0)).to(device)
    codes = _tried(adapted, info, x)
    decodes = hasattr(obj, "decode")
    bias = adapted.decode(torch.zeros(1, n_latents, device=device))[0].float() if decodes else None
    fingerprint = _fingerprint(info, decoder, codes)
    sae = LoadedSAE(
        info,
        decoder,
        fingerprint,
        adapted.encode,
        bias,
        non_negative=bool((codes >= 0).all()),
        module=adapted if decodes else None,
    )
    verify_affine(sae)
    return sae


def from_saelens(module: Any, *, name: str, hook: str = "", read_hook: str = "") -> LoadedSAE:
    """An object of SAELens as it is in memory; it is not changed. The hooks are for one that names none.

    UnsupportedSAE for one in training, one whose normalisation is not folded into its weights, without a hook, and as
    ``load_sae``.
    """
    cfg = module.cfg.to_dict()
    info = parse_cfg(name, f"a {type(module).__name__} in memory", cfg)
    if info.normalize_activations in UNFOLDED:
        raise UnsupportedSAE(
            f"SAE '{name}' normalises by {info.normalize_activations}, which is not folded into its weights; call its "
            "fold_activation_norm_scaling_factor, or save it and name the folder"
        )
    if info.hook is None:
        info = replace(info, hook=canonical(read_hook or hook) or None, hook_out=canonical(hook) or None)
    if info.hook is None:
        raise UnsupportedSAE(f"SAE '{name}' names no hook; give it: hook='blocks.6.hook_resid_post'")
    shared = {id(t): torch.nn.Parameter(t.detach(), requires_grad=False) for t in module.parameters()}
    return of_module(info, copy.deepcopy(module, shared))


def named(sae: LoadedSAE, label: str) -> LoadedSAE:
    """The same under the name of an object in memory: a label, and its fingerprint."""
    return replace(sae, info=replace(sae.info, id=memory_name(label, sae.fingerprint)))


def moved(sae: LoadedSAE, device: str) -> LoadedSAE:
    """The same for activations and codes on another device; the object encodes where it is."""
    home = sae.decoder.device
    if home == torch.device(device):
        return sae

    def to(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.to(device)

    there = sae.decoder.to(device)
    encoder = sae.encoder
    return replace(
        sae, decoder=there, bias=to(sae.bias), skip=to(sae.skip), encoder=lambda x: encoder(x.to(home)).to(device)
    )


def _dtype_of(obj: object) -> torch.dtype:
    """The precision of a module's weights, in which it has to be asked; float32 for anything else."""
    if not isinstance(obj, torch.nn.Module):
        return torch.float32
    return next((p.dtype for p in obj.parameters() if p.dtype.is_floating_point), torch.float32)


@dataclass(eq=False)
class _Adapted:
    """The object with tensors of its precision in and out."""

    obj: Any
    device: str
    dtype: torch.dtype

    def encode(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1]).to(self.device, self.dtype)
        codes = torch.as_tensor(self.obj.encode(flat), device=self.device).detach().to(self.dtype)
        return codes.reshape(*x.shape[:-1], codes.shape[-1])

    def decode(self, codes: Tensor) -> Tensor:
        return torch.as_tensor(self.obj.decode(codes.to(self.dtype)), device=self.device).detach().to(self.dtype)


@torch.no_grad()
def _tried(adapted: _Adapted, info: SaeInfo, x: Tensor) -> Tensor:
    """Codes of random activations, as the object gives them twice, and for fewer of them."""
    try:
        first = adapted.encode(x)
    # The object is somebody's own code, which may raise anything.
    except Exception as error:  # noqa: BLE001
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UnsupportedSAE(f"SAE '{info.id}': encode fails for activations {tuple(x.shape)}: {why}") from None
    if first.shape != (len(x), info.n_latents) or not bool(torch.isfinite(first).all()):
        raise UnsupportedSAE(
            f"SAE '{info.id}': encode gives {tuple(first.shape)} for {tuple(x.shape)}; expected finite codes, one for each "
            f"of the {info.n_latents} rows"
        )
    for again, expected in ((adapted.encode(x), first), (adapted.encode(x[:3]), first[:3])):
        if again.shape != expected.shape or not torch.allclose(again, expected, rtol=1e-3, atol=1e-4):
            raise UnsupportedSAE(
                f"SAE '{info.id}': encode gives other codes for the same activations; they must depend on one token only"
            )
    return first


def _fingerprint(info: SaeInfo, decoder: Tensor, codes: Tensor) -> str:
    digest = hashlib.sha256(f"{info.hook} {info.hook_out} {tuple(decoder.shape)}".encode())
    for tensor in (decoder, codes):
        digest.update(tensor.float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
