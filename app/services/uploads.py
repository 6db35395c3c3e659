"""Uploaded files of texts: stored under their content's hash, read once."""

import hashlib
import tempfile
from functools import lru_cache
from pathlib import Path

from app.services.shared import shared
from saeeval_core.config import cache_dir
from saeeval_core.errors import DataError
from saeeval_core.storage.artifacts import write_atomic
from saeeval_core.storage.notices import try_to_store
from saeeval_core.texts.files import PLAIN, SMALL, read_table
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.sources import read_texts
from saeeval_core.texts.survey import FileFacts, survey
from saeeval_core.texts.tables import FileForm

_SUFFIXES = (*PLAIN, ".ndjson", ".parquet", ".gz")


def keep_upload(name: str, content: bytes) -> Path:
    """Store an uploaded file and return its path, named by its content's hash: equal files are recorded once.

    Where the cache cannot be written, a folder for temporary files takes it. DataError where none can.
    """
    kind = "".join(s for s in Path(name).suffixes[-2:] if s.lower() in _SUFFIXES).lower()
    file = f"{hashlib.sha256(content).hexdigest()[:16]}{kind or Path(name).suffix.lower()[:20]}"
    for folder in (lambda: cache_dir() / "uploads", _temporary):
        try:
            path = folder() / file
        except OSError:
            break
        if path.is_file() and path.read_bytes() == content:
            return path
        if try_to_store(f"upload in {path.parent}", lambda path=path: _write(path, content)):
            return path
    raise DataError(
        "the uploaded file cannot be stored: the disk is full or read-only; free some space, then try again"
    )


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content)


@lru_cache(maxsize=1)
def _temporary() -> Path:
    """A folder of this process that nobody else can write to."""
    return Path(tempfile.mkdtemp(prefix="saeeval-uploads-"))


@shared(max_entries=16)
def facts_of(path: Path, form: FileForm = FileForm()) -> FileFacts:
    """What a file holds. DataError if it cannot be read."""
    return survey(read_table(path, SMALL, form))


@shared(max_entries=16)
def read_upload(path: Path, text_column: str, group_column: str = "", form: FileForm = FileForm()) -> LabelledTexts:
    """Labelled texts of an uploaded file. DataError says what is wrong with it."""
    return read_texts(path, text_column, group_column, SMALL, form)
