"""Files sent by people: kept under their content's hash and within a quota, and read by another process, once."""

import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, astuple, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from app.services import access, worker
from app.services.shared import shared
from saeeval_core.config import cache_dir
from saeeval_core.errors import ArtifactError, DataError
from saeeval_core.formats.decision_sets import ExportedDecision, ExportedSet, LoggedDecision, set_from_text
from saeeval_core.judging.paper_labels import paper_ratings, read_paper_labels
from saeeval_core.storage.artifacts import write_atomic
from saeeval_core.storage.notices import try_to_store
from saeeval_core.texts.files import PLAIN, SMALL, read_table
from saeeval_core.texts.labelled import LabelledTexts
from saeeval_core.texts.own import import_task
from saeeval_core.texts.sources import read_texts
from saeeval_core.texts.survey import FileFacts, survey
from saeeval_core.texts.tables import FileForm

_SUFFIXES = (*PLAIN, ".ndjson", ".parquet", ".gz")

MOST_BYTES, MOST_FILES = 2 << 30, 200
"""What uploads may take on this server in all."""
UNUSED = 24 * 3600.0
"""Seconds after its last use when a file that is no task in use may be deleted for another one."""
Cells = dict[str, dict[tuple[int | str, str], int]]
"""Rater -> {(latent, concept): rating}."""


_last: dict[Path, float] = {}


def keep_upload(name: str, content: bytes) -> Path:
    """Store an uploaded file and return its path, named by its content's hash: equal files are recorded once.

    Where the cache cannot be written, a folder for temporary files takes it. DataError where none can, and when the
    quota is used up by files that somebody needs.
    """
    access.demand("sending files")
    kind = "".join(s for s in Path(name).suffixes[-2:] if s.lower() in _SUFFIXES).lower()
    file = f"{hashlib.sha256(content).hexdigest()[:16]}{kind or Path(name).suffix.lower()[:20]}"
    for folder in (uploads_dir, _temporary):
        try:
            path = folder() / file
        except OSError:
            break
        if path.is_file() and path.read_bytes() == content:
            in_use(path)
            return path
        make_room(path.parent, len(content))
        if try_to_store(f"upload in {path.parent}", lambda path=path: _write(path, content)):
            in_use(path)
            return path
    raise DataError(
        "the uploaded file cannot be stored: the disk is full or read-only; free some space, then try again"
    )


def uploads_dir() -> Path:
    """Where uploads lie."""
    return cache_dir() / "uploads"


def in_use(path: Path) -> None:
    """Note that the file is used now."""
    _last[path] = time.time()


def make_room(folder: Path, size: int) -> None:
    """Delete what nobody has used for UNUSED seconds, the longest unused first, until ``size`` more bytes fit the quota.

    DataError when they do not: a file in use is never deleted.
    """
    found = [(_last_use(f), f, f.stat().st_size) for f in folder.glob("*") if f.is_file()] if folder.is_dir() else []
    total, count = sum(s for *_, s in found), len(found)
    for last, file, own in sorted(found):
        if total + size <= MOST_BYTES and count < MOST_FILES:
            return
        if time.time() - last > UNUSED:
            file.unlink(missing_ok=True)
            total, count = total - own, count - 1
    if total + size > MOST_BYTES or count >= MOST_FILES:
        raise DataError(
            f"this server keeps at most {MOST_FILES} files and {MOST_BYTES >> 20:,} MB that people sent, and all are in use; "
            "try again tomorrow, or ask who runs it to delete some"
        )


def _last_use(file: Path) -> float:
    return max(_last.get(file, 0.0), file.stat().st_mtime)


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
    in_use(path)
    return FileFacts.of_json(worker.call(read_facts, str(path), *astuple(form)))


@shared(max_entries=16)
def read_upload(path: Path, text_column: str, group_column: str = "", form: FileForm = FileForm()) -> LabelledTexts:
    """Labelled texts of an uploaded file. DataError says what is wrong with it."""
    in_use(path)
    found = worker.call(read_labelled, str(path), text_column, group_column, *astuple(form))
    arrays = {name: None if (v := found[name]) is None else np.array(v, dtype=str) for name in ("split", "group")}
    columns = {name: np.array(values, dtype=str) for name, values in found["columns"].items()}
    lists = {name: tuple(found[name]) for name in ("texts", "notes")}
    return LabelledTexts(**{**found, **lists, **arrays, "columns": columns})


def read_set(content: bytes, n_latents: int, prints: tuple[str, str]) -> tuple[ExportedSet, list[str]]:
    """The decision set in a file, checked against an SAE, and what is odd about it. ArtifactError in one line.

    ``prints``: fingerprints of the SAE and of the recording.
    """
    found, warnings = sent(content, read_decision_set, n_latents, *prints)
    decisions = tuple(ExportedDecision(**d) for d in found.pop("decisions"))
    log = tuple(LoggedDecision(**step) for step in found.pop("log"))
    return ExportedSet(**found, decisions=decisions, log=log), warnings


@shared(max_entries=8)
def ratings_of(content: bytes) -> Cells:
    """The ratings in the paper's label file. DataError for another file."""
    cells: Cells = {}
    for rater, item, concept, rating in sent(content, read_ratings):
        cells.setdefault(rater, {})[item, concept] = rating
    return cells


def sent(content: bytes, function: Callable[..., Any], *args: object) -> Any:
    """``function(path, *args)`` in another process, of a file with this content that is deleted afterwards."""
    access.demand("sending files")
    with tempfile.TemporaryDirectory(prefix="saeeval-sent-") as folder:
        path = Path(folder) / "sent"
        path.write_bytes(content)
        return worker.call(function, str(path), *args)


# Called in the other process; what they take and give are JSON values.


def read_facts(path: str, encoding: str, delimiter: str) -> dict[str, Any]:
    """Fields of the ``FileFacts``."""
    return asdict(survey(read_table(Path(path), SMALL, FileForm(encoding, delimiter))))


def read_labelled(path: str, text_column: str, group_column: str, encoding: str, delimiter: str) -> dict[str, Any]:
    """Fields of the ``LabelledTexts``."""
    found = read_texts(Path(path), text_column, group_column, SMALL, FileForm(encoding, delimiter))
    plain = {f.name: getattr(found, f.name) for f in fields(found)}
    lists = {name: None if (v := plain[name]) is None else v.tolist() for name in ("split", "group")}
    columns = {name: values.tolist() for name, values in found.columns.items()}
    counts = {name: dict(plain[name]) for name in ("dropped", "unusable")}
    return plain | lists | counts | {"columns": columns}


def import_kept(path: str, name: str) -> str:
    """The reference of the task in an exported file, which is kept here now."""
    return import_task(Path(path).read_bytes(), name, bounds=SMALL).ref


def read_decision_set(path: str, n_latents: int, sae: str, recording: str) -> tuple[dict[str, Any], list[str]]:
    """Fields of the ``ExportedSet``, and the warnings."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ArtifactError("the file is not UTF-8 text; give a set exported by this tool") from None
    found, warnings = set_from_text(text, n_latents=n_latents, sae_fingerprint=sae, recording_fingerprint=recording)
    return asdict(found), warnings


def read_ratings(path: str) -> list[tuple[str, int | str, str, int]]:
    """(rater, latent, concept, rating) of every rating in the paper's label file."""
    cells = paper_ratings(read_paper_labels(Path(path)))
    return [(rater, *cell, rating) for rater, given in cells.items() for cell, rating in given.items()]
