"""Load SAEs of every SAELens class, each with the two things that exact ablation needs: decoder rows D and scale s.

Ablating latent i changes the reconstruction of a token by exactly -f_i D_i s(token) when the decoder is affine. That is
checked against SAELens's own decode at every load; an SAE that fails is refused.
"""

import hashlib
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saeeval_core.config import DEFAULT_KERNEL, ONEDNN
from saeeval_core.errors import UnsupportedSAE
from saeeval_core.models.kernels import packed_encoder
from saeeval_core.saes.asked import HubPlace, what_is
from saeeval_core.saes.fetched import fetched, no_file_line
from saeeval_core.saes.folding import fold, load_errors, unfolded_line
from saeeval_core.saes.foreign import module_of
from saeeval_core.saes.local import fingerprint_with, hash_files, inspect_sae, with_given
from saeeval_core.saes.placed import placed, split
from saeeval_core.saes.registry import CFG_FILE, LOADED_WITH, UNFOLDED, WEIGHTS_FILE, SaeInfo, parse_cfg
from saeeval_core.saes.releases import RegistryRow, registry
from saeeval_core.storage.hub import hub_errors

_HUB_CACHE = re.compile(r"models--([^/]+?)--([^/]+)/snapshots/[^/]+/(.+)$")
"""A folder in huggingface_hub's cache: organisation, repository and path in it."""
_DTYPES = ("float32", "float64", "bfloat16", "float16")


@dataclass(frozen=True, eq=False)
class LoadedSAE:
    """An SAE, or a dictionary that looks like one, ready to encode tokens. Safe to share between threads."""

    info: SaeInfo
    decoder: Tensor
    """D, float32 [latents, d_out]: what one unit of a latent adds to the output of a token with s = 1."""
    fingerprint: str
    encoder: Callable[[Tensor], Tensor] = field(repr=False)
    """[..., d_in] -> [..., latents], on tokens as the SAE was trained on them (centred where ``info.centred``)."""
    bias: Tensor | None = field(default=None, repr=False)
    """float32 [d_out], the constant of the decoder; None where the codes alone do not rebuild what it writes."""
    skip: Tensor | None = field(default=None, repr=False)
    """float32 [d_out, d_in], what a skip transcoder adds to its output straight from what it reads."""
    scale_factor: float = 1.0
    """Constant part of s."""
    non_negative: bool = True
    """False if codes can be below 0 (AbsTopK, signed dictionaries): then test ``f != 0``, not ``f > 0``."""
    needs_sequences: bool = False
    """True for temporal SAEs, whose code of a token depends on the tokens before it in the same text."""
    module: Any = field(default=None, repr=False)
    """SAELens's object; None where the decoder is our own."""

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Codes f (not multiplied by s), in the SAE's dtype: x [..., d_in] -> [..., latents].

        If ``needs_sequences``, [tokens, d_in] must be the tokens of ONE text in order, and several texts of equal or
        right-padded length go in as [texts, tokens, d_in] (causal: padding at the end changes nothing before it).
        """
        x = self._as_trained(x)
        if self.needs_sequences and x.ndim == 2:
            return self.encoder(x[None])[0]
        return self.encoder(x)

    @torch.no_grad()
    def token_scale(self, x: Tensor) -> Tensor | None:
        """s of each token: x [..., d_in] -> float32 [...]; None means 1 everywhere."""
        # A transcoder never undoes its input's normalisation, because its output is another activation.
        if self.info.is_transcoder or self.info.normalize_activations == "none":
            return None if self.scale_factor == 1.0 else torch.full(x.shape[:-1], self.scale_factor, device=x.device)
        x = self._as_trained(x).float()
        if self.info.normalize_activations == "layer_norm":
            return x.std(dim=-1)
        if self.info.normalize_activations == "constant_norm_rescale":
            return x.norm(dim=-1) / self.info.d_in**0.5
        return torch.full(x.shape[:-1], self.scale_factor, device=x.device)

    @torch.no_grad()
    def reconstruct(self, x: Tensor, codes: Tensor) -> Tensor | None:
        """What is written for tokens x [..., d_in] by their codes [..., latents], float32[..., d_out].

        Of an SAE it is x_hat; of a transcoder the activation at the hook it writes. None for temporal SAEs, which add
        a prediction to what the codes give.
        """
        if self.bias is None:
            return None
        out = codes.to(self.decoder.dtype) @ self.decoder + self.bias
        if self.skip is not None:
            return out + x.to(out) @ self.skip.T
        scale = self.token_scale(x)
        if scale is not None:
            out = out * scale[..., None]
        mean = x.to(out.device).float().mean(dim=-1, keepdim=True)
        # Layer norm removes the mean before encoding and adds it back; centred SAEs never see it, so it passes through.
        keeps_mean = self.info.centred or self.info.normalize_activations == "layer_norm"
        return out + mean if keeps_mean and not self.info.is_transcoder else out

    def zero_code(self) -> Tensor:
        """s(0) f(0), float32[latents] on the CPU: what a zeroed (masked) position adds to a pooled latent.

        With s = 1 this is f(0). Layer norm and constant-norm SAEs have s(0) = 0, so it is 0 (their f(0) alone can be
        NaN: it divides by the norm). For temporal SAEs it is the code of a lone zero token.
        """
        if self.info.normalize_activations in ("layer_norm", "constant_norm_rescale") and not self.info.is_transcoder:
            return torch.zeros(self.info.n_latents)
        zero = torch.zeros(1, self.info.d_in, device=self.decoder.device)
        code = torch.nan_to_num(self.encode(zero)[0].float(), nan=0.0, posinf=0.0, neginf=0.0)
        scale = self.token_scale(zero)
        return (code if scale is None else code * scale).cpu()

    def with_given_hooks(self, spec: str) -> "LoadedSAE":
        """The same under the whole name, with the hooks in it where the SAE names none itself."""
        info = with_given(self.info, spec, split(spec))
        return replace(self, info=info, fingerprint=fingerprint_with(self.fingerprint, info))

    def at(self, location: str) -> "LoadedSAE":
        """The same, named as lying at another place."""
        return replace(self, info=replace(self.info, location=location))

    def _as_trained(self, x: Tensor) -> Tensor:
        x = x.to(self.decoder.device)
        return x - x.mean(dim=-1, keepdim=True) if self.info.centred else x


def load_sae(
    spec: str,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    search: Sequence[Path] | None = None,
    kernel: str = DEFAULT_KERNEL,
) -> LoadedSAE:
    """Load the SAE that ``asked.what_is`` finds; ``kernel``: as ``kernel_for`` gives it.

    UnsupportedSAE if it cannot be found, read or ablated exactly.
    """
    sae = _load(spec, device, dtype, search)
    weight = getattr(sae.module, "W_enc", None)
    if kernel != ONEDNN or weight is None or weight.dtype != torch.float32:
        return sae
    return replace(sae, encoder=packed_encoder(sae.encoder, weight))


def _load(spec: str, device: str, dtype: str, search: Sequence[Path] | None) -> LoadedSAE:
    if dtype not in _DTYPES:
        raise UnsupportedSAE(f"SAE dtype '{dtype}' is not supported; use one of {', '.join(_DTYPES)}")
    asked = what_is(spec, search)
    if isinstance(asked, RegistryRow):
        return _from_registry(split(spec).name, asked, device, dtype).with_given_hooks(spec)
    info = asked if isinstance(asked, SaeInfo) else _on_hub(spec, asked)
    folder = Path(info.location)
    place = _HUB_CACHE.search(str(folder.resolve()))
    info = _as_released(info, f"{place[1]}/{place[2]}", place[3]) if place else info
    sae = _from_folder(info, folder, device, dtype) if info.foreign is None else _from_foreign(info, device, dtype)
    return (
        sae if isinstance(asked, SaeInfo) else sae.at(f"https://huggingface.co/{asked.repo}/{asked.folder}".rstrip("/"))
    )


def of_module(info: SaeInfo, module: Any) -> LoadedSAE:
    """SAELens's own object, which is put into eval mode, with these facts. UnsupportedSAE as ``load_sae``."""
    return _finish(info, module, fingerprint_with(_hash_tensors(module.cfg.to_dict(), module.state_dict()), info))


def verify_affine(sae: LoadedSAE, seed: int = 0) -> float:
    """Largest error of -f_i D_i s against SAELens's decode, relative to the magnitude of what is decoded.

    Eight random tokens, each with its own codes plus eight random positive ones; every added latent is zeroed in turn.
    UnsupportedSAE above rounding error. A decoder that is not SAELens's (no ``module``) is not checked: 0.
    """
    if sae.module is None:
        return 0.0
    rng = torch.Generator().manual_seed(seed)
    dtype, device = sae.module.dtype, sae.decoder.device
    shape = (1, 8, sae.info.d_in) if sae.needs_sequences else (8, sae.info.d_in)
    x = torch.randn(shape, generator=rng).to(device, dtype)
    latents = torch.randperm(sae.info.n_latents, generator=rng)[:8].to(device)
    worst = 0.0
    with _quiet(), torch.no_grad():
        codes = sae.encoder(x).clone()
        codes[..., latents] += (0.5 + torch.rand((*shape[:-1], len(latents)), generator=rng)).to(device, dtype)
        full = _decode(sae, x, codes)
        scale = _module_scale(sae, x)
        for latent in latents:
            without = codes.clone()
            without[..., latent] = 0
            delta = (_decode(sae, x, without) - full).double()
            expected = -codes[..., latent, None].double() * sae.decoder[latent].double() * scale[..., None]
            size = max(full.double().abs().max().item(), expected.abs().max().item(), 1e-12)
            worst = max(worst, (delta - expected).abs().max().item() / size)
    tolerance = 1e-4 if dtype in (torch.float32, torch.float64) else 5e-2
    if not worst <= tolerance:
        raise UnsupportedSAE(
            f"SAE '{sae.info.id}' ({sae.info.architecture}) does not decode each latent by adding f_i D_i "
            f"(relative error {worst:.1e}), so exact ablation is not possible; choose another SAE"
        )
    return worst


def _from_folder(info: SaeInfo, folder: Path, device: str, dtype: str) -> LoadedSAE:
    from sae_lens import SAE

    with load_errors(info.id, folder / WEIGHTS_FILE):
        _check_size(info, folder / WEIGHTS_FILE)
        module = SAE.load_from_disk(folder, device=device, dtype=dtype)
    used = [folder / CFG_FILE, folder / WEIGHTS_FILE]
    if module.cfg.normalize_activations in UNFOLDED:
        used.append(fold(info.id, module, folder))
        info = replace(info, normalize_activations="none")
    return _finish(info, module, fingerprint_with(hash_files(used), info))


def _from_foreign(info: SaeInfo, device: str, dtype: str) -> LoadedSAE:
    files = info.foreign.files if info.foreign else ()
    with load_errors(info.id, files[0]):
        module = module_of(info, device, dtype)
    if info.foreign and bool((getattr(module, "threshold", torch.zeros(1)) < 0).any()):
        remark = "its threshold is below 0, as before it is estimated in training, so its codes are not sparse"
        info = replace(info, foreign=replace(info.foreign, remarks=(*info.foreign.remarks, remark)))
    return _finish(info, module, fingerprint_with(hash_files(files), info))


def _check_size(info: SaeInfo, path: Path) -> None:
    """ValueError where cfg.json claims another width than the weights have, before room is made for what it claims."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        shape = tuple(file.get_slice("W_dec").get_shape()) if "W_dec" in file.keys() else None  # noqa: SIM118
    if shape not in (None, (info.n_latents, info.d_out)):
        raise ValueError(f"W_dec is {shape}, cfg.json says {(info.n_latents, info.d_out)}")


def _from_registry(spec: str, row: RegistryRow, device: str, dtype: str) -> LoadedSAE:
    if row.summed:
        raise UnsupportedSAE(
            f"SAE '{spec}' is one layer of a cross-layer transcoder, and {row.not_scorable}: no hook is written by them; "
            "use a transcoder of one layer"
        )
    from sae_lens import SAE

    with load_errors(spec, row.repo), hub_errors(f"SAE '{spec}'", row.repo, no_file_line(spec, row.repo)):
        module = SAE.from_pretrained(row.release, row.sae_id, device=device, dtype=dtype)
    cfg = module.cfg.to_dict()
    info = parse_cfg(spec, row.repo, cfg)
    if info.normalize_activations in UNFOLDED:
        raise UnsupportedSAE(unfolded_line(spec, info.normalize_activations, "its release gives no factor"))
    info = replace(
        info,
        neuronpedia_id=info.neuronpedia_id or row.neuronpedia_id,
        model=info.model or row.model,
        # Where SAELens found no module in the files, the registry's own names say what Gemma 3's transcoders read.
        hook=row.hook if info.is_transcoder and row.hook else info.hook,
    )
    return _finish(info, module, _hash_tensors(cfg, module.state_dict()))


def _on_hub(spec: str, place: HubPlace) -> SaeInfo:
    """The settings of an SAE of the Hub, under its whole name, after its files were fetched."""
    path, hooks = fetched(split(spec).name, place), split(spec)
    info = inspect_sae(placed(str(path), hooks.write, hooks.read) if hooks.write else str(path))
    return replace(_as_released(info, place.repo, place.folder), id=spec)


def _as_released(info: SaeInfo, repo: str, path: str) -> SaeInfo:
    """With what the registry says of the same files: whether the model was centred stands there, not in them."""
    centred = any(row.centred and (row.repo, row.path) == (repo, path.strip("/")) for row in registry().values())
    return replace(info, metadata=info.metadata | {LOADED_WITH: {"center_writing_weights": True}}) if centred else info


def _finish(info: SaeInfo, module: Any, fingerprint: str) -> LoadedSAE:
    for name, tensor in module.state_dict().items():
        # JumpReLU thresholds may be infinite: that latent never fires.
        if bool(torch.isnan(tensor).any()) or ("threshold" not in name and bool(torch.isinf(tensor).any())):
            raise UnsupportedSAE(f"SAE '{info.id}': {name} contains NaN or infinite values; save or download it again")
    module = module.eval().requires_grad_(False)
    if module.hook_z_reshaping_mode:
        module.turn_off_forward_pass_hook_z_reshaping()  # the heads come side by side, [tokens, heads x d_head]
    rows = module.W_dec.detach().float()
    if getattr(module.cfg, "rescale_acts_by_decoder_norm", False):
        rows = rows / rows.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    if rows.shape != (info.n_latents, info.d_out):
        raise UnsupportedSAE(
            f"SAE '{info.id}': decoder is {tuple(rows.shape)}, cfg.json says {(info.n_latents, info.d_out)}; save it again"
        )
    temporal = info.architecture == "TemporalSAE"
    sae = LoadedSAE(
        info,
        rows,
        fingerprint,
        _encoder(info, module),
        _bias(info, module),
        module.W_skip.detach().float() if "Skip" in info.architecture else None,
        _scale_factor(info, module),
        non_negative=info.architecture != "AbsTopKSAE",
        needs_sequences=temporal,
        module=module,
    )
    with load_errors(info.id, info.location):  # the first use of SAELens's own code with these settings
        verify_affine(sae)
    return sae


def _encoder(info: SaeInfo, module: Any) -> Callable[[Tensor], Tensor]:
    if info.normalize_activations not in ("layer_norm", "constant_norm_rescale"):
        return module.encode
    lock = threading.Lock()

    def encode(x: Tensor) -> Tensor:
        # encode() leaves this batch's norms on the module for the next decode(); other threads must not see them.
        with lock:
            codes = module.encode(x)
            _forget_batch(module)
            return codes

    return encode


def _bias(info: SaeInfo, module: Any) -> Tensor | None:
    if info.architecture == "TemporalSAE":
        return None
    bias = module.b_dec.detach().float().clone()
    # Matching pursuit is tied: it adds the bias back only if it took it off.
    added = info.architecture != "MatchingPursuitSAE" or module.cfg.apply_b_dec_to_input
    return bias if added else torch.zeros_like(bias)


def _scale_factor(info: SaeInfo, module: Any) -> float:
    constant = info.normalize_activations == "constant_scalar_rescale"
    return 1.0 / module.cfg.activation_normalization_factor if constant else 1.0


def _decode(sae: LoadedSAE, x: Tensor, codes: Tensor) -> Tensor:
    """SAELens's decode of ``codes`` for tokens x: encode first, because some classes keep x's norms in between."""
    sae.module.encode(x)
    out = sae.module.decode(codes)
    _forget_batch(sae.module)
    return out


def _module_scale(sae: LoadedSAE, x: Tensor) -> Tensor:
    # The module is fed x itself, so a centred SAE's x counts as already centred here.
    plain = replace(sae, info=replace(sae.info, metadata={}))
    scale = plain.token_scale(x)
    return (torch.ones(x.shape[:-1], device=x.device) if scale is None else scale).double()


def _forget_batch(module: Any) -> None:
    for name in ("ln_mu", "ln_std", "x_norm_coeff"):
        module.__dict__.pop(name, None)


def _hash_tensors(cfg: Mapping[str, object], tensors: dict[str, Tensor]) -> str:
    settings = {key: value for key, value in cfg.items() if key != "device"}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(tensors.items()):
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(content.numpy().data)
    return digest.hexdigest()[:16]


@contextmanager
def _quiet() -> Iterator[None]:
    """Temporal SAEs log a warning at every decode."""
    log = logging.getLogger("sae_lens")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before
