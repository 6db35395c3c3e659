"""Uploaded files of texts: stored under their content's hash, read once."""

import hashlib
from pathlib import Path

from app.services.shared import shared
from saeeval_core.config import cache_dir
from saeeval_core.storage.artifacts import write_atomic
from saeeval_core.texts.files import SMALL
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.sources import column_names, read_texts


def keep_upload(name: str, content: bytes) -> Path:
    """Store an uploaded file and return its path, named by its content's hash: equal files are recorded once."""
    folder = cache_dir() / "uploads"
    folder.mkdir(exist_ok=True)
    path = folder / f"{hashlib.sha256(content).hexdigest()[:16]}{Path(name).suffix.lower()}"
    if not path.exists():
        write_atomic(path, content)
    return path


@shared(max_entries=16)
def columns_of(path: Path) -> list[str]:
    """Columns of a file of texts. DataError if it cannot be read."""
    return column_names(path, SMALL)


@shared(max_entries=16)
def read_upload(path: Path, text_column: str) -> LabelledTexts:
    """Labelled texts of an uploaded file. DataError says what is wrong with it."""
    return read_texts(path, text_column, bounds=SMALL)
