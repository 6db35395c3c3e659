"""Tasks of one's own: texts with chosen labels under a name, kept beside the store until somebody deletes them.

Each is a sealed JSON and a Parquet file with its texts and the columns it uses. What is kept never ages and is never
made again: a damaged task is named and skipped, and at the quota a new one is refused.
"""

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from saeeval_core.config import PROTOCOLS, digest, tasks_folder, tasks_quota
from saeeval_core.errors import ArtifactError, DataError, SaeEvalError, unknown_name
from saeeval_core.storage.artifacts import check_seal, sealed, write_atomic
from saeeval_core.storage.json_files import as_artifact, read_json, require
from saeeval_core.storage.notices import notice
from saeeval_core.texts.choices import TaskLabels
from saeeval_core.texts.files import LARGE, Bounds, from_frame, read_frame
from saeeval_core.texts.labelled import LabelledTexts, Unused
from saeeval_core.texts.tables import FileForm
from saeeval_core.texts.tasks import MIN_CLASSES, MIRRORED, Draw, TaskSet, with_labels

OWN = "own"
"""Own tasks are named "own:NAME", or "own:NAME-HASH" where the content must be the same."""
SUFFIX = ".saeeval.zip"
"""End of the name of an exported task."""
_NAME = re.compile(r"[a-z0-9_]{1,40}")
_REF = re.compile(r"([a-z0-9_]{1,40})(?:-([0-9a-f]{8}))?")
_IDENTITY = re.compile(r"[0-9a-f]{64}")
_LONGEST_LINE = 4000
_ABOUT, _TEXTS = "task.json", "texts.parquet"
_ABOUT_SIZE = 4 << 20
"""Most bytes of an imported task's JSON."""
_ZIP = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, ValueError, OSError, EOFError, LookupError)


@dataclass(frozen=True)
class OwnTask:
    """One kept task."""

    name: str
    """a-z, 0-9 and _, at most 40 characters; can be changed."""
    identity: str
    """64 hex digits of texts, columns and labels; the same content has the same on every machine."""
    labels: TaskLabels
    text_column: str
    group_column: str
    source: str
    """Name of the file it was made from, as its owner called it."""
    texts: int
    """Number of texts."""
    size: int
    """Bytes on disk."""
    sha256: str
    """Of the Parquet file."""
    form: FileForm = FileForm()
    """How the file was read."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows of the file that are not among the texts."""
    notes: tuple[str, ...] = ()
    created: str = ""
    """UTC, ISO 8601."""

    @property
    def hash(self) -> str:
        """The last 8 digits of the identity, as links name it."""
        return self.identity[-8:]

    @property
    def ref(self) -> str:
        """Such as "own:jobs-1a2b3c4d", for ``--task`` and links."""
        return f"{OWN}:{self.name}-{self.hash}"

    @property
    def key(self) -> str:
        """Name of its texts, under which decisions are stored: the same after a rename, and on every machine."""
        return f"{OWN}:{self.hash}"


def kept_tasks(folder: Path | None = None) -> tuple[OwnTask, ...]:
    """Every task in the folder (default: beside the store) by name; damaged ones are named in a notice and skipped."""
    found = []
    for file in sorted((folder or tasks_folder()).glob("*.json")):
        try:
            found.append(_read(file))
        except ArtifactError as error:
            notice(f"own task skipped: {error}")
    return tuple(sorted(found, key=lambda t: (t.name, t.created)))


def find_task(name: str, folder: Path | None = None) -> OwnTask:
    """The task "NAME" or "NAME-HASH", by its hash also under an earlier name; "own:" may stand before it.

    DataError where there is none, where other texts have the name, or where a name without hash means several.
    """
    return task_named(name, kept_tasks(folder))


def task_named(name: str, every: Sequence[OwnTask]) -> OwnTask:
    """The same among these tasks."""
    parts = _REF.fullmatch(name.removeprefix(f"{OWN}:"))
    wanted, hash_ = parts.groups() if parts else (name, None)
    found = [t for t in every if (t.hash == hash_ if hash_ else t.name == wanted)]
    if len(found) == 1:
        return found[0]
    known = [t.ref for t in every]
    if found:
        raise DataError(f"several own tasks are called '{wanted}'; give one of {', '.join(t.ref for t in found)}")
    hint = "see saeeval list tasks; a colleague's task comes with saeeval task import FILE"
    raise DataError(unknown_name("own task", f"{OWN}:{name.removeprefix(f'{OWN}:')}", known, hint))


def open_task(name: str, folder: Path | None = None) -> TaskSet:
    """Texts and labels of a task, named as in ``find_task``. ArtifactError if its texts are damaged."""
    found = find_task(name, folder)
    path = _files(folder or tasks_folder(), found.identity)[1]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"the texts of '{found.ref}' cannot be read ({error.strerror}); import it again") from None
    if hashlib.sha256(content).hexdigest() != found.sha256:
        raise ArtifactError(f"the texts of '{found.ref}' ({path}) are damaged; delete the task and import it again")
    return with_labels(_texts(path, found), found.labels)


def keep_task(
    name: str,
    texts: LabelledTexts,
    labels: TaskLabels,
    *,
    text_column: str = "text",
    group_column: str = "",
    file_name: str = "",
    form: FileForm = FileForm(),
    folder: Path | None = None,
) -> OwnTask:
    """Store texts with these labels as a task; the same content under the same name is stored once.

    ``texts`` as ``read_texts`` gives them. DataError for a name that cannot be used or is taken, labels that do not
    occur, too few texts for a score, or no room (the message lists what is kept).
    """
    check_name(name)
    task_set = with_labels(texts, labels)
    check_task(task_set)
    used = task_set.labelled
    dropped = {Unused.NO_LABEL: int((~used).sum())}
    texts = texts.at(np.flatnonzero(used), dropped) if not used.all() else texts
    made = OwnTask(
        name,
        _identity(texts, labels, text_column, group_column),
        labels,
        text_column,
        group_column,
        file_name or texts.source.removeprefix("file: "),
        len(texts.texts),
        0,
        "",
        form,
        texts.dropped,
        texts.notes,
        datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return _store(made, _parquet(texts, made), folder or tasks_folder())


def same_task(
    texts: LabelledTexts, labels: TaskLabels, text_column: str, group_column: str, folder: Path | None = None
) -> OwnTask | None:
    """The kept task with exactly these texts, all of which have a label of it, and labels; None where there is none."""
    identity = _identity(texts, labels, text_column, group_column)
    return next((t for t in kept_tasks(folder) if t.identity == identity), None)


def check_task(task_set: TaskSet) -> None:
    """DataError unless every part of the task can be scored, with the default protocol and seed."""
    draw = Draw(task_set, PROTOCOLS["robust"])
    if not task_set.pairs and task_set.tpp is None:
        raise DataError("no labels are chosen; give a target and a spurious label for SHIFT, or classes for TPP")
    if task_set.tpp is not None and len(set(task_set.tpp[1])) < MIN_CLASSES:
        raise DataError(MIRRORED)
    _ = draw.shift, draw.tpp  # drawing them raises


def rename_task(name: str, new: str, folder: Path | None = None) -> OwnTask:
    """Give a task another name; links with its hash still find it. DataError as ``keep_task``."""
    folder = folder or tasks_folder()
    found = find_task(name, folder)
    check_name(new)
    renamed = replace(found, name=new)
    _check_free(renamed, folder)
    _write(_files(folder, found.identity)[0], _about(renamed))
    return renamed


def delete_task(name: str, folder: Path | None = None) -> OwnTask:
    """Remove a task's files and return what it was; decisions made on it stay in the store. DataError if unknown."""
    folder = folder or tasks_folder()
    found = find_task(name, folder)
    for file in _files(folder, found.identity):
        file.unlink(missing_ok=True)
    return found


def export_task(name: str, folder: Path | None = None) -> tuple[str, bytes]:
    """(file name, content) of one file that ``import_task`` reads on any machine. DataError if there is no such task."""
    folder = folder or tasks_folder()
    open_task(name, folder)  # what is damaged is not passed on
    found = find_task(name, folder)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(_ABOUT, _about(found))
        file.writestr(_TEXTS, _files(folder, found.identity)[1].read_bytes())
    return f"{found.name}-{found.hash}{SUFFIX}", out.getvalue()


def import_task(content: bytes, name: str = "", *, bounds: Bounds = LARGE, folder: Path | None = None) -> OwnTask:
    """Keep a task that ``export_task`` wrote, under its own name or another.

    Everything in it is read within bounds, checked and written anew. DataError for a file that is not of that kind,
    damaged or too large, and as ``keep_task``.
    """
    about, texts = _unpacked(content, bounds)
    with TemporaryDirectory() as temporary:
        path = Path(temporary) / _TEXTS
        path.write_bytes(texts)
        try:
            said = json.loads(about)
            check_seal(Path(_ABOUT), said)
            with as_artifact(Path(_ABOUT)):
                given = _of_json(said)
            found = _texts(path, given, bounds)
        except (SaeEvalError, ValueError, AttributeError, RecursionError) as error:
            raise DataError(f"the file holds no task that can be used ({error}); export it again") from None
    made = replace(given, name=name or given.name, texts=len(found.texts))
    check_name(made.name)
    if _identity(found, made.labels, made.text_column, made.group_column) != made.identity:
        raise DataError("the file's texts are not those it names; export it again")
    check_task(with_labels(found, made.labels))
    return _store(made, _parquet(found, made), folder or tasks_folder())


def check_name(name: str) -> None:
    """DataError for a name that no link or command could carry."""
    if not _NAME.fullmatch(name):
        raise DataError(f"task name is '{name}'; use 1 to 40 of a-z, 0-9 and _")


def suggested_name(file_name: str) -> str:
    """A task name made from a file's name."""
    return re.sub(r"[^a-z0-9]+", "_", file_name.split(".")[0].lower()).strip("_")[:40] or "texts"


def _files(folder: Path, identity: str) -> tuple[Path, Path]:
    return folder / f"{identity[-16:]}.json", folder / f"{identity[-16:]}.parquet"


def _read(file: Path) -> OwnTask:
    values = read_json(file)
    check_seal(file, values if isinstance(values, dict) else {})
    with as_artifact(file):
        found = _of_json(values)
        require(file.stem == found.identity[-16:], "it was kept under another name")
        require(file.with_suffix(".parquet").exists(), "its texts are missing")
    return found


def _of_json(values: Mapping[str, Any]) -> OwnTask:
    own = {k: v for k, v in values.items() if k not in ("seal", "schema")}
    try:
        labels = TaskLabels.from_json(own["labels"])
    except DataError as error:
        raise ValueError(str(error)) from None
    own |= {"labels": labels, "notes": tuple(own["notes"]), "form": FileForm(**own["form"])}
    found = OwnTask(**own)
    lines = (
        found.text_column,
        found.group_column,
        found.source,
        found.created,
        found.sha256,
        *vars(found.form).values(),
    )
    require(all(isinstance(v, str) and len(v) <= _LONGEST_LINE for v in (*lines, *found.notes)), "a text is none")
    require(isinstance(found.name, str) and bool(_NAME.fullmatch(found.name)), "its name cannot be used")
    require(isinstance(found.identity, str) and bool(_IDENTITY.fullmatch(found.identity)), "its identity is none")
    counts = (found.texts, found.size, *found.dropped.values())
    require(all(type(n) is int and n >= 0 for n in counts), "a number is none")
    require(set(found.dropped) <= set(Unused), "a reason is unknown")
    return found


def _about(task: OwnTask) -> bytes:
    values = {**asdict(task), "labels": task.labels.to_json(), "schema": 1}
    return json.dumps(sealed(values), indent=1, ensure_ascii=False).encode()


def _identity(texts: LabelledTexts, labels: TaskLabels, text_column: str, group_column: str) -> str:
    columns = {c: digest(texts.column(c).tolist()) for c in labels.columns}
    parts = [None if a is None else digest(a.tolist()) for a in (texts.split, texts.group)]
    return digest([digest(list(texts.texts)), columns, parts, labels.to_json(), text_column, group_column])


def _parquet(texts: LabelledTexts, task: OwnTask) -> bytes:
    """The texts and the columns that the task uses."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {task.text_column: list(texts.texts)}
    columns |= {(n := texts.column_name(c)): texts.columns[n].tolist() for c in task.labels.columns}
    extra = {task.group_column: texts.group, "split": texts.split}
    columns |= {name: values.tolist() for name, values in extra.items() if values is not None}
    out = io.BytesIO()
    pq.write_table(pa.table({k: pa.array(v, pa.string()) for k, v in columns.items()}), out, compression="zstd")
    return out.getvalue()


def _texts(path: Path, task: OwnTask, bounds: Bounds = LARGE) -> LabelledTexts:
    frame = read_frame(path, bounds)
    found = from_frame(frame, task.key, task.text_column, task.group_column, f"file: {task.source}")
    return replace(found, dropped=dict(task.dropped), notes=task.notes, title=task.name)


def _store(task: OwnTask, parquet: bytes, folder: Path) -> OwnTask:
    about, texts = _files(folder, task.identity)
    _check_free(task, folder)
    there = next((t for t in kept_tasks(folder) if t.identity == task.identity), None)
    if there is not None and there.name == task.name:
        return there
    if there is not None:
        raise DataError(f"these texts with these labels are kept already, as {there.ref}; rename that")
    made = replace(task, size=len(parquet), sha256=hashlib.sha256(parquet).hexdigest())
    _check_room(made, folder)
    _write(texts, parquet)
    _write(about, _about(made))
    return made


def _check_free(task: OwnTask, folder: Path) -> None:
    """DataError if another task has the name."""
    for there in kept_tasks(folder):
        if there.name == task.name and there.identity != task.identity:
            raise DataError(
                f"an own task is called '{task.name}' already ({there.ref}); take another name or delete it"
            )


def _check_room(task: OwnTask, folder: Path) -> None:
    kept, most = kept_tasks(folder), tasks_quota()
    used = sum(t.size for t in kept)
    if used + task.size > most:
        listed = ", ".join(f"{t.ref} ({t.size / 1e6:.1f} MB)" for t in sorted(kept, key=lambda t: -t.size)) or "none"
        raise DataError(
            f"'{task.name}' takes {task.size / 1e6:.1f} MB, and own tasks may take {most / 1e6:,.0f} MB of which "
            f"{used / 1e6:.1f} are used; delete one first: {listed}"
        )


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    except OSError as error:
        raise DataError(f"the task cannot be stored in {path.parent}: {error.strerror}; free some space") from None


def _unpacked(content: bytes, bounds: Bounds) -> tuple[bytes, bytes]:
    """The two files of an exported task; nothing is written, and nothing larger than the bounds is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            if sorted(file.namelist()) != [_ABOUT, _TEXTS]:
                raise DataError(f"the file is no task that saeeval exported (a {SUFFIX} file); it holds other things")
            return tuple(_member(file, name, most) for name, most in ((_ABOUT, _ABOUT_SIZE), (_TEXTS, bounds.size)))  # type: ignore[return-value]
    except _ZIP as error:
        raise DataError(f"the file is no task that saeeval exported, or damaged ({error}); export it again") from None


def _member(file: zipfile.ZipFile, name: str, most: int) -> bytes:
    with file.open(name) as member:
        content = member.read(most + 1)
    if len(content) > most:
        raise DataError(f"the task's {name} is larger than {most:,} bytes; it cannot be imported here")
    return content
