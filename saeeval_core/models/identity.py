"""The identity of a language model's files, computed without loading them, so that recordings can be looked up."""

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from saeeval_core.config import fingerprint
from saeeval_core.models.memory_names import memory_label
from saeeval_core.models.packages import PACKAGED, stamp
from saeeval_core.storage.kept import KeptJson, Shelves
from saeeval_core.storage.parse_json import NotJson, parse_json

CONFIG_FILE, ADAPTER_FILE = "config.json", "adapter_config.json"


_HASHED = (".json", ".safetensors", ".bin", ".model", ".txt")
"""Suffixes of the files that make a model folder: weights, settings and tokenizer."""
_ORGANISATIONS = (
    ("gpt2-small", "openai-community/gpt2"),
    ("mistral-7b", "mistralai/Mistral-7B-v0.1"),
    ("pythia-", "EleutherAI/"),
    ("gemma-", "google/"),
)
"""How names of SAELens's registry start -> Hub id, or the organisation that is put before the name."""
_contents = KeptJson(Shelves("identities", shipped=False), "model", version=1)
"""Contents of model folders by names, sizes and times of their files."""


def is_folder(spec: str) -> bool:
    """Whether ``spec`` names a folder on this machine; False for what can be no path (too long, NUL)."""
    try:
        return Path(spec).expanduser().is_dir()
    except (OSError, ValueError, RuntimeError):
        return False


def model_name(spec: str) -> str:
    """The one name of a model: of a folder its full path without links, of a short name of the registry its Hub id."""
    if is_folder(spec):
        return str(Path(spec).expanduser().resolve())
    if spec in PACKAGED or "/" in spec:
        return spec
    if match := re.fullmatch(r"qwen3-([\d.]+)b", spec):
        return f"Qwen/Qwen3-{match[1]}B"
    found = next((full for start, full in _ORGANISATIONS if spec.startswith(start)), "")
    return found + spec if found.endswith("/") else found or spec


def model_settings(spec: str) -> Mapping[str, Any] | None:
    """The text model's part of config.json, without loading anything; None where it is not on this machine."""
    if spec in PACKAGED:
        return PACKAGED[spec].settings
    path = Path(model_name(spec)) / CONFIG_FILE if is_folder(spec) else _cached_config(model_name(spec))
    try:
        found = parse_json(path.read_bytes()) if path is not None else None
    except (OSError, NotJson):
        return None
    if not isinstance(found, dict):
        return None
    text = found.get("text_config")
    return text if isinstance(text, dict) else found


def model_stamp(spec: str) -> str:
    """The package's version for one that comes as a package, the content of a folder's files, the commit of a Hub model's snapshot.

    A Hub model that is not on this machine yet is just "hub"; one in memory says in its name what its weights are.
    """
    if memory_label(spec):
        return "memory"
    if spec in PACKAGED:
        return stamp(spec)
    if not is_folder(spec):
        cached = _cached_config(model_name(spec))
        return "hub" if cached is None else f"hub:{cached.parent.name}"
    files = sorted(p for p in Path(model_name(spec)).iterdir() if p.suffix in _HASHED)
    return _content(tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files))


@lru_cache(maxsize=32)
def _content(files: tuple[tuple[str, int, int], ...]) -> str:
    """Fingerprint of what is in files (path, size, time), hashed once on this machine."""
    paths = [Path(path) for path, _, _ in files]
    return _contents.get([files], lambda: fingerprint([[p.name, _sha256(p)] for p in paths]), str)


def _cached_config(hub_id: str) -> Path | None:
    """The config.json of a Hub model's snapshot on this machine."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(hub_id, CONFIG_FILE)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
