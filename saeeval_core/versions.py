"""Versions of everything that can change a number."""

import platform
from importlib.metadata import version

_LIBRARIES = ("torch", "transformers", "transformer-lens", "sae-lens", "scikit-learn", "numpy", "scipy")


def versions(kernel: str = "") -> dict[str, str]:
    """Package -> version, written into every result; ``kernel``: of the recording that was scored, "" if it is unknown."""
    own = {"saeeval": version("saeeval"), "python": platform.python_version()} | {n: version(n) for n in _LIBRARIES}
    return own | ({"kernel": kernel} if kernel else {})
