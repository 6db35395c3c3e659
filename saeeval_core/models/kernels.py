"""Which kernel multiplies float32 matrices on this machine: torch's own, or oneDNN's with weights packed once.

They differ by rounding only, so a recording does not depend on the kernel; which one made it is written into it. Half
precision and GPUs always take torch's own.
"""

import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from saeeval_core.config import AUTO_KERNEL, DEFAULT_KERNEL, KERNELS, ONEDNN
from saeeval_core.errors import ModelError, unknown_name
from saeeval_core.storage.kept import KeptJson, Shelves

KERNEL_VARIABLE = "SAEEVAL_KERNEL"
"""Environment variable that decides where ``auto`` would measure."""
_CHOICES = KeptJson(Shelves("kernels", shipped=False), "kernel", version=1)
_ROWS = 4096
"""Tokens that weights are packed for; others are multiplied as well."""
_SHAPES = ((576, 1536), (1536, 576), (576, 4096))
_REPEATS = 5
_WORTH = 0.95
"""Of torch's own time: above it packing is not worth its while."""


def kernel_for(asked: str, device: str) -> str:
    """DEFAULT_KERNEL or ONEDNN: ``auto`` is decided once per machine, by measurement, and kept in the cache.

    ModelError for a kernel that is unknown or does not run here.
    """
    if asked == AUTO_KERNEL:
        asked = os.environ.get(KERNEL_VARIABLE, AUTO_KERNEL)
    if asked not in KERNELS:
        raise ModelError(unknown_name("kernel", asked, KERNELS))
    usable = device == "cpu" and _onednn_is_here()
    if asked == ONEDNN and not usable:
        where = "this build of torch does not have it" if device == "cpu" else f"it runs on the CPU, not on {device}"
        raise ModelError(f"kernel '{ONEDNN}' cannot be used: {where}; leave out --kernel")
    if asked == AUTO_KERNEL:
        return str(_CHOICES.get([_processor(), torch.__version__], measured_kernel)) if usable else DEFAULT_KERNEL
    return asked


def measured_kernel() -> str:
    """The kernel that multiplies faster here and now, from products of the shapes of small models; about a second."""
    rng = torch.Generator().manual_seed(0)
    plain, packed = 0.0, 0.0
    with torch.inference_mode():
        for wide, out in _SHAPES:
            x, weight = torch.randn(_ROWS // 2, wide, generator=rng), torch.randn(out, wide, generator=rng)
            own = PackedMatrix(weight)
            fastest = _alternating([lambda x=x, w=weight: nn.functional.linear(x, w), lambda x=x, m=own: m.product(x)])
            plain, packed = plain + fastest[0], packed + fastest[1]
    return ONEDNN if packed < _WORTH * plain else DEFAULT_KERNEL


class PackedMatrix:
    """A float32 matrix [out, in] in oneDNN's own order, from which it can be had back exactly."""

    def __init__(self, weight: Tensor) -> None:
        """``weight``: float32[out, in]."""
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), _ROWS)

    def product(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """x float32[..., in] times the transposed matrix, plus bias float32[out]: float32[..., out]."""
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, bias, "none", [], "")

    def plain(self) -> Tensor:
        """float32[out, in]"""
        return self._packed.to_dense()


class PackedLinear(nn.Module):
    """In the place of a float32 linear layer, which it becomes again when it is copied."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """``weight``: float32[out, in]; ``bias``: float32[out]."""
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self._matrix = PackedMatrix(weight)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)

    @property
    def weight(self) -> Tensor:
        """float32[out, in], unpacked."""
        return self._matrix.plain()

    def forward(self, x: Tensor) -> Tensor:
        """x float32[..., in] -> float32[..., out]."""
        return self._matrix.product(x, self.bias)

    def __deepcopy__(self, memo: dict[int, Any]) -> nn.Linear:
        """A plain layer with the same values."""
        plain = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        plain.weight = nn.Parameter(self.weight, requires_grad=False)
        if self.bias is not None:
            plain.bias = nn.Parameter(self.bias.clone(), requires_grad=False)
        memo[id(self)] = plain
        return plain


def pack_linears(modules: Sequence[nn.Module]) -> None:
    """Put packed layers in the place of all float32 linear layers inside, one at a time."""
    for module in modules:
        for parent in list(module.modules()):
            for name, child in list(parent.named_children()):
                if (weight := _linear_weight(child)) is not None:
                    setattr(parent, name, PackedLinear(weight, child.bias))


def packed_encoder(encode: Callable[[Tensor], Tensor], weight: Tensor) -> Callable[[Tensor], Tensor]:
    """``encode`` with its products ``x @ weight``, weight float32[in, out], made by a packed copy of the weight."""
    matrix = PackedMatrix(weight.T)

    def packed(x: Tensor) -> Tensor:
        with _Products(weight, matrix):
            return encode(x)

    return packed


class _Products(TorchFunctionMode):
    """Inside, products with one weight are made by its packed copy; of this thread only."""

    def __init__(self, weight: Tensor, matrix: PackedMatrix) -> None:
        super().__init__()
        self.weight, self.matrix = weight, matrix

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _MATMULS and args[1] is self.weight and args[0].dtype == torch.float32:
            return self.matrix.product(args[0])
        return func(*args, **(kwargs or {}))


_MATMULS = (torch.Tensor.__matmul__, torch.Tensor.matmul, torch.matmul)


def _linear_weight(module: nn.Module) -> Tensor | None:
    """float32[out, in] of a plain linear layer, of GPT-2's transposed kind too; None for anything else."""
    transposed = type(module).__name__ == "Conv1D" and hasattr(module, "nf")
    if not transposed and type(module) is not nn.Linear:
        return None
    weight: Tensor = module.weight
    return None if weight.dtype != torch.float32 else weight.T if transposed else weight


def _onednn_is_here() -> bool:
    return bool(torch.backends.mkldnn.is_available()) and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _alternating(works: Sequence[Callable[[], object]]) -> list[float]:
    """Shortest seconds of each, taking turns."""
    best = [float("inf")] * len(works)
    for _ in range(_REPEATS):
        for i, work in enumerate(works):
            begun = time.perf_counter()
            work()
            best[i] = min(best[i], time.perf_counter() - begun)
    return best


def _processor() -> str:
    """What the machine calls its processor."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
        named = [line.partition(":")[2].strip() for line in lines if line.startswith(("model", "cpu family"))]
        if named:
            return " ".join(named)
    return platform.processor() or platform.machine()
