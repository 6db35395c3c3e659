"""The language model and SAE for texts that people type and sets they take out: loaded on first use, shared by all sessions."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from scipy.sparse import csr_array

from app.services import access
from app.services.loading import Loaded
from app.services.shared import shared
from saeeval_core.evidence.live_text import TextReading, read_text
from saeeval_core.models.packages import PACKAGED
from saeeval_core.models.unpacked_model import is_unpacked

_one_text = threading.Lock()
_ready: set[tuple[str, str]] = set()


def is_ready(loaded: Loaded) -> bool:
    """True once the model and this SAE are in memory."""
    return (loaded.config.model, loaded.latents.sae) in _ready


def steps(loaded: Loaded) -> list[tuple[str, Callable[[], object]]]:
    """What is left to do before a text can be read, in words, and the work; nothing once model and SAE are in memory.

    SaeEvalError here or from the work, as ``read``.
    """
    access.demand("reading texts")
    access.check(loaded.config)
    if is_ready(loaded):
        return []
    name, sae = loaded.config.model, loaded.latents.sae
    packed = name in PACKAGED and not is_unpacked(name)
    first = f"Unpacking {name}, only this first time on this machine" if packed else f"Loading {name} into memory"
    return [(first, lambda: _model(name, loaded.config.dtype)), (f"Loading the SAE {sae}", lambda: _sae(sae))]


def read(loaded: Loaded, text: str) -> TextReading:
    """Read a text as a recording would. SaeEvalError when model or SAE cannot be loaded or the text has no token."""
    with borrowed(loaded) as (model, sae):
        return read_text(model, sae, loaded.residuals.key.hook, text)


@contextmanager
def borrowed(loaded: Loaded) -> Iterator[tuple[Any, Any]]:
    """(the language model, the SAE) for one piece of work that nobody else may disturb. SaeEvalError as ``read``."""
    access.demand("reading texts")
    access.check(loaded.config)
    both = _model(loaded.config.model, loaded.config.dtype), _sae(loaded.latents.sae)
    with _one_text:
        yield both
    _ready.add((loaded.config.model, loaded.latents.sae))


@shared(max_entries=512)
def row_activations(loaded: Loaded, row: int) -> csr_array:
    """s*f of every token of one recorded text, sparse float32[tokens, latents]. Raises what ``read`` raises."""
    return csr_array(read(loaded, loaded.task_set.texts.texts[row]).activations)


@shared(max_entries=1)
def _model(name: str, dtype: str) -> Any:
    from saeeval_core.models.language_model import load_model

    return load_model(name, dtype=dtype)


@shared(max_entries=2)
def _sae(name: str) -> Any:
    from saeeval_core.saes.loaded import load_sae

    return load_sae(name)
