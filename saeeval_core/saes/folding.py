"""Fold a normalisation that SAELens's trainer left beside the weights, and say in one line what damaged files lack."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from saeeval_core.errors import UnsupportedSAE
from saeeval_core.redaction import redacted
from saeeval_core.storage.parse_json import NotJson, parse_json

# Files that SAELens's trainer leaves beside a checkpoint whose normalisation is not folded into the weights yet.
SCALER_FILE, WHITENING_FILE = "activation_scaler.json", "activation_whitening.safetensors"


def fold(spec: str, module: Any, folder: Path) -> Path:
    """Fold a training-time normalisation into the weights from the file the trainer left; returns that file.

    Unfolded, SAELens would skip the normalisation without a warning and every code would be wrong.
    """
    kind = module.cfg.normalize_activations
    path = folder / (SCALER_FILE if kind == "expected_average_only_in" else WHITENING_FILE)
    if not path.is_file():
        raise UnsupportedSAE(unfolded_line(spec, kind, f"no {path.name} beside its weights"))
    try:
        if kind == "expected_average_only_in":
            factor = parse_json(path.read_bytes()).get("scaling_factor")
            if not isinstance(factor, int | float) or isinstance(factor, bool) or not 0 < factor < float("inf"):
                raise UnsupportedSAE(unfolded_line(spec, kind, f"{path.name} holds no scaling_factor"))
            module.fold_activation_norm_scaling_factor(float(factor))
        else:
            with load_errors(spec, path):
                stored = _load_tensors(path)
                module.fold_activation_whitening(stored["mean"], stored["matrix"], stored["inverse_matrix"])
    except NotImplementedError:
        raise UnsupportedSAE(unfolded_line(spec, kind, f"{type(module).__name__} cannot fold it")) from None
    except (NotJson, OSError, AttributeError):
        raise UnsupportedSAE(unfolded_line(spec, kind, f"{path.name} is not readable")) from None
    return path


def unfolded_line(spec: str, kind: str, why: str) -> str:
    """The line for an SAE whose normalisation cannot be folded."""
    return f"SAE '{spec}' has an unfolded normalisation ({kind}) and {why}; fold it with SAELens before saving"


@contextmanager
def load_errors(spec: str, source: Path | str) -> Iterator[None]:
    """One line in place of what SAELens and safetensors raise for damaged or incomplete files."""
    from safetensors import SafetensorError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except SafetensorError as error:
        raise UnsupportedSAE(f"SAE '{spec}': {source} is damaged or cut short ({error}); get it again") from None
    except NotImplementedError:
        raise
    except (RuntimeError, LookupError, ValueError, TypeError, OSError, AttributeError, AssertionError) as error:
        reason = " ".join(redacted(str(error)).split())[:160]
        raise UnsupportedSAE(f"SAE '{spec}': {source} does not match its settings ({reason}); save it again") from None


def _load_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(path)
