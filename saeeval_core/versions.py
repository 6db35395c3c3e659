"""Versions of everything that can change a number."""

import platform
from importlib.metadata import version

_LIBRARIES = ("torch", "transformers", "transformer-lens", "sae-lens", "scikit-learn", "numpy", "scipy")


def versions() -> dict[str, str]:
    """Package -> version, written into every result."""
    return {"saeeval": version("saeeval"), "python": platform.python_version()} | {n: version(n) for n in _LIBRARIES}
