"""Where a set is followed to: the hooks after the one that is probed, named without loading the model."""

import numpy as np

from saeeval_core.models.layouts import layer_of


def later_hooks(n_layers: int, probe: str) -> list[str]:
    """The residual stream after every block that comes after the probe hook, of a model of ``n_layers`` blocks."""
    layer = layer_of(probe)
    return [] if layer is None else [f"blocks.{i}.hook_resid_post" for i in range(layer + 1, n_layers)]


def some_hooks(n_layers: int, probe: str, at_most: int = 4) -> list[str]:
    """The probe hook itself and up to ``at_most`` of ``later_hooks``, evenly spaced, the last one included."""
    left = later_hooks(n_layers, probe)
    if not left:
        return [probe]
    chosen = np.unique(np.linspace(0, len(left) - 1, min(at_most, len(left)) + 1).round().astype(int)[1:])
    return [probe, *(left[i] for i in chosen)]
