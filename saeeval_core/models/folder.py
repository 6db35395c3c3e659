"""What a model folder claims against what its files hold, before room is made for what it claims."""

from collections.abc import Mapping
from pathlib import Path

from saeeval_core.errors import ModelError
from saeeval_core.storage.parse_json import NotJson, parse_json

_COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_local_experts", "num_experts")
_MOST = 10_000
"""Of layers or experts, where the weights do not say; more than any model has."""


def check_folder(name: str, folder: Path) -> None:
    """ModelError for a ``config.json`` that is none, or that claims more layers than the weights have tensors."""
    try:
        config = parse_json((folder / "config.json").read_bytes())
    except (NotJson, OSError) as error:
        raise ModelError(f"config.json of '{name}' is not readable JSON ({error}); save the model again") from None
    if not isinstance(config, Mapping):
        raise ModelError(f"config.json of '{name}' holds no settings (a JSON object); save the model again")
    most = _tensors(folder)
    for part in (config, *(v for v in config.values() if isinstance(v, Mapping))):
        for key in _COUNTS:
            if isinstance(claimed := part.get(key), int) and claimed > most:
                raise ModelError(
                    f"config.json of '{name}' claims {key} = {claimed:.3g}, but its weights hold {most:,} tensors at "
                    "most; save the model again"
                )


def _tensors(folder: Path) -> int:
    from safetensors import SafetensorError, safe_open

    found = 0
    for path in folder.glob("*.safetensors"):
        try:
            with safe_open(path, framework="numpy") as file:
                found += len(file.keys())
        except (SafetensorError, OSError):
            return _MOST  # damaged: the loader names it
    return found or _MOST
