"""Where a hook lies in a plain transformers model, how it is read and changed, and where ablation there is exact.

``mlp_out`` and ``attn_out`` are what is added to the residual stream: after the norms that follow in Gemma and OLMo 2,
before the residual stream that BLOOM's modules add themselves.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from saeeval_core.errors import ModelError
from saeeval_core.models.layouts import Exactness, Layout, canonical, crosses_output_matrix, layer_of, probe_candidates

if TYPE_CHECKING:
    from saeeval_core.models.language_model import LanguageModel

TOLERANCE = 1e-4
"""Largest error of a verified pair of hooks, relative to what the probe hook has to move by."""
_TEXTS = ("The river runs past the old town.", "She said that it would rain on Monday, and it did.")


class StopForward(Exception):
    """Raised inside a hook once nothing later in the model is needed."""


@dataclass(frozen=True, eq=False)
class Site:
    """A place in a transformers model: the input or the output of one of its modules."""

    module: Any
    side: str
    """ "in" or "out"."""
    block: Any
    """The block that holds the module; None outside the blocks."""
    normalised: bool = False
    """What is read is the input as the norm scales it, before the norm's own weight and bias."""

    def attach(self, act: Callable[[Tensor], Tensor | None]) -> Any:
        """Call ``act`` with the value of every pass; what it returns replaces the value. Returns torch's handle."""

        def on_input(_module: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
            new = act(args[0] if args else kwargs["hidden_states"])
            if new is None:
                return None
            return ((new, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": new})

        def on_output(_module: Any, _args: tuple, out: Any) -> Any:
            new = act(out[0] if isinstance(out, tuple) else out)
            if new is None:
                return None
            return (new, *out[1:]) if isinstance(out, tuple) else new

        if self.side == "in":
            return self.module.register_forward_pre_hook(on_input, with_kwargs=True)
        return self.module.register_forward_hook(on_output)

    def read(self, value: Tensor, shape: Sequence[int]) -> Tensor:
        """The activation [*shape, width] of a value as the module sees it (OPT's MLP sees all positions in one row).

        Copied, unless it is the residual stream between blocks: a module may add to its own output in place.
        """
        value = value.reshape(*shape, -1)
        if self.normalised:
            return _normalise(self.module, value)
        return value if self.module is self.block else value.clone()


def named_sites(blocks: Sequence[Any], layout: Layout | None) -> dict[str, Site]:
    """Hook -> site for every hook of every block that the plain model knows."""
    found: dict[str, Site] = {}
    for number, block in enumerate(blocks):
        at = f"blocks.{number}."
        found[f"{at}hook_resid_pre"], found[f"{at}hook_resid_post"] = (
            Site(block, "in", block),
            Site(block, "out", block),
        )
        if layout is None:
            continue
        inside = {
            "hook_attn_out": (layout.attn_out, "out"),
            "attn.hook_z": (layout.z, "in"),
            "mlp.hook_in": (layout.mlp, "in"),
            "hook_mlp_out": (layout.mlp_out, "out"),
        }
        if layout.mid is not None:
            inside["hook_resid_mid"] = layout.mid, "in"
        if layout.ln2 is not None:
            inside |= {"hook_mlp_in": (layout.ln2, "in"), "ln2.hook_out": (layout.ln2, "out")}
        found |= {at + name: Site(_inside(block, path), side, block) for name, (path, side) in inside.items()}
        if layout.ln2 is not None:
            found[f"{at}ln2.hook_normalized"] = Site(_inside(block, layout.ln2), "in", block, normalised=True)
    return {hook: site for hook, site in found.items() if site.module is not None}


def module_site(model: Any, hook: str, blocks: Sequence[Any]) -> Site | None:
    """The site that a path such as ``model.layers.3.mlp.output`` names (``.output`` can be left out), or None."""
    path, _, side = hook.rpartition(".")
    if side not in ("input", "output"):
        path, side = hook, "output"
    module = _inside(model, path) if path else None
    if module is None or isinstance(module, torch.nn.ModuleList):
        return None
    block = next((b for b in blocks if any(m is module for m in b.modules())), None)
    return Site(module, side.removesuffix("put"), block)


@contextmanager
def captured(sites: Mapping[str, Site], shape: Sequence[int]) -> Iterator[dict[str, Tensor]]:
    """Hook -> activation [*shape, width] of a pass made inside; the pass stops (``StopForward``) once all are there."""
    found: dict[str, Tensor] = {}

    def keep(hook: str, site: Site) -> Callable[[Tensor], None]:
        def act(value: Tensor) -> None:
            found[hook] = site.read(value, shape)
            if len(found) == len(sites):
                raise StopForward

        return act

    with ExitStack() as stack:
        for hook, site in sites.items():
            stack.callback(site.attach(keep(hook, site)).remove)
        yield found


def exact_hooks(model: "LanguageModel", write: str) -> Exactness:
    """Every hook of the table where a dictionary that writes ``write`` can be probed, each verified once on the model.

    ModelError where the model has no hook ``write``.
    """
    write = model.hook_name(write)
    if write not in model.verified:
        model.verified[write] = _verified(model, write)
    return model.verified[write]


def _verified(model: "LanguageModel", write: str) -> Exactness:
    errors: dict[str, float] = {}
    refused: dict[str, str] = {}
    for probe in probe_candidates(write, model.layout):
        try:
            errors[probe] = verify_site(model, write, probe)
        except ModelError as error:
            refused[probe] = str(error)
    return Exactness(write, tuple(errors), errors, refused)


def verify_site(model: "LanguageModel", write: str, probe: str) -> float:
    """The relative error with which ``probe`` moves by what is added at ``write``; 0 for one and the same hook.

    A random vector as long as the activation is added at every position but the first of two short texts, in float32
    whatever the model's precision. ModelError above TOLERANCE, or where a hook does not exist or does not fire.
    """
    write, probe = model.hook_name(write), model.hook_name(probe)
    for hook in (write, probe):
        model.check_hook(hook)
    if write == probe:
        return 0.0
    ids, mask = short_texts(model)
    with _unverifiable(write, probe), _in_float32(model.site(write)), torch.inference_mode():
        before = model.activations(ids, mask, [write, probe])
        added = _random_like(before[write])
        after = model.activations(ids, mask, [probe], change=(write, lambda x: x + added))[probe]
        expected = through_output_matrix(model, write, added) if crosses_output_matrix(write, probe) else added
        off = (after - before[probe] - expected).norm(dim=-1) / expected.norm(dim=-1)
    error = float(off[:, 1:][mask[:, 1:] > 0].max())
    if not error <= TOLERANCE:
        raise ModelError(
            f"what is added at {write} of {model.name} does not arrive unchanged at {probe} (relative error {error:.1e})"
        )
    return error


def through_output_matrix(model: "LanguageModel", write: str, rows: Tensor) -> Tensor:
    """What rows float32[..., heads x d_head] at ``attn.hook_z`` add to the attention's output, float32[..., d_model]."""
    site = model.site(write)
    assert site is not None, write
    matrix = copy.deepcopy(site.module).float()
    with torch.inference_mode():
        rows = rows.to(model.device).float()
        return matrix(rows) - matrix(torch.zeros_like(rows[..., :1, :]))


def same_hook(model: "LanguageModel", hook: str) -> str:
    """TransformerLens's name of the place that ``hook`` names, where it has one in this model."""
    hook = canonical(hook)
    if layer_of(hook) is not None:
        return hook
    own = model.site(hook)
    if own is None:
        return hook
    named = (name for name, s in model.sites.items() if (s.module, s.side) == (own.module, own.side))
    return next((n for n in named if not n.endswith("hook_normalized")), hook)


def _inside(module: Any, path: str) -> Any:
    try:
        return module.get_submodule(path)
    except AttributeError:
        return None


def _normalise(norm: Any, x: Tensor) -> Tensor:
    """x / rms(x), for all norms but RMS ones x less its mean first; in float32 and with the norm's own epsilon."""
    x = x.float()
    if "RMS" not in type(norm).__name__:
        x = x - x.mean(dim=-1, keepdim=True)
    eps = getattr(norm, "eps", getattr(norm, "variance_epsilon", 1e-6))
    return x * torch.rsqrt(x.pow(2).mean(dim=-1, keepdim=True) + eps)


@contextmanager
def _unverifiable(write: str, probe: str) -> Iterator[None]:
    """ModelError where a block cannot be run in float32, as with some quantised weights: what is not shown is not used."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise ModelError(f"that {write} arrives unchanged at {probe} could not be verified: {why}") from None


def short_texts(model: "LanguageModel") -> tuple[Tensor, Tensor]:
    """(ids, mask), int64[2, positions], of two short texts on the model's device."""
    rows = model.tokenize(_TEXTS).ids
    ids, mask = (torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long) for _ in range(2))
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = torch.from_numpy(row.astype(np.int64)), 1
    return ids.to(model.device), mask.to(model.device)


def _random_like(value: Tensor) -> Tensor:
    """Random vectors as long as those of value [texts, positions, width], 0 at the first position."""
    rng = torch.Generator().manual_seed(0)
    random = torch.randn(value.shape, generator=rng).to(value.device)
    random *= value.float().norm(dim=-1, keepdim=True) / random.norm(dim=-1, keepdim=True)
    random[:, 0] = 0
    return random


@contextmanager
def _in_float32(site: Site | None) -> Iterator[None]:
    """Make the block of a site compute in float32 meanwhile, which loses nothing of weights in half precision."""
    block = None if site is None else site.block
    if block is None or all(p.dtype == torch.float32 for p in block.parameters()):
        yield
        return
    tensors = [*block.parameters(), *block.buffers()]
    before = [t.dtype for t in tensors]

    def cast(_module: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        return _float(args), _float(kwargs)

    handle = block.register_forward_pre_hook(cast, with_kwargs=True, prepend=True)
    try:
        for t in tensors:
            t.data = _float(t.data)
        yield
    finally:
        handle.remove()
        for t, dtype in zip(tensors, before, strict=True):
            t.data = t.data.to(dtype)


def _float(value: Any) -> Any:
    """The same with every half-precision tensor in float32, inside tuples and dictionaries too."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value
    if isinstance(value, dict):
        return {k: _float(v) for k, v in value.items()}
    return tuple(map(_float, value)) if isinstance(value, tuple) else value
