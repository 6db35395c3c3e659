"""Decoder rows of bundled SAEs: read from the SAE's weights, not stored with every recording."""

from pathlib import Path

import numpy as np

from saeeval_core.config import assets_dir
from saeeval_core.errors import UnsupportedSAE
from saeeval_core.recordings.codec import read_bfloat16
from saeeval_core.storage.manifest import is_as_shipped


def bundled_decoder(name: str, sae_fingerprint: str) -> np.ndarray:
    """float32[latents, d_model]: decoder rows of a bundled SAE, read without torch. They need no rescaling.

    UnsupportedSAE if its weights are missing, or not those that were shipped: no recording is at fault.
    """
    from safetensors import SafetensorError, safe_open

    path = assets_dir() / "saes" / name / "sae_weights.safetensors"
    if not is_bundled(name):
        raise UnsupportedSAE(f"the bundled SAE '{name}' ({sae_fingerprint}) is missing from {path.parent}; restore it")
    damaged = UnsupportedSAE(f"the weights of the bundled SAE '{name}' in {path.parent} are damaged; restore them")
    if not is_as_shipped(path):
        raise damaged
    try:
        with safe_open(path, framework="numpy") as file:
            raw = file.get_slice("W_dec")
            if raw.get_dtype() != "BF16":
                return file.get_tensor("W_dec").astype(np.float32)
    except SafetensorError:
        raise damaged from None
    return read_bfloat16(path, "W_dec")


def is_bundled(name: str) -> bool:
    """True for the name of a bundled SAE. The path of a folder is none, though weights lie in it."""
    return Path(name).name == name and (assets_dir() / "saes" / name / "sae_weights.safetensors").exists()
