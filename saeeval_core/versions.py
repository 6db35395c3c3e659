"""Versions of everything that can change a number."""

import platform
from functools import cache
from importlib.metadata import version

_LIBRARIES = ("torch", "transformers", "transformer-lens", "sae-lens", "scikit-learn", "numpy", "scipy")


def versions(kernel: str = "") -> dict[str, str]:
    """Package -> version, written into every result; ``kernel``: of the recording that was scored, "" if it is unknown."""
    return dict(_installed()) | ({"kernel": kernel} if kernel else {})


@cache
def _installed() -> tuple[tuple[str, str], ...]:
    """Read once: each is a file to parse, and a page asks for them whenever it is drawn."""
    found = {"saeeval": version("saeeval"), "python": platform.python_version()} | {n: version(n) for n in _LIBRARIES}
    return tuple(found.items())
