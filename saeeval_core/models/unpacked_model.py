"""The folder of a model that comes as a package, made once from its GGUF file."""

import hashlib
import shutil
import tempfile
from pathlib import Path

from saeeval_core.config import cache_dir
from saeeval_core.errors import ArtifactError, ModelError
from saeeval_core.models.packages import PACKAGED, pieces
from saeeval_core.storage.notices import notice
from saeeval_core.storage.sealed_folder import check_sealed, seal_folder


def unpacked_model(name: str) -> Path:
    """Folder of a packaged model in transformers' format; made from its GGUF file on first use (~20 s).

    One that is damaged is named and made again: flipped bits in weights would give other numbers without a word.
    ModelError for a package that is not installed or does not hold what it should, and for a disk that is full.
    """
    folder = _folder(name)
    if folder.exists() and _is_whole(folder):
        return folder
    found = list(pieces(name))
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
    try:
        gguf = found[0] if len(found) == 1 else _joined(name, found, temporary)
        _dequantise(gguf, temporary)
        if gguf.parent == temporary:
            gguf.unlink()
        seal_folder(temporary)
        if not folder.exists():
            temporary.rename(folder)
    except OSError as error:
        raise ModelError(f"cannot unpack '{name}' into {folder}: {error.strerror}; set SAEEVAL_CACHE") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def is_unpacked(name: str) -> bool:
    """Whether the first use was before now."""
    return _folder(name).exists()


def _folder(name: str) -> Path:
    return cache_dir() / "models" / name


def _joined(name: str, found: list[Path], folder: Path) -> Path:
    """The whole file. ModelError unless it is the one that the packages were made from."""
    whole, digest = folder / "model.gguf", hashlib.sha256()
    with whole.open("wb") as file:
        for piece in found:
            content = piece.read_bytes()
            digest.update(content)
            file.write(content)
    if digest.hexdigest() != PACKAGED[name].sha256:
        raise ModelError(
            f"the packages of '{name}' do not hold the file they were made from (another SHA-256); "
            f"uninstall them and run: {PACKAGED[name].install}"
        )
    return whole


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
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, trust_remote_code=False)
    settings = {k: v for k, v in loaded.config.to_dict().items() if k != "quantization_config"}
    plain = type(loaded)(type(loaded.config)(**settings))
    plain.load_state_dict(loaded.state_dict())
    plain.float().save_pretrained(target)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, trust_remote_code=False).save_pretrained(target)
